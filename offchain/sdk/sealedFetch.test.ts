/** One exchange from the client's side: through a real relay to a real gateway, and against gateways and relays that cheat. @module */
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { serve } from '@hono/node-server'
import { createPublicClient, http, type PublicClient } from 'viem'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createDevelopmentAttester } from '#node/attesters/development.ts'
import { bootEnclave, type Enclave } from '#node/enclave/enclave.ts'
import { createPublicApp } from '#node/enclave/publicApp.ts'
import { ReceiptLog } from '#node/enclave/receiptLog.ts'
import type { InnerResponse } from '#node/sealing/innerResponse.ts'
import { createNodeSuites } from '#node/sealing/nodeSuites.ts'
import { ReplayMemory } from '#node/sealing/replayMemory.ts'
import { createSealedServer } from '#node/sealing/sealedServer.ts'
import { decodeUtf8, encodeUtf8, type Hex, toHex } from '#protocol/bytes.ts'
import { type PriceList, serializePriceList } from '#protocol/prices.ts'
import { signHead } from '#protocol/receipt/head.ts'
import { hashName, hashPrivateReceipt, hashPublicReceipt, receiptLeaf } from '#protocol/receipt/receipt.ts'
import { verifyReceipt } from '#protocol/receipt/verifyReceipt.ts'
import { createWebSuites } from '#protocol/sealing/webSuites.ts'
import { PADDING_FIELD } from '#protocol/shape.ts'
import {
  NONCE_FIELD,
  parseReceiptFile,
  parseReceiptMessage,
  type ReceiptMessage,
  serializeReceiptMessage,
} from '#protocol/wire/receiptFile.ts'
import { type Backend, BackendError, type ChatEvent } from '../../gateway/backends/backend.ts'
import { createReceiptIssuer } from '../../gateway/receiptIssuer.ts'
import { createTarget, shapeError } from '../../gateway/target.ts'
import { createRelayApp } from '../relay/app.ts'
import { RELAY_LIMITS } from '../relay/config.ts'
import type { TrustedGateway } from './gateway.ts'
import type { Step } from './options.ts'
import type { ExchangeAccess } from './receiptCheck.ts'
import { exchange, readInnerRequest, SEALED_ORIGIN, type SealedAnswer } from './sealedFetch.ts'

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
const CHAT_URL = `${SEALED_ORIGIN}/v1/chat/completions`

const nodeSuites = createNodeSuites()
const enclave: Enclave = await bootEnclave(
  'gateway',
  BINDING,
  createDevelopmentAttester({ pcrs: new Map([[0, new Uint8Array(48).fill(1)]]), now: Date.now }),
  nodeSuites,
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

async function listen(server: Server): Promise<string> {
  servers.push(server)
  if (!server.listening) await once(server, 'listening')
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

type Tamper = (response: InnerResponse) => InnerResponse

type Network = {
  readonly gateway: TrustedGateway
  readonly access: ExchangeAccess
  readonly steps: Step[]
  readonly log: ReceiptLog
  readonly answers: { readonly openAnswers: number }
}

/** A gateway whose answers `tamper` may change before they are sealed, behind a relay. */
async function startNetwork(chat: Backend['chat'], tamper: Tamper = (response) => response): Promise<Network> {
  const backend: Backend = { models: [{ name: 'demo', claim: { source: 'operator' } }], chat }
  const [price] = PRICES.models
  if (price === undefined) throw new Error('expected a price')
  const priceList = serializePriceList(PRICES)
  const log = new ReceiptLog({
    enclave: enclave.statement.enclave,
    privateKey: enclave.privateKey,
    domain: BINDING,
    tick: { receipts: 1, seconds: 1 },
    leavesKeptMax: 100,
  })
  const target = createTarget({
    models: new Map([['demo', { backend, price }]]),
    priceList,
    issuer: createReceiptIssuer(enclave.statement, priceList, log),
    answersMax: 4,
    refusesBecause: () => undefined,
    nowSeconds: () => Date.now() / 1000,
  })
  const sealed = createSealedServer({
    keys: enclave.keys,
    suites: nodeSuites,
    replay: new ReplayMemory(Date.now),
    handle: async (inner, seen) => tamper(await target.handle(inner, seen)),
    shapeError,
  })
  const gatewayApp = createPublicApp(enclave, sealed, () => [])
  const gatewayUrl = await listen(serve({ fetch: gatewayApp.fetch, hostname: '127.0.0.1', port: 0 }) as Server)
  const relay = createRelayApp(
    {
      listen: { host: '127.0.0.1', port: 0 },
      operator: 'a test',
      gateways: [{ name: 'g', url: gatewayUrl }],
      limits: RELAY_LIMITS,
    },
    { openRequests: 0, isDraining: false },
  )
  const relayUrl = await listen(serve({ fetch: relay.fetch, hostname: '127.0.0.1', port: 0 }) as Server)
  return { ...client(`${relayUrl}/gateways/g`), log, answers: target }
}

function client(url: string): { gateway: TrustedGateway; access: ExchangeAccess; steps: Step[] } {
  const steps: Step[] = []
  const gateway = {
    enclave: enclave.statement.enclave.toLowerCase() as Hex,
    operator: BINDING.operator,
    measurement: `0x${'00'.repeat(32)}`,
    isDevelopment: true,
    url: new URL(url),
    keyConfigs: enclave.keys.configs(),
  } as const
  const access = {
    // Nothing here asks the chain: only a settled proof does.
    client: createPublicClient({ transport: http('http://127.0.0.1:9') }) as PublicClient,
    chainId: BINDING.chainId,
    registry: BINDING.registry,
    settlement: BINDING.settlement,
    aggregatorUrl: undefined,
    suites: createWebSuites(),
    padding: 'balanced',
    timeoutMs: 5_000,
    onStep: (step: Step) => void steps.push(step),
  } as const
  return { gateway, access, steps }
}

type Route = Pick<Network, 'gateway' | 'access'>

async function ask(
  { gateway, access }: Route,
  fields: Record<string, unknown> = {},
  init: RequestInit = {},
): Promise<SealedAnswer> {
  const body = JSON.stringify({ model: 'demo', messages: [{ role: 'user', content: 'hi' }], stream: true, ...fields })
  const { inner, signal } = await readInnerRequest(CHAT_URL, { method: 'POST', body, ...init }, access.padding)
  return exchange(access, gateway, inner, signal)
}

function delta(content: string): ChatEvent {
  return { kind: 'delta', choice: 0, content, raw: { index: 0, delta: { content }, finish_reason: null } }
}

async function* hello(): AsyncGenerator<ChatEvent> {
  yield delta('Hel')
  yield delta('lo')
  yield { kind: 'finish', choice: 0, reason: 'stop', raw: { index: 0, delta: {}, finish_reason: 'stop' } }
  yield { kind: 'usage', promptTokens: 1, completionTokens: 2, reported: true }
}

async function* endless(_request: unknown, signal: AbortSignal): AsyncGenerator<ChatEvent> {
  while (!signal.aborted) {
    yield delta('word ')
    await sleep(1)
  }
  throw new BackendError(499, 'ABORTED', 'aborted', 'the request was cancelled')
}

/** Changes the receipt as JSON. */
function changingReceipt(change: (receipt: ReceiptMessage) => unknown): Tamper {
  return (response) => ({
    ...response,
    trailers: async () => {
      const trailers = (await response.trailers?.()) ?? []
      return trailers.map(([name, value]): [string, string] => [name, JSON.stringify(change(JSON.parse(value)))])
    },
  })
}

function flip(hex: Hex): Hex {
  return `${hex.slice(0, -1)}${hex.endsWith('0') ? '1' : '0'}` as Hex
}

async function codeOf(promise: Promise<unknown>): Promise<[string, string | undefined]> {
  try {
    await promise
  } catch (error) {
    if (!(error instanceof Error)) throw error
    return [
      'code' in error && typeof error.code === 'string' ? error.code : error.name,
      'reason' in error && typeof error.reason === 'string' ? error.reason : undefined,
    ]
  }
  throw new Error('expected a failure')
}

describe('readInnerRequest', () => {
  test.each([
    'https://api.example.com/v1/chat/completions',
    'http://gateway.sealpath.invalid/v1/models',
    'https://gateway.sealpath.invalid:444/v1/models',
    'https://gateway.sealpath.invalid.example/v1',
    'https://gateway.sealpath.invalid@example.com/v1',
  ])('refuses %s', async (url) => {
    expect(await codeOf(readInnerRequest(url, undefined, 'private'))).toEqual(['NOT_OURS', undefined])
    expect(await codeOf(readInnerRequest(new URL(url), undefined, 'private'))).toEqual(['NOT_OURS', undefined])
  })

  test('refuses a request that is made already for another address', async () => {
    const request = new Request('https://api.example.com/v1/models')
    expect(await codeOf(readInnerRequest(request, undefined, 'private'))).toEqual(['NOT_OURS', undefined])
  })

  test('drops what an SDK says about its caller, and keeps what the target needs', async () => {
    const headers = {
      'content-type': 'application/json',
      accept: 'application/json',
      authorization: 'Bearer secret',
      'user-agent': 'OpenAI/JS 1.2.3',
      cookie: 'a=b',
      'x-stainless-os': 'Linux',
      'openai-organization': 'org',
      [NONCE_FIELD]: '0x01',
    }
    const { inner } = await readInnerRequest(`${CHAT_URL}?a=b`, { method: 'POST', headers, body: 'x' }, 'private')
    expect(inner.headers.map(([name]) => name).sort()).toEqual(
      ['accept', 'content-type', 'date', NONCE_FIELD, PADDING_FIELD].sort(),
    )
    expect(JSON.stringify(inner.headers)).not.toMatch(/secret|OpenAI|Linux|org|a=b/)
    expect(inner).toMatchObject({
      method: 'POST',
      scheme: 'https',
      authority: 'gateway.sealpath.invalid',
      path: '/v1/chat/completions?a=b',
      body: encodeUtf8('x'),
    })
  })

  test('lets the caller choose the padding of one request', async () => {
    const paddingOf = async (init: RequestInit): Promise<(string | undefined)[]> => {
      const { inner } = await readInnerRequest(CHAT_URL, init, 'private')
      return inner.headers.filter(([name]) => name === PADDING_FIELD).map(([, value]) => value)
    }
    expect(await paddingOf({})).toEqual(['private'])
    expect(await paddingOf({ headers: { [PADDING_FIELD]: 'off' } })).toEqual(['off'])
  })

  test('takes the signal from wherever the caller put it', async () => {
    const { signal } = new AbortController()
    expect((await readInnerRequest(CHAT_URL, { signal }, 'private')).signal).toBe(signal)
    const { signal: ofRequest } = await readInnerRequest(new Request(CHAT_URL, { signal }), undefined, 'private')
    expect(ofRequest).toBeInstanceOf(AbortSignal)
  })
})

describe('a good exchange', () => {
  test.each([true, false])('gives the answer and a receipt that it opens itself, streamed: %s', async (stream) => {
    const network = await startNetwork(hello)
    const headers = { [NONCE_FIELD]: '0x0102' }
    const { response, receipt } = await ask(network, { stream }, { headers })
    expect(response.status).toBe(200)
    const text = await response.text()
    expect(text).not.toMatch(/^:/m)
    const { file, leaf, feeAmount } = await receipt
    expect(verifyReceipt(file)).toMatchObject({ ok: true })
    expect(decodeUtf8(file.openings?.output.data ?? new Uint8Array())).toBe('Hello')
    expect(decodeUtf8(file.openings?.response.data ?? new Uint8Array())).toBe(text)
    expect(file.openings?.nonce.data).toEqual(Uint8Array.of(1, 2))
    expect(feeAmount).toBe(3_000_000_000_000n)
    expect(parseReceiptFile((await receipt).toJson())).toEqual(file)
    expect(network.steps.map(({ kind }) => kind)).toEqual(['request-sealed', 'answer-begun', 'receipt-verified'])
    expect(network.steps[0]).toMatchObject({ postQuantum: true })
    expect(network.steps[2]).toMatchObject({ leaf, feeUnits: 3n })
  })

  test('passes on events as they come', async () => {
    const step = Promise.withResolvers<void>()
    const network = await startNetwork(async function* () {
      yield delta('first')
      await step.promise
      yield* hello()
    })
    const { response, receipt } = await ask(network)
    const reader = response.body?.getReader()
    expect(decodeUtf8((await reader?.read())?.value ?? new Uint8Array())).toContain('first')
    step.resolve()
    while ((await reader?.read())?.done === false);
    expect((await receipt).file.public.outcome).toBe('complete')
  })

  test('gives errors of the gateway as they are, without a receipt', async () => {
    const network = await startNetwork(hello)
    const { response, receipt } = await ask(network, { model: 'other' })
    expect([response.status, ((await response.json()) as { error: { code: string } }).error.code]).toEqual([
      404,
      'model_not_found',
    ])
    expect(await codeOf(receipt)).toEqual(['RECEIPT_MISSING', undefined])
  })

  test('needs no receipt for what is not an answer', async () => {
    const network = await startNetwork(hello)
    const { inner } = await readInnerRequest(`${SEALED_ORIGIN}/v1/models`, undefined, 'balanced')
    const { response, receipt } = await exchange(network.access, network.gateway, inner, undefined)
    expect(await response.json()).toMatchObject({ data: [{ id: 'demo' }] })
    expect(await codeOf(receipt)).toEqual(['RECEIPT_MISSING', undefined])
  })
})

describe('a gateway that cheats', () => {
  const CHANGES: readonly (readonly [string, string, (receipt: ReceiptMessage) => unknown])[] = [
    ['the enclave', 'PATH_MISMATCH', (r) => ({ ...r, public: { ...r.public, enclave: flip(r.public.enclave) } })],
    ['the model', 'PATH_MISMATCH', (r) => ({ ...r, public: { ...r.public, model: flip(r.public.model) } })],
    ['the output', 'PATH_MISMATCH', (r) => ({ ...r, public: { ...r.public, output: flip(r.public.output) } })],
    ['the fee', 'PATH_MISMATCH', (r) => ({ ...r, private: { ...r.private, fee: '2' } })],
    ['the root', 'PATH_MISMATCH', (r) => ({ ...r, head: { ...r.head, root: flip(r.head.root) } })],
    ['the index', 'INDEX_OUT_OF_RANGE', (r) => ({ ...r, index: '1' })],
    ['the path', 'PATH_MISMATCH', (r) => ({ ...r, path: [r.head.root] })],
    [
      'the signature',
      'HEAD_NOT_SIGNED',
      (r) => ({ ...r, head: { ...r.head, signature: { ...r.head.signature, r: flip(r.head.signature.r) } } }),
    ],
    ['the chain', 'HEAD_NOT_SIGNED', (r) => ({ ...r, chainId: 1 })],
    ['the registry', 'WRONG_SETTLEMENT', (r) => ({ ...r, registry: flip(r.registry) })],
    ['the settlement contract', 'HEAD_NOT_SIGNED', (r) => ({ ...r, settlement: flip(r.settlement) })],
    ['its form', 'MALFORMED', (r) => ({ ...r, path: 'none' })],
    ['everything', 'MALFORMED', () => null],
  ]

  test.each(CHANGES)('in the receipt is caught before the body ends: %s', async (_what, reason, change) => {
    const network = await startNetwork(hello, changingReceipt(change))
    const { response, receipt } = await ask(network)
    expect(await codeOf(response.text())).toEqual(['RECEIPT_REJECTED', reason])
    expect(await codeOf(receipt)).toEqual(['RECEIPT_REJECTED', reason])
  })

  /** What a cheating enclave would do: change the receipt and sign the log anew. The first receipt of a log is its root. */
  function signedAnew(change: (receipt: ReceiptMessage) => ReceiptMessage): Tamper {
    return changingReceipt((plain) => {
      const receipt = change(parseReceiptMessage(JSON.stringify(plain)))
      const root = toHex(receiptLeaf(hashPublicReceipt(receipt.public), hashPrivateReceipt(receipt.private)))
      const head = { kind: 'log', enclave: enclave.statement.enclave, size: 1n, root } as const
      const { signature } = signHead(head, BINDING, enclave.privateKey)
      return JSON.parse(serializeReceiptMessage({ ...receipt, head: { size: 1n, root, signature } }))
    })
  }

  test('in nothing but signing anew is not caught: the change is what counts', async () => {
    const network = await startNetwork(
      hello,
      signedAnew((receipt) => receipt),
    )
    const { response, receipt } = await ask(network)
    await response.text()
    expect((await receipt).file.head.size).toBe(1n)
  })

  test.each<[string, (receipt: ReceiptMessage) => ReceiptMessage]>([
    ['WRONG_REQUEST', (r) => ({ ...r, private: { ...r.private, encapsulated: flip(r.private.encapsulated) } })],
    ['WRONG_MODEL', (r) => ({ ...r, public: { ...r.public, model: hashName('a cheaper model') } })],
    ['COMMITMENT_MISMATCH', (r) => ({ ...r, public: { ...r.public, output: flip(r.public.output) } })],
    ['COMMITMENT_MISMATCH', (r) => ({ ...r, public: { ...r.public, request: flip(r.public.request) } })],
    ['COMMITMENT_MISMATCH', (r) => ({ ...r, public: { ...r.public, nonce: flip(r.public.nonce) } })],
    ['COMMITMENT_MISMATCH', (r) => ({ ...r, private: { ...r.private, toolCalls: flip(r.private.toolCalls) } })],
  ])('with the key of the enclave is caught: %s', async (reason, change) => {
    const { response } = await ask(await startNetwork(hello, signedAnew(change)))
    expect(await codeOf(response.text())).toEqual(['RECEIPT_REJECTED', reason])
  })

  test('with the receipt of another exchange is caught', async () => {
    let first: readonly (readonly [string, string])[] | undefined
    const network = await startNetwork(hello, (response) => ({
      ...response,
      trailers: async () => {
        const own = (await response.trailers?.()) ?? []
        first ??= own
        return first
      },
    }))
    const own = await ask(network)
    await own.response.text()
    const { response } = await ask(network)
    expect(await codeOf(response.text())).toEqual(['RECEIPT_REJECTED', 'COMMITMENT_MISMATCH'])
  })

  test('by another answer than the receipt states is caught', async () => {
    const network = await startNetwork(hello, (response) => ({ ...response, body: encodeUtf8('{"choices":[]}') }))
    const { response } = await ask(network, { stream: false })
    expect(await codeOf(response.text())).toEqual(['RECEIPT_REJECTED', 'COMMITMENT_MISMATCH'])
  })

  test.each([200, 201, 203, 299])('by leaving the receipt out is caught, also under status %s', async (status) => {
    const network = await startNetwork(hello, (response) => ({ ...response, status, trailers: () => [['other', 'x']] }))
    const { response, receipt } = await ask(network)
    expect(await codeOf(response.text())).toEqual(['RECEIPT_MISSING', undefined])
    expect(await codeOf(receipt)).toEqual(['RECEIPT_MISSING', undefined])
  })

  test('as another enclave than the one that was chosen is caught', async () => {
    const network = await startNetwork(hello)
    const gateway = { ...network.gateway, enclave: flip(network.gateway.enclave) }
    const { response } = await ask({ ...network, gateway })
    expect(await codeOf(response.text())).toEqual(['RECEIPT_REJECTED', 'WRONG_ENCLAVE'])
  })

  test.each([
    ['settlement', { settlement: flip(BINDING.settlement) }],
    ['chain', { chainId: 1 }],
  ])('for another %s is caught', async (_what, fields) => {
    const network = await startNetwork(hello)
    const { response } = await ask({ ...network, access: { ...network.access, ...fields } })
    expect(await codeOf(response.text())).toEqual(['RECEIPT_REJECTED', 'WRONG_SETTLEMENT'])
  })

  test.each([204, 205, 304])('with a head that is no response is refused: %s', async (status) => {
    const network = await startNetwork(hello, (response) => ({ ...response, status }))
    expect(await codeOf(ask(network))).toEqual(['ANSWER_CUT', undefined])
  })
})

describe('an answer that breaks off', () => {
  test('is cut for the body and the receipt', async () => {
    const network = await startNetwork(async function* () {
      yield delta('Hel')
      throw new BackendError(502, 'UPSTREAM_CUT', 'server_error', 'cut')
    })
    const { response, receipt } = await ask(network)
    expect(await codeOf(response.text())).toEqual(['ANSWER_CUT', undefined])
    expect(await codeOf(receipt)).toEqual(['ANSWER_CUT', undefined])
  })

  test('before its head is cut', async () => {
    const url = await listen(
      createServer((_request, response) => {
        response.writeHead(200, { 'content-type': 'message/ohttp-chunked-res' }).end()
      }).listen(0, '127.0.0.1'),
    )
    expect(await codeOf(ask(client(url)))).toEqual(['ANSWER_CUT', undefined])
  })

  test('or that does not open is cut', async () => {
    const url = await listen(
      createServer((_request, response) => {
        response.writeHead(200, { 'content-type': 'message/ohttp-chunked-res' }).end(Buffer.alloc(5_000, 7))
      }).listen(0, '127.0.0.1'),
    )
    expect(await codeOf(ask(client(url)))).toEqual(['ANSWER_CUT', undefined])
  })
})

describe('a relay', () => {
  test('that is down has failed', async () => {
    expect(await codeOf(ask(client('http://127.0.0.1:9/gateways/g')))).toEqual(['RELAY_FAILED', undefined])
  })

  test.each([
    [503, 'application/problem+json'],
    [502, 'text/html'],
    [200, 'text/html'],
    [200, 'message/ohttp-res'],
    [400, 'text/html'],
  ])('that answers %s with %s has failed', async (status, type) => {
    const server = createServer(
      (_request, response) => void response.writeHead(status, { 'content-type': type }).end('x'),
    )
    expect(await codeOf(ask(client(await listen(server.listen(0, '127.0.0.1')))))).toEqual(['RELAY_FAILED', undefined])
  })

  test('that does not answer in time has failed', async () => {
    const { gateway, access } = client(await listen(createServer(() => {}).listen(0, '127.0.0.1')))
    expect(await codeOf(ask({ gateway, access: { ...access, timeoutMs: 30 } }))).toEqual(['RELAY_FAILED', undefined])
  })

  test('that answers but brings no head in time has failed', async () => {
    const server = createServer((_request, response) => {
      response.writeHead(200, { 'content-type': 'message/ohttp-chunked-res' }).flushHeaders()
    })
    const { gateway, access } = client(await listen(server.listen(0, '127.0.0.1')))
    expect(await codeOf(ask({ gateway, access: { ...access, timeoutMs: 30 } }))).toEqual(['RELAY_FAILED', undefined])
  })

  test('in front of a gateway with other keys gets nothing opened', async () => {
    const network = await startNetwork(hello)
    const keyConfigs = network.gateway.keyConfigs.map((config) => ({ ...config, keyId: 77 }))
    const gateway = { ...network.gateway, keyConfigs }
    expect(await codeOf(ask({ ...network, gateway }))).toEqual(['REQUEST_NOT_OPENED', undefined])
  })
})

describe('a caller', () => {
  test('that aborted before gets its reason, and nothing is sent', async () => {
    const network = await startNetwork(hello)
    const reason = new Error('mine')
    await expect(ask(network, {}, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
    expect(network.log.size).toBe(0)
  })

  test('that aborts while it waits gets its reason', async () => {
    const begun = Promise.withResolvers<void>()
    // biome-ignore lint/correctness/useYield: it never gets to its first event.
    const network = await startNetwork(async function* (_request, signal) {
      begun.resolve()
      await once(signal, 'abort')
      throw new BackendError(499, 'ABORTED', 'aborted', 'the request was cancelled')
    })
    const abort = new AbortController()
    const reason = new Error('mine')
    const asked = ask(network, {}, { signal: abort.signal })
    await begun.promise
    abort.abort(reason)
    await expect(asked).rejects.toBe(reason)
  })

  test('that aborts mid-answer gets its reason from the body, and the gateway stops', async () => {
    const network = await startNetwork(endless)
    const abort = new AbortController()
    const { response, receipt } = await ask(network, {}, { signal: abort.signal })
    const reader = response.body?.getReader()
    await reader?.read()
    abort.abort()
    const failed = (async () => {
      while (!(await reader?.read())?.done);
    })()
    await expect(failed).rejects.toMatchObject({ name: 'AbortError' })
    await expect(receipt).rejects.toMatchObject({ name: 'AbortError' })
    while (network.answers.openAnswers > 0) await sleep(1)
    expect(network.log.size).toBe(1)
  })

  test('that stops reading frees everything, and its receipt says that the answer was not read', async () => {
    const network = await startNetwork(endless)
    const { response, receipt } = await ask(network)
    const reader = response.body?.getReader()
    await reader?.read()
    const pending = reader?.read()
    await reader?.cancel()
    await pending
    expect(await codeOf(receipt)).toEqual(['ANSWER_CUT', undefined])
    while (network.answers.openAnswers > 0) await sleep(1)
  })

  test('that never asks for the receipt has nothing to handle', async () => {
    const network = await startNetwork(
      hello,
      changingReceipt(() => null),
    )
    const { response } = await ask(network)
    expect(await codeOf(response.text())).toEqual(['RECEIPT_REJECTED', 'MALFORMED'])
  })

  test('is not kept waiting by a timer after a failure', async () => {
    const before = process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length
    const { gateway, access } = client('http://127.0.0.1:9/gateways/g')
    await codeOf(ask({ gateway, access: { ...access, timeoutMs: 600_000 } }))
    expect(process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length).toBeLessThanOrEqual(before)
  })
})
