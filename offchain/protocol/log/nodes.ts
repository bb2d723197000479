/**
 * Which complete nodes of a log's tree a proof is made of, wherever they are kept: in rows (rows.ts) or in tiles (tiles.ts).
 *
 * A node is named by its level (0 for leaves) and its index in that level's row; it is complete in a log of `size` leaves when all the
 * 2^level leaves below it are there, and never changes from then on. The tree is the one of RFC 9162 section 2.1.
 * @module
 */
import { type Keccak256, keccak256 } from '../hash.ts'
import { hashNode, LOG_NODE_TAG } from './tree.ts'

/** `level` 0 is the row of leaves; the node at `index` covers leaves from `index * 2^level` on. */
export type NodePlace = { readonly level: number; readonly index: number }

/** Reads a complete node, 32 bytes. Throws when it does not have it. */
export type NodeReader = (level: number, index: number) => Uint8Array

/**
 * Inclusion path (lowest sibling first) of the leaf at `index` in the log's first `size` leaves, as RFC 9162 section 2.1.3.1. Asks `read`
 * for the nodes that `placesOfPath` lists. `edges` keeps, for more paths of the same log at the same size, what stands to the right of a
 * leaf. Throws `LogNodesError` (`INDEX_OUT_OF_RANGE`) for an index that is not below the size.
 */
export function pathFromNodes(
  index: number,
  size: number,
  read: NodeReader,
  hash: Keccak256 = keccak256,
  edges: Map<number, Uint8Array> = new Map(),
): Uint8Array[] {
  return stepsOfPath(index, size).map((step) => {
    if (!('start' in step)) return read(step.level, step.index)
    const known = edges.get(step.start)
    if (known !== undefined) return known
    const edge = foldNodes(edgeFrom(size, step.start), read, hash)
    edges.set(step.start, edge)
    return edge
  })
}

/** Root of the log's first `size` leaves, 32 bytes. Throws `LogNodesError` (`INDEX_OUT_OF_RANGE`) for a size of 0: an empty log has no head. */
export function rootFromNodes(size: number, read: NodeReader, hash: Keccak256 = keccak256): Uint8Array {
  return foldNodes(placesOfRoot(size), read, hash)
}

/** The nodes that `pathFromNodes` reads. */
export function placesOfPath(index: number, size: number): NodePlace[] {
  return stepsOfPath(index, size).flatMap((step) => ('start' in step ? edgeFrom(size, step.start) : [step]))
}

/** The nodes that `rootFromNodes` reads: the right edge, one node for each set bit of `size`, largest first. */
export function placesOfRoot(size: number): NodePlace[] {
  if (!Number.isSafeInteger(size) || size < 1) {
    throw new LogNodesError('INDEX_OUT_OF_RANGE', `expected a size of at least 1, got ${size}`)
  }
  return edgeFrom(size, 0)
}

/** One sibling: a complete node, or whatever there is from the leaf `start` to the end of the log. */
type PathStep = NodePlace | { readonly start: number }

function stepsOfPath(index: number, size: number): PathStep[] {
  if (!Number.isSafeInteger(index) || !Number.isSafeInteger(size) || index < 0 || index >= size) {
    throw new LogNodesError('INDEX_OUT_OF_RANGE', `expected an index below ${size}, got ${index}`)
  }
  const steps: PathStep[] = []
  // Sizes go up to 2^53, so they are halved by arithmetic, never by 32-bit shifts.
  for (let level = 0, width = 1, own = index; width < size; level++, width *= 2, own = Math.floor(own / 2)) {
    const sibling = own % 2 === 0 ? own + 1 : own - 1
    if ((sibling + 1) * width <= size) steps.push({ level, index: sibling })
    else if (sibling * width < size) steps.push({ start: sibling * width })
    // Else nothing stands to the right: the node is carried up as it is.
  }
  return steps
}

/** The complete subtrees that the leaves from `start` to `size` consist of, largest first. `start` begins one of them. */
function edgeFrom(size: number, start: number): NodePlace[] {
  const places: NodePlace[] = []
  for (let level = 0, width = 1; width <= size; level++, width *= 2) {
    const end = Math.floor(size / width)
    if (end % 2 === 1 && (end - 1) * width >= start) places.push({ level, index: end - 1 })
  }
  return places.reverse()
}

function foldNodes(places: readonly NodePlace[], read: NodeReader, hash: Keccak256): Uint8Array {
  const nodes = places.map(({ level, index }) => read(level, index))
  return nodes.reduceRight((right, left) => hashNode(LOG_NODE_TAG, left, right, hash))
}

export type LogNodesErrorCode = 'INDEX_OUT_OF_RANGE'

export class LogNodesError extends Error {
  override readonly name = 'LogNodesError'
  readonly code: LogNodesErrorCode
  constructor(code: LogNodesErrorCode, message: string) {
    super(message)
    this.code = code
  }
}
