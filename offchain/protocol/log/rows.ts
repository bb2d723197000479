/**
 * A whole log as rows of complete nodes: what an aggregator or auditor keeps to prove any leaf at any size so far.
 *
 * Row 0 holds the leaves; row k holds the roots of complete subtrees of 2^k leaves. Nodes never change once complete.
 * @module
 */
import { type Keccak256, keccak256 } from '../hash.ts'
import { hashNode, LOG_NODE_TAG, type NodeTag, splitPoint } from './tree.ts'

/** `rows[k]` is the concatenation of 32-byte nodes. Grows in place by `appendLeaves`. */
export type LogRows = { readonly tag: NodeTag; readonly rows: NodeRow[] }
type NodeRow = { bytes: Uint8Array; count: number }

const NODE_BYTES = 32

/** An empty log, or batch when `tag` is the batch's. */
export function createRows(tag: NodeTag = LOG_NODE_TAG): LogRows {
  return { tag, rows: [{ bytes: new Uint8Array(NODE_BYTES * 64), count: 0 }] }
}

/** Leaves held so far. */
export function sizeOfRows(log: LogRows): number {
  return log.rows[0]?.count ?? 0
}

/** Appends `leaves`, the concatenation of 32-byte leaves, and completes every node that becomes complete. */
export function appendLeaves(log: LogRows, leaves: Uint8Array, hash: Keccak256 = keccak256): void {
  if (leaves.length % NODE_BYTES !== 0) throw new LogRowsError('LEAVES_MALFORMED', 'expected a multiple of 32 bytes')
  appendNodes(rowAt(log, 0), leaves)
  const preimage = new Uint8Array(1 + 2 * NODE_BYTES)
  preimage[0] = log.tag
  for (let level = 1; ; level++) {
    const below = rowAt(log, level - 1)
    const complete = Math.floor(below.count / 2)
    if (complete === 0) return
    const row = rowAt(log, level)
    reserve(row, complete)
    for (let i = row.count; i < complete; i++) {
      preimage.set(below.bytes.subarray(2 * i * NODE_BYTES, (2 * i + 2) * NODE_BYTES), 1)
      row.bytes.set(hash(preimage), i * NODE_BYTES)
    }
    row.count = complete
  }
}

/** Root of the log's first `size` leaves, 32 bytes. Throws `LogRowsError` for a size of 0 or above what is held. */
export function rootAt(log: LogRows, size: number, hash: Keccak256 = keccak256): Uint8Array {
  requireSize(log, size)
  return rangeHash(log, 0, size, hash)
}

/** Inclusion path (lowest sibling first) of the leaf at `index` in the log's first `size` leaves. */
export function pathAt(log: LogRows, index: number, size: number, hash: Keccak256 = keccak256): Uint8Array[] {
  requireSize(log, size)
  if (!Number.isSafeInteger(index) || index < 0 || index >= size) {
    throw new LogRowsError('INDEX_OUT_OF_RANGE', `expected an index below ${size}, got ${index}`)
  }
  const path: Uint8Array[] = []
  let start = 0
  let end = size
  while (end - start > 1) {
    const middle = start + splitPoint(end - start)
    if (index < middle) {
      path.push(rangeHash(log, middle, end, hash))
      end = middle
    } else {
      path.push(rangeHash(log, start, middle, hash))
      start = middle
    }
  }
  return path.reverse()
}

/** The leaf at `index`, a view of 32 bytes. */
export function leafAt(log: LogRows, index: number): Uint8Array {
  return nodeAt(log, 0, index)
}

function rangeHash(log: LogRows, start: number, end: number, hash: Keccak256): Uint8Array {
  const width = end - start
  const level = Math.log2(width)
  if (Number.isInteger(level)) return nodeAt(log, level, start / width).slice()
  const middle = start + splitPoint(width)
  return hashNode(log.tag, rangeHash(log, start, middle, hash), rangeHash(log, middle, end, hash), hash)
}

function nodeAt(log: LogRows, level: number, index: number): Uint8Array {
  const row = log.rows[level]
  if (row === undefined || index >= row.count)
    throw new LogRowsError('INDEX_OUT_OF_RANGE', 'expected a node that is complete')
  return row.bytes.subarray(index * NODE_BYTES, (index + 1) * NODE_BYTES)
}

function rowAt(log: LogRows, level: number): NodeRow {
  const known = log.rows[level]
  if (known !== undefined) return known
  const row = { bytes: new Uint8Array(NODE_BYTES), count: 0 }
  log.rows[level] = row
  return row
}

function appendNodes(row: NodeRow, nodes: Uint8Array): void {
  const count = row.count + nodes.length / NODE_BYTES
  reserve(row, count)
  row.bytes.set(nodes, row.count * NODE_BYTES)
  row.count = count
}

/** Grows by doubling, so that appending one by one stays linear. */
function reserve(row: NodeRow, count: number): void {
  if (count * NODE_BYTES <= row.bytes.length) return
  const grown = new Uint8Array(Math.max(count * NODE_BYTES, 2 * row.bytes.length))
  grown.set(row.bytes.subarray(0, row.count * NODE_BYTES))
  row.bytes = grown
}

function requireSize(log: LogRows, size: number): void {
  if (!Number.isSafeInteger(size) || size < 1 || size > sizeOfRows(log)) {
    throw new LogRowsError('SIZE_OUT_OF_RANGE', `expected a size from 1 to ${sizeOfRows(log)}, got ${size}`)
  }
}

export type LogRowsErrorCode = 'LEAVES_MALFORMED' | 'INDEX_OUT_OF_RANGE' | 'SIZE_OUT_OF_RANGE'

export class LogRowsError extends Error {
  override readonly name = 'LogRowsError'
  readonly code: LogRowsErrorCode
  constructor(code: LogRowsErrorCode, message: string) {
    super(message)
    this.code = code
  }
}
