/**
 * The target resource behind the seal: an OpenAI-compatible interface whose every answer ends with a receipt.
 *
 *   POST /v1/chat/completions   GET /v1/models   GET /v1/prices
 *
 * The receipt travels as a Binary HTTP trailer, so that the body is what any OpenAI client expects.
 * @module
 */
import { randomBytes } from 'node:crypto'
import { errorResponse, type InnerResponse } from '#node/sealing/innerResponse.ts'
import type { SealedExchange } from '#node/sealing/sealedServer.ts'
import { decodeUtf8, encodeUtf8, fromHex } from '#protocol/bytes.ts'
import type { PricedModel } from '#protocol/prices.ts'
import { costAtMost } from '#protocol/requestCost.ts'
import type { InnerRequest } from '#protocol/sealing/binaryHttp.ts'
import { CHUNK_BYTES_SEND } from '#protocol/sealing/chunkSealing.ts'
import { PADDING_FIELD, type PaddingMode, parsePaddingMode } from '#protocol/shape.ts'
import { CHANGE_TRAILER, PAYMENT_FIELD } from '#protocol/wire/paymentField.ts'
import { NONCE_FIELD, RECEIPT_TRAILER, serializeReceiptMessage } from '#protocol/wire/receiptFile.ts'
import { AnswerRecord } from './answerRecord.ts'
import {
  type Backend,
  BackendError,
  type ChatEvent,
  type ChatRequest,
  errorBody,
  modelNotFound,
  parseChatRequest,
} from './backends/backend.ts'
import { buildChunk, CompletionBuilder, type CompletionFrame } from './backends/completion.ts'
import { PaymentError, type PaymentSession, type Payments } from './payment.ts'
import type { ReceiptIssuer } from './receiptIssuer.ts'
import { shapeEvents } from './shape.ts'

export type ServedModel = { readonly backend: Backend; readonly price: PricedModel }

export type TargetOptions = {
  readonly models: ReadonlyMap<string, ServedModel>
  /** The price list's exact text. */
  readonly priceList: string
  readonly issuer: ReceiptIssuer
  /** How requests are paid for; undefined for a gateway whose answers cost nothing. */
  readonly payments?: Payments
  /** Answers under way at once; above it clients are told to come back. */
  readonly answersMax: number
  /** Why nothing new may be started now, or undefined. */
  readonly refusesBecause: () => string | undefined
  readonly nowSeconds: () => number
}

export type Target = {
  handle(inner: InnerRequest, exchange: SealedExchange): Promise<InnerResponse>
  /** Answers under way. */
  readonly openAnswers: number
}

const NONCE_BYTES_MAX = 64

export function createTarget(options: TargetOptions): Target {
  let openAnswers = 0
  const target = {
    get openAnswers() {
      return openAnswers
    },
    async handle(inner: InnerRequest, exchange: SealedExchange): Promise<InnerResponse> {
      const mode = parsePaddingMode(fieldOf(inner, PADDING_FIELD))
      const route = `${inner.method} ${inner.path}`
      if (route === 'GET /v1/models') return padded(jsonResponse(200, modelList(options)), mode)
      if (route === 'GET /v1/prices') return padded(textResponse(options.priceList), mode)
      if (route !== 'POST /v1/chat/completions') return padded(notFound(inner), mode)
      const refusal = options.refusesBecause()
      if (refusal !== undefined || openAnswers >= options.answersMax) {
        const message = refusal ?? 'the gateway is busy: try another one or come back in a moment'
        return padded(errorResponse(503, 'server_error', 'overloaded', message), mode)
      }
      openAnswers++
      let isCounted = true
      const release = () => {
        if (isCounted) openAnswers--
        isCounted = false
      }
      try {
        return await answerChat(options, inner, exchange, mode, release)
      } catch (error) {
        release()
        if (error instanceof PaymentError) return padded(jsonResponse(error.status, paymentErrorBody(error)), mode)
        if (!(error instanceof BackendError)) throw error
        return padded(jsonResponse(error.status, errorBody(error)), mode)
      }
    },
  }
  return target
}

async function answerChat(
  options: TargetOptions,
  inner: InnerRequest,
  exchange: SealedExchange,
  mode: PaddingMode,
  release: () => void,
): Promise<InnerResponse> {
  const request = parseChatRequest(parseBody(inner.body))
  const served = options.models.get(request.model)
  if (served === undefined) throw modelNotFound(request.model)
  const salts = await options.issuer.saltsOf(exchange)
  const record = new AnswerRecord({
    model: served.price,
    requestBody: inner.body,
    nonce: parseNonce(fieldOf(inner, NONCE_FIELD)),
    encapsulatedHash: exchange.encapsulatedHash,
    salts,
  })
  const frame: CompletionFrame = {
    id: `chatcmpl-${randomBytes(12).toString('hex')}`,
    created: Math.floor(options.nowSeconds()),
    model: request.model,
  }
  const context = served.backend.models.find(({ name }) => name === request.model)?.contextTokens
  const atMost = costAtMost(served.price, inner.body, context)
  const payment = options.payments?.begin(fieldOf(inner, PAYMENT_FIELD), atMost)
  const { events, first } = await beginAnswer(served, request, exchange.signal, payment, record)
  /** For an answer that failed: nothing of it is charged. */
  const giveBack = () => void payment?.capture(0n)
  let isAccounted = false
  const issue = () => {
    isAccounted = true
    return options.issuer.issue(record, options.nowSeconds())
  }
  const trailers = async (): Promise<[string, string][]> => {
    // A full log refuses the receipt, and then nothing is charged.
    const message = await issue().catch((error: unknown) => {
      giveBack()
      throw error
    })
    const change = await payment?.capture(message.private.fee)
    return [
      [RECEIPT_TRAILER, serializeReceiptMessage(message)],
      ...(change === undefined ? [] : [[CHANGE_TRAILER, change] satisfies [string, string]]),
    ]
  }
  if (request.stream) {
    record.contentType = 'text/event-stream'
    // A client that left is charged for what was produced, even if it left with everything but the receipt; a failed upstream
    // charges nothing.
    const stopped = async () => {
      await events.return?.()
      if (!isAccounted && !record.hasFailed && record.hasOutput) {
        record.outcome = 'cut'
        // The client is gone: the receipt only has to be in the log. A full log refuses it, and then nothing is charged.
        const message = await issue().catch(() => undefined)
        void payment?.capture(message?.private.fee ?? 0n)
      } else if (!isAccounted) giveBack()
      release()
    }
    const stream = streamEvents(first, events, request, frame, record, release, giveBack)
    return {
      status: 200,
      headers: [['content-type', 'text/event-stream']],
      body: noticeStop(shapeEvents(stream, mode), stopped),
      trailers,
      ...paddingOf(mode),
    }
  }
  try {
    const body = await collectCompletion(first, events, frame, record)
    return { status: 200, headers: [['content-type', 'application/json']], body, trailers, ...paddingOf(mode) }
  } catch (error) {
    giveBack()
    throw error
  } finally {
    release()
  }
}

type Answer = { readonly events: AsyncIterator<ChatEvent>; readonly first: IteratorResult<ChatEvent> }

/**
 * Starts the model at once and waits for its first event, because a refusal comes before it and only until then can it be an answer of its own;
 * and for the reserve, because nothing leaves unpaid. Whichever fails ends the other.
 */
async function beginAnswer(
  { backend }: ServedModel,
  request: ChatRequest,
  signal: AbortSignal,
  payment: PaymentSession | undefined,
  record: AnswerRecord,
): Promise<Answer> {
  const unpaid = new AbortController()
  const events = backend.chat(request, AbortSignal.any([signal, unpaid.signal]))[Symbol.asyncIterator]()
  const begun = events.next()
  if (payment === undefined) return { events, first: await begun }
  // Awaited below, whatever the reserve says.
  begun.catch(() => undefined)
  try {
    record.feeMax = await payment.reserved
  } catch (error) {
    unpaid.abort()
    // However long the model takes to notice, the refusal does not wait for it.
    void begun.then(() => events.return?.()).catch(() => undefined)
    throw error
  }
  try {
    return { events, first: await begun }
  } catch (error) {
    void payment.capture(0n)
    throw error
  }
}

/** OpenAI's shape, with what the request would cost beside it. */
function paymentErrorBody({ code, message, needed, reason }: PaymentError): unknown {
  return {
    error: {
      message,
      type: code === 'ISSUER_UNAVAILABLE' ? 'server_error' : 'insufficient_quota',
      param: null,
      code: code.toLowerCase(),
      ...(reason === undefined ? {} : { reason }),
      ...(needed === undefined ? {} : { maximum_fee_units: needed.maximumFee.toString(), issuer: needed.issuer }),
    },
  }
}

/** The event stream's bytes, one event a piece. `ended` is called when the model is done, unless the reader stopped it. */
async function* streamEvents(
  first: IteratorResult<ChatEvent>,
  rest: AsyncIterator<ChatEvent>,
  request: ChatRequest,
  frame: CompletionFrame,
  record: AnswerRecord,
  ended: () => void,
  failed: () => void,
): AsyncGenerator<Uint8Array> {
  try {
    for (let next = first; next.done !== true; next = await rest.next()) {
      record.note(next.value)
      if (next.value.kind === 'usage' && !request.includeUsage) continue
      yield record.append(encodeUtf8(`data: ${JSON.stringify(buildChunk(frame, next.value))}\n\n`))
    }
    yield record.append(encodeUtf8('data: [DONE]\n\n'))
    ended()
  } catch (error) {
    record.hasFailed = !(error instanceof BackendError && error.code === 'ABORTED')
    if (record.hasFailed) {
      failed()
      ended()
    }
    throw error
  } finally {
    await rest.return?.()
  }
}

/** `source`; `stopped` is called when its reader stops before the end, even before the beginning: a generator that never ran has no `finally`. */
function noticeStop(source: AsyncIterable<Uint8Array>, stopped: () => Promise<void>): AsyncIterable<Uint8Array> {
  return {
    [Symbol.asyncIterator]() {
      const iterator = source[Symbol.asyncIterator]()
      return {
        next: () => iterator.next(),
        async return() {
          await iterator.return?.()
          await stopped()
          return { done: true, value: undefined }
        },
      }
    },
  }
}

async function collectCompletion(
  first: IteratorResult<ChatEvent>,
  rest: AsyncIterator<ChatEvent>,
  frame: CompletionFrame,
  record: AnswerRecord,
): Promise<Uint8Array> {
  const builder = new CompletionBuilder()
  try {
    for (let next = first; next.done !== true; next = await rest.next()) {
      record.note(next.value)
      builder.add(next.value)
    }
  } finally {
    await rest.return?.()
  }
  return record.append(encodeUtf8(JSON.stringify(builder.build(frame))))
}

function parseBody(body: Uint8Array): unknown {
  try {
    return JSON.parse(decodeUtf8(body))
  } catch {
    // The parser's own error quotes the body, so it is not kept as the cause.
    throw new BackendError(400, 'INVALID_REQUEST', 'invalid_request_error', 'expected a body of JSON in UTF-8')
  }
}

function parseNonce(value: string | undefined): Uint8Array {
  if (value === undefined) return new Uint8Array()
  if (!/^0x(?:[0-9a-f]{2})*$/i.test(value) || value.length > 2 + 2 * NONCE_BYTES_MAX) {
    const message = `expected ${NONCE_FIELD} as hex of at most ${NONCE_BYTES_MAX} bytes`
    throw new BackendError(400, 'INVALID_REQUEST', 'invalid_request_error', message)
  }
  return fromHex(value)
}

function modelList({ models }: TargetOptions): unknown {
  const data = [...models.values()].map(({ price, backend }) => {
    const known = backend.models.find((model) => model.name === price.model)
    return {
      id: price.model,
      object: 'model',
      created: 0,
      owned_by: 'sealpath',
      source: price.source,
      ...(price.origin === undefined ? {} : { origin: price.origin }),
      ...(known?.contextTokens === undefined ? {} : { context_length: known.contextTokens }),
    }
  })
  return { object: 'list', data }
}

function notFound(inner: InnerRequest): InnerResponse {
  const message = `no such resource: ${inner.method} ${inner.path.slice(0, 100)}`
  return errorResponse(404, 'invalid_request_error', 'not_found', message)
}

function jsonResponse(status: number, value: unknown): InnerResponse {
  return { status, headers: [['content-type', 'application/json']], body: encodeUtf8(JSON.stringify(value)) }
}

function textResponse(text: string): InnerResponse {
  return { status: 200, headers: [['content-type', 'application/json']], body: encodeUtf8(text) }
}

/** Gives a whole response the size of full cells. */
function padded(response: InnerResponse, mode: PaddingMode): InnerResponse {
  return { ...response, ...paddingOf(mode) }
}

function paddingOf(mode: PaddingMode): { padLastChunkTo?: number } {
  return mode === 'off' ? {} : { padLastChunkTo: CHUNK_BYTES_SEND }
}

/** For the sealed server's own errors: the shape that the request asked for. */
export function shapeError(error: InnerResponse, inner: InnerRequest): InnerResponse {
  return padded(error, parsePaddingMode(fieldOf(inner, PADDING_FIELD)))
}

function fieldOf(inner: InnerRequest, name: string): string | undefined {
  return inner.headers.find(([field]) => field === name)?.[1]
}
