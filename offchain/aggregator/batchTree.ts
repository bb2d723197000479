/**
 * The tree under one batch root: over the heads that one `settle` call accepted, in their order.
 *
 *   leaf = keccak256(0x02 || enclave (20) || size (8, big-endian) || root (32))
 *
 * Same shape as a log, with the batch's tags. Twin of ReceiptHash.batchLeaf and MerkleLog.rootOf.
 * @module
 */
import { concatBytes, encodeUint, fromHex, type Hex, toHex } from '#protocol/bytes.ts'
import { keccak256 } from '#protocol/hash.ts'
import { appendLeaves, createRows, type LogRows, rootAt } from '#protocol/log/rows.ts'
import { BATCH_LEAF_TAG, BATCH_NODE_TAG } from '#protocol/log/tree.ts'

export type BatchedHead = { readonly enclave: Hex; readonly size: bigint; readonly root: Hex }

/** Root over `heads`, at least one. */
export function batchRootOf(heads: readonly BatchedHead[]): Hex {
  return toHex(rootAt(batchRows(heads), heads.length))
}

export function batchLeaf({ enclave, size, root }: BatchedHead): Uint8Array {
  return keccak256(
    concatBytes(Uint8Array.of(BATCH_LEAF_TAG), fromHex(enclave, 20), encodeUint(size, 8), fromHex(root, 32)),
  )
}

function batchRows(heads: readonly BatchedHead[]): LogRows {
  const rows = createRows(BATCH_NODE_TAG)
  appendLeaves(rows, concatBytes(...heads.map(batchLeaf)))
  return rows
}
