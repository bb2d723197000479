/**
 * Receipts: what the enclave states about delivered work. Spec: docs/spec.md section 3.
 *
 *   leaf        = keccak256(0x00 || publicHash || privateHash)
 *   publicHash  = EIP-712 struct hash of PublicReceipt    (what a dApp proof reveals)
 *   privateHash = EIP-712 struct hash of PrivateReceipt   (stays with the client)
 *
 * Twin of contracts/libraries/ReceiptHash.sol; both read test/vectors/receipt.json.
 * @module
 */
import { concatBytes, encodeUtf8, fromHex, type Hex, toHex } from '../bytes.ts'
import { keccak256 } from '../hash.ts'
import { LOG_LEAF_TAG } from '../log/tree.ts'
import { hashStruct } from '../typedData.ts'

export const RECEIPT_VERSION = 1

/** Who vouches for the model: numbers of `ClaimSource` in contracts/types/Types.sol. */
export const CLAIM_SOURCES = { measured: 1, proxied: 2, operator: 3 } as const
export type ClaimSource = keyof typeof CLAIM_SOURCES

/** How the answer ended: numbers of `Outcome` in contracts/types/Types.sol. */
export const OUTCOMES = { complete: 1, length: 2, toolCalls: 3, cut: 4, filtered: 5 } as const
export type Outcome = keyof typeof OUTCOMES

/** The half that a proof reveals. Hashes and commitments are 32 bytes of hex, `enclave` is an address. */
export type PublicReceipt = {
  readonly version: typeof RECEIPT_VERSION
  readonly enclave: Hex
  /** keccak256 of the model's public name. */
  readonly model: Hex
  readonly source: ClaimSource
  /** keccak256 of the TLS origin's host name when `proxied`, zero otherwise. */
  readonly origin: Hex
  readonly request: Hex
  readonly output: Hex
  readonly nonce: Hex
  readonly outcome: Outcome
}

/** The half that stays with the client. Counts are tokens; `fee` is in units of 10^12 base units; `hour` counts hours since the epoch. */
export type PrivateReceipt = {
  readonly promptTokens: bigint
  readonly completionTokens: bigint
  /** keccak256 of the price list's exact bytes. */
  readonly prices: Hex
  readonly fee: bigint
  readonly hour: bigint
  /** keccak256 of the encapsulated request. */
  readonly encapsulated: Hex
  readonly toolCalls: Hex
  readonly response: Hex
}

/** EIP-712 types of both halves. */
export const RECEIPT_TYPES = {
  PublicReceipt: [
    { name: 'version', type: 'uint16' },
    { name: 'enclave', type: 'address' },
    { name: 'model', type: 'bytes32' },
    { name: 'source', type: 'uint8' },
    { name: 'origin', type: 'bytes32' },
    { name: 'request', type: 'bytes32' },
    { name: 'output', type: 'bytes32' },
    { name: 'nonce', type: 'bytes32' },
    { name: 'outcome', type: 'uint8' },
  ],
  PrivateReceipt: [
    { name: 'promptTokens', type: 'uint64' },
    { name: 'completionTokens', type: 'uint64' },
    { name: 'prices', type: 'bytes32' },
    { name: 'fee', type: 'uint64' },
    { name: 'hour', type: 'uint64' },
    { name: 'encapsulated', type: 'bytes32' },
    { name: 'toolCalls', type: 'bytes32' },
    { name: 'response', type: 'bytes32' },
  ],
} as const

/** `receipt` with the enumerations as numbers: what contracts and typed data take. */
export function encodePublicReceipt(receipt: PublicReceipt): EncodedPublicReceipt {
  return { ...receipt, source: CLAIM_SOURCES[receipt.source], outcome: OUTCOMES[receipt.outcome] }
}

export type EncodedPublicReceipt = Omit<PublicReceipt, 'source' | 'outcome'> & {
  readonly source: number
  readonly outcome: number
}

/** EIP-712 struct hash of the public half. */
export function hashPublicReceipt(receipt: PublicReceipt): Hex {
  return hashStruct({ types: RECEIPT_TYPES, primaryType: 'PublicReceipt', data: encodePublicReceipt(receipt) })
}

/** EIP-712 struct hash of the private half. */
export function hashPrivateReceipt(receipt: PrivateReceipt): Hex {
  return hashStruct({ types: RECEIPT_TYPES, primaryType: 'PrivateReceipt', data: receipt })
}

/** The receipt's leaf in its enclave's log, 32 bytes. */
export function receiptLeaf(publicHash: Hex, privateHash: Hex): Uint8Array {
  return keccak256(concatBytes(Uint8Array.of(LOG_LEAF_TAG), fromHex(publicHash, 32), fromHex(privateHash, 32)))
}

/** keccak256 of a name in UTF-8: how models and origins appear in a receipt. */
export function hashName(name: string): Hex {
  return toHex(keccak256(encodeUtf8(name)))
}

export const ZERO_HASH: Hex = `0x${'00'.repeat(32)}`
