/** A gateway's target behind a real sealed server, and a client that checks its receipts with what it alone has. @module */
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import { createDevelopmentAttester } from '#node/attesters/development.ts'
import { bootEnclave, type Enclave } from '#node/enclave/enclave.ts'
import { ReceiptLog } from '#node/enclave/receiptLog.ts'
import { createNodeSuites } from '#node/sealing/nodeSuites.ts'
import { ReplayMemory } from '#node/sealing/replayMemory.ts'
import { createSealedServer } from '#node/sealing/sealedServer.ts'
import { decodeUtf8, encodeUtf8, fromHex, joinBytes, toHex } from '#protocol/bytes.ts'
import { hashPriceList, type PricedModel, type PriceList, serializePriceList } from '#protocol/prices.ts'
import { readAnswer } from '#protocol/receipt/answer.ts'
import { deriveSalts } from '#protocol/receipt/commitment.ts'
import { hashName, ZERO_HASH } from '#protocol/receipt/receipt.ts'
import { verifyReceipt } from '#protocol/receipt/verifyReceipt.ts'
import type { Field } from '#protocol/sealing/binaryHttpFields.ts'
import { type SealedHttpRequest, sealHttpRequest } from '#protocol/sealing/client.ts'
import { FillerStripper, PADDING_FIELD, type PaddingMode } from '#protocol/shape.ts'
import { openingsOf, parseReceiptMessage, RECEIPT_TRAILER, type ReceiptMessage } from '#protocol/wire/receiptFile.ts'
import type { AnswerEvent, Backend, BackendModel } from '../../gateway/backends/backend.ts'
import { BackendError } from '../../gateway/backends/backendError.ts'
import { TARGET_LIMITS, type TargetLimits } from '../../gateway/limits.ts'
import type { Payments } from '../../gateway/payment.ts'
import { createReceiptIssuer } from '../../gateway/receiptIssuer.ts'
import type { ChatRequest } from '../../gateway/requests/request.ts'
import { Slots } from '../../gateway/slots.ts'
import { createTarget, type Target } from '../../gateway/target.ts'

export const NOW = 1_800_000_000
const BINDING = {
  chainId: 31_337,
  registry: `0x${'4e'.repeat(20)}`,
  settlement: `0x${'5e'.repeat(20)}`,
  operator: `0x${'0e'.repeat(20)}`,
} as const
/** One unit a request, and one for each token written. */
export const DEMO_PRICE: PricedModel = {
  model: 'demo',
  source: 'operator',
  requestUnits: 1n,
  promptUnitsPerMillion: 0n,
  completionUnitsPerMillion: 1_000_000n,
}
const PRICES: PriceList = { format: 'sealpath-prices/1', models: [DEMO_PRICE] }
export const PRICE_LIST: string = serializePriceList(PRICES)

const suites = createNodeSuites()
export const enclave: Enclave = await bootEnclave(
  'gateway',
  BINDING,
  createDevelopmentAttester({ pcrs: new Map([[0, new Uint8Array(48).fill(1)]]), now: Date.now }),
  suites,
)

export type Script = (request: ChatRequest, signal: AbortSignal) => AsyncGenerator<AnswerEvent>

export type TestGateway = {
  readonly target: Target
  readonly log: ReceiptLog
  readonly sealed: (request: Request) => Promise<Response>
  /** Every receipt, also those that no client got. */
  readonly issued: ReceiptMessage[]
  readonly faults: unknown[]
  /** How many of the model's answers were begun, and have ended or were stopped. */
  readonly model: { begun: number; ended: number }
}

export type TestGatewayOptions = {
  readonly limits?: Partial<TargetLimits>
  readonly refusal?: string
  readonly leavesMax?: number
  readonly payments?: Payments
  /** Places of the backend. */
  readonly modelAnswersMax?: number
  readonly serves?: BackendModel['serves']
  readonly contextTokens?: number
}

/** A gateway whose model does what the script says; or one in front of a backend, which serves the model 'demo'. */
export function startGateway(model: Script | Backend, options: TestGatewayOptions = {}): TestGateway {
  const counts = { begun: 0, ended: 0 }
  const described: BackendModel = {
    name: DEMO_PRICE.model,
    claim: { source: 'operator' },
    serves: options.serves ?? ['chat', 'completions', 'embeddings'],
    contextTokens: options.contextTokens ?? 128,
  }
  const backend = typeof model === 'function' ? scripted(model, described, counts) : model
  const log = new ReceiptLog({
    enclave: enclave.statement.enclave,
    privateKey: enclave.privateKey,
    domain: BINDING,
    tick: { receipts: 1, seconds: 1 },
    leavesKeptMax: options.leavesMax ?? 100,
  })
  const issuer = createReceiptIssuer(enclave.statement, PRICE_LIST, log)
  const issued: ReceiptMessage[] = []
  const faults: unknown[] = []
  const { modelAnswersMax, payments } = options
  const slots = modelAnswersMax === undefined ? {} : { slots: new Slots(modelAnswersMax) }
  const target = createTarget({
    models: new Map([[described.name, { backend, model: described, price: DEMO_PRICE, ...slots }]]),
    priceList: PRICE_LIST,
    issuer: {
      ...issuer,
      async issue(record, nowSeconds) {
        const receipt = await issuer.issue(record, nowSeconds)
        issued.push(receipt)
        return receipt
      },
    },
    ...(payments === undefined ? {} : { payments }),
    limits: { ...TARGET_LIMITS, answersMax: 4, ...options.limits },
    refusesBecause: () => options.refusal,
    nowSeconds: () => NOW,
  })
  const sealed = createSealedServer({
    keys: enclave.keys,
    suites,
    replay: new ReplayMemory(Date.now),
    handle: target.handle,
    shapeOf: target.shapeOf,
    onFault: (error) => faults.push(error),
  })
  return { target, log, sealed, issued, faults, model: counts }
}

function scripted(script: Script, model: BackendModel, counts: { begun: number; ended: number }): Backend {
  return {
    models: [model],
    async *chat(request, signal) {
      counts.begun++
      try {
        yield* script(request, signal)
      } finally {
        counts.ended++
      }
    },
  }
}

export type Ask = {
  readonly method?: string
  readonly path?: string
  readonly body?: unknown
  readonly text?: string
  readonly headers?: readonly Field[]
  readonly padding?: PaddingMode
  readonly chunked?: boolean
}

export function chat(fields: Record<string, unknown> = {}): Record<string, unknown> {
  return { model: 'demo', messages: [{ role: 'user', content: 'hi' }], ...fields }
}

function bodyOf(ask: Ask): Uint8Array {
  return encodeUtf8(ask.text ?? (ask.body === undefined ? '' : JSON.stringify(ask.body)))
}

export async function seal(ask: Ask): Promise<SealedHttpRequest> {
  const [config] = enclave.keys.configs()
  if (config === undefined) throw new Error('expected a key')
  const inner = {
    method: ask.method ?? 'POST',
    scheme: 'https',
    authority: 'g',
    path: ask.path ?? '/v1/chat/completions',
    headers: [[PADDING_FIELD, ask.padding ?? 'balanced'], ...(ask.headers ?? [])] as Field[],
    body: bodyOf(ask),
  }
  return sealHttpRequest(suites, config, inner, { chunked: ask.chunked ?? true })
}

export function outer(sealed: SealedHttpRequest, signal?: AbortSignal): Request {
  return new Request('http://g/gateway', {
    method: 'POST',
    headers: { 'content-type': sealed.contentType },
    body: sealed.body,
    ...(signal && { signal }),
  })
}

export type Answer = {
  readonly status: number
  readonly text: string
  readonly body: Uint8Array
  readonly trailers: readonly Field[]
  readonly sealedBytes: number
}

async function open(sealed: SealedHttpRequest, response: Response): Promise<Answer> {
  sealed.checkResponseType(response.headers.get('content-type'))
  const bytes = new Uint8Array(await response.arrayBuffer())
  const reader = sealed.openResponse()
  const events = [...(await reader.push(bytes)), ...(await reader.end())]
  const head = events.find((event) => event.type === 'head')
  const trailers = events.find((event) => event.type === 'trailers')
  const raw = joinBytes(events.flatMap((event) => (event.type === 'body' ? [event.bytes] : [])))
  const isStream = head?.headers.some(([name, value]) => name === 'content-type' && value === 'text/event-stream')
  const body = isStream ? new FillerStripper().push(raw) : raw
  return {
    status: head?.status ?? 0,
    text: decodeUtf8(body),
    body,
    trailers: trailers?.trailers ?? [],
    sealedBytes: bytes.length,
  }
}

export type SealedTestAnswer = Answer & { readonly sealed: SealedHttpRequest }

/** Sends a request and reads the answer to its end. */
export async function send(gateway: TestGateway, ask: Ask): Promise<SealedTestAnswer> {
  const sealed = await seal(ask)
  return { ...(await open(sealed, await gateway.sealed(outer(sealed)))), sealed }
}

export function receiptIn(answer: Answer): ReceiptMessage {
  const text = answer.trailers.find(([name]) => name === RECEIPT_TRAILER)?.[1]
  if (text === undefined) throw new Error('expected a receipt')
  return parseReceiptMessage(text)
}

/** Checks the receipt with what the client alone has: what it sent, what it read, and the salts it derives. */
export async function expectVerified(answer: SealedTestAnswer, ask: Ask, nonce = '0x'): Promise<ReceiptMessage> {
  const receipt = receiptIn(answer)
  const type = answer.text.startsWith('data: ') ? 'text/event-stream' : 'application/json'
  const data = { request: bodyOf(ask), response: answer.body, nonce: fromHex(nonce), ...readAnswer(answer.body, type) }
  const openings = openingsOf(await deriveSalts(answer.sealed.exportSecret), data)
  expect(verifyReceipt({ ...receipt, openings })).toMatchObject({ ok: true })
  expect(receipt.private.encapsulated).toBe(toHex(answer.sealed.encapsulatedHash))
  expect(receipt.private.prices).toBe(hashPriceList(PRICE_LIST))
  expect(receipt.public).toMatchObject({ model: hashName('demo'), source: 'operator', origin: ZERO_HASH })
  expect(receipt.private.hour).toBe(BigInt(NOW / 3_600))
  return receipt
}

export function delta(content: string, choice = 0): AnswerEvent {
  return { kind: 'delta', choice, content, raw: { index: choice, delta: { content }, finish_reason: null } }
}

export function finish(reason: string, choice = 0): AnswerEvent {
  return { kind: 'finish', choice, reason, raw: { index: choice, delta: {}, finish_reason: reason } }
}

export const USAGE: AnswerEvent = { kind: 'usage', promptTokens: 7, completionTokens: 20, reported: true }

export async function* hello(): AsyncGenerator<AnswerEvent> {
  yield delta('Hel')
  yield delta('lo')
  yield finish('stop')
  yield USAGE
}

/** A model that goes on until its client leaves. */
export async function* endless(_request: unknown, signal: AbortSignal): AsyncGenerator<AnswerEvent> {
  for (;;) {
    yield delta('word ')
    if (signal.aborted) throw new BackendError(499, 'ABORTED', 'aborted', 'the request was cancelled')
    await sleep(1)
  }
}
