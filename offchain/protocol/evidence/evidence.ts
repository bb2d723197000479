/** The words of appraisal: what a relying party demands of evidence and what an accepted document proves. @module */
import type { Hex } from '#protocol/bytes.ts'
import type { EvidenceCode } from './evidenceError.ts'
import type { EvidenceKind } from './measurement.ts'

/** What a relying party demands. Times in seconds. */
export type EvidencePolicy = {
  /** Trust anchors; a document's first CA certificate must be one of them, byte by byte. */
  readonly roots: readonly PinnedRoot[]
  /** Oldest document taken. */
  readonly ageSecondsMax: bigint
  /** How far the document's clock may be ahead; 300 unless told. */
  readonly futureSkewSecondsMax?: bigint | undefined
  /** Takes enclaves whose host can read their memory. Only for tests of the cryptography. */
  readonly allowDebug?: boolean | undefined
  /** What `user_data` and `nonce` must be, byte by byte. Not asked when undefined. */
  readonly expectedUserData?: Uint8Array | undefined
  readonly expectedNonce?: Uint8Array | undefined
  /** Reference values: accepted results of `measurementOf`, lower-case. Not asked when undefined; an empty set accepts none. */
  readonly measurements?: ReadonlySet<Hex> | undefined
}

/** A root certificate in DER, and what documents under it count as. */
export type PinnedRoot = { readonly kind: EvidenceKind; readonly certificate: Uint8Array }

/** What an accepted document proves. Byte fields are views of a private copy of the document. */
export type Evidence = {
  readonly kind: EvidenceKind
  readonly moduleId: string
  /** When the module made the document, rounded down to seconds since the epoch. */
  readonly issuedAt: bigint
  /** The last second in which its whole chain is valid, since the epoch. */
  readonly validUntil: bigint
  /** By index; 48 bytes each. */
  readonly pcrs: ReadonlyMap<number, Uint8Array>
  readonly measurement: Hex
  /** True only where the policy allows debug mode. */
  readonly isDebug: boolean
  /** What the enclave put in; undefined when absent or null. */
  readonly userData: Uint8Array | undefined
  readonly nonce: Uint8Array | undefined
  readonly publicKey: Uint8Array | undefined
  /** keccak-256 of all bytes. No identifier: a twin signature or another unsigned header changes it. */
  readonly documentHash: Hex
  /** keccak-256 of the signed payload: the same whatever stands in the unsigned parts. */
  readonly payloadHash: Hex
}

/** The answer, with every check made. `code` and `message` are those of the first check that failed. */
export type EvidenceVerdict =
  | { readonly ok: true; readonly evidence: Evidence; readonly checks: readonly EvidenceCheck[] }
  | {
      readonly ok: false
      readonly code: EvidenceCode
      readonly message: string
      readonly checks: readonly EvidenceCheck[]
    }

/** One line of the explanation for people, in the order made. */
export type EvidenceCheck = { readonly name: EvidenceCheckName; readonly passed: boolean; readonly detail: string }

export type EvidenceCheckName =
  | 'format'
  | 'root'
  | 'chain'
  | 'chain-signatures'
  | 'document-signature'
  | 'validity'
  | 'freshness'
  | 'debug-mode'
  | 'user-data'
  | 'nonce'
  | 'measurement'
