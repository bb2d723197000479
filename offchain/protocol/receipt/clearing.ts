/**
 * Clearings: an issuer's statement of what was spent under one keyset. EIP-712 with the domain of ReceiptSettlement. Twin of
 * `ReceiptHash.clearingHash`. Spec: docs/spec.md section 4.
 * @module
 */
import { hashTypedData } from 'viem/utils'
import type { Hex } from '../bytes.ts'
import { type CompactSignature, type SettlementDomain, settlementDomain, signDigest } from './head.ts'

/** All amounts are cumulative, in units of 10^12 base units. `enclaves` lists those whose total changed. */
export type Clearing = {
  readonly keyset: Hex
  readonly issued: bigint
  /** By all enclaves together: an upper bound of what is listed here and before. */
  readonly captured: bigint
  readonly enclaves: readonly { readonly enclave: Hex; readonly captured: bigint }[]
}

export const CLEARING_TYPES = {
  Clearing: [
    { name: 'keyset', type: 'bytes32' },
    { name: 'issued', type: 'uint64' },
    { name: 'captured', type: 'uint64' },
    { name: 'enclaves', type: 'Captured[]' },
  ],
  Captured: [
    { name: 'enclave', type: 'address' },
    { name: 'captured', type: 'uint64' },
  ],
} as const

/** EIP-712 digest of the clearing, 32 bytes. */
export function hashClearing(clearing: Clearing, domain: SettlementDomain): Hex {
  return hashTypedData({
    domain: settlementDomain(domain),
    types: CLEARING_TYPES,
    primaryType: 'Clearing',
    message: clearing,
  })
}

/** Signs the clearing with the issuer enclave's key (32 bytes), and answers it as the contract takes it. */
export function signClearing(
  clearing: Clearing,
  domain: SettlementDomain,
  privateKey: Uint8Array,
): Clearing & CompactSignature {
  return { ...clearing, ...signDigest(hashClearing(clearing, domain), privateKey) }
}
