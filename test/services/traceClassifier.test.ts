/**
 * Whether sizes and times of an encrypted answer tell what it is about (background: "Whisper Leak", arXiv 2511.03675). A model answers four topics, each
 * with its own words and timing; what an onlooker has of half of the answers trains a classifier, which guesses the topics of the other half.
 * On a clock of the test, so that nothing but the answers themselves makes traces differ, and every run is the same.
 * @module
 */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { PaddingMode } from '#protocol/shape.ts'
import { outer, seal, startGateway } from '../support/sealedTarget.ts'
import { answerTopic, bodyOf, type Question, TOPICS, type Topic } from '../support/topics.ts'
import { accuracyOf, type Example, traceOf, trainClassifier } from '../support/traces.ts'

const CHANCE = 1 / TOPICS.length
/** Answers of each topic; half of them to learn from. */
const ANSWERS = 100

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance', 'Date'] }))
afterEach(() => void vi.useRealTimers())

type Piece = { readonly bytes: number; readonly atMs: number }
type Recorded = Example<Topic> & { readonly pieces: readonly Piece[] }

/** Answers to as many questions of each topic, all of them asked at once. */
async function record(padding: PaddingMode, ownLength: boolean): Promise<Recorded[]> {
  const gateway = startGateway(answerTopic, { leavesMax: 10_000, limits: { answersMax: 10_000 } })
  const questions = TOPICS.flatMap((topic, i) =>
    Array.from({ length: ANSWERS }, (_, n): Question => ({ topic, seed: i * ANSWERS + n, ownLength })),
  )
  const sealed = await Promise.all(questions.map((question) => seal({ body: bodyOf(question), padding })))
  const responses = sealed.map((request) => gateway.sealed(outer(request)))
  // Time begins when the model has all questions: how long cryptography takes is no matter of topics.
  while (gateway.model.begun < questions.length) await new Promise((resolve) => setImmediate(resolve))
  const beganMs = performance.now()
  let openCount = responses.length
  const reading = questions.map(async ({ topic: label }, i): Promise<Recorded> => {
    const pieces: Piece[] = []
    const body = (await responses[i])?.body
    for await (const { length: bytes } of body ?? []) pieces.push({ bytes, atMs: performance.now() - beganMs })
    openCount--
    return { label, pieces, trace: traceOf(pieces, 0) }
  })
  while (openCount > 0) {
    await vi.advanceTimersByTimeAsync(1)
    await new Promise((resolve) => setImmediate(resolve))
  }
  expect(gateway.faults).toEqual([])
  return Promise.all(reading)
}

/** How often the topic is guessed right, of the answers that were not learnt from. */
function guessed(recorded: readonly Recorded[]): number {
  const isLearnt = (_: Recorded, i: number) => i % 2 === 0
  const classify = trainClassifier(recorded.filter(isLearnt))
  return accuracyOf(
    classify,
    recorded.filter((example, i) => !isLearnt(example, i)),
  )
}

const percent = (share: number) => `${Math.round(1_000 * share) / 10} %`

describe('answers of four topics in one class of length', () => {
  it.each(['off', 'balanced'] as const)('tell their topic in the mode `%s`', async (mode) => {
    const accuracy = guessed(await record(mode, false))
    console.log(`topic guessed from traces of one length class, ${mode}: ${percent(accuracy)}`)
    expect(accuracy).toBeGreaterThan(2 * CHANCE)
  })

  it('and in `private` not: a guess is as good as chance, because no trace differs from another', async () => {
    const recorded = await record('private', false)
    const accuracy = guessed(recorded)
    console.log(
      `topic guessed from traces of one length class, private: ${percent(accuracy)}, chance ${percent(CHANCE)}`,
    )
    expect(accuracy).toBeLessThan(CHANCE + 0.05)
    expect(recorded[0]?.pieces).toHaveLength(32)
    for (const { pieces } of recorded) expect(pieces).toEqual(recorded[0]?.pieces)
  })
})

describe('answers whose length differs by their topic', () => {
  it('tell by their class of length what it tells, and nothing else', async () => {
    const recorded = await record('private', true)
    const accuracy = guessed(recorded)
    const byClass = new Map(recorded.map(({ pieces }) => [pieces.length, pieces]))
    console.log(
      `topic guessed from the length class alone, private: ${percent(accuracy)}, classes ${[...byClass.keys()]}`,
    )
    expect(accuracy).toBeGreaterThan(CHANCE + 0.05)
    expect(byClass.size).toBeGreaterThan(3)
    for (const { pieces } of recorded) expect(pieces).toEqual(byClass.get(pieces.length))
  })
})
