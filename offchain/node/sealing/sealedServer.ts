/** An OHTTP gateway resource as a function from request to response, for any server that speaks `fetch` types. @module */
import { randomBytes } from 'node:crypto'
import { concatBytes } from '#protocol/bytes.ts'
import type { InnerRequest } from '#protocol/sealing/binaryHttp.ts'
import { BinaryHttpError } from '#protocol/sealing/binaryHttpFields.ts'
import { CHUNK_BYTES_SEND } from '#protocol/sealing/chunkSealing.ts'
import type { ExportSecret, GatewayKeys } from '#protocol/sealing/exchange.ts'
import {
  mediaTypeOf,
  OHTTP_CHUNKED_REQUEST,
  OHTTP_CHUNKED_RESPONSE,
  OHTTP_KEY_PROBLEM,
  OHTTP_REQUEST,
  OHTTP_RESPONSE,
  PROBLEM_JSON,
} from '#protocol/sealing/mediaTypes.ts'
import { OhttpError } from '#protocol/sealing/ohttpError.ts'
import type { RandomBytes, SealingSuites } from '#protocol/sealing/suite.ts'
import type { AnswerShape } from './answerShape.ts'
import { ExchangeLifetime } from './exchangeLifetime.ts'
import { dateRefused, type InnerResponse, internalError, replayMemoryFull } from './innerResponse.ts'
import {
  type OpenedHttpRequest,
  openChunkedRequest,
  openWholeRequest,
  SEALED_SERVER_LIMITS,
  type SealedServerLimits,
} from './openHttpRequest.ts'
import { sealPaced } from './pacedResponse.ts'
import type { ReplayMemory } from './replayMemory.ts'
import { collectResponse, sealChunked } from './sealedResponse.ts'

export interface SealedServerOptions {
  readonly keys: GatewayKeys
  readonly suites: SealingSuites<Uint8Array>
  readonly replay: ReplayMemory
  /** Answers one inner request. A rejection is answered with a sealed 500 that tells no details. */
  readonly handle: (inner: InnerRequest, exchange: SealedExchange) => Promise<InnerResponse>
  readonly limits?: SealedServerLimits
  /** The shape of all answers to this request, the server's own errors included; `open` by default. */
  readonly shapeOf?: (inner: InnerRequest) => AnswerShape
  /** Told why a request was refused, for counters; the peer never learns it. */
  readonly onRefused?: (code: RefusalCode) => void
  /** Told what `handle`, a body or trailers threw while the client was there. */
  readonly onFault?: (error: unknown) => void
  /** For response nonces. */
  readonly random?: RandomBytes
}

/** What a handler knows of the exchange around its request. */
export interface SealedExchange {
  /** keccak-256 of the whole encapsulated request, 32 bytes; computed when first read. */
  readonly encapsulatedHash: Uint8Array
  readonly exportSecret: ExportSecret
  /** Aborts when the client leaves before the end of its response. */
  readonly signal: AbortSignal
}

const OPEN: AnswerShape = { kind: 'open' }

export type RefusalCode =
  | OhttpError['code']
  | BinaryHttpError['code']
  | 'WRONG_METHOD'
  | 'REPLAYED'
  | 'DATE_OUTSIDE_WINDOW'
  | 'REPLAY_MEMORY_FULL'
  /** The body could not be read to its end: the client left. */
  | 'UNREADABLE'

/**
 * Creates the gateway resource. Everything that goes wrong before the inner request exists has one answer, 400 with the
 * `ohttp-key` problem; what is visible from outside has its own: method (405), media type (415), size (413). All else
 * is answered inside the seal, chunked exactly if the request was.
 */
export function createSealedServer(options: SealedServerOptions): (request: Request) => Promise<Response> {
  const { keys, suites, replay, onRefused } = options
  const limits = options.limits ?? SEALED_SERVER_LIMITS

  return async (request) => {
    if (request.method !== 'POST') {
      onRefused?.('WRONG_METHOD')
      return problem(405, 'about:blank', 'Method Not Allowed', { allow: 'POST' })
    }
    const type = mediaTypeOf(request.headers.get('content-type'))
    if (type !== OHTTP_REQUEST && type !== OHTTP_CHUNKED_REQUEST) {
      onRefused?.('WRONG_MEDIA_TYPE')
      return problem(415, 'about:blank', 'Unsupported Media Type', {
        accept: `${OHTTP_CHUNKED_REQUEST}, ${OHTTP_REQUEST}`,
      })
    }
    let opened: OpenedHttpRequest
    try {
      const open = type === OHTTP_REQUEST ? openWholeRequest : openChunkedRequest
      opened = await open(suites, keys, request, limits)
    } catch (error) {
      return refuse(codeOf(error))
    }
    const verdict = replay.admit(opened.key, opened.enc, dateOf(opened.inner))
    if (verdict === 'replayed') return refuse('REPLAYED')
    if (verdict !== 'fresh') onRefused?.(verdict === 'full' ? 'REPLAY_MEMORY_FULL' : 'DATE_OUTSIDE_WINDOW')
    return answer(options, limits, opened, new ExchangeLifetime(request.signal), async (exchange) => {
      if (verdict === 'fresh') return options.handle(opened.inner, exchange)
      return verdict === 'full' ? replayMemoryFull() : dateRefused()
    })
  }

  function refuse(code: RefusalCode): Response {
    onRefused?.(code)
    if (code === 'MESSAGE_TOO_LARGE') return problem(413, 'about:blank', 'Content Too Large')
    return problem(400, OHTTP_KEY_PROBLEM, 'The request could not be opened')
  }
}

/** What answers an opened request: its handler, or a refusal of ours. */
type Respond = (exchange: SealedExchange) => Promise<InnerResponse>

async function answer(
  options: SealedServerOptions,
  limits: SealedServerLimits,
  opened: OpenedHttpRequest,
  lifetime: ExchangeLifetime,
  respond: Respond,
): Promise<Response> {
  const shape = options.shapeOf?.(opened.inner) ?? OPEN
  const exchange: SealedExchange = {
    get encapsulatedHash() {
      return opened.encapsulatedHash()
    },
    exportSecret: opened.exportSecret,
    signal: lifetime.signal,
  }
  const onFault = (error: unknown): void => options.onFault?.(error)
  if (shape.kind === 'paced' && opened.answer.type === 'chunked') {
    const sealer = await opened.answer.createSealer(options.random ?? randomBytes)
    return sealedResponse(OHTTP_CHUNKED_RESPONSE, sealPaced(sealer, respond(exchange), shape, lifetime, onFault))
  }
  const shaped = (response: InnerResponse): InnerResponse =>
    shape.kind === 'open' ? response : { ...response, padLastChunkTo: CHUNK_BYTES_SEND }
  try {
    const response = await respond(exchange)
    try {
      return await seal(options, limits, opened, lifetime, shaped(response))
    } finally {
      if (response.body instanceof Uint8Array) response.release?.()
    }
  } catch (error) {
    if (!lifetime.hasLeft) onFault(error)
    lifetime.stop()
    return seal(options, limits, opened, lifetime, shaped(internalError()))
  }
}

/** Throws before anything is sealed or not at all, so that an error can still be answered. */
async function seal(
  options: SealedServerOptions,
  limits: SealedServerLimits,
  opened: OpenedHttpRequest,
  lifetime: ExchangeLifetime,
  response: InnerResponse,
): Promise<Response> {
  const random = options.random ?? randomBytes
  if (opened.answer.type === 'whole') {
    const plaintext = await collectResponse(response, limits.contentBytesMax, lifetime)
    lifetime.end()
    return sealedResponse(OHTTP_RESPONSE, concatBytes(await opened.answer.seal(plaintext, random)))
  }
  const sealer = await opened.answer.createSealer(random)
  const body = await sealChunked(sealer, response, lifetime, (error) => options.onFault?.(error))
  if (body instanceof Uint8Array) lifetime.end()
  return sealedResponse(OHTTP_CHUNKED_RESPONSE, body)
}

function sealedResponse(type: string, body: Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array>): Response {
  const headers: Record<string, string> = { 'content-type': type, 'cache-control': 'no-store' }
  // Asks intermediaries to pass chunks on as they come (draft-ietf-httpbis-incremental).
  if (type === OHTTP_CHUNKED_RESPONSE) headers.incremental = '?1'
  return new Response(body, { status: 200, headers })
}

function problem(status: number, type: string, title: string, headers: Record<string, string> = {}): Response {
  return new Response(JSON.stringify({ type, title, status }), {
    status,
    headers: { 'content-type': PROBLEM_JSON, 'cache-control': 'no-store', ...headers },
  })
}

function codeOf(error: unknown): RefusalCode {
  return error instanceof OhttpError || error instanceof BinaryHttpError ? error.code : 'UNREADABLE'
}

const HTTP_DATE = /^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT$/

/** The inner `date` in milliseconds since the epoch; NaN, which no window admits, when it is not one IMF-fixdate (RFC 9110 section 5.6.7). */
function dateOf(inner: InnerRequest): number | undefined {
  const dates = inner.headers.filter(([name]) => name === 'date').map(([, value]) => value)
  const [date] = dates
  if (date === undefined) return undefined
  return dates.length === 1 && HTTP_DATE.test(date) ? Date.parse(date) : Number.NaN
}
