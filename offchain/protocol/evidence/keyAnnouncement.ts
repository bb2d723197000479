/**
 * Key configurations after the first: the evidence binds the document that an enclave was born with; every later one is announced under the
 * enclave's own key, in the registry and beside the evidence. Twin of `EnclaveRegistry.announceKeyConfigs`. Spec: docs/spec.md section 7.
 * @module
 */
import { hashTypedData } from '#protocol/typedData.ts'
import { type Hex, toHex } from '../bytes.ts'
import { keccak256 } from '../hash.ts'
import { collapseSignature, recoverSigner } from '../receipt/head.ts'
import { type EnclaveStatement, type StatementDomain, statementDomain } from './statement.ts'

/** `hash` is the keccak-256 of an `application/ohttp-keys` document, `signature` (65 bytes) the enclave key's. */
export type KeyAnnouncement = { readonly hash: Hex; readonly signature: Hex }

export const KEY_CONFIGS_TYPES = {
  KeyConfigs: [
    { name: 'enclave', type: 'address' },
    { name: 'hash', type: 'bytes32' },
  ],
} as const

/** EIP-712 digest that the enclave's key signs, in the registry's domain. */
export function hashKeyAnnouncement(message: { enclave: Hex; hash: Hex }, domain: StatementDomain): Hex {
  return hashTypedData({
    domain: statementDomain(domain),
    types: KEY_CONFIGS_TYPES,
    primaryType: 'KeyConfigs',
    message,
  })
}

/**
 * Whether the document `keyConfigs` is the enclave's: the one that its statement names, or one that its key announced. The statement itself must
 * have been verified.
 */
export function bindsKeyConfigs(
  statement: Pick<EnclaveStatement, 'enclave' | 'keyConfigs'>,
  announcement: KeyAnnouncement | undefined,
  keyConfigs: Uint8Array,
  domain: StatementDomain,
): boolean {
  const hash = toHex(keccak256(keyConfigs))
  if (hash === statement.keyConfigs) return true
  if (announcement === undefined || announcement.hash !== hash) return false
  const digest = hashKeyAnnouncement({ enclave: statement.enclave, hash }, domain)
  const signature = collapseSignature(announcement.signature)
  return signature !== undefined && recoverSigner(digest, signature)?.toLowerCase() === statement.enclave.toLowerCase()
}
