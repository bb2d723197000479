/** One witness: an aggregator that holds a copy of the issuer's log. HTTP interface: #protocol/wire/aggregatorApi.ts. @module */
import { AppError } from '#node/appError.ts'
import { type Hex, joinBytes, toBase64 } from '#protocol/bytes.ts'
import {
  ApiErrorSchema,
  EnclaveLogSchema,
  type HeadDelivery,
  HeadReceivedSchema,
} from '#protocol/wire/aggregatorApi.ts'
import { parseJson, type Schema, toJson, WireError } from '#protocol/wire/json.ts'

/** Every call throws `AppError` (`PEER_FAILED`, retryable) when there is no answer, or one that is none. */
export type Witness = {
  /** Only for people: which witness this is. */
  readonly name: string
  /** Delivers a head with its leaves. */
  deliver(delivery: HeadDelivery): Promise<Delivered>
  /** Leaves it holds of an enclave's log. */
  sizeOf(enclave: Hex): Promise<number>
}

/** `size` leaves are held durably; `gapAt` is where its copy ends when ours began too late; `refused` what it will not take, by code. */
export type Delivered = { readonly size: number } | { readonly gapAt: number } | { readonly refused: string }

const TIMEOUT_MS = 10_000
const ANSWER_BYTES_MAX = 65_536

/** The witness at `url`. */
export function connectWitness(url: string): Witness {
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
      if (status === 200) return Number(parse(EnclaveLogSchema, text, 'log of an enclave').size)
      const { error } = parse(ApiErrorSchema, text, 'refusal of a log')
      // Only this code says that it holds nothing: a wrong address answers 404 as well.
      if (status === 404 && error.code === 'NOT_FOUND') return 0
      throw new AppError('PEER_FAILED', `the witness answered ${error.code}`, { retryable: true })
    },
  }
}

type Answer = { readonly status: number; readonly text: string }

async function call(url: string, path: string, body?: string): Promise<Answer> {
  try {
    const response = await fetch(new URL(path, url), {
      signal: AbortSignal.timeout(TIMEOUT_MS),
      ...(body === undefined ? {} : { method: 'POST', body, headers: { 'content-type': 'application/json' } }),
    })
    const parts: Uint8Array[] = []
    let bytes = 0
    for await (const part of response.body ?? []) {
      bytes += part.length
      if (bytes > ANSWER_BYTES_MAX) throw new RangeError(`expected an answer of at most ${ANSWER_BYTES_MAX} bytes`)
      parts.push(part)
    }
    return { status: response.status, text: new TextDecoder().decode(joinBytes(parts)) }
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
