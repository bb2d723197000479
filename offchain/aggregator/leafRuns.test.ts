import { describe, expect, test } from 'vitest'
import { concatBytes, encodeUint } from '#protocol/bytes.ts'
import { keccak256 } from '#protocol/hash.ts'
import {
  buildLeafIndex,
  expectedWindow,
  firstDifference,
  offsetsInWindow,
  planMerge,
  prefixOfLeaf,
  RUN_LEAVES_MAX,
} from './leafRuns.ts'

const COUNT = 20_000
const leaves = concatBytes(...Array.from({ length: COUNT }, (_, i) => keccak256(encodeUint(BigInt(i), 8))))
const leafOf = (i: number) => leaves.subarray(32 * i, 32 * i + 32)

function lookUp(index: Uint8Array, leaf: Uint8Array): number[] | undefined {
  const count = index.length / 8
  const { from, to } = expectedWindow(prefixOfLeaf(leaf), count)
  const bounds = { isStart: from === 0, isEnd: to === count }
  return offsetsInWindow(index.subarray(8 * from, 8 * to), prefixOfLeaf(leaf), bounds)
}

describe('the index of a run', () => {
  test('finds every leaf within a small window', () => {
    const index = buildLeafIndex(leaves)
    for (let i = 0; i < COUNT; i++) expect(lookUp(index, leafOf(i))).toContain(i)
    const { from, to } = expectedWindow(prefixOfLeaf(leafOf(5)), COUNT)
    expect(to - from).toBeLessThan(COUNT / 8)
  })

  test('is sorted by prefix, leaves of one prefix in their order', () => {
    const doubled = concatBytes(leaves, leaves)
    const index = buildLeafIndex(doubled)
    const entries = Array.from({ length: 2 * COUNT }, (_, i) =>
      Buffer.from(index.subarray(8 * i, 8 * i + 8)).readBigUInt64BE(),
    )
    expect(entries).toEqual(entries.toSorted((a, b) => (a < b ? -1 : 1)))
    const offsets = entries.map((entry) => Number(entry & 0xffff_ffffn))
    expect(new Set(offsets).size).toBe(2 * COUNT)
    for (const [i, offset] of offsets.entries()) {
      expect(Number((entries[i] ?? 0n) >> 32n)).toBe(prefixOfLeaf(doubled.subarray(32 * offset, 32 * offset + 32)))
    }
  })

  test('says that an unknown leaf is not there', () => {
    expect(lookUp(buildLeafIndex(leaves), keccak256(Uint8Array.of(1, 2, 3)))).toEqual([])
  })

  test('asks for the whole index when leaves are not evenly spread', () => {
    const crowded = new Uint8Array(32 * 5_000)
    expect(lookUp(buildLeafIndex(crowded), crowded.subarray(0, 32))).toBeUndefined()
    const bounds = { isStart: true, isEnd: true }
    expect(offsetsInWindow(buildLeafIndex(crowded), 0, bounds)).toHaveLength(5_000)
  })
})

describe('merging', () => {
  test('leaves few runs alone', () => {
    expect(planMerge([1, 1, 1, 1, 1, 1, 1])).toBeUndefined()
  })

  test('merges eight neighbours of a kind', () => {
    expect(planMerge([9_000, 1, 1, 1, 1, 1, 1, 1, 1])).toEqual({ first: 1, length: 8 })
  })

  test('never exceeds the bound of a run', () => {
    expect(planMerge(Array(8).fill(RUN_LEAVES_MAX / 8))).toEqual({ first: 0, length: 8 })
    expect(planMerge(Array(8).fill(RUN_LEAVES_MAX / 8 + 1))).toBeUndefined()
  })

  test('keeps the number of runs logarithmic under single leaves', () => {
    const counts: number[] = []
    for (let i = 0; i < 100_000; i++) {
      counts.push(1)
      for (let plan = planMerge(counts); plan !== undefined; plan = planMerge(counts)) {
        const merged = counts.slice(plan.first, plan.first + plan.length).reduce((sum, count) => sum + count, 0)
        counts.splice(plan.first, plan.length, merged)
      }
    }
    expect(counts.length).toBeLessThan(64)
    expect(counts.reduce((sum, count) => sum + count, 0)).toBe(100_000)
  })
})

test('finds the first difference', () => {
  const other = leaves.slice()
  expect(firstDifference(leaves, other)).toBeUndefined()
  other[32 * 7 + 31] = (other[32 * 7 + 31] ?? 0) ^ 1
  expect(firstDifference(leaves, other)).toBe(7)
})
