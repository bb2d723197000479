/**
 * Successions: a keyset's writer names the enclave that may take its place. EIP-712 with the domain of CreditVault, which takes it in
 * `takeOver`. It counts only once it is submitted, and only while its signer is the writer, so that it is signed in advance: a writer that
 * crashed signs nothing. Spec: docs/spec.md section 9.
 * @module
 */
import { hashTypedData } from '#protocol/typedData.ts'
import type { Hex } from '../bytes.ts'
import { type CompactSignature, recoverSigner, signDigest } from '../receipt/head.ts'

/** `keyset` is a keyset's id, `successor` an enclave. */
export type Succession = { readonly keyset: Hex; readonly successor: Hex }

/** Which vault it is for. */
export type VaultDomain = { readonly chainId: number; readonly vault: Hex }

export const SUCCESSION_TYPES = {
  Succession: [
    { name: 'keyset', type: 'bytes32' },
    { name: 'successor', type: 'address' },
  ],
} as const

/** EIP-712 digest of the succession, 32 bytes. Twin of CreditKeysets.takeOver. */
export function hashSuccession({ keyset, successor }: Succession, { chainId, vault }: VaultDomain): Hex {
  const domain = { name: 'Sealpath CreditVault', version: '1', chainId, verifyingContract: vault }
  return hashTypedData({
    domain,
    types: SUCCESSION_TYPES,
    primaryType: 'Succession',
    message: { keyset, successor },
  })
}

/** Signs the succession with the key (32 bytes) of the enclave that is, or may become, the writer. */
export function signSuccession(succession: Succession, domain: VaultDomain, privateKey: Uint8Array): CompactSignature {
  return signDigest(hashSuccession(succession, domain), privateKey)
}

/** Whether `writer` signed it. */
export function isSuccessionBy(
  writer: Hex,
  succession: Succession,
  domain: VaultDomain,
  signature: CompactSignature,
): boolean {
  return recoverSigner(hashSuccession(succession, domain), signature)?.toLowerCase() === writer.toLowerCase()
}
