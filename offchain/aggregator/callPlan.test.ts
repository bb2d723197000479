import { expect, test } from 'vitest'
import type { Hex } from '#protocol/bytes.ts'
import type { EarningsHeadMessage } from '#protocol/wire/agentApi.ts'
import { planCall, shrinkCall } from './callPlan.ts'
import type { StoredClearing } from './store.ts'

const HASH: Hex = `0x${'cd'.repeat(32)}`
const ENCLAVE: Hex = `0x${'ab'.repeat(20)}`
const GAS_MAX = 12_000_000

const heads = (count: number): EarningsHeadMessage[] =>
  Array.from({ length: count }, (_, i) => ({
    enclave: ENCLAVE,
    size: BigInt(i + 1),
    root: HASH,
    fees: 0n,
    signature: { r: HASH, vs: HASH },
  }))

const clearings = (count: number, lines: number): StoredClearing[] =>
  Array.from({ length: count }, (_, i) => ({
    id: HASH,
    clearing: {
      keyset: HASH,
      issued: BigInt(i),
      captured: 0n,
      enclaves: Array.from({ length: lines }, () => ({ enclave: ENCLAVE, captured: 1n })),
      r: HASH,
      vs: HASH,
    },
  }))

const counts = (call: ReturnType<typeof shrinkCall>) => call && [call.heads.length, call.clearings.length]
const planned = (headCount: number, clearingCount: number, lines: number, gasMax = GAS_MAX) =>
  counts(planCall({ heads: heads(headCount), clearings: clearings(clearingCount, lines) }, gasMax))

test('heads alone are left to the estimate of the node', () => {
  expect(planned(256, 0, 0, 1)).toEqual([256, 0])
})

test('small clearings go together with the heads they pay', () => {
  expect(planned(20, 16, 3)).toEqual([20, 16])
  expect(planned(100, 1, 100)).toEqual([100, 1])
})

test('clearings of full size go one by one, the oldest first, and heads only beside the last of them', () => {
  expect(planned(256, 16, 256)).toEqual([0, 1])
  expect(planned(256, 1, 256)).toEqual([47, 1])
})

test('something always goes, whatever the limit', () => {
  expect(planned(5, 2, 256, 1)).toEqual([0, 1])
})

test('a call shrinks until one thing is left, and the clearing outlives the heads', () => {
  let call = planCall({ heads: heads(8), clearings: clearings(4, 1) }, GAS_MAX)
  const sizes: unknown[] = []
  for (;;) {
    const smaller = shrinkCall(call)
    if (smaller === undefined) break
    sizes.push(counts(smaller))
    call = smaller
  }
  expect(sizes).toEqual([
    [4, 2],
    [2, 1],
    [1, 1],
    [0, 1],
  ])
  expect(counts(shrinkCall({ heads: heads(2), clearings: [] }))).toEqual([1, 0])
  expect(shrinkCall({ heads: heads(1), clearings: [] })).toBeUndefined()
})
