/**
 * The right edge of a log: all that an enclave keeps of the receipts it has issued.
 *
 * A log of n leaves is a row of complete subtrees, one per set bit of n, largest first. Their roots suffice to append, to state
 * the root, and to prove whatever is appended from here on.
 * @module
 */
import { type Keccak256, keccak256 } from '../hash.ts'
import { hashNode, LOG_NODE_TAG, splitPoint } from './tree.ts'

/** `size` leaves so far; `nodes` holds the roots of the complete subtrees (32 bytes each), largest first. */
export type LogEdge = { readonly size: number; readonly nodes: readonly Uint8Array[] }

export const EMPTY_EDGE: LogEdge = { size: 0, nodes: [] }

/** The edge after one more leaf (32 bytes). */
export function appendLeaf(edge: LogEdge, leaf: Uint8Array, hash: Keccak256 = keccak256): LogEdge {
  const nodes = [...edge.nodes]
  let node = leaf
  // Every trailing set bit of the size is a complete subtree of the new node's size: they merge, like a carry.
  for (let rest = edge.size; rest % 2 === 1; rest = Math.floor(rest / 2)) {
    const left = nodes.pop()
    if (left === undefined) throw new LogEdgeError('EDGE_MALFORMED', 'expected one node per set bit of the size')
    node = hashNode(LOG_NODE_TAG, left, node, hash)
  }
  nodes.push(node)
  return { size: edge.size + 1, nodes }
}

/** The log's root, 32 bytes. Throws `LogEdgeError` for an empty log: it has no head. */
export function rootOfEdge(edge: LogEdge, hash: Keccak256 = keccak256): Uint8Array {
  let root: Uint8Array | undefined
  for (let i = edge.nodes.length - 1; i >= 0; i--) {
    const node = edge.nodes[i]
    if (node === undefined) break
    root = root === undefined ? node : hashNode(LOG_NODE_TAG, node, root, hash)
  }
  if (root === undefined) throw new LogEdgeError('LOG_EMPTY', 'an empty log has no root')
  return root
}

/**
 * Inclusion path (lowest sibling first) of the leaf at `index` in the log that consists of what `edge` covers and then `leaves`.
 * The index must be at or after `edge.size`: of what came before, the edge knows only sums.
 */
export function pathFromEdge(edge: LogEdge, leaves: readonly Uint8Array[], index: number): Uint8Array[] {
  const size = edge.size + leaves.length
  if (!Number.isSafeInteger(index) || index < edge.size || index >= size) {
    throw new LogEdgeError('INDEX_OUT_OF_RANGE', `expected an index from ${edge.size} to ${size - 1}, got ${index}`)
  }
  const path: Uint8Array[] = []
  let start = 0
  let end = size
  while (end - start > 1) {
    const middle = start + splitPoint(end - start)
    if (index < middle) {
      path.push(rangeHash(edge, leaves, middle, end))
      end = middle
    } else {
      path.push(rangeHash(edge, leaves, start, middle))
      start = middle
    }
  }
  return path.reverse()
}

/** The paths of all `leaves` after `edge`, each as `pathFromEdge` gives it, at the cost of hashing the tree over them once. */
export function pathsFromEdge(edge: LogEdge, leaves: readonly Uint8Array[]): Uint8Array[][] {
  const paths: Uint8Array[][] = leaves.map(() => [])
  if (leaves.length > 0) collectPaths(edge, leaves, 0, edge.size + leaves.length, paths)
  return paths
}

/** `rangeHash` of the range; on the way every leaf of it gets its siblings, lowest first. */
function collectPaths(
  edge: LogEdge,
  leaves: readonly Uint8Array[],
  start: number,
  end: number,
  paths: readonly Uint8Array[][],
): Uint8Array {
  if (end <= edge.size || end - start === 1) return rangeHash(edge, leaves, start, end)
  const middle = start + splitPoint(end - start)
  const left = collectPaths(edge, leaves, start, middle, paths)
  const right = collectPaths(edge, leaves, middle, end, paths)
  for (let index = Math.max(start, edge.size); index < end; index++) {
    paths[index - edge.size]?.push(index < middle ? right : left)
  }
  return hashNode(LOG_NODE_TAG, left, right)
}

/** Root over the leaves from `start` to `end`, a range the tree splits into. */
function rangeHash(edge: LogEdge, leaves: readonly Uint8Array[], start: number, end: number): Uint8Array {
  // The widest range of the tree that the edge covers whole is one of its subtrees: ranges only get here from wider, uncovered ones.
  if (end <= edge.size) return edgeNode(edge, start)
  if (end - start === 1) {
    const leaf = leaves[start - edge.size]
    if (leaf === undefined)
      throw new LogEdgeError('EDGE_MALFORMED', 'expected a leaf for every position after the edge')
    return leaf
  }
  const middle = start + splitPoint(end - start)
  return hashNode(LOG_NODE_TAG, rangeHash(edge, leaves, start, middle), rangeHash(edge, leaves, middle, end))
}

/** The edge's subtree that begins at leaf `start`. */
function edgeNode(edge: LogEdge, start: number): Uint8Array {
  let begin = 0
  let rest = edge.size
  for (const node of edge.nodes) {
    if (begin === start) return node
    const width = rest === 1 ? 1 : splitPoint(rest + 1)
    begin += width
    rest -= width
  }
  throw new LogEdgeError('EDGE_MALFORMED', 'expected a subtree of the edge to begin here')
}

export type LogEdgeErrorCode = 'EDGE_MALFORMED' | 'LOG_EMPTY' | 'INDEX_OUT_OF_RANGE'

export class LogEdgeError extends Error {
  override readonly name = 'LogEdgeError'
  readonly code: LogEdgeErrorCode
  constructor(code: LogEdgeErrorCode, message: string) {
    super(message)
    this.code = code
  }
}
