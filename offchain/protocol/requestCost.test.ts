/** What a request can cost at most. @module */
import { expect, it } from 'vitest'
import { encodeUtf8 } from './bytes.ts'
import { feeRoundedUp, fiveBitsRoundedUp } from './prices.ts'
import { CONTEXT_TOKENS_UNKNOWN, costAtMost } from './requestCost.ts'

const PRICE = {
  model: 'm',
  source: 'operator',
  requestUnits: 7n,
  promptUnitsPerMillion: 3_000_000n,
  completionUnitsPerMillion: 5_000_000n,
} as const
const bodyOf = (value: unknown) => encodeUtf8(JSON.stringify(value))
const cost = (body: Uint8Array, completion: number) =>
  fiveBitsRoundedUp(7n + 3n * BigInt(body.length) + 5n * BigInt(completion))

it.each([
  [{ max_tokens: 10 }, 10],
  [{ max_completion_tokens: 20, max_tokens: 10 }, 20],
  [{ max_tokens: 5_000 }, 128],
  [{ max_tokens: 10, n: 3 }, 30],
  [{}, 128],
  [{ max_tokens: 0, n: 'x' }, 128],
  [{ max_tokens: -1, n: 2 }, 256],
])('counts every byte in and every token that %j allows', (parameters, completion) => {
  const body = bodyOf(parameters)
  expect(costAtMost(PRICE, body, 128)).toBe(cost(body, completion))
})

it('is never below what any usage within it costs', () => {
  const body = bodyOf({ max_tokens: 50 })
  const atMost = costAtMost(PRICE, body, 128)
  for (let promptTokens = 0; promptTokens <= body.length; promptTokens++) {
    for (const completionTokens of [0, 1, 49, 50]) {
      expect(feeRoundedUp(PRICE, { promptTokens, completionTokens })).toBeLessThanOrEqual(atMost)
    }
  }
})

it('takes a large context for a model that tells none, and a body that is no JSON as one that says nothing', () => {
  for (const body of [bodyOf({}), encodeUtf8('{'), bodyOf([1]), bodyOf(null)]) {
    expect(costAtMost(PRICE, body, undefined)).toBe(cost(body, CONTEXT_TOKENS_UNKNOWN))
  }
})
