/**
 * Between the gateway's enclave and the operator agent on its host. The host is untrusted: what crosses here is public or padded.
 *
 *   GET  /agent/status             AgentStatus
 *   POST /agent/evidence           { nonce } -> { document }: makes the one fresh document that everybody gets
 *   POST /agent/keys/next          {} -> KeysOffer: the keys that come next, the same until they are used
 *   POST /agent/keys/use           { hash }: they are live in the registry; everybody gets them from now on
 *   GET  /agent/log?from=N         AgentLog: the leaves from N up to the newest earnings head, and that head
 *   POST /agent/acknowledged       { size }: the leaves below `size` are durable outside; the enclave may forget them
 *   GET  /agent/prices             PriceList: what a gateway charges
 *   POST /agent/drain              {} -> 202: a gateway finishes what it has begun, and ends
 *   GET  /agent/clearings          AgentClearings: an issuer's newest clearing of each keyset that has something new
 *   POST /agent/clearings/acknowledged   ClearingAcknowledged: so much is on chain for good; the enclave need not state it again
 *
 * An issuer's agent asks for more: keysets and successions (handoverApi.ts), answers to deposits and spent credits (vaultDutyApi.ts).
 * Spec: docs/spec.md section 7.
 * @module
 */
import * as v from 'valibot'
import type { Hex } from '../bytes.ts'
import type { KeyAnnouncement } from '../evidence/keyAnnouncement.ts'
import type { Clearing } from '../receipt/clearing.ts'
import type { CompactSignature } from '../receipt/head.ts'
import { address, base64Of, hash, hexOf, type Schema, uintOf } from './json.ts'

/** Leaves in one answer: 2 MiB of them. */
export const LOG_LEAVES_MAX = 65_536
/** Lines of one clearing that the contract takes. */
export const CLEARING_LINES_MAX = 256
/** Keysets of one issuer. */
export const AGENT_CLEARINGS_MAX = 128
const KEY_CONFIGS_BYTES_MAX = 16_384
const DOCUMENT_BYTES_MAX = 16_384

/** What the enclave's evidence binds, with the settlement contract its heads are for. */
export type Statement = {
  readonly chainId: number
  readonly registry: Hex
  readonly settlement: Hex
  readonly role: 'gateway' | 'issuer'
  readonly enclave: Hex
  /** keccak256 of the `application/ohttp-keys` document. */
  readonly keyConfigs: Hex
  readonly operator: Hex
}

/**
 * `possession` is the enclave key's signature (65 bytes) of the statement's digest. `keyConfigs` is the document of now; `announcement` binds it
 * when it is not the statement's.
 */
export type AgentStatus = {
  readonly statement: Statement
  readonly keyConfigs: Uint8Array
  readonly possession: Hex
  readonly announcement?: KeyAnnouncement
}

/** What the registry's `announceKeyConfigs` takes. */
export type KeysOffer = KeyAnnouncement
export type KeysUse = { readonly hash: Hex }

/** `nonce` is the hash of a recent block: it shows that the document is not older than the block. */
export type EvidenceRequest = { readonly nonce: Hex }
export type EvidenceAnswer = { readonly document: Uint8Array }

/** What a gateway serves to everybody at `/evidence`. */
export type PublicEvidence = {
  readonly format: 'sealpath-evidence/1'
  readonly statement: Statement
  readonly document: Uint8Array
  /** Binds the `/ohttp-keys` document of now when it is not the statement's. */
  readonly announcement?: KeyAnnouncement
}

export type EarningsHeadMessage = {
  readonly enclave: Hex
  readonly size: bigint
  readonly root: Hex
  readonly fees: bigint
  readonly signature: CompactSignature
}

/** `head` is absent while nothing was earned. `leaves` are 32 bytes each, from `from` up to the head's size or LOG_LEAVES_MAX of them. */
export type AgentLog = { readonly from: bigint; readonly leaves: Uint8Array; readonly head?: EarningsHeadMessage }

export type Acknowledged = { readonly size: bigint }

/** As ReceiptSettlement takes it, signed by the issuer that writes the keyset. */
export type SignedClearing = Clearing & CompactSignature

/**
 * Served again until a newer one of the keyset replaces it, and an agent may miss any but the newest: a line must be repeated in newer ones
 * until it is settled, or be listed with a larger total.
 */
export type AgentClearings = { readonly clearings: readonly SignedClearing[] }

/** Cumulative amounts. */
export type ClearingAcknowledged = Pick<Clearing, 'keyset' | 'enclaves'>

export const StatementSchema: Schema<Statement> = v.object({
  chainId: v.pipe(v.number(), v.integer(), v.minValue(1)),
  registry: address,
  settlement: address,
  role: v.picklist(['gateway', 'issuer']),
  enclave: address,
  keyConfigs: hash,
  operator: address,
})

const keyAnnouncement: Schema<KeyAnnouncement> = v.object({ hash, signature: hexOf(65) })

export const AgentStatusSchema: Schema<AgentStatus> = v.object({
  statement: StatementSchema,
  keyConfigs: base64Of(KEY_CONFIGS_BYTES_MAX),
  possession: hexOf(65),
  announcement: v.exactOptional(keyAnnouncement),
})

export const KeysOfferSchema: Schema<KeysOffer> = keyAnnouncement
export const KeysUseSchema: Schema<KeysUse> = v.object({ hash })

export const EvidenceRequestSchema: Schema<EvidenceRequest> = v.object({ nonce: hash })
export const EvidenceAnswerSchema: Schema<EvidenceAnswer> = v.object({ document: base64Of(DOCUMENT_BYTES_MAX) })

export const PublicEvidenceSchema: Schema<PublicEvidence> = v.object({
  format: v.literal('sealpath-evidence/1'),
  statement: StatementSchema,
  document: base64Of(DOCUMENT_BYTES_MAX),
  announcement: v.exactOptional(keyAnnouncement),
})

export const EarningsHeadSchema: Schema<EarningsHeadMessage> = v.object({
  enclave: address,
  size: uintOf(53),
  root: hash,
  fees: uintOf(64),
  signature: v.object({ r: hash, vs: hash }),
})

export const AgentLogSchema: Schema<AgentLog> = v.object({
  from: uintOf(53),
  leaves: base64Of(LOG_LEAVES_MAX * 32),
  head: v.exactOptional(EarningsHeadSchema),
})

export const AcknowledgedSchema: Schema<Acknowledged> = v.object({ size: uintOf(53) })

const clearingLines: Schema<Clearing['enclaves']> = v.pipe(
  v.array(v.object({ enclave: address, captured: uintOf(64) })),
  v.maxLength(CLEARING_LINES_MAX),
)

export const SignedClearingSchema: Schema<SignedClearing> = v.object({
  keyset: hash,
  issued: uintOf(64),
  captured: uintOf(64),
  enclaves: clearingLines,
  r: hash,
  vs: hash,
})

export const AgentClearingsSchema: Schema<AgentClearings> = v.object({
  clearings: v.pipe(v.array(SignedClearingSchema), v.maxLength(AGENT_CLEARINGS_MAX)),
})

export const ClearingAcknowledgedSchema: Schema<ClearingAcknowledged> = v.object({
  keyset: hash,
  enclaves: clearingLines,
})
