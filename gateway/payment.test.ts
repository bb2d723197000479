/** Paid answers: nothing leaves before the reserve, what was used is captured, and every failure gives the credits back. @module */
import { setTimeout as sleep } from 'node:timers/promises'
import { beforeEach, describe, expect, it } from 'vitest'
import { AppError } from '#node/appError.ts'
import { createDevelopmentAttester } from '#node/attesters/development.ts'
import { bootEnclave } from '#node/enclave/enclave.ts'
import { ReceiptLog } from '#node/enclave/receiptLog.ts'
import type { Logger } from '#node/log.ts'
import type { InnerResponse } from '#node/sealing/innerResponse.ts'
import { createNodeSuites } from '#node/sealing/nodeSuites.ts'
import { decodeUtf8, encodeUtf8, type Hex } from '#protocol/bytes.ts'
import { serializePriceList } from '#protocol/prices.ts'
import { CHANGE_TRAILER, formatSealed, PAYMENT_FIELD } from '#protocol/wire/paymentField.ts'
import { parseReceiptMessage, RECEIPT_TRAILER } from '#protocol/wire/receiptFile.ts'
import { until } from '../test/support/until.ts'
import type { AnswerEvent, Backend } from './backends/backend.ts'
import { BackendError } from './backends/backendError.ts'
import { type IssuerClient, IssuerRefusal } from './issuerClient.ts'
import { TARGET_LIMITS } from './limits.ts'
import { createPayments, type Payments, type PaymentTiming } from './payment.ts'
import { createReceiptIssuer } from './receiptIssuer.ts'
import { createTarget } from './target.ts'

const BINDING = {
  chainId: 31_337,
  registry: `0x${'4e'.repeat(20)}`,
  settlement: `0x${'5e'.repeat(20)}`,
  operator: `0x${'0e'.repeat(20)}`,
} as const
const PAYMENT_ID: Hex = `0x${'9a'.repeat(32)}`
const PRICE = {
  model: 'demo',
  source: 'operator',
  requestUnits: 10n,
  promptUnitsPerMillion: 1_000_000n,
  completionUnitsPerMillion: 2_000_000n,
} as const
const PRICE_LIST = serializePriceList({ format: 'sealpath-prices/1', models: [PRICE] })
const TIMING: PaymentTiming = { renewMin: 5_000, renewMax: 100_000, reserveRetry: [1, 1] }
const SILENT: Logger = { info: () => {}, warn: () => {}, error: () => {} }
const enclave = await bootEnclave(
  'gateway',
  BINDING,
  createDevelopmentAttester({ pcrs: new Map([[0, new Uint8Array(48).fill(1)]]), now: Date.now }),
  createNodeSuites(),
)

/** What the issuer does is up to each test. */
class ScriptedIssuer implements IssuerClient {
  enclave: Hex | undefined = `0x${'15'.repeat(20)}`
  reserves: Uint8Array[] = []
  captures: bigint[] = []
  renewals = 0
  onRenew: () => Promise<{ expiresAt: bigint }> = async () => ({ expiresAt: BigInt(this.renewals) })
  maximumFee = 992n
  onReserve: () => Promise<void> = async () => {}
  onCapture: () => Promise<void> = async () => {}

  async reserve(sealed: Uint8Array) {
    this.reserves.push(sealed)
    await this.onReserve()
    return { payment: PAYMENT_ID, maximumFee: this.maximumFee, expiresAt: 0n }
  }

  async renew() {
    this.renewals++
    return this.onRenew()
  }

  async capture(_: Hex, fee: bigint) {
    this.captures.push(fee)
    await this.onCapture()
    return { fee, sealedChange: Uint8Array.of(7, 7, 7) }
  }
}

let issuer: ScriptedIssuer
let payments: Payments
let model: { begun: number; aborted: number }

beforeEach(() => {
  issuer = new ScriptedIssuer()
  payments = createPayments(issuer, SILENT, TIMING)
  model = { begun: 0, aborted: 0 }
})

function say(content: string): AnswerEvent {
  return { kind: 'delta', choice: 0, content, raw: { index: 0, delta: { content }, finish_reason: null } }
}

async function* speak(signal: AbortSignal): AsyncGenerator<AnswerEvent> {
  model.begun++
  signal.addEventListener('abort', () => model.aborted++)
  yield say('Hello')
  yield { kind: 'finish', choice: 0, reason: 'stop', raw: { index: 0, delta: {}, finish_reason: 'stop' } }
  yield { kind: 'usage', promptTokens: 5, completionTokens: 7, reported: true }
}

function startTarget(chat: (signal: AbortSignal) => AsyncGenerator<AnswerEvent> = speak) {
  const served = { name: 'demo', claim: { source: 'operator' }, serves: ['chat'], contextTokens: 128 } as const
  const backend: Backend = {
    models: [served],
    chat: (_, signal) => chat(signal),
  }
  const log = new ReceiptLog({
    enclave: enclave.statement.enclave,
    privateKey: enclave.privateKey,
    domain: BINDING,
    tick: { receipts: 1, seconds: 1 },
    leavesKeptMax: 100,
  })
  return createTarget({
    models: new Map([['demo', { backend, model: served, price: PRICE }]]),
    priceList: PRICE_LIST,
    issuer: createReceiptIssuer(enclave.statement, PRICE_LIST, log),
    payments,
    limits: { ...TARGET_LIMITS, answersMax: 4 },
    refusesBecause: () => undefined,
    nowSeconds: () => 1_800_000_000,
  })
}

const PAID = formatSealed(Uint8Array.of(1, 2, 3))

async function ask(
  target = startTarget(),
  options: { payment?: string | undefined; stream?: boolean; signal?: AbortSignal; maxTokens?: number } = {},
): Promise<InnerResponse> {
  const { payment = PAID, stream = false, signal = new AbortController().signal, maxTokens = 16 } = options
  const body = { model: 'demo', messages: [{ role: 'user', content: 'Hi' }], stream, max_tokens: maxTokens }
  const inner = {
    method: 'POST',
    scheme: 'https',
    authority: 'gateway',
    path: '/v1/chat/completions',
    headers: payment === '' ? [] : ([[PAYMENT_FIELD, payment]] as const),
    body: encodeUtf8(JSON.stringify(body)),
  }
  const exchange = {
    encapsulatedHash: new Uint8Array(32),
    exportSecret: async (_: string, length: number) => new Uint8Array(length).fill(3),
    signal,
  }
  return target.handle(inner, exchange)
}

async function read(response: InnerResponse): Promise<{ text: string; trailers: Map<string, string> }> {
  const parts: string[] = []
  if (response.body instanceof Uint8Array) parts.push(decodeUtf8(response.body))
  else for await (const part of response.body) parts.push(decodeUtf8(part))
  return { text: parts.join(''), trailers: new Map((await response.trailers?.()) ?? []) }
}

/** Ten units, five prompt tokens of one and seven of two: 29, which has five bits. */
const FEE = 29n

describe('a paid answer', () => {
  it.each([false, true])('comes with receipt and change, and both name the same fee (stream: %s)', async (stream) => {
    const { text, trailers } = await read(await ask(undefined, { stream }))
    expect(text).toContain('Hello')
    expect(issuer.captures).toEqual([FEE])
    expect(trailers.get(CHANGE_TRAILER)).toBe(formatSealed(Uint8Array.of(7, 7, 7)))
    expect(parseReceiptMessage(trailers.get(RECEIPT_TRAILER) ?? '').private.fee).toBe(FEE)
    expect(issuer.reserves).toEqual([Uint8Array.of(1, 2, 3)])
  })

  it('begins in the model before the reserve, and leaves only after it', async () => {
    const reserve = Promise.withResolvers<void>()
    issuer.onReserve = () => reserve.promise
    let isAnswered = false
    const answer = ask().then((response) => {
      isAnswered = true
      return response
    })
    await until(() => model.begun === 1)
    await sleep(30)
    expect(isAnswered).toBe(false)
    reserve.resolve()
    expect((await answer).status).toBe(200)
  })

  it('waits for an issuer that is away for a moment, and is paid for once', async () => {
    issuer.onReserve = async () => {
      if (issuer.reserves.length === 1) throw new AppError('PEER_FAILED', 'gone', { retryable: true })
      if (issuer.reserves.length === 2) throw new IssuerRefusal('UNAVAILABLE', 'this issuer is taking over')
    }
    await read(await ask())
    expect(issuer.reserves).toEqual(Array(3).fill(Uint8Array.of(1, 2, 3)))
    expect(issuer.captures).toEqual([FEE])
  })

  it('is never charged more than its payment allows', async () => {
    async function* much(): AsyncGenerator<AnswerEvent> {
      yield { kind: 'usage', promptTokens: 100_000, completionTokens: 100_000, reported: true }
    }
    issuer.maximumFee = 992n
    const { trailers } = await read(await ask(startTarget(much)))
    expect(issuer.captures).toEqual([992n])
    expect(parseReceiptMessage(trailers.get(RECEIPT_TRAILER) ?? '').private.fee).toBe(992n)
  })

  it('comes without change when the issuer is gone by then, and is captured behind its back', async () => {
    issuer.onCapture = async () => {
      if (issuer.captures.length < 3) throw new AppError('PEER_FAILED', 'gone', { retryable: true })
    }
    const { text } = await read(await ask())
    expect(text).toContain('Hello')
    expect(issuer.captures).toEqual([FEE, FEE, FEE])
    expect(payments.pending).toBe(0)
  })
})

describe('a request is refused inside the seal', () => {
  const errorOf = async (response: InnerResponse): Promise<Record<string, unknown>> => ({
    status: response.status,
    ...(JSON.parse((await read(response)).text) as { error: Record<string, unknown> }).error,
  })

  it('without a payment, saying what it can cost and to whom to seal it', async () => {
    const refusal = await errorOf(await ask(undefined, { payment: '' }))
    expect(refusal).toMatchObject({
      status: 402,
      type: 'insufficient_quota',
      code: 'payment_required',
      issuer: issuer.enclave,
    })
    // Every byte of the body a token, sixteen tokens out, ten units for the request.
    expect(BigInt(refusal.maximum_fee_units as string)).toBeGreaterThanOrEqual(10n + 32n + 80n)
    expect(model.begun).toBe(0)
  })

  it('with a payment that is too small, and gives it back', async () => {
    issuer.maximumFee = 8n
    expect(await errorOf(await ask())).toMatchObject({ status: 402, code: 'payment_too_small' })
    await until(() => issuer.captures.length > 0)
    expect(issuer.captures).toEqual([0n])
    expect(model.aborted).toBe(1)
  })

  it.each(['SPENT', 'BAD_CREDIT', 'EXIT_ONLY', 'BAD_PAYMENT'])(
    'with one that the issuer refuses as %s',
    async (code) => {
      issuer.onReserve = async () => {
        throw new IssuerRefusal(code, 'no')
      }
      expect(await errorOf(await ask())).toMatchObject({ status: 402, code: 'payment_refused', reason: code })
      expect(model.aborted).toBe(1)
      expect(issuer.captures).toEqual([])
    },
  )

  it('while the issuer does not answer, as something that is not the client’s to mend', async () => {
    issuer.onReserve = async () => {
      throw new AppError('PEER_FAILED', 'gone', { retryable: true })
    }
    expect(await errorOf(await ask())).toMatchObject({ status: 503, code: 'issuer_unavailable', type: 'server_error' })
    expect(issuer.reserves).toHaveLength(1 + TIMING.reserveRetry.length)
  })

  it('with a payment that pays for another answer already, however often it is sent', async () => {
    const release = Promise.withResolvers<void>()
    async function* slow(): AsyncGenerator<AnswerEvent> {
      await release.promise
      yield* speak(new AbortController().signal)
    }
    const target = startTarget(slow)
    const first = ask(target)
    await sleep(5)
    for (let i = 0; i < 2; i++) {
      expect(await errorOf(await ask(target))).toMatchObject({ status: 402, code: 'payment_refused', reason: 'SPENT' })
    }
    expect(issuer.captures).toEqual([])
    release.resolve()
    await read(await first)
    expect(issuer.captures).toEqual([FEE])
  })

  it('with a payment that is no base64', async () => {
    expect(await errorOf(await ask(undefined, { payment: '!!' }))).toMatchObject({
      status: 402,
      code: 'payment_refused',
    })
    expect(issuer.reserves).toEqual([])
  })
})

describe('credits come back', () => {
  it('when the model refuses, and when it fails before its first word', async () => {
    async function* refusing(): AsyncGenerator<AnswerEvent> {
      if (model.begun === 0) throw new BackendError(400, 'INVALID_REQUEST', 'invalid_request_error', 'no')
      yield say('never')
    }
    expect((await ask(startTarget(refusing))).status).toBe(400)
    await until(() => issuer.captures.length > 0)
    expect(issuer.captures).toEqual([0n])
  })

  it.each([false, true])('when it fails in the middle (stream: %s)', async (stream) => {
    async function* failing(): AsyncGenerator<AnswerEvent> {
      yield say('Hel')
      throw new BackendError(502, 'UPSTREAM_CUT', 'server_error', 'cut')
    }
    await ask(startTarget(failing), { stream })
      .then(read, () => undefined)
      .catch(() => undefined)
    await until(() => issuer.captures.length > 0)
    expect(issuer.captures).toEqual([0n])
  })

  it('but what was produced is charged to a client that leaves', async () => {
    async function* endless(signal: AbortSignal): AsyncGenerator<AnswerEvent> {
      while (!signal.aborted) {
        yield say('on ')
        await sleep(1)
      }
    }
    const response = await ask(startTarget(endless), { stream: true })
    if (response.body instanceof Uint8Array) throw new Error('expected a stream')
    const reader = response.body[Symbol.asyncIterator]()
    await reader.next()
    await reader.next()
    await reader.return?.()
    await until(() => issuer.captures.length > 0)
    expect(issuer.captures).toHaveLength(1)
    expect(issuer.captures[0]).toBeGreaterThan(10n)
  })
})

describe('an answer that takes longer than a reserve lasts', () => {
  const QUICK = { ...TIMING, renewMin: 2, renewMax: 2 }
  const field = formatSealed(new Uint8Array(64))

  it('keeps its reserve until it is captured', async () => {
    const session = createPayments(issuer, SILENT, QUICK).begin(field, 10n)
    await session.reserved
    await until(() => issuer.renewals >= 3)
    await session.capture(8n)
    const { renewals } = issuer
    await sleep(20)
    expect(issuer.renewals).toBe(renewals)
    expect(issuer.captures).toEqual([8n])
  })

  it('asks again when the issuer was away, and no more once it refuses or renews no further', async () => {
    let isAway = true
    issuer.onRenew = async () => {
      if (isAway) throw new AppError('PEER_FAILED', 'no answer', { retryable: true })
      return { expiresAt: 0n }
    }
    await createPayments(issuer, SILENT, QUICK).begin(field, 10n).reserved
    await until(() => issuer.renewals >= 2)
    isAway = false
    const before = issuer.renewals
    await until(() => issuer.renewals > before)
    const { renewals } = issuer
    await sleep(20)
    expect(issuer.renewals).toBe(renewals)

    issuer.onRenew = async () => {
      throw new IssuerRefusal('ALREADY_CAPTURED', 'captured')
    }
    issuer.renewals = 0
    await createPayments(issuer, SILENT, QUICK).begin(field, 10n).reserved
    await until(() => issuer.renewals === 1)
    await sleep(20)
    expect(issuer.renewals).toBe(1)
  })
})
