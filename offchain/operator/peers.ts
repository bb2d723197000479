/** The operator agent's HTTP calls: its enclave and its aggregators. Each is bounded in time and size. @module */
import { AppError } from '#node/appError.ts'
import { readBodyText } from '#protocol/boundedBody.ts'
import { type Hex, toBase64 } from '#protocol/bytes.ts'
import { type PriceList, PriceListSchema } from '#protocol/prices.ts'
import {
  AgentClearingsSchema,
  type AgentLog,
  AgentLogSchema,
  type AgentStatus,
  AgentStatusSchema,
  type ClearingAcknowledged,
  EvidenceAnswerSchema,
  type KeysOffer,
  KeysOfferSchema,
  type SignedClearing,
} from '#protocol/wire/agentApi.ts'
import {
  ApiErrorSchema,
  ClearingReceivedSchema,
  type HeadDelivery,
  HeadReceivedSchema,
} from '#protocol/wire/aggregatorApi.ts'
import { type AgentSuccessions, AgentSuccessionsSchema } from '#protocol/wire/handoverApi.ts'
import { parseJson, type Schema, toJson, WireError } from '#protocol/wire/json.ts'
import {
  type IssuedAnswer,
  IssuedAnswerSchema,
  type SpentCredits,
  SpentCreditsSchema,
} from '#protocol/wire/vaultDutyApi.ts'

const TIMEOUT_MS = 10_000
/** A full answer of the enclave's log, in base64, is 2.7 MiB; as many clearings as can be are 3.1 MiB. */
const ANSWER_BYTES_MAX = 4_194_304

export type EnclaveAgent = {
  status(): Promise<AgentStatus>
  renewEvidence(nonce: Hex): Promise<Uint8Array>
  /** The sealing keys that come next; undefined while those before the present ones still open requests. */
  nextKeys(): Promise<KeysOffer | undefined>
  /** Tells the enclave that these keys are live in the registry. */
  useKeys(hash: Hex): Promise<void>
  log(from: number): Promise<AgentLog>
  acknowledge(size: number): Promise<void>
  /** An issuer's newest clearings, one a keyset. */
  clearings(): Promise<readonly SignedClearing[]>
  acknowledgeClearing(settled: ClearingAcknowledged): Promise<void>
  /** What a gateway charges. An issuer has no such list, and fails. */
  prices(): Promise<PriceList>
  /** What an issuer wants the vault to be told, so that it becomes the writer. */
  successions(): Promise<AgentSuccessions>
}

/** The enclave's agent interface. Every call throws `AppError` (`PEER_FAILED`, retryable). */
export function connectEnclave(url: string): EnclaveAgent {
  return {
    status: async () => parse(AgentStatusSchema, await call(url, '/agent/status'), 'status of the enclave'),
    async renewEvidence(nonce) {
      const answer = await call(url, '/agent/evidence', { nonce })
      return parse(EvidenceAnswerSchema, answer, 'evidence of the enclave').document
    },
    async nextKeys() {
      const { ok, status, text } = await post(url, '/agent/keys/next', {})
      if (ok) return parse(KeysOfferSchema, text, 'next keys')
      if (status === 409) return undefined
      throw new AppError('PEER_FAILED', `/agent/keys/next answered ${status}`, { retryable: true })
    },
    async useKeys(hash) {
      await call(url, '/agent/keys/use', { hash })
    },
    log: async (from) => parse(AgentLogSchema, await call(url, `/agent/log?from=${from}`), 'log of the enclave'),
    async acknowledge(size) {
      await call(url, '/agent/acknowledged', { size: BigInt(size) })
    },
    async clearings() {
      return parse(AgentClearingsSchema, await call(url, '/agent/clearings'), 'clearings').clearings
    },
    async acknowledgeClearing(settled) {
      await call(url, '/agent/clearings/acknowledged', settled)
    },
    prices: async () => parse(PriceListSchema, await call(url, '/agent/prices'), 'price list'),
    async successions() {
      return parse(AgentSuccessionsSchema, await call(url, '/agent/successions'), 'successions')
    },
  }
}

/** What an issuer's enclave tells its host for the vault. Every call throws `AppError` (`PEER_FAILED`, retryable). */
export type DutyEnclave = {
  /** A gateway has no such duty. */
  isIssuer(): Promise<boolean>
  /** What answered a deposit; undefined when nothing did. */
  issuedAnswer(keyset: Hex, claimKey: Hex): Promise<IssuedAnswer | undefined>
  /** Those of these credits that were spent. */
  spent(credits: readonly Hex[]): Promise<SpentCredits['spent']>
}

export function connectDuty(url: string): DutyEnclave {
  return {
    async isIssuer() {
      const { statement } = parse(AgentStatusSchema, await call(url, '/agent/status'), 'status of the enclave')
      return statement.role === 'issuer'
    },
    async issuedAnswer(keyset, claimKey) {
      const { ok, status, text } = await post(url, `/agent/answers/${keyset}/${claimKey}`)
      if (ok) return parse(IssuedAnswerSchema, text, 'answer to a deposit')
      const { error } = parse(ApiErrorSchema, text, 'refusal of an answer')
      if (status === 404 && error.code === 'NOT_FOUND') return undefined
      throw new AppError('PEER_FAILED', `the issuer refused an answer: ${error.code}`, { retryable: true })
    },
    async spent(credits) {
      return parse(SpentCreditsSchema, await call(url, '/agent/spent', { credits }), 'spent credits').spent
    },
  }
}

export type Delivered = { readonly size: number } | { readonly gapAt: number }

/** Delivers a head with its leaves. Answers how far the aggregator is, or where its copy ends when ours began too late. */
export async function deliver(url: string, delivery: HeadDelivery): Promise<Delivered> {
  const { ok, text } = await post(url, '/v1/heads', { ...delivery, leaves: toBase64(delivery.leaves) })
  if (ok) return { size: Number(parse(HeadReceivedSchema, text, 'aggregator answer').size) }
  const { error } = parse(ApiErrorSchema, text, 'aggregator error')
  if (error.code === 'GAP' && error.expectedFrom !== undefined) return { gapAt: Number(error.expectedFrom) }
  throw new AppError('PEER_FAILED', `the aggregator refused the head: ${error.code}`, { retryable: true })
}

/** Delivers a clearing. A repeat is answered the same. Throws `AppError` (`PEER_FAILED`, retryable). */
export async function deliverClearing(url: string, clearing: SignedClearing): Promise<void> {
  const { ok, text } = await post(url, '/v1/clearings', clearing)
  if (ok) {
    parse(ClearingReceivedSchema, text, 'aggregator answer')
    return
  }
  const { error } = parse(ApiErrorSchema, text, 'aggregator error')
  throw new AppError('PEER_FAILED', `the aggregator refused the clearing: ${error.code}`, { retryable: true })
}

async function call(url: string, path: string, body?: unknown): Promise<string> {
  const { ok, status, text } = await post(url, path, body)
  if (ok) return text
  throw new AppError('PEER_FAILED', `${path} answered ${status}: ${text.slice(0, 300)}`, { retryable: true })
}

type Answer = { readonly ok: boolean; readonly status: number; readonly text: string }

async function post(url: string, path: string, body?: unknown): Promise<Answer> {
  try {
    const response = await fetch(new URL(path, url), {
      signal: AbortSignal.timeout(TIMEOUT_MS),
      ...(body === undefined
        ? {}
        : { method: 'POST', body: toJson(body), headers: { 'content-type': 'application/json' } }),
    })
    return { ok: response.ok, status: response.status, text: await readBodyText(response.body, ANSWER_BYTES_MAX) }
  } catch (cause) {
    throw new AppError('PEER_FAILED', `no answer from ${path}`, { cause, retryable: true })
  }
}

function parse<T>(schema: Schema<T>, text: string, what: string): T {
  try {
    return parseJson(schema, text, what)
  } catch (cause) {
    if (!(cause instanceof WireError)) throw cause
    throw new AppError('PEER_FAILED', cause.message, { cause, retryable: true })
  }
}
