/** The target behind a real sealed server and a real client, with a model server of this file's own. @module */
import { once } from 'node:events'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { serve } from '@hono/node-server'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createDevelopmentAttester } from '#node/attesters/development.ts'
import { bootEnclave, type Enclave } from '#node/enclave/enclave.ts'
import { createPublicApp } from '#node/enclave/publicApp.ts'
import { ReceiptLog } from '#node/enclave/receiptLog.ts'
import { createNodeSuites } from '#node/sealing/nodeSuites.ts'
import { ReplayMemory } from '#node/sealing/replayMemory.ts'
import { createSealedServer } from '#node/sealing/sealedServer.ts'
import { decodeUtf8, encodeUtf8, fromHex, joinBytes, toHex } from '#protocol/bytes.ts'
import { feeRoundedUp, hashPriceList, type PriceList, serializePriceList } from '#protocol/prices.ts'
import { readAnswer } from '#protocol/receipt/answer.ts'
import { deriveSalts } from '#protocol/receipt/commitment.ts'
import { hashName, ZERO_HASH } from '#protocol/receipt/receipt.ts'
import { verifyReceipt } from '#protocol/receipt/verifyReceipt.ts'
import type { Field } from '#protocol/sealing/binaryHttpFields.ts'
import { type SealedHttpRequest, sealHttpRequest } from '#protocol/sealing/client.ts'
import { FillerStripper, PADDING_FIELD, type PaddingMode } from '#protocol/shape.ts'
import {
  NONCE_FIELD,
  openingsOf,
  parseReceiptMessage,
  RECEIPT_TRAILER,
  type ReceiptMessage,
} from '#protocol/wire/receiptFile.ts'
import { type Backend, BackendError, type ChatEvent, type ChatRequest } from './backends/backend.ts'
import { createReceiptIssuer } from './receiptIssuer.ts'
import { createTarget, shapeError, type Target } from './target.ts'

const NOW = 1_800_000_000
const BINDING = {
  chainId: 31_337,
  registry: `0x${'4e'.repeat(20)}`,
  settlement: `0x${'5e'.repeat(20)}`,
  operator: `0x${'0e'.repeat(20)}`,
} as const
const PRICES: PriceList = {
  format: 'sealpath-prices/1',
  models: [
    {
      model: 'demo',
      source: 'operator',
      requestUnits: 1n,
      promptUnitsPerMillion: 0n,
      completionUnitsPerMillion: 1_000_000n,
    },
  ],
}
const PRICE_LIST = serializePriceList(PRICES)
const [DEMO] = PRICES.models
if (DEMO === undefined) throw new Error('expected a model')
const DEMO_PRICE = DEMO

const suites = createNodeSuites()
const enclave: Enclave = await bootEnclave(
  'gateway',
  BINDING,
  createDevelopmentAttester({ pcrs: new Map([[0, new Uint8Array(48).fill(1)]]), now: Date.now }),
  suites,
)

const servers: Server[] = []
const rejections: unknown[] = []
const onRejection = (reason: unknown): void => void rejections.push(reason)

beforeEach(() => {
  rejections.length = 0
  process.on('unhandledRejection', onRejection)
})

afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections()
    server.close()
    await once(server, 'close')
  }
  await sleep(1)
  process.off('unhandledRejection', onRejection)
  expect(rejections).toEqual([])
})

type Script = (request: ChatRequest, signal: AbortSignal) => AsyncGenerator<ChatEvent>

type Gateway = {
  readonly target: Target
  readonly log: ReceiptLog
  readonly sealed: (request: Request) => Promise<Response>
  /** Every receipt, also those that no client got. */
  readonly issued: ReceiptMessage[]
  readonly faults: unknown[]
  /** How many of the model's answers were begun, and have ended or were stopped. */
  readonly model: { begun: number; ended: number }
}

function startGateway(
  script: Script,
  options: { answersMax?: number; refusal?: string; leavesMax?: number } = {},
): Gateway {
  const model = { begun: 0, ended: 0 }
  const backend: Backend = {
    models: [{ name: 'demo', claim: { source: 'operator' }, contextTokens: 128 }],
    async *chat(request, signal) {
      model.begun++
      try {
        yield* script(request, signal)
      } finally {
        model.ended++
      }
    },
  }
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
  const target = createTarget({
    models: new Map([['demo', { backend, price: DEMO_PRICE }]]),
    priceList: PRICE_LIST,
    issuer: {
      ...issuer,
      async issue(record, nowSeconds) {
        const receipt = await issuer.issue(record, nowSeconds)
        issued.push(receipt)
        return receipt
      },
    },
    answersMax: options.answersMax ?? 4,
    refusesBecause: () => options.refusal,
    nowSeconds: () => NOW,
  })
  const sealed = createSealedServer({
    keys: enclave.keys,
    suites,
    replay: new ReplayMemory(Date.now),
    handle: target.handle,
    shapeError,
    onFault: (error) => faults.push(error),
  })
  return { target, log, sealed, issued, faults, model }
}

function delta(content: string, choice = 0): ChatEvent {
  return { kind: 'delta', choice, content, raw: { index: choice, delta: { content }, finish_reason: null } }
}

function finish(reason: string): ChatEvent {
  return { kind: 'finish', choice: 0, reason, raw: { index: 0, delta: {}, finish_reason: reason } }
}

const USAGE: ChatEvent = { kind: 'usage', promptTokens: 7, completionTokens: 20, reported: true }

async function* hello(): AsyncGenerator<ChatEvent> {
  yield delta('Hel')
  yield delta('lo')
  yield finish('stop')
  yield USAGE
}

/** A model that goes on until its client leaves. */
async function* endless(_request: ChatRequest, signal: AbortSignal): AsyncGenerator<ChatEvent> {
  for (;;) {
    yield delta('word ')
    if (signal.aborted) throw new BackendError(499, 'ABORTED', 'aborted', 'the request was cancelled')
    await sleep(1)
  }
}

type Ask = {
  readonly method?: string
  readonly path?: string
  readonly body?: unknown
  readonly text?: string
  readonly headers?: readonly Field[]
  readonly padding?: PaddingMode
  readonly chunked?: boolean
}

function bodyOf(ask: Ask): Uint8Array {
  return encodeUtf8(ask.text ?? (ask.body === undefined ? '' : JSON.stringify(ask.body)))
}

function chat(fields: Record<string, unknown> = {}): Record<string, unknown> {
  return { model: 'demo', messages: [{ role: 'user', content: 'hi' }], ...fields }
}

async function seal(ask: Ask): Promise<SealedHttpRequest> {
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

function outer(sealed: SealedHttpRequest, signal?: AbortSignal): Request {
  return new Request('http://g/gateway', {
    method: 'POST',
    headers: { 'content-type': sealed.contentType },
    body: sealed.body,
    ...(signal && { signal }),
  })
}

type Answer = { status: number; text: string; body: Uint8Array; trailers: readonly Field[]; sealedBytes: number }

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

async function send(gateway: Gateway, ask: Ask): Promise<Answer & { sealed: SealedHttpRequest }> {
  const sealed = await seal(ask)
  return { ...(await open(sealed, await gateway.sealed(outer(sealed)))), sealed }
}

function receiptIn(answer: Answer): ReceiptMessage {
  const text = answer.trailers.find(([name]) => name === RECEIPT_TRAILER)?.[1]
  if (text === undefined) throw new Error('expected a receipt')
  return parseReceiptMessage(text)
}

/** Checks the receipt with what the client alone has: what it sent, what it read, and the salts it derives. */
async function expectVerified(
  answer: Answer & { sealed: SealedHttpRequest },
  ask: Ask,
  nonce = '0x',
): Promise<ReceiptMessage> {
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

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(1)
}

describe('a chat', () => {
  test.each(['off', 'balanced', 'private'] as const)(
    'streams, and ends with a receipt that verifies: %s',
    async (padding) => {
      const gateway = startGateway(hello)
      const ask = { body: chat({ stream: true }), padding, headers: [[NONCE_FIELD, '0xABcd']] } as const
      const answer = await send(gateway, ask)
      expect(answer.status).toBe(200)
      const events = answer.text.split('\n\n')
      expect(events.at(-2)).toBe('data: [DONE]')
      expect(answer.text).not.toContain('usage')
      const receipt = await expectVerified(answer, ask, '0xabcd')
      expect(receipt.public.outcome).toBe('complete')
      expect(receipt.private).toMatchObject({ promptTokens: 7n, completionTokens: 20n, fee: 21n })
      expect(decodeUtf8(readAnswer(answer.body, 'text/event-stream').output)).toBe('Hello')
      expect(gateway.target.openAnswers).toBe(0)
      expect(gateway.log.size).toBe(1)
      expect(gateway.faults).toEqual([])
    },
  )

  test('tells the usage in a stream only to clients that asked', async () => {
    const gateway = startGateway(hello)
    const ask = { body: chat({ stream: true, stream_options: { include_usage: true } }) }
    const answer = await send(gateway, ask)
    expect(answer.text).toContain('"usage":{"prompt_tokens":7,"completion_tokens":20,"total_tokens":27}')
    await expectVerified(answer, ask)
  })

  test.each([true, false])('answers whole with a receipt that verifies, to a chunked request: %s', async (chunked) => {
    const gateway = startGateway(hello)
    const ask = { body: chat(), chunked }
    const answer = await send(gateway, ask)
    expect(JSON.parse(answer.text)).toMatchObject({
      object: 'chat.completion',
      model: 'demo',
      choices: [{ message: { content: 'Hello' }, finish_reason: 'stop' }],
    })
    await expectVerified(answer, ask)
    expect(gateway.target.openAnswers).toBe(0)
  })

  test('answers a stream to a request that is not chunked', async () => {
    const gateway = startGateway(hello)
    const ask = { body: chat({ stream: true }), chunked: false }
    await expectVerified(await send(gateway, ask), ask)
    expect(gateway.target.openAnswers).toBe(0)
  })

  test.each([
    ['length', 'length'],
    ['tool_calls', 'toolCalls'],
    ['content_filter', 'filtered'],
    ['stop', 'complete'],
  ])('that ends by %s has the outcome %s', async (reason, outcome) => {
    const gateway = startGateway(async function* () {
      yield delta('a')
      yield finish(reason)
      yield USAGE
    })
    const ask = { body: chat({ stream: true }) }
    expect((await expectVerified(await send(gateway, ask), ask)).public.outcome).toBe(outcome)
  })

  test('commits to tool calls, streamed and whole', async () => {
    const calls = [{ index: 0, id: 'c', type: 'function', function: { name: 'f', arguments: '{}' } }]
    const gateway = startGateway(async function* () {
      yield {
        kind: 'delta',
        choice: 0,
        content: '',
        raw: { index: 0, delta: { tool_calls: calls }, finish_reason: null },
      }
      yield finish('tool_calls')
      yield USAGE
    })
    for (const stream of [true, false]) {
      const ask = { body: chat({ stream }) }
      const answer = await send(gateway, ask)
      await expectVerified(answer, ask)
      expect(answer.text).toContain('"name":"f"')
    }
    expect(gateway.log.size).toBe(2)
  })

  test('is signed together with its neighbours, each proven on its own', async () => {
    const gateway = startGateway(hello, { answersMax: 10 })
    const asks = Array.from({ length: 8 }, (_, i) => ({
      body: chat({ messages: [{ role: 'user', content: `${i}` }] }),
    }))
    const answers = await Promise.all(asks.map((ask) => send(gateway, ask)))
    for (const [i, answer] of answers.entries()) await expectVerified(answer, asks[i] ?? {})
    expect(new Set(answers.map((answer) => receiptIn(answer).index)).size).toBe(8)
    expect(gateway.log.size).toBe(8)
  })
})

test('lists models and serves the exact price list', async () => {
  const gateway = startGateway(hello)
  const models = await send(gateway, { method: 'GET', path: '/v1/models' })
  expect(JSON.parse(models.text)).toEqual({
    object: 'list',
    data: [{ id: 'demo', object: 'model', created: 0, owned_by: 'sealpath', source: 'operator', context_length: 128 }],
  })
  const prices = await send(gateway, { method: 'GET', path: '/v1/prices' })
  expect(prices.text).toBe(PRICE_LIST)
  expect([models.trailers, prices.trailers]).toEqual([[], []])
})

const REFUSED: readonly (readonly [string, number, string, Ask])[] = [
  ['an unknown resource', 404, 'not_found', { method: 'GET', path: '/v1/nothing', body: chat() }],
  ['another method', 404, 'not_found', { method: 'DELETE', body: chat() }],
  ['an unknown model', 404, 'model_not_found', { body: chat({ model: 'other' }) }],
  ['a body that is no JSON', 400, 'invalid_request', { text: '{"model":' }],
  ['a body that is no object', 400, 'invalid_request', { body: [1] }],
  ['no messages', 400, 'invalid_request', { body: { model: 'demo', messages: [] } }],
  ['a nonce that is no hex', 400, 'invalid_request', { body: chat(), headers: [[NONCE_FIELD, '0x1']] }],
  ['a nonce of 65 bytes', 400, 'invalid_request', { body: chat(), headers: [[NONCE_FIELD, `0x${'00'.repeat(65)}`]] }],
]

describe.each(REFUSED)('refuses %s', (_what, status, code, ask) => {
  test.each(['off', 'balanced', 'private'] as const)('without a receipt: %s', async (padding) => {
    const gateway = startGateway(hello)
    const answer = await send(gateway, { ...ask, padding })
    expect(answer.status).toBe(status)
    expect(JSON.parse(answer.text).error.code).toBe(code)
    expect(answer.trailers).toEqual([])
    expect(gateway.log.size).toBe(0)
    expect(gateway.target.openAnswers).toBe(0)
    expect(gateway.model.begun).toBe(0)
  })
})

test('gives every refusal the size of one full cell, unless padding is off', async () => {
  const sizes = async (padding: PaddingMode): Promise<Set<number>> => {
    const answers = await Promise.all(REFUSED.map(([, , , ask]) => send(startGateway(hello), { ...ask, padding })))
    const busy = await send(startGateway(hello, { refusal: 'stopping' }), { body: chat(), padding })
    return new Set([...answers, busy].map(({ sealedBytes }) => sealedBytes))
  }
  const [cell] = await sizes('private')
  expect(await sizes('private')).toEqual(new Set([cell]))
  expect(await sizes('balanced')).toEqual(new Set([cell]))
  expect(cell).toBeGreaterThan(4_096)
  expect((await sizes('off')).size).toBeGreaterThan(1)
})

test('takes a nonce of 64 bytes', async () => {
  const nonce = `0x${'7f'.repeat(64)}`
  const ask = { body: chat(), headers: [[NONCE_FIELD, nonce]] as Field[] }
  await expectVerified(await send(startGateway(hello), ask), ask, nonce)
})

test('refuses new answers with the reason while it must not start any', async () => {
  const gateway = startGateway(hello, { refusal: 'the gateway is stopping: try another one' })
  const answer = await send(gateway, { body: chat() })
  expect(answer.status).toBe(503)
  expect(JSON.parse(answer.text).error).toMatchObject({
    code: 'overloaded',
    message: 'the gateway is stopping: try another one',
  })
  expect((await send(gateway, { method: 'GET', path: '/v1/models' })).status).toBe(200)
})

test('answers as many at once as it may, refuses one more, and takes it when one is done', async () => {
  const gate = Promise.withResolvers<void>()
  const gateway = startGateway(
    async function* () {
      yield delta('a')
      await gate.promise
      yield finish('stop')
      yield USAGE
    },
    { answersMax: 2 },
  )
  const waiting = [send(gateway, { body: chat({ stream: true }) }), send(gateway, { body: chat() })]
  await until(() => gateway.target.openAnswers === 2)
  const refused = await send(gateway, { body: chat() })
  expect(refused.status).toBe(503)
  expect(gateway.target.openAnswers).toBe(2)
  gate.resolve()
  expect((await Promise.all(waiting)).map(({ status }) => status)).toEqual([200, 200])
  expect(gateway.target.openAnswers).toBe(0)
  expect((await send(gateway, { body: chat() })).status).toBe(200)
})

describe('a model server that fails', () => {
  const failing: Script = async function* () {
    yield delta('Hel')
    throw new BackendError(502, 'UPSTREAM_CUT', 'server_error', 'the model server failed')
  }

  test.each(['off', 'balanced', 'private'] as const)(
    'mid-stream leaves a truncated answer and no receipt: %s',
    async (padding) => {
      const gateway = startGateway(failing)
      await expect(send(gateway, { body: chat({ stream: true }), padding })).rejects.toMatchObject({
        code: 'TRUNCATED',
      })
      await until(() => gateway.target.openAnswers === 0)
      // A receipt would come a moment later.
      await sleep(10)
      expect(gateway.log.size).toBe(0)
      expect(gateway.model.ended).toBe(1)
      expect(gateway.faults).toHaveLength(1)
    },
  )

  test.each([
    { stream: false, chunked: true },
    { stream: false, chunked: false },
  ])('before a whole answer is done is an error inside the seal: %o', async ({ stream, chunked }) => {
    const gateway = startGateway(failing)
    const answer = await send(gateway, { body: chat({ stream }), chunked })
    expect(answer.status).toBe(502)
    expect(JSON.parse(answer.text).error.code).toBe('upstream_cut')
    expect([gateway.log.size, gateway.target.openAnswers, gateway.model.ended]).toEqual([0, 0, 1])
  })

  test('in a stream to a request that is not chunked is an error inside the seal', async () => {
    const gateway = startGateway(failing)
    expect((await send(gateway, { body: chat({ stream: true }), chunked: false })).status).toBe(500)
    await until(() => gateway.target.openAnswers === 0)
    expect(gateway.log.size).toBe(0)
  })

  test.each([true, false])('before its first word is an error of its own, streamed: %s', async (stream) => {
    // biome-ignore lint/correctness/useYield: a refusal comes before the first event.
    const gateway = startGateway(async function* () {
      throw new BackendError(429, 'RATE_LIMITED', 'rate_limit_error', 'come back later')
    })
    const answer = await send(gateway, { body: chat({ stream }) })
    expect([answer.status, JSON.parse(answer.text).error.code]).toEqual([429, 'rate_limited'])
    expect([gateway.log.size, gateway.target.openAnswers]).toEqual([0, 0])
  })

  test('in a way nobody expected is an opaque error', async () => {
    // biome-ignore lint/correctness/useYield: it fails before the first event.
    const gateway = startGateway(async function* () {
      throw new TypeError('SECRET')
    })
    const answer = await send(gateway, { body: chat({ stream: true }) })
    expect(answer.status).toBe(500)
    expect(answer.text).not.toContain('SECRET')
    expect(gateway.target.openAnswers).toBe(0)
  })
})

test('cuts the answer when the log has no room for its receipt', async () => {
  const gateway = startGateway(hello, { leavesMax: 1 })
  expect((await send(gateway, { body: chat({ stream: true }) })).status).toBe(200)
  await expect(send(gateway, { body: chat({ stream: true }) })).rejects.toMatchObject({ code: 'TRUNCATED' })
  expect((await send(gateway, { body: chat() })).status).toBe(500)
  expect([gateway.log.size, gateway.target.openAnswers]).toEqual([1, 0])
})

describe('a client that leaves', () => {
  /** The fee as the settlement would see it. */
  function feesOf({ log }: Gateway): bigint | undefined {
    log.tick(NOW)
    return log.read(0, 100).head?.head.fees
  }

  test.each(['off', 'balanced', 'private'] as const)(
    'mid-stream is charged for what was produced, and the model stops: %s',
    async (padding) => {
      const gateway = startGateway(endless)
      const response = await gateway.sealed(outer(await seal({ body: chat({ stream: true }), padding })))
      const reader = response.body?.getReader()
      await reader?.read()
      await reader?.read()
      await reader?.cancel()
      await until(() => gateway.log.size === 1)
      await until(() => gateway.target.openAnswers === 0)
      const [receipt] = gateway.issued
      if (receipt === undefined) throw new Error('expected a receipt')
      expect(receipt.public.outcome).toBe('cut')
      expect(receipt.private.promptTokens).toBe(0n)
      const completionTokens = Number(receipt.private.completionTokens)
      expect(completionTokens).toBeGreaterThan(0)
      expect(feesOf(gateway)).toBe(feeRoundedUp(DEMO_PRICE, { promptTokens: 0, completionTokens }))
      expect(gateway.model.ended).toBe(1)
      expect(gateway.faults).toEqual([])
    },
  )

  test.each(['off', 'balanced', 'private'] as const)(
    'with everything but the receipt is charged all the same: %s',
    async (padding) => {
      const gateway = startGateway(hello)
      const sealed = await seal({ body: chat({ stream: true }), padding })
      const response = await gateway.sealed(outer(sealed))
      const reader = response.body?.getReader()
      const opener = sealed.openResponse()
      const stripper = new FillerStripper()
      let text = ''
      while (!text.includes('[DONE]')) {
        const next = await reader?.read()
        if (next?.value === undefined) throw new Error('expected more')
        for (const event of await opener.push(next.value)) {
          if (event.type === 'body') text += decodeUtf8(stripper.push(event.bytes))
        }
      }
      await reader?.cancel()
      await until(() => gateway.log.size === 1)
      expect(gateway.issued[0]?.public.outcome).toBe('cut')
      expect(feesOf(gateway)).toBe(21n)
      expect(gateway.target.openAnswers).toBe(0)
    },
  )

  test.each(['off', 'balanced', 'private'] as const)(
    'before the first byte frees its place and stops the model: %s',
    async (padding) => {
      const gateway = startGateway(endless)
      const response = await gateway.sealed(outer(await seal({ body: chat({ stream: true }), padding })))
      expect(gateway.target.openAnswers).toBe(1)
      await response.body?.cancel()
      await until(() => gateway.target.openAnswers === 0)
      expect(gateway.model.ended).toBe(1)
      expect(gateway.log.size).toBe(0)
    },
  )

  test('while its receipt is being signed is charged once', async () => {
    const gateway = startGateway(hello)
    const response = await gateway.sealed(outer(await seal({ body: chat({ stream: true }), padding: 'off' })))
    const reader = response.body?.getReader()
    // Three events and the end marker; what comes then is the receipt.
    for (let i = 0; i < 4; i++) await reader?.read()
    const last = reader?.read()
    for (let turn = 0; turn < 30; turn++) await Promise.resolve()
    await reader?.cancel()
    await last
    await until(() => gateway.log.size > 0)
    await sleep(10)
    expect(gateway.log.size).toBe(1)
  })

  test('while the model thinks frees its place', async () => {
    const abort = new AbortController()
    const begun = Promise.withResolvers<void>()
    // biome-ignore lint/correctness/useYield: it never gets to its first event.
    const gateway = startGateway(async function* (_request, signal) {
      begun.resolve()
      await once(signal, 'abort')
      throw new BackendError(499, 'ABORTED', 'aborted', 'the request was cancelled')
    })
    const answered = gateway.sealed(outer(await seal({ body: chat({ stream: true }) }), abort.signal))
    await begun.promise
    abort.abort()
    await answered
    expect([gateway.target.openAnswers, gateway.log.size, gateway.model.ended]).toEqual([0, 0, 1])
    expect(gateway.faults).toEqual([])
  })

  test('a real connection is noticed, charged once and freed', async () => {
    const gateway = startGateway(endless)
    const app = createPublicApp(enclave, gateway.sealed, () => [])
    const server = serve({ fetch: app.fetch, hostname: '127.0.0.1', port: 0 }) as Server
    servers.push(server)
    await once(server, 'listening')
    const sealed = await seal({ body: chat({ stream: true }), padding: 'private' })
    const abort = new AbortController()
    const response = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/gateway`, {
      method: 'POST',
      headers: { 'content-type': sealed.contentType },
      body: sealed.body,
      signal: abort.signal,
    })
    const reader = response.body?.getReader()
    await reader?.read()
    abort.abort()
    await until(() => gateway.log.size === 1)
    await until(() => gateway.target.openAnswers === 0)
    await sleep(20)
    expect(gateway.log.size).toBe(1)
    expect(gateway.issued.map((receipt) => receipt.public.outcome)).toEqual(['cut'])
    expect(gateway.model.ended).toBe(1)
  })

  test('is charged for tool calls as for text', async () => {
    const gateway = startGateway(async function* (_request, signal) {
      const calls = [{ index: 0, function: { name: 'f', arguments: '{}' } }]
      yield {
        kind: 'delta',
        choice: 0,
        content: '',
        raw: { index: 0, delta: { role: 'assistant' }, finish_reason: null },
      }
      yield {
        kind: 'delta',
        choice: 0,
        content: '',
        raw: { index: 0, delta: { tool_calls: calls }, finish_reason: null },
      }
      if (!signal.aborted) await once(signal, 'abort')
    })
    const response = await gateway.sealed(outer(await seal({ body: chat({ stream: true }), padding: 'off' })))
    const reader = response.body?.getReader()
    await reader?.read()
    await reader?.read()
    await reader?.cancel()
    await until(() => gateway.log.size === 1)
    expect(gateway.issued[0]?.private.completionTokens).toBe(1n)
  })
})

test('serves keys, health and evidence once there is some', async () => {
  const gateway = startGateway(hello)
  const app = createPublicApp(enclave, gateway.sealed, () => ['a reason'])
  const keys = await app.request('/ohttp-keys')
  expect(keys.headers.get('content-type')).toBe('application/ohttp-keys')
  expect(new Uint8Array(await keys.arrayBuffer())).toEqual(enclave.keyConfigs)
  expect((await app.request('/evidence')).status).toBe(503)
  await enclave.renewEvidence(new Uint8Array(32))
  expect((await app.request('/evidence')).status).toBe(200)
  expect((await app.request('/healthz')).status).toBe(200)
  const ready = await app.request('/readyz')
  expect([ready.status, await ready.json()]).toEqual([503, { state: 'not ready', reasons: ['a reason'] }])
  expect((await app.request('/gateway')).status).toBe(405)
})
