import { describe, expect, test } from 'vitest'
import type { Hex } from '#protocol/bytes.ts'
import { type Attempt, type Step, step, type TransactionEvent, type TransactionState } from './step.ts'

const policy = { resubmitMs: 12_000 }
const hashOf = (byte: string): Hex => `0x${byte.repeat(32)}`
const first: Attempt = { hash: hashOf('01'), maxFeePerGas: 800n, maxPriorityFeePerGas: 8n }
const second: Attempt = { hash: hashOf('02'), maxFeePerGas: 901n, maxPriorityFeePerGas: 10n }
const fees = { maxFeePerGas: 700n, maxPriorityFeePerGas: 7n }
const inclusion = { hash: first.hash, block: 9n, blockHash: hashOf('09'), gasUsed: 50_000n }

const signed: TransactionState = { name: 'signed', nonce: 4, attempts: [first] }
const submitted: TransactionState = {
  name: 'submitted',
  nonce: 4,
  attempts: [first],
  sentAt: 1_000,
  foreignSightings: 0,
}
const included: TransactionState = { name: 'included', nonce: 4, attempts: [first], inclusion }

function run(state: TransactionState, ...events: TransactionEvent[]): Step {
  let last: Step = { state }
  for (const event of events) last = step(last.state, event, policy)
  return last
}

test('goes from open to final', () => {
  const { state } = run(
    { name: 'open' },
    { name: 'sealed' },
    { name: 'signed', nonce: 4, attempt: first },
    { name: 'broadcast', at: 1_000 },
    { name: 'pending', at: 2_000, fees },
    { name: 'included', inclusion, isSuccess: true },
    { name: 'safe' },
    { name: 'finalized' },
  )
  expect(state).toEqual({ ...included, name: 'final' })
})

test("gives up a nonce behind one that is nobody's, once what had it has had time to come back", () => {
  const gap = (at: number): TransactionEvent => ({ name: 'nonceGap', at })
  expect(run(submitted, gap(12_999)).state).toEqual(submitted)
  const looks = [gap(13_000), gap(13_000)]
  expect(run(submitted, ...looks).state).toMatchObject({ name: 'submitted' })
  expect(run(submitted, ...looks, gap(13_000)).state).toEqual({
    name: 'failed',
    reason: 'nonceGap',
    nonce: 4,
    attempts: [first],
  })
  const back: TransactionEvent = { name: 'pending', at: 2_000, fees }
  expect(run(submitted, ...looks, back, gap(13_000)).state).toMatchObject({ name: 'submitted', foreignSightings: 1 })
})

describe('a process that comes back', () => {
  test.each([
    [{ name: 'sealed' }, 'sign'],
    [signed, 'broadcast'],
    [submitted, 'poll'],
    [included, 'watch'],
    [{ ...included, name: 'safe' }, 'watch'],
  ] as const)('goes on from what is stored: %o', (state, effect) => {
    expect(step(state, { name: 'resumed' }, policy)).toEqual({ state, effect: { name: effect } })
  })

  test('leaves the ended alone', () => {
    const final: TransactionState = { ...included, name: 'final' }
    expect(step(final, { name: 'resumed' }, policy)).toEqual({ state: final })
  })
})

describe('without inclusion', () => {
  test('waits before it raises the fee', () => {
    expect(run(submitted, { name: 'pending', at: 12_999, fees }).effect).toBeUndefined()
  })

  test('raises both fees by an eighth, rounded up, keeping the nonce', () => {
    const waited = run(submitted, { name: 'pending', at: 13_000, fees })
    expect(waited.effect).toEqual({ name: 'replace', fees: { maxFeePerGas: 901n, maxPriorityFeePerGas: 10n } })
    const replaced = run(
      submitted,
      { name: 'pending', at: 13_000, fees },
      { name: 'signed', nonce: 4, attempt: second },
    )
    expect(replaced).toEqual({
      state: { name: 'signed', nonce: 4, attempts: [first, second] },
      effect: { name: 'broadcast' },
    })
  })

  test('follows what the node suggests when that is more', () => {
    const suggested = { maxFeePerGas: 5_000n, maxPriorityFeePerGas: 50n }
    const waited = run(submitted, { name: 'pending', at: 13_000, fees: suggested })
    expect(waited.effect).toEqual({ name: 'replace', fees: suggested })
  })

  test('broadcasts the same bytes again once the fee has reached its limit', () => {
    const low = { maxFeePerGas: 100n, maxPriorityFeePerGas: 1n }
    const waited = run(submitted, { name: 'pending', at: 13_000, fees: low })
    expect(waited.effect).toEqual({ name: 'broadcast' })
    expect(run(submitted, { name: 'broadcast', at: 14_000 }).state).toEqual({ ...submitted, sentAt: 14_000 })
  })

  test('broadcasts the same bytes again when the node has dropped them', () => {
    expect(run(submitted, { name: 'dropped' })).toEqual({ state: signed, effect: { name: 'broadcast' } })
  })

  test('raises an attempt that the node finds too low', () => {
    expect(run(signed, { name: 'underpriced', fees }).effect?.name).toBe('replace')
  })

  test('stays as it is when the node does not take it', () => {
    expect(run(signed, { name: 'unsent' })).toEqual({ state: signed })
  })
})

describe('ends without success', () => {
  test('when it is reverted', () => {
    expect(run(submitted, { name: 'included', inclusion, isSuccess: false }).state).toEqual({
      name: 'failed',
      reason: 'reverted',
      nonce: 4,
      attempts: [first],
    })
  })

  test('when its nonce went to another transaction, seen often enough', () => {
    const sightings = Array<TransactionEvent>(3).fill({ name: 'nonceTaken' })
    expect(run(submitted, ...sightings.slice(1)).state.name).toBe('submitted')
    expect(run(submitted, ...sightings).state).toMatchObject({ name: 'failed', reason: 'nonceTaken' })
  })

  test('not when the nonce turned out to be free after all', () => {
    const pending: TransactionEvent = { name: 'pending', at: 2_000, fees }
    const events: TransactionEvent[] = [{ name: 'nonceTaken' }, { name: 'nonceTaken' }, pending, { name: 'nonceTaken' }]
    expect(run(submitted, ...events).state).toMatchObject({ name: 'submitted', foreignSightings: 1 })
  })
})

test('goes back to broadcasting the same bytes when its block is reorganised away', () => {
  expect(run(included, { name: 'reorged' })).toEqual({ state: signed, effect: { name: 'broadcast' } })
  expect(run({ ...included, name: 'safe' }, { name: 'reorged' }).state).toEqual(signed)
})

test('stays included, without a next effect, while the inclusion gets no deeper', () => {
  expect(run(included, { name: 'standing' })).toEqual({ state: included })
})

test('takes an event that cannot happen for a bug', () => {
  expect(() => run({ name: 'open' }, { name: 'finalized' })).toThrow(/sealed first/)
  expect(() => run({ name: 'sealed' }, { name: 'safe' })).toThrow(/signed first/)
  expect(() => run(signed, { name: 'safe' })).toThrow(/broadcast first/)
  expect(() => run(submitted, { name: 'safe' })).toThrow(/looked for/)
  expect(() => run(included, { name: 'unsent' })).toThrow(/watched/)
  expect(() => run({ ...included, name: 'final' }, { name: 'reorged' })).toThrow(/nothing happens/)
})
