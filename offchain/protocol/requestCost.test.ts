/** What a request can cost at most. @module */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { encodeUtf8 } from './bytes.ts'
import { feeRoundedUp, fiveBitsRoundedUp } from './prices.ts'
import { CONTEXT_TOKENS_UNKNOWN, costAtMost, isPaidPath, PAID_PATHS } from './requestCost.ts'

const CHAT = '/v1/chat/completions'
const COMPLETIONS = '/v1/completions'
const EMBEDDINGS = '/v1/embeddings'
const CONTEXT = 1_000
const PRICE = {
  model: 'm',
  source: 'operator',
  requestUnits: 7n,
  promptUnitsPerMillion: 3_000_000n,
  completionUnitsPerMillion: 5_000_000n,
} as const
const bodyOf = (value: unknown) => encodeUtf8(JSON.stringify(value))
const cost = (prompt: number, completion: number) =>
  fiveBitsRoundedUp(7n + 3n * BigInt(prompt) + 5n * BigInt(completion))

it.each([
  [{ max_tokens: 10 }, 10],
  [{ max_completion_tokens: 20, max_tokens: 10 }, 20],
  [{ max_tokens: 5_000 }, CONTEXT],
  [{ max_tokens: 10, n: 3 }, 30],
  [{ max_tokens: 10, n: 1.5 }, 20],
  [{ max_tokens: 10, n: 1 }, 10],
  // As for nothing stated: no request is free because it asks for no answers.
  [{ max_tokens: 10, n: 0 }, 10],
  [{ max_tokens: 10, n: -3 }, 10],
  [{ max_tokens: 10, n: '3' }, 10],
  [{}, CONTEXT],
  [{ max_tokens: 0, n: 'x' }, CONTEXT],
  [{ max_tokens: -1, n: 2 }, 2 * CONTEXT],
  [{ max_tokens: 10, best_of: 4, prompt: ['a', 'b'] }, 10],
])('counts every byte of a chat and every token that %j allows', (parameters, completion) => {
  const body = bodyOf(parameters)
  expect(costAtMost(PRICE, CHAT, body, CONTEXT)).toBe(cost(body.length, completion))
})

it.each([
  [999_999, 1_048_575n],
  [1_000_000, 1_048_576n],
  [1_000_001, 1_048_576n],
])('counts a million answers at most: of %i', (n, units) => {
  // Once on each side of 2^20, because a fee has five significant bits.
  for (const requestUnits of [48_576n, 48_577n]) {
    const price = { ...PRICE, requestUnits, promptUnitsPerMillion: 0n, completionUnitsPerMillion: 1_000_000n }
    const fee = costAtMost(price, CHAT, bodyOf({ max_tokens: 1, n }), CONTEXT)
    expect(fee).toBe(fiveBitsRoundedUp(units - 48_576n + requestUnits))
  }
})

it.each([
  [{ prompt: 'x' }, 16],
  [{ prompt: 'x', max_tokens: 5 }, 5],
  [{ prompt: 'x', max_tokens: 0 }, 0],
  [{ prompt: 'x', max_tokens: -1 }, 16],
  [{ prompt: 'x', max_tokens: 5_000 }, CONTEXT],
  [{ prompt: ['x', 'y', 'z'], max_tokens: 5 }, 15],
  [{ prompt: ['x', 'y'], max_tokens: 5, n: 3 }, 30],
  [{ prompt: ['x', 'y'], max_tokens: 5, n: 2, best_of: 4 }, 40],
  [{ prompt: [1, 2, 3], max_tokens: 5 }, 5],
  [{ prompt: [[1, 2], [3]], max_tokens: 5 }, 10],
  [{ prompt: [], max_tokens: 5 }, 5],
  [{ prompt: 'x', max_completion_tokens: 500 }, 16],
])('counts what completions with %j may write', (parameters, completion) => {
  const body = bodyOf(parameters)
  expect(costAtMost(PRICE, COMPLETIONS, body, CONTEXT)).toBe(cost(body.length, completion))
})

it.each([{ input: 'x' }, { input: ['x', 'y'] }, { input: [1, 2], max_tokens: 900, n: 5 }])(
  'counts what embeddings of %j read, and nothing written',
  (parameters) => {
    const body = bodyOf(parameters)
    expect(costAtMost(PRICE, EMBEDDINGS, body, CONTEXT)).toBe(cost(body.length, 0))
  },
)

describe('what is read', () => {
  const long = 'x'.repeat(10 * CONTEXT)
  it('is at most a context for each text, where the context is known', () => {
    const chat = bodyOf({ messages: [{ role: 'user', content: long }], max_tokens: 1 })
    expect(costAtMost(PRICE, CHAT, chat, CONTEXT)).toBe(cost(CONTEXT, 1))
    expect(costAtMost(PRICE, CHAT, chat, undefined)).toBe(cost(chat.length, 1))
    expect(costAtMost(PRICE, EMBEDDINGS, bodyOf({ input: [long, long, long] }), CONTEXT)).toBe(cost(3 * CONTEXT, 0))
    expect(costAtMost(PRICE, COMPLETIONS, bodyOf({ prompt: [long, long] }), CONTEXT)).toBe(cost(2 * CONTEXT, 32))
  })

  it('is a whole context with an image, however small', () => {
    const content = [
      { type: 'text', text: 'What is this?' },
      { type: 'image_url', image_url: { url: 'data:image/png;base64,AA==' } },
    ]
    const body = bodyOf({ messages: [{ role: 'user', content }], max_tokens: 1 })
    expect(costAtMost(PRICE, CHAT, body, CONTEXT)).toBe(cost(CONTEXT, 1))
    expect(costAtMost(PRICE, CHAT, body, undefined)).toBe(cost(CONTEXT_TOKENS_UNKNOWN, 1))
  })

  it('is the bytes of a body whose parts are all text', () => {
    const content = [{ type: 'text', text: 'What is this?' }, { type: 'text', text: 'And this?' }, 'x', null]
    const body = bodyOf({ messages: [{ role: 'user', content }, null, { role: 'user' }], max_tokens: 1 })
    expect(body.length).toBeLessThan(CONTEXT)
    expect(costAtMost(PRICE, CHAT, body, CONTEXT)).toBe(cost(body.length, 1))
  })
})

it('is never below what any usage within it costs', () => {
  const body = bodyOf({ max_tokens: 50 })
  const atMost = costAtMost(PRICE, CHAT, body, CONTEXT)
  for (let promptTokens = 0; promptTokens <= body.length; promptTokens++) {
    for (const completionTokens of [0, 1, 49, 50]) {
      expect(feeRoundedUp(PRICE, { promptTokens, completionTokens })).toBeLessThanOrEqual(atMost)
    }
  }
})

it('takes a large context for a model that tells none, and a body that is no JSON as one that says nothing', () => {
  for (const body of [bodyOf({}), encodeUtf8('{'), bodyOf([1]), bodyOf(null)]) {
    expect(costAtMost(PRICE, CHAT, body, undefined)).toBe(cost(body.length, CONTEXT_TOKENS_UNKNOWN))
  }
})

it('answers any JSON whatever with a fee', () => {
  const absurd = encodeUtf8('{"n":1e400,"best_of":1e308,"max_tokens":1e400,"max_completion_tokens":1e308}')
  for (const path of PAID_PATHS) expect(costAtMost(PRICE, path, absurd, CONTEXT)).toBeGreaterThanOrEqual(7n)
  const path = fc.constantFrom(...PAID_PATHS)
  fc.assert(
    fc.property(path, fc.json(), fc.option(fc.nat()), (paid, json, context) => {
      expect(costAtMost(PRICE, paid, encodeUtf8(json), context ?? undefined)).toBeGreaterThanOrEqual(7n)
    }),
    { seed: 20_261_121 },
  )
})

it('tells the paths that cost something from the others', () => {
  expect(PAID_PATHS.map(isPaidPath)).toEqual([true, true, true])
  expect(['/v1/models', '/v1/prices', '/v1/chat/completions/', '/v1/completions?x', ''].map(isPaidPath)).toEqual(
    Array(5).fill(false),
  )
})
