/**
 * The target resource behind the seal: an OpenAI-compatible interface whose every paid answer ends with a receipt.
 *
 *   POST /v1/chat/completions   POST /v1/completions   POST /v1/embeddings
 *   GET /v1/models   GET /v1/models/{id}   GET /v1/prices
 *
 * @module
 */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import type { AnswerShape } from '#node/sealing/answerShape.ts'
import type { InnerResponse } from '#node/sealing/innerResponse.ts'
import type { SealedExchange } from '#node/sealing/sealedServer.ts'
import { costAtMost, isPaidPath, type PaidPath } from '#protocol/requestCost.ts'
import type { InnerRequest } from '#protocol/sealing/binaryHttp.ts'
import { type PaddingMode, TICK_MS } from '#protocol/shape.ts'
import { PAYMENT_FIELD } from '#protocol/wire/paymentField.ts'
import { AnswerRecord } from './answerRecord.ts'
import { BackendError, errorBody, modelNotFound, overloaded, wrongModel } from './backends/backendError.ts'
import { bindExchange } from './exchangeBinding.ts'
import { jsonResponse, readField, readNonce, readPadding, textResponse } from './innerFields.ts'
import { deliverySecondsMax, type TargetLimits } from './limits.ts'
import { ModelAnswer } from './modelAnswer.ts'
import { describeModel, listModels } from './modelList.ts'
import type { ServedModel } from './models.ts'
import { answerStreamed, answerWhole, beginAnswer, type PaidAnswerOptions } from './paidAnswer.ts'
import { PaymentError, type Payments } from './payment.ts'
import type { ReceiptIssuer } from './receiptIssuer.ts'
import { parseJsonBody } from './requests/jsonBody.ts'
import { parseQuestion, type Question } from './resources.ts'
import { Slots } from './slots.ts'

export type TargetOptions = {
  readonly models: ReadonlyMap<string, ServedModel>
  /** The price list's exact text. */
  readonly priceList: string
  readonly issuer: ReceiptIssuer
  /** How requests are paid for; undefined for a gateway whose answers cost nothing. */
  readonly payments?: Payments
  readonly limits: TargetLimits
  /** Why nothing new may be started now, or undefined. */
  readonly refusesBecause: () => string | undefined
  readonly nowSeconds: () => number
}

export type Target = {
  handle(inner: InnerRequest, exchange: SealedExchange): Promise<InnerResponse>
  /** What the answer to this request looks like from outside, as its client asks. */
  shapeOf(inner: InnerRequest): AnswerShape
  /** Answers under way. */
  readonly openAnswers: number
}

const MODEL_PATH = '/v1/models/'

export function createTarget(options: TargetOptions): Target {
  const slots = new Slots(options.limits.answersMax)
  const answer = async (inner: InnerRequest, exchange: SealedExchange, mode: PaddingMode): Promise<InnerResponse> => {
    const { method, path } = inner
    if (method === 'POST' && isPaidPath(path)) return answerPaid(options, slots, path, inner, exchange, mode)
    if (method === 'GET' && path === '/v1/prices') return textResponse(options.priceList)
    if (method === 'GET' && path === '/v1/models') return jsonResponse(200, listModels(options.models))
    if (method === 'GET' && path.startsWith(MODEL_PATH)) {
      return jsonResponse(200, describeModel(options.models, path.slice(MODEL_PATH.length)))
    }
    const message = `no such resource: ${method} ${path.slice(0, 100)}`
    return jsonResponse(404, {
      error: { message, type: 'invalid_request_error', param: null, code: 'not_found' },
    })
  }
  return {
    get openAnswers() {
      return slots.taken
    },
    handle: (inner, exchange) => answer(inner, exchange, readPadding(inner)).catch(errorResponse),
    shapeOf: (inner) => shapeOf(readPadding(inner), options.limits),
  }
}

/** Refusals that are the client's to read; anything else is the sealed server's to answer for. */
function errorResponse(error: unknown): InnerResponse {
  if (error instanceof PaymentError) return jsonResponse(error.status, paymentErrorBody(error))
  if (error instanceof BackendError) return jsonResponse(error.status, errorBody(error))
  throw error
}

async function answerPaid(
  options: TargetOptions,
  slots: Slots,
  path: PaidPath,
  inner: InnerRequest,
  exchange: SealedExchange,
  mode: PaddingMode,
): Promise<InnerResponse> {
  const refusal = options.refusesBecause()
  if (refusal !== undefined) throw overloaded(refusal)
  const release = slots.take()
  if (release === undefined) throw overloaded('the gateway is busy: try another one or come back in a moment')
  try {
    const question = parseQuestion(path, parseJsonBody(inner.body), options.limits)
    const prepared = prepare(options, path, question, inner, exchange, mode, release)
    await beginAnswer(prepared)
    return question.stream ? answerStreamed(prepared) : await answerWhole(prepared)
  } catch (error) {
    release()
    throw error
  }
}

function prepare(
  { models, issuer, payments, limits, nowSeconds }: TargetOptions,
  path: PaidPath,
  question: Question,
  inner: InnerRequest,
  exchange: SealedExchange,
  mode: PaddingMode,
  release: () => void,
): PaidAnswerOptions {
  const served = models.get(question.model)
  if (served === undefined) throw modelNotFound(question.model)
  const { backend, model, price } = served
  if (!model.serves.includes(question.asks) || backend[question.asks] === undefined) {
    throw wrongModel(model.name, question.asks, model.serves)
  }
  const nonce = readNonce(inner)
  const binding = bindExchange(exchange)
  // Awaited when the receipt is issued, where there is one.
  binding.catch(() => undefined)
  const record = new AnswerRecord({ model: price, requestBody: inner.body, nonce, binding })
  const frame = {
    id: `${question.format.idPrefix}${randomBytes(12).toString('hex')}`,
    created: Math.floor(nowSeconds()),
    model: question.model,
  }
  const releaseModel = served.slots === undefined ? () => {} : served.slots.take()
  if (releaseModel === undefined) throw overloaded(`the model '${model.name}' is busy: come back in a moment`)
  try {
    const atMost = costAtMost(price, path, inner.body, model.contextTokens)
    const payment = payments?.begin(readField(inner, PAYMENT_FIELD), atMost)
    const answer = new ModelAnswer({
      question,
      record,
      ask(signal) {
        const events = question.ask(backend, signal)
        assert(events !== undefined, 'expected the function that was looked for above')
        return events
      },
      signal: exchange.signal,
      secondsMax: limits.answerSecondsMax,
      onEnd: releaseModel,
    })
    return {
      question,
      frame,
      answer,
      record,
      payment,
      issue: () => issuer.issue(record, nowSeconds()),
      mode,
      bodyBytesMax: limits.answerBytesMax,
      deliverySecondsMax: deliverySecondsMax(limits, mode),
      readerTimeoutSeconds: limits.readerTimeoutSeconds,
      release,
    }
  } catch (error) {
    releaseModel()
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

function shapeOf(mode: PaddingMode, limits: TargetLimits): AnswerShape {
  if (mode !== 'private') return { kind: mode === 'off' ? 'open' : 'filled' }
  return {
    kind: 'paced',
    tickMs: TICK_MS,
    readerTimeoutMs: limits.readerTimeoutSeconds * 1_000,
    deliveryMsMax: deliverySecondsMax(limits, mode) * 1_000,
  }
}
