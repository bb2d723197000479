/**
 * How a keyset passes from one issuer's enclave to another.
 *
 * Between issuers, inside the giver's seal (an RFC 9458 gateway resource like all of an issuer's interface):
 *
 *   POST /v1/handover       HandoverRequest -> HandoverAnswer
 *
 * Errors: { error: { code, message } } with a HandoverErrorCode and the status in HANDOVER_STATUS. From an issuer's enclave to the operator
 * agent on its host, beside #protocol/wire/agentApi.ts:
 *
 *   GET  /agent/keysets      AgentKeysets: public keys and times, with which the vault's owner opens a keyset
 *   GET  /agent/successions  AgentSuccessions: what the vault has to be told so that this enclave becomes the writer; empty while it need not be
 *
 * Spec: docs/spec.md section 9.
 * @module
 */
import * as v from 'valibot'
import { hashTypedData } from '#protocol/typedData.ts'
import type { Hex } from '../bytes.ts'
import { DENOMINATION_COUNT } from '../credits/amounts.ts'
import { HANDOVER_KEYSETS_MAX } from '../credits/sealedHandover.ts'
import type { Succession, VaultDomain } from '../credits/succession.ts'
import type { CompactSignature } from '../receipt/head.ts'
import { type PublicEvidence, PublicEvidenceSchema } from './agentApi.ts'
import { address, base64Of, hash, type Schema } from './json.ts'

const KEY_CONFIGS_BYTES_MAX = 16_384
const EIP2537_G2_BYTES = 256
/** 64 keysets of 881 bytes, and what sealing adds. */
const SEALED_BYTES_MAX = 65_536

/**
 * The taker's public evidence, and the `application/ohttp-keys` document whose hash it binds. `signature` is the taker's enclave key's of
 * `Handover(address giver,bytes32 keyConfigs)`: evidence is public, and checking it is work that not everybody may ask for.
 */
export type HandoverRequest = {
  readonly evidence: PublicEvidence
  readonly keyConfigs: Uint8Array
  readonly signature: CompactSignature
}

/** `sealed` opens with the taker's attested key alone: #protocol/credits/sealedHandover.ts. */
export type HandoverAnswer = { readonly sealed: Uint8Array }

export type HandoverErrorCode =
  | 'BAD_REQUEST'
  /** The taker is no issuer. */
  | 'WRONG_ROLE'
  /** The taker is bound to another chain or other contracts. */
  | 'OTHER_NETWORK'
  | 'OTHER_OPERATOR'
  /** The request was not signed by the taker, for this giver. */
  | 'BAD_SIGNATURE'
  /** The key configurations are not those that the evidence binds, or none that can be sealed to. */
  | 'WRONG_KEYS'
  /** The document does not verify, is stale, or was measured as what is not accepted. The message names the verifier's code. */
  | 'EVIDENCE_REFUSED'
  /** The document was not made for this statement. */
  | 'STATEMENT_MISMATCH'
  /** The registry does not call the taker an active issuer of this operator with this measurement, at finality. */
  | 'NOT_REGISTERED'
  /** This issuer is not ready to give, or too many ask at once. */
  | 'UNAVAILABLE'

/** HTTP status of each code, inside the seal. */
export const HANDOVER_STATUS: Readonly<Record<HandoverErrorCode, number>> = {
  BAD_REQUEST: 400,
  WRONG_ROLE: 403,
  OTHER_NETWORK: 403,
  OTHER_OPERATOR: 403,
  BAD_SIGNATURE: 403,
  WRONG_KEYS: 403,
  EVIDENCE_REFUSED: 403,
  STATEMENT_MISMATCH: 403,
  NOT_REGISTERED: 403,
  UNAVAILABLE: 503,
}

/**
 * `keys` are 24 points of 256 bytes, as `openKeyset` takes them. Times in seconds since the epoch. `signature` is the enclave's of its KeysetOffer
 * (#protocol/credits/keysetOffer.ts): by it the keys are known to be the enclave's own, whoever carried them.
 */
export type AgentKeyset = {
  readonly keyset: Hex
  readonly keys: Uint8Array
  readonly signUntil: number
  readonly spendUntil: number
  readonly exitUntil: number
  readonly signature: CompactSignature
}
export type AgentKeysets = { readonly vault: Hex; readonly keysets: readonly AgentKeyset[] }

/** As `takeOver` of the vault takes it; `r` and `vs` are the present writer's. */
export type SignedSuccession = Succession & CompactSignature
export type AgentSuccessions = { readonly vault: Hex; readonly successions: readonly SignedSuccession[] }

const time = v.pipe(v.number(), v.integer(), v.minValue(0))

export const HandoverRequestSchema: Schema<HandoverRequest> = v.object({
  evidence: PublicEvidenceSchema,
  keyConfigs: base64Of(KEY_CONFIGS_BYTES_MAX),
  signature: v.object({ r: hash, vs: hash }),
})

export const HandoverAnswerSchema: Schema<HandoverAnswer> = v.object({ sealed: base64Of(SEALED_BYTES_MAX) })

export const AgentKeysetsSchema: Schema<AgentKeysets> = v.object({
  vault: address,
  keysets: v.pipe(
    v.array(
      v.object({
        keyset: hash,
        keys: base64Of(DENOMINATION_COUNT * EIP2537_G2_BYTES),
        signUntil: time,
        spendUntil: time,
        exitUntil: time,
        signature: v.object({ r: hash, vs: hash }),
      }),
    ),
    v.maxLength(HANDOVER_KEYSETS_MAX),
  ),
})

export const AgentSuccessionsSchema: Schema<AgentSuccessions> = v.object({
  vault: address,
  successions: v.pipe(
    v.array(v.object({ keyset: hash, successor: address, r: hash, vs: hash })),
    v.maxLength(HANDOVER_KEYSETS_MAX),
  ),
})

const HANDOVER_TYPES = {
  Handover: [
    { name: 'giver', type: 'address' },
    { name: 'keyConfigs', type: 'bytes32' },
  ],
} as const

/** Digest that the taker's enclave signs: EIP-712 of the domain { name: "Sealpath Issuer", version: "1", chainId, verifyingContract: vault }. */
export function hashHandover(message: { giver: Hex; keyConfigs: Hex }, { chainId, vault }: VaultDomain): Hex {
  const domain = { name: 'Sealpath Issuer', version: '1', chainId, verifyingContract: vault }
  return hashTypedData({ domain, types: HANDOVER_TYPES, primaryType: 'Handover', message })
}
