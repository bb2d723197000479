/**
 * Batches: the tree over the heads that one `settle` call accepted, in their order. Same shape as a log, with the batch's tags.
 * Twin of `ReceiptHash.batchLeaf` and `MerkleLog.rootOf` in contracts/libraries.
 * @module
 */
import { concatBytes, encodeUint, fromHex, type Hex, joinBytes, toHex } from '../bytes.ts'
import { keccak256 } from '../hash.ts'
import { appendLeaves, createRows, rootAt } from './rows.ts'
import { BATCH_LEAF_TAG, BATCH_NODE_TAG } from './tree.ts'

/** A head as its batch states it: `size` leaves, `root` of 32 bytes. */
export type BatchedHead = { readonly enclave: Hex; readonly size: bigint; readonly root: Hex }

/** keccak256(0x02 || enclave (20) || size (8, big-endian) || root (32)), 32 bytes. */
export function batchLeaf(enclave: Hex, size: bigint, root: Uint8Array): Uint8Array {
  return keccak256(concatBytes(Uint8Array.of(BATCH_LEAF_TAG), fromHex(enclave, 20), encodeUint(size, 8), root))
}

/** The leaves of `heads` in their order, 32 bytes each, one behind the other. */
export function batchLeaves(heads: readonly BatchedHead[]): Uint8Array {
  return joinBytes(heads.map(({ enclave, size, root }) => batchLeaf(enclave, size, fromHex(root, 32))))
}

/** Root over `heads`, at least one. Throws `LogRowsError` for none. */
export function batchRootOf(heads: readonly BatchedHead[]): Hex {
  const rows = createRows(BATCH_NODE_TAG)
  appendLeaves(rows, batchLeaves(heads))
  return toHex(rootAt(rows, heads.length))
}
