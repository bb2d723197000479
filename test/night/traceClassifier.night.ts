/**
 * What `traceClassifier.test.ts` shows on a clock of the test, on real time: four topics through a real gateway and relay on sockets, written down between client
 * and relay. Whatever the work for an answer does to the clock of its process is in these traces.
 * @module
 */
import { expect, it } from 'vitest'
import { toHex } from '#protocol/bytes.ts'
import { sealHttpRequest } from '#protocol/sealing/client.ts'
import { createWebSuites } from '#protocol/sealing/webSuites.ts'
import { cellClass, PADDING_FIELD, type PaddingMode } from '#protocol/shape.ts'
import { preferredConfig } from '../../offchain/sdk/gateway.ts'
import { startStage } from '../support/gatewayStage.ts'
import { answerTopic, bodyOf, type Question, TOPICS, type Topic } from '../support/topics.ts'
import { accuracyOf, traceOf, trainClassifier } from '../support/traces.ts'
import { openWireRecorder, type WireExchange } from '../support/wireRecorder.ts'

const CHANCE = 1 / TOPICS.length
/** Half of the answers are guessed: with eight hundred, five points are more than three standard deviations. */
const ANSWERS_PER_TOPIC = 400
const AT_ONCE = 40
const suites = createWebSuites()

type Recorded = { readonly label: Topic; readonly seen: WireExchange }

async function record(padding: PaddingMode, perTopic: number): Promise<Recorded[]> {
  const stage = await startStage()
  const { gateway, url } = await stage.addGateway({ chat: answerTopic })
  const wire = await openWireRecorder(await stage.addRelay([url]))
  const config = preferredConfig(gateway.enclave.keys.configs())
  const labels = new Map<string, Topic>()
  // One topic after the other, so that what all of them do to the machine is the same for each.
  const questions = Array.from({ length: perTopic * TOPICS.length }, (_, seed): Question => {
    return { topic: TOPICS[seed % TOPICS.length] ?? 'law', seed, ownLength: false }
  })
  const next = questions.values()
  const asking = Array.from({ length: AT_ONCE }, async () => {
    for (const question of next) {
      const inner = {
        method: 'POST',
        scheme: 'https',
        authority: 'gateway',
        path: '/v1/chat/completions',
        headers: [[PADDING_FIELD, padding]] as const,
        body: new TextEncoder().encode(JSON.stringify(bodyOf(question))),
      }
      const { body, contentType } = await sealHttpRequest(suites, config, inner)
      labels.set(toHex(body), question.topic)
      const headers = { 'content-type': contentType }
      const response = await fetch(`${wire.url}/gateways/g0`, { method: 'POST', headers, body })
      expect(response.status).toBe(200)
      await response.arrayBuffer()
    }
  })
  await Promise.all(asking)
  await wire.untilEnded(questions.length)
  await wire.close()
  await stage.close()
  return wire.exchanges.map((seen) => {
    const label = labels.get(toHex(seen.request.body))
    if (label === undefined) throw new Error('expected a request of ours')
    return { label, seen }
  })
}

/** How often the topic of the second half is guessed right, on a clock of this precision. */
function guessed(recorded: readonly Recorded[], tickMs: number): number {
  const examples = recorded.map(({ label, seen: { request, response } }) => {
    return { label, trace: traceOf(response.chunks, request.endedMs, tickMs) }
  })
  const half = examples.length / 2
  return accuracyOf(trainClassifier(examples.slice(0, half)), examples.slice(half))
}

const percent = (share: number) => `${Math.round(1_000 * share) / 10} %`

it('a topic is guessed from real traces of one length class in the mode `off`, and in `private` not', async () => {
  const open = await record('off', 50)
  const recorded = await record('private', ANSWERS_PER_TOPIC)
  const counts = recorded.map(({ seen }) => seen.response.chunks.length)
  for (const tickMs of [50, 5, 1]) {
    console.log(`to ${tickMs} ms: off ${percent(guessed(open, tickMs))}, private ${percent(guessed(recorded, tickMs))}`)
  }
  // Busy as the machine may be, no answer was cut, and hardly one has slipped into the next class.
  expect(counts.filter((count) => count !== cellClass(count))).toEqual([])
  expect(counts.filter((count) => count === 32).length).toBeGreaterThan(0.95 * counts.length)
  expect(guessed(open, 50)).toBeGreaterThan(2 * CHANCE)
  expect(guessed(recorded, 50)).toBeLessThan(CHANCE + 0.05)
})
