/** Answers as a model server would write them: four topics, each with its own lengths of words and its own timing, the same for the same seed. @module */
import type { AnswerEvent } from '../../gateway/backends/backend.ts'
import type { ChatRequest } from '../../gateway/requests/request.ts'
import { seededWords } from './seededWords.ts'

export const TOPICS = ['code', 'medicine', 'smalltalk', 'law'] as const
export type Topic = (typeof TOPICS)[number]

type Habits = {
  /** Time to the first token, in milliseconds: it follows the length of the prompt. */
  readonly prefillMs: Range
  readonly tokenChars: Range
  readonly tokenMs: Range
  /** A pause behind so many tokens, as where a model looks something up. */
  readonly pauseAfter: number
  readonly pauseMs: number
  /** How long an answer is where topics may differ in length, in milliseconds. */
  readonly ownMs: Range
}
type Range = readonly [number, number]

const HABITS: Readonly<Record<Topic, Habits>> = {
  code: {
    prefillMs: [120, 260],
    tokenChars: [1, 4],
    tokenMs: [4, 10],
    pauseAfter: 40,
    pauseMs: 30,
    ownMs: [1_500, 6_000],
  },
  medicine: {
    prefillMs: [40, 120],
    tokenChars: [6, 14],
    tokenMs: [18, 40],
    pauseAfter: 15,
    pauseMs: 80,
    ownMs: [700, 3_000],
  },
  smalltalk: {
    prefillMs: [10, 50],
    tokenChars: [2, 6],
    tokenMs: [12, 20],
    pauseAfter: 8,
    pauseMs: 10,
    ownMs: [200, 700],
  },
  law: {
    prefillMs: [200, 500],
    tokenChars: [4, 10],
    tokenMs: [8, 24],
    pauseAfter: 25,
    pauseMs: 150,
    ownMs: [3_000, 9_000],
  },
}

/** How long answers take from the request to their end, in milliseconds, of all topics: together with what surrounds them 17 to 32 cells of 50 ms. */
const COMMON_MS: Range = [950, 1_400]

/** What a question asks for. `ownLength`: as long as answers of its topic are, else as long as those of all. */
export type Question = { readonly topic: Topic; readonly seed: number; readonly ownLength: boolean }

export function bodyOf(question: Question): Record<string, unknown> {
  return { model: 'demo', stream: true, messages: [{ role: 'user', content: JSON.stringify(question) }] }
}

/** Answers the question in the first message, word by word. */
export async function* answerTopic({ messages }: ChatRequest): AsyncGenerator<AnswerEvent> {
  const { topic, seed, ownLength } = JSON.parse(String(messages[0]?.content)) as Question
  const { prefillMs, tokenChars, tokenMs, pauseAfter, pauseMs, ownMs } = HABITS[topic]
  const word = seededWords((Math.imul(seed + 1, 0x9e3779b1) ^ 0x5bd1e995) | 1)
  for (let i = 0; i < 8; i++) word()
  const pick = ([from, to]: Range) => from + (word() % (to - from + 1))
  const endsAt = performance.now() + pick(ownLength ? ownMs : COMMON_MS)
  const sleep = (ms: number) => {
    const left = Math.max(0, endsAt - performance.now())
    return new Promise((resolve) => setTimeout(resolve, Math.min(ms, left)))
  }
  await sleep(pick(prefillMs))
  let tokens = 0
  while (performance.now() < endsAt) {
    const content = 'x'.repeat(pick(tokenChars))
    yield { kind: 'delta', choice: 0, content, raw: { index: 0, delta: { content }, finish_reason: null } }
    tokens++
    await sleep(tokens % pauseAfter === 0 ? pauseMs : pick(tokenMs))
  }
  yield { kind: 'finish', choice: 0, reason: 'stop', raw: { index: 0, delta: {}, finish_reason: 'stop' } }
  yield { kind: 'usage', promptTokens: 7, completionTokens: tokens, reported: true }
}
