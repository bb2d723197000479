/**
 * The aggregator's HTTP interface.
 *
 *   POST /v1/heads             HeadDelivery -> HeadReceived; a repeat answers the same. An issuer's heads are witnessed, never settled
 *   POST /v1/clearings         SignedClearing -> ClearingReceived; a repeat answers the same
 *   GET  /v1/proofs/{leaf}     200 SettledLeaf, 202 { state: "pending" }, 404; `size` asks for a settled head of exactly that size
 *   POST /v1/proofs            ProofsRequest -> LeafProofs, many at once
 *   GET  /v1/tiles/{enclave}/{level}/{index}   256 nodes of the tree, 32 bytes each; `width` asks for the first so many
 *   GET  /v1/settlements       server-sent events: `settled` SettlementEvent, `withdrawn` WithdrawnEvent; `from` a batch, or Last-Event-ID
 *   POST /v1/settle            202: settles what is due now
 *   GET  /v1/enclaves/{id}     EnclaveLog: with its newest head, so that an issuer that was rolled back notices
 *   GET  /v1/batches/{id}      Batch
 *   GET  /v1/status            Status
 *
 * Errors are { error: { code, message } }. Spec: docs/spec.md section 8.
 * @module
 */
import * as v from 'valibot'
import type { Hex } from '../bytes.ts'
import { type EarningsHeadMessage, EarningsHeadSchema } from './agentApi.ts'
import { address, base64Of, hash, type Schema, uintOf } from './json.ts'
import type { SettledLeaf } from './receiptFile.ts'

/** Leaves in one delivery: 32 MiB of them. Whoever has more to deliver delivers an older head first. */
export const DELIVERY_LEAVES_MAX = 1_048_576

/** The leaves from `from` up to the head's size, 32 bytes each; at most DELIVERY_LEAVES_MAX. */
export type HeadDelivery = { readonly head: EarningsHeadMessage; readonly from: bigint; readonly leaves: Uint8Array }

/** Leaves the aggregator now holds durably for this enclave. */
export type HeadReceived = { readonly size: bigint }

/** The clearing is held durably. `clearing` is its EIP-712 digest. */
export type ClearingReceived = { readonly clearing: Hex }

/** `head` is the largest held, signed over exactly `size` leaves. */
export type EnclaveLog = {
  readonly enclave: Hex
  readonly role: 'gateway' | 'issuer'
  readonly size: bigint
  readonly settledSize: bigint
  readonly fees: bigint
  readonly head: EarningsHeadMessage
}

export type Batch = {
  readonly batch: bigint
  readonly root: Hex
  readonly transaction: Hex
  readonly block: bigint
  readonly gasUsed: bigint
  readonly heads: readonly { readonly enclave: Hex; readonly size: bigint; readonly root: Hex }[]
}

/** A batch as the stream of settlements tells it. It makes void what was said of this number before. */
export type SettlementEvent = Batch & { readonly isFinal: boolean }

/** Batches from this number on were reorganised away. Those that came instead follow. */
export type WithdrawnEvent = { readonly from: bigint }

export type AggregatorStatus = {
  readonly state: 'ok' | 'degraded'
  readonly enclaves: number
  readonly leaves: bigint
  readonly unsettledHeads: number
  /** Clearings held here that are not on chain and may still come there. */
  readonly pendingClearings: number
  /** Clearings on chain, whoever sent them. */
  readonly settledClearings: number
  readonly batches: number
  readonly account: Hex
}

/** Leaves in one request for proofs. */
export const PROOF_LEAVES_MAX = 256
/** Longest answer with one settled proof that is read, and with one batch. */
export const PROOF_BYTES_MAX = 65_536
export const BATCH_BYTES_MAX = 262_144

/** 1 to PROOF_LEAVES_MAX leaves. With `size` each is proven at a settled head of exactly that size, without at the smallest that covers it. */
export type ProofsRequest = { readonly leaves: readonly Hex[]; readonly size?: bigint | undefined }

/** One entry for each leaf asked for, in that order; `heads` are what they refer to, each once. */
export type LeafProofs = { readonly heads: readonly ProvenHead[]; readonly proofs: readonly LeafProof[] }

/** `head` is a position in `heads`. */
export type LeafProof =
  | {
      readonly state: 'settled'
      readonly head: number
      readonly index: bigint
      readonly logPath: readonly Hex[]
    }
  | { readonly state: 'pending' | 'unknown' }

/** What proofs at one settled head share. `isFinal`: no reorganisation will take the batch back. */
export type ProvenHead = Omit<SettledLeaf, 'index' | 'logPath'> & { readonly isFinal: boolean }

/** The proof of the leaf that was at `position` in the request; `undefined` when it is not settled. */
export function settledLeafAt({ heads, proofs }: LeafProofs, position: number): SettledLeaf | undefined {
  const proof = proofs[position]
  const head = proof?.state === 'settled' ? heads[proof.head] : undefined
  if (proof?.state !== 'settled' || head === undefined) return undefined
  const { isFinal, ...shared } = head
  return { ...shared, index: proof.index, logPath: proof.logPath }
}

/** `expectedFrom` comes with `GAP`: where the aggregator's copy of the log ends. */
export type ApiError = {
  readonly error: { readonly code: string; readonly message: string; readonly expectedFrom?: bigint }
}

/** Codes of the aggregator's errors. */
export type AggregatorErrorCode =
  | 'BAD_REQUEST'
  | 'BODY_TOO_LARGE'
  | 'UNKNOWN_ENCLAVE'
  | 'UNKNOWN_KEYSET'
  | 'BAD_SIGNATURE'
  | 'ROOT_MISMATCH'
  | 'GAP'
  | 'HEAD_BACKWARDS'
  | 'EQUIVOCATION'
  | 'NOT_FOUND'
  | 'BUSY'

export const HeadDeliverySchema: Schema<HeadDelivery> = v.object({
  head: EarningsHeadSchema,
  from: uintOf(53),
  leaves: base64Of(DELIVERY_LEAVES_MAX * 32),
})

export const HeadReceivedSchema: Schema<HeadReceived> = v.object({ size: uintOf(53) })

export const ClearingReceivedSchema: Schema<ClearingReceived> = v.object({ clearing: hash })

export const EnclaveLogSchema: Schema<EnclaveLog> = v.object({
  enclave: address,
  role: v.picklist(['gateway', 'issuer']),
  size: uintOf(53),
  settledSize: uintOf(53),
  fees: uintOf(64),
  head: EarningsHeadSchema,
})

const batchEntries = {
  batch: uintOf(64),
  root: hash,
  transaction: hash,
  block: uintOf(64),
  gasUsed: uintOf(64),
  heads: v.array(v.object({ enclave: address, size: uintOf(53), root: hash })),
}

export const BatchSchema: Schema<Batch> = v.object(batchEntries)

export const SettlementEventSchema: Schema<SettlementEvent> = v.object({ ...batchEntries, isFinal: v.boolean() })

export const WithdrawnEventSchema: Schema<WithdrawnEvent> = v.object({ from: uintOf(64) })

export const AggregatorStatusSchema: Schema<AggregatorStatus> = v.object({
  state: v.picklist(['ok', 'degraded']),
  enclaves: v.number(),
  leaves: uintOf(53),
  unsettledHeads: v.number(),
  pendingClearings: v.number(),
  settledClearings: v.number(),
  batches: v.number(),
  account: address,
})

export const ProofsRequestSchema: Schema<ProofsRequest> = v.object({
  leaves: v.pipe(v.array(hash), v.minLength(1), v.maxLength(PROOF_LEAVES_MAX)),
  size: v.exactOptional(uintOf(53)),
})

/** A path has at most one sibling for each bit of the index. */
const path = v.pipe(v.array(hash), v.maxLength(64))

export const LeafProofsSchema: Schema<LeafProofs> = v.object({
  heads: v.array(
    v.object({
      enclave: address,
      size: uintOf(53),
      batch: uintOf(64),
      batchIndex: uintOf(32),
      batchSize: uintOf(32),
      batchPath: path,
      transaction: hash,
      block: uintOf(64),
      isFinal: v.boolean(),
    }),
  ),
  proofs: v.array(
    v.variant('state', [
      v.object({ state: v.literal('settled'), head: v.number(), index: uintOf(53), logPath: path }),
      v.object({ state: v.picklist(['pending', 'unknown']) }),
    ]),
  ),
})

export const ApiErrorSchema: Schema<ApiError> = v.object({
  error: v.object({ code: v.string(), message: v.string(), expectedFrom: v.exactOptional(uintOf(53)) }),
})
