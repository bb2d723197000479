/**
 * The receipt log's tree: RFC 9162 section 2.1 with keccak-256 and one-byte leaf and node tags.
 * Twin of contracts/libraries/MerkleLog.sol; both read test/vectors/log.json.
 *
 *   leaf = keccak256(0x00 || publicHash || privateHash)            (made in receipt/receipt.ts)
 *   node = keccak256(0x01 || left || right)
 *
 * A tree of n > 1 leaves splits at the largest power of two below n. Batches of heads use the same shape with tags 0x02 and 0x03.
 * @module
 */
import { type Keccak256, keccak256 } from '../hash.ts'

export const LOG_LEAF_TAG = 0x00
export const LOG_NODE_TAG = 0x01
export const BATCH_LEAF_TAG = 0x02
export const BATCH_NODE_TAG = 0x03

export type NodeTag = typeof LOG_NODE_TAG | typeof BATCH_NODE_TAG

/** keccak256(tag || left || right); `left` and `right` are 32 bytes. */
export function hashNode(tag: NodeTag, left: Uint8Array, right: Uint8Array, hash: Keccak256 = keccak256): Uint8Array {
  const preimage = new Uint8Array(65)
  preimage[0] = tag
  preimage.set(left, 1)
  preimage.set(right, 33)
  return hash(preimage)
}

/**
 * The root that `path` (lowest sibling first) leads to from the node at `index` of a row whose last index is `lastIndex`
 * (RFC 9162 section 2.1.3.2). On the row of leaves `lastIndex` is size - 1; on the row `level` above, floor((size - 1) / 2^level),
 * and the node must be complete. Answers `undefined` when the path has the wrong length or the index is out of range.
 */
export function rootFromPath(
  tag: NodeTag,
  node: Uint8Array,
  index: number,
  lastIndex: number,
  path: readonly Uint8Array[],
): Uint8Array | undefined {
  if (!Number.isSafeInteger(index) || !Number.isSafeInteger(lastIndex) || index < 0 || index > lastIndex)
    return undefined
  // Indices go up to 2^53, so they are halved by arithmetic, never by 32-bit shifts.
  let fn = index
  let sn = lastIndex
  let root = node
  for (const sibling of path) {
    if (sn === 0) return undefined
    if (fn % 2 === 1 || fn === sn) {
      root = hashNode(tag, sibling, root)
      while (fn % 2 === 0 && fn !== 0) {
        fn = Math.floor(fn / 2)
        sn = Math.floor(sn / 2)
      }
    } else {
      root = hashNode(tag, root, sibling)
    }
    fn = Math.floor(fn / 2)
    sn = Math.floor(sn / 2)
  }
  return sn === 0 ? root : undefined
}

/** The largest power of two below `count`, which is at least 2: where a tree of `count` leaves splits. */
export function splitPoint(count: number): number {
  let power = 1
  while (power * 2 < count) power *= 2
  return power
}
