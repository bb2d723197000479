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

/** The index of a run's leaves. */
export function buildLeafIndex(leaves: Uint8Array): Uint8Array {
  const count = leaves.length / LEAF_BYTES
  const view = new DataView(leaves.buffer, leaves.byteOffset, leaves.byteLength)
  const prefixes = new Uint32Array(count)
  for (let i = 0; i < count; i++) prefixes[i] = view.getUint32(i * LEAF_BYTES)
  const index = new Uint8Array(count * ENTRY_BYTES)
  const entries = new DataView(index.buffer)
  const order = orderOf(prefixes)
  for (let i = 0; i < count; i++) {
    const offset = order[i] ?? 0
    entries.setUint32(i * ENTRY_BYTES, prefixes[offset] ?? 0)
    entries.setUint32(i * ENTRY_BYTES + 4, offset)
  }
  return index
}

/** Positions of `values` in ascending order, equal ones in theirs: a radix sort by bytes, whose time depends on the number of values only. */
function orderOf(values: Uint32Array): Uint32Array {
  const count = values.length
  let order = new Uint32Array(count)
  for (let i = 0; i < count; i++) order[i] = i
  let sorted = new Uint32Array(count)
  // By index throughout: an iterator costs more than the step it is for.
  for (let shift = 0; shift < 32; shift += 8) {
    // How many values there are below each byte: where the next one with it goes.
    const nextOf = new Uint32Array(256)
    for (let i = 0; i < count; i++) {
      const above = (((values[i] ?? 0) >>> shift) & 0xff) + 1
      nextOf[above] = (nextOf[above] ?? 0) + 1
    }
    for (let byte = 1; byte < 256; byte++) nextOf[byte] = (nextOf[byte] ?? 0) + (nextOf[byte - 1] ?? 0)
    for (let i = 0; i < count; i++) {
      const position = order[i] ?? 0
      const byte = ((values[position] ?? 0) >>> shift) & 0xff
      const at = nextOf[byte] ?? 0
      sorted[at] = position
      nextOf[byte] = at + 1
    }
    ;[order, sorted] = [sorted, order]
  }
  return order
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
