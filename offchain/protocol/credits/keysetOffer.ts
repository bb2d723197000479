/**
 * Keyset offers: an issuer's enclave says that a keyset's keys are its own. The vault's owner opens a keyset only with this word: the keys reach it through
 * the enclave's host, who could show it others and sign credits with them. Spec: docs/spec.md section 9.
 * @module
 */
import { hashTypedData } from '#protocol/typedData.ts'
import type { Hex } from '../bytes.ts'
import { type CompactSignature, recoverSigner, signDigest } from '../receipt/head.ts'
import type { VaultDomain } from './succession.ts'

/** `keyset` is a keyset's id, the hash of its keys and times; `writer` the enclave that made it. */
export type KeysetOffer = { readonly keyset: Hex; readonly writer: Hex }

export const KEYSET_OFFER_TYPES = {
  KeysetOffer: [
    { name: 'keyset', type: 'bytes32' },
    { name: 'writer', type: 'address' },
  ],
} as const

/** EIP-712 digest of the offer, 32 bytes, in the domain of CreditVault, which never sees it. */
export function hashKeysetOffer({ keyset, writer }: KeysetOffer, { chainId, vault }: VaultDomain): Hex {
  return hashTypedData({
    domain: { name: 'Sealpath CreditVault', version: '1', chainId, verifyingContract: vault },
    types: KEYSET_OFFER_TYPES,
    primaryType: 'KeysetOffer',
    message: { keyset, writer },
  })
}

/** Signs the offer with the key (32 bytes) of the enclave that it names. */
export function signKeysetOffer(offer: KeysetOffer, domain: VaultDomain, privateKey: Uint8Array): CompactSignature {
  return signDigest(hashKeysetOffer(offer, domain), privateKey)
}

/** Whether the enclave that the offer names signed it. */
export function isKeysetOffered(offer: KeysetOffer, domain: VaultDomain, signature: CompactSignature): boolean {
  return recoverSigner(hashKeysetOffer(offer, domain), signature)?.toLowerCase() === offer.writer.toLowerCase()
}
