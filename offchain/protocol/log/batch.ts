/** Batches: the tree over the heads that one settlement accepted. Twin of `ReceiptHash.batchLeaf` in contracts/libraries. @module */
import { concatBytes, encodeUint, fromHex, type Hex } from '../bytes.ts'
import { keccak256 } from '../hash.ts'
import { BATCH_LEAF_TAG } from './tree.ts'

/** keccak256(0x02 || enclave (20) || size (8, big-endian) || root (32)), 32 bytes. */
export function batchLeaf(enclave: Hex, size: bigint, root: Uint8Array): Uint8Array {
  return keccak256(concatBytes(Uint8Array.of(BATCH_LEAF_TAG), fromHex(enclave, 20), encodeUint(size, 8), root))
}
