/** The pure parts of the leaf index. @module */
import { expect, test } from 'vitest'
import { buildEntries, planSegmentMerge, spreadEntries } from './proofsIndex.ts'

const ENTRY_BYTES = 14

test('an entry states the first bits, the log and an index above 32 bits', () => {
  const leaf = Uint8Array.from({ length: 32 }, (_, i) => 0xa0 + i)
  const entry = buildEntries(leaf, 0x01020304, 2 ** 40 + 5)
  expect([...entry]).toEqual([0xa0, 0xa1, 0xa2, 0xa3, 1, 2, 3, 4, 0x01, 0, 0, 0, 0, 5])
})

test('entries are spread by their first bits, and what belongs to other buckets is left out', () => {
  const prefixes = [0x00000000, 0x3fffffff, 0x40000000, 0x80000000, 0xbfffffff, 0xc0000000, 0xffffffff]
  const leaves = new Uint8Array(prefixes.length * 32)
  for (const [i, prefix] of prefixes.entries()) new DataView(leaves.buffer).setUint32(i * 32, prefix)
  const entries = buildEntries(leaves, 1, 0)
  const counts = (bits: number, first: number, count: number) =>
    spreadEntries(entries, bits, first, count).map((bucket) => bucket.length / ENTRY_BYTES)
  expect(counts(0, 0, 1)).toEqual([7])
  expect(counts(2, 0, 4)).toEqual([2, 1, 2, 2])
  expect(counts(2, 1, 2)).toEqual([1, 2])
  const [bucket] = spreadEntries(entries, 2, 3, 1)
  expect(bucket).toEqual(entries.slice(5 * ENTRY_BYTES))
})

test('segments grown one by one stay few, and every merge leaves one of at least the next size class', () => {
  let segments: { count: bigint }[] = []
  let rewritten = 0
  const total = 4_000
  for (let i = 0; i < total; i++) {
    segments = [{ count: 16n }, ...segments].sort((a, b) => Number(a.count - b.count))
    for (let plan = planSegmentMerge(segments); plan !== undefined; plan = planSegmentMerge(segments)) {
      const merged = plan.reduce((sum, { count }) => sum + count, 0n)
      const largest = plan.at(-1)?.count ?? 0n
      expect(merged).toBeGreaterThan(largest)
      rewritten += Number(merged)
      segments = [...segments.slice(plan.length), { count: merged }].sort((a, b) => Number(a.count - b.count))
    }
    // At most three of each of the size classes from 16 to 64,000 leaves.
    expect(segments.length).toBeLessThanOrEqual(3 * 6)
  }
  expect(segments.reduce((sum, { count }) => sum + count, 0n)).toBe(BigInt(16 * total))
  expect(rewritten / (16 * total)).toBeLessThan(10)
})

test('segments of different size classes are left alone', () => {
  expect(planSegmentMerge([{ count: 16n }, { count: 70n }, { count: 300n }, { count: 2_000n }])).toBeUndefined()
  expect(planSegmentMerge([])).toBeUndefined()
})
