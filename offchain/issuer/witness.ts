/**
 * One witness: an aggregator that holds a copy of the issuer's log. HTTP interface: #protocol/wire/aggregatorApi.ts. How far a log goes is
 * believed only with the head that the log's enclave signed over it: a witness that could just say so could end an issuer for ever.
 * @module
 */
import { AppError } from '#node/appError.ts'
import { readBodyText } from '#protocol/boundedBody.ts'
import { type Hex, toBase64 } from '#protocol/bytes.ts'
import { isSignedByEnclave, type SettlementDomain } from '#protocol/receipt/head.ts'
import {
  ApiErrorSchema,
  type EnclaveLog,
  EnclaveLogSchema,
  type HeadDelivery,
  HeadReceivedSchema,
} from '#protocol/wire/aggregatorApi.ts'
import { parseJson, type Schema, toJson, WireError } from '#protocol/wire/json.ts'
import { WitnessError } from './witnessError.ts'

/** Every call throws `AppError` (`PEER_FAILED`, retryable) when there is no answer, or one that is none. */
export type Witness = {
  /** Only for people: which witness this is. */
  readonly name: string
  /** Delivers a head with its leaves. */
  deliver(delivery: HeadDelivery): Promise<Delivered>
  /** Leaves it shows to hold of an enclave's log. Throws `WitnessError` (`UNPROVEN`) when it says so without the enclave's head. */
  sizeOf(enclave: Hex): Promise<number>
}

/** `size` leaves are held durably; `gapAt` is where its copy ends when ours began too late; `refused` what it will not take, by code. */
export type Delivered = { readonly size: number } | { readonly gapAt: number } | { readonly refused: string }

const TIMEOUT_MS = 10_000
const ANSWER_BYTES_MAX = 65_536

/** The witness at `url`, for heads of `domain`. */
export function connectWitness(url: string, domain: SettlementDomain): Witness {
  return {
    name: new URL(url).host,
    async deliver(delivery) {
      const body = toJson({ ...delivery, leaves: toBase64(delivery.leaves) })
      const { status, text } = await call(url, '/v1/heads', body)
      if (status === 200) return { size: Number(parse(HeadReceivedSchema, text, 'answer to a head').size) }
      const { error } = parse(ApiErrorSchema, text, 'refusal of a head')
      if (error.code === 'GAP' && error.expectedFrom !== undefined) return { gapAt: Number(error.expectedFrom) }
      return { refused: error.code }
    },
    async sizeOf(enclave) {
      const { status, text } = await call(url, `/v1/enclaves/${enclave}`)
      if (status === 200) return provenSize(parse(EnclaveLogSchema, text, 'log of an enclave'), enclave, domain)
      const { error } = parse(ApiErrorSchema, text, 'refusal of a log')
      // Only this code says that it holds nothing: a wrong address answers 404 as well.
      if (status === 404 && error.code === 'NOT_FOUND') return 0
      throw new AppError('PEER_FAILED', `the witness answered ${error.code}`, { retryable: true })
    },
  }
}

function provenSize({ size, head }: EnclaveLog, enclave: Hex, domain: SettlementDomain): number {
  const { signature, ...stated } = head
  const isTheirs = head.enclave === enclave.toLowerCase() && head.size === size
  if (isTheirs && isSignedByEnclave({ head: { kind: 'earnings', ...stated }, signature }, domain)) return Number(size)
  throw new WitnessError('UNPROVEN', `a witness says that it holds ${size} entries and does not show their head`)
}

type Answer = { readonly status: number; readonly text: string }

async function call(url: string, path: string, body?: string): Promise<Answer> {
  try {
    const response = await fetch(new URL(path, url), {
      signal: AbortSignal.timeout(TIMEOUT_MS),
      ...(body === undefined ? {} : { method: 'POST', body, headers: { 'content-type': 'application/json' } }),
    })
    return { status: response.status, text: await readBodyText(response.body, ANSWER_BYTES_MAX) }
  } catch (cause) {
    throw new AppError('PEER_FAILED', `no answer from ${path} of a witness`, { cause, retryable: true })
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
