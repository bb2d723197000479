/**
 * Leaf runs: how a log's leaves are stored, and found by their hash until the index of all leaves has them (proofsIndex.ts).
 *
 * A run is a stretch of one log: its leaves, 32 bytes each, and beside them an index of 8 bytes a leaf, sorted by the leaf's first
 * four bytes. A delivery writes one run, a large one several, and small neighbours are merged later, so a lookup touches few rows.
 * Leaves are hashes, hence evenly spread: where in the index one must be follows from its prefix.
 *
 *   entry = first 4 bytes of the leaf || offset in the run (4 bytes, big-endian)
 * @module
 */
import { equalBytes } from '#protocol/bytes.ts'

/** Leaves in one run: 2 MiB, which the database's client doubles on its way. */
export const RUN_LEAVES_MAX = 65_536
/** A lookup's answer reaches this many neighbours at once. */
const MERGE_WIDTH = 8
const LEAF_BYTES = 32
const ENTRY_BYTES = 8
/** Keeps prefix and offset together below 2^53, so that they sort as numbers. */
const OFFSET_BOUND = 2 ** 20

/** The index of a run's leaves. */
export function buildLeafIndex(leaves: Uint8Array): Uint8Array {
  const count = leaves.length / LEAF_BYTES
  const view = new DataView(leaves.buffer, leaves.byteOffset, leaves.byteLength)
  const keys = new Float64Array(count)
  for (let i = 0; i < count; i++) keys[i] = view.getUint32(i * LEAF_BYTES) * OFFSET_BOUND + i
  keys.sort()
  const index = new Uint8Array(count * ENTRY_BYTES)
  const entries = new DataView(index.buffer)
  for (const [i, key] of keys.entries()) {
    entries.setUint32(i * ENTRY_BYTES, Math.floor(key / OFFSET_BOUND))
    entries.setUint32(i * ENTRY_BYTES + 4, key % OFFSET_BOUND)
  }
  return index
}

/** The number that a leaf sorts by. */
export function prefixOfLeaf(leaf: Uint8Array): number {
  return new DataView(leaf.buffer, leaf.byteOffset, LEAF_BYTES).getUint32(0)
}

/** Where in the index of a run of `count` leaves a prefix is expected: entries `from` (inclusive) to `to` (exclusive). */
export function expectedWindow(prefix: number, count: number): { readonly from: number; readonly to: number } {
  const middle = Math.floor((prefix / 2 ** 32) * count)
  // The rank of a value among `count` even ones varies by at most sqrt(count) / 2 (one standard deviation): this is sixteen of them.
  const margin = Math.ceil(8 * Math.sqrt(count)) + 16
  return { from: Math.max(0, middle - margin), to: Math.min(count, middle + margin) }
}

/**
 * Offsets in the run of the leaves with this prefix, as far as `window`, a part of the index, shows them. Answers `undefined` when
 * the window does not reach far enough to know: the run's leaves are not evenly spread, and the whole index has to be read.
 */
export function offsetsInWindow(
  window: Uint8Array,
  prefix: number,
  bounds: { readonly isStart: boolean; readonly isEnd: boolean },
): number[] | undefined {
  const entries = new DataView(window.buffer, window.byteOffset, window.byteLength)
  const count = window.byteLength / ENTRY_BYTES
  if (count === 0) return bounds.isStart && bounds.isEnd ? [] : undefined
  const reachesBelow = bounds.isStart || entries.getUint32(0) < prefix
  const reachesAbove = bounds.isEnd || entries.getUint32((count - 1) * ENTRY_BYTES) > prefix
  if (!reachesBelow || !reachesAbove) return undefined
  const offsets: number[] = []
  for (let i = 0; i < count; i++) {
    if (entries.getUint32(i * ENTRY_BYTES) === prefix) offsets.push(entries.getUint32(i * ENTRY_BYTES + 4))
  }
  return offsets
}

/**
 * Which neighbouring runs to merge next, given their leaf counts in order; `undefined` when there are few enough. None of those
 * merged holds more than half of the result, so that a leaf is rewritten at most log2(RUN_LEAVES_MAX) times.
 */
export function planMerge(counts: readonly number[]): { readonly first: number; readonly length: number } | undefined {
  for (let first = counts.length - MERGE_WIDTH; first >= 0; first--) {
    const group = counts.slice(first, first + MERGE_WIDTH)
    const total = group.reduce((sum, count) => sum + count, 0)
    if (total <= RUN_LEAVES_MAX && 2 * Math.max(...group) <= total) return { first, length: MERGE_WIDTH }
  }
  return undefined
}

/** Position of the first leaf that differs between two stretches of one length; `undefined` when they are the same. */
export function firstDifference(a: Uint8Array, b: Uint8Array): number | undefined {
  if (Buffer.compare(a, b) === 0) return undefined
  const count = a.length / LEAF_BYTES
  for (let i = 0; i < count; i++) {
    const [start, end] = [i * LEAF_BYTES, (i + 1) * LEAF_BYTES]
    if (!equalBytes(a.subarray(start, end), b.subarray(start, end))) return i
  }
  return undefined
}
