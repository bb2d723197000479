/**
 * What the wire shows on both sides of a relay in `private` mode, written down byte by byte: every header line and every length, of requests of all size
 * classes and of answers of all kinds. Real sockets, our own relay and gateways, our own client. @module
 */
import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Hex } from '#protocol/bytes.ts'
import { encodeRequest, type InnerRequest } from '#protocol/sealing/binaryHttp.ts'
import type { Field } from '#protocol/sealing/binaryHttpFields.ts'
import { CHUNK_BYTES_SEND } from '#protocol/sealing/chunkSealing.ts'
import { requestSizeClass } from '#protocol/sealing/padding.ts'
import { readVarint } from '#protocol/sealing/varint.ts'
import { cellClass, TICK_MS } from '#protocol/shape.ts'
import { formatSealed, PAYMENT_FIELD } from '#protocol/wire/paymentField.ts'
import { createOpenaiBackend } from '../../gateway/backends/openai.ts'
import type { IssuerClient } from '../../gateway/issuerClient.ts'
import { createPayments } from '../../gateway/payment.ts'
import { exchange, readInnerRequest, SEALED_ORIGIN } from '../../offchain/sdk/sealedFetch.ts'
import { delta, PRICE, type Route, routeTo } from '../support/exchangeStage.ts'
import { type Stage, type StageGatewayOptions, sayHello, startStage } from '../support/gatewayStage.ts'
import { openWireRecorder, type WireExchange, type WireMessage, type WireRecorder } from '../support/wireRecorder.ts'

const KIB = 1_024
const TAG_BYTES = 16
const RESPONSE_NONCE_BYTES = 16
/** Key identifier and algorithms (RFC 9458 section 4.1), and what X-Wing encapsulates. */
const REQUEST_HEADER_BYTES = 7 + 1_120
/** A payment for the issuer has one length: header, encapsulated secret, 2,405 bytes, tag (docs/spec.md section 9). */
const SEALED_PAYMENT = new Uint8Array(7 + 1_120 + 2_405 + TAG_BYTES).fill(1)
const PAID: Field = [PAYMENT_FIELD, formatSealed(SEALED_PAYMENT)]
const SILENT = { info: () => {}, warn: () => {}, error: () => {} }

/** Takes every payment and answers change of the one length that it has. */
const issuer: IssuerClient = {
  enclave: `0x${'15'.repeat(20)}`,
  reserve: async () => ({ payment: `0x${'9a'.repeat(32)}` as Hex, maximumFee: 1_000n, expiresAt: 0n }),
  renew: async () => ({ expiresAt: 0n }),
  capture: async (_, fee) => ({ fee, sealedChange: new Uint8Array(1_609) }),
}

/** Nothing listens at its port. */
const deadServer = createOpenaiBackend({
  url: 'http://127.0.0.1:9/v1',
  server: 'llama.cpp',
  claim: 'operator',
  randomBytes,
  models: [{ name: 'demo' }],
})

const GATEWAYS = {
  hello: {},
  paid: { payments: createPayments(issuer, SILENT) },
  dead: { chat: deadServer.chat },
  broken: {},
  /** Many bytes at once. */
  long: {
    async *chat() {
      yield delta('x'.repeat(40_000))
      yield* sayHello()
    },
  },
  /** Twenty ticks of silence before the first word. */
  late: {
    async *chat() {
      await new Promise((resolve) => setTimeout(resolve, 20 * TICK_MS))
      yield* sayHello()
    },
  },
} as const satisfies Record<string, StageGatewayOptions>
type GatewayName = keyof typeof GATEWAYS

let stage: Stage
/** Between the client and the relay, and between the relay and each gateway. */
let outerWire: WireRecorder
const innerWires = new Map<GatewayName, WireRecorder>()
const routes = new Map<GatewayName, Route>()

beforeAll(async () => {
  stage = await startStage()
  const enclaves = []
  for (const [name, options] of Object.entries(GATEWAYS) as [GatewayName, StageGatewayOptions][]) {
    const { gateway, url } = await stage.addGateway({ prices: [PRICE], ...options })
    if (name === 'broken') {
      gateway.inside = () => {
        throw new Error('a gateway that fails')
      }
    }
    enclaves.push({ name, enclave: gateway.enclave })
    innerWires.set(name, await openWireRecorder(url))
  }
  outerWire = await openWireRecorder(await stage.addRelay([...innerWires.values()].map(({ url }) => url)))
  for (const [i, { name, enclave }] of enclaves.entries()) {
    const { gateway, access } = routeTo(`${outerWire.url}/gateways/g${i}`, enclave)
    routes.set(name, { gateway, access: { ...access, padding: 'private' } })
  }
})

afterAll(async () => {
  for (const wire of [outerWire, ...innerWires.values()]) await wire.close()
  await stage.close()
})

function found<K, V>(map: ReadonlyMap<K, V>, key: K): V {
  const value = map.get(key)
  if (value === undefined) throw new Error(`expected ${String(key)}`)
  return value
}

type Ask = { readonly path: string; readonly body?: unknown; readonly fields?: readonly Field[] }

async function innerOf({ path, body, fields = [] }: Ask): Promise<InnerRequest> {
  const init = body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) }
  const { inner } = await readInnerRequest(SEALED_ORIGIN + path, init, 'private')
  return { ...inner, headers: [...inner.headers, ...fields] }
}

/** Sends a request to one gateway and reads its answer to the end. */
async function send(name: GatewayName, inner: InnerRequest): Promise<number> {
  const { gateway, access } = found(routes, name)
  const { response } = await exchange(access, gateway, inner, undefined)
  await response.text()
  return response.status
}

/** The last exchange, as seen on both sides of the relay. */
async function watched(
  name: GatewayName,
  ask: Ask,
): Promise<{ status: number; outer: WireExchange; inner: WireExchange }> {
  const innerWire = found(innerWires, name)
  const wires = [outerWire, innerWire] as const
  const counts = wires.map(({ exchanges }) => exchanges.length + 1)
  const status = await send(name, await innerOf(ask))
  await Promise.all(wires.map((wire, i) => wire.untilEnded(counts[i] ?? 0)))
  const [outer, inner] = wires.map(({ exchanges }) => exchanges.at(-1))
  if (outer === undefined || inner === undefined) throw new Error('expected the exchange on both wires')
  return { status, outer, inner }
}

/** Plaintext lengths of a chunked response's sealed chunks, the final one last. */
function plaintextLengths(body: Uint8Array): number[] {
  const lengths: number[] = []
  let at = RESPONSE_NONCE_BYTES
  for (;;) {
    const length = readVarint(body, at, body.length)
    if (length === undefined) throw new Error('expected a chunk')
    at += length.size
    if (length.value === 0) return [...lengths, body.length - at - TAG_BYTES]
    lengths.push(length.value - TAG_BYTES)
    at += length.value
  }
}

/** Sealed sizes of an answer of so many cells: the nonce stands before the first, and the last has a shorter length in front. */
function cellSizes(count: number): number[] {
  const size = 2 + CHUNK_BYTES_SEND + TAG_BYTES
  return Array.from(
    { length: count },
    (_, i) => size + (i === 0 ? RESPONSE_NONCE_BYTES : 0) - (i === count - 1 ? 1 : 0),
  )
}

/** Bytes of an encapsulated request whose padded message has this length. */
function sealedRequestBytes(messageBytes: number): number {
  const chunks = Math.ceil(messageBytes / CHUNK_BYTES_SEND)
  return REQUEST_HEADER_BYTES + messageBytes + chunks * (2 + TAG_BYTES) - 1
}

const headersOf = ({ headers }: WireMessage, without: readonly string[] = []) =>
  headers.filter(([name]) => !without.includes(name.toLowerCase())).map(([name, value]) => `${name}: ${value}`)
const hostOf = (url: string) => new URL(url).host

const chat = (fields: Record<string, unknown> = {}) => ({
  path: '/v1/chat/completions',
  body: { model: 'demo', messages: [{ role: 'user', content: 'hi' }], ...fields },
})

const KINDS: readonly [string, GatewayName, Ask, number][] = [
  ['a stream', 'hello', chat({ stream: true }), 200],
  ['a whole answer', 'hello', chat(), 200],
  ['a paid stream', 'paid', { ...chat({ stream: true }), fields: [PAID] }, 200],
  ['a paid whole answer', 'paid', { ...chat(), fields: [PAID] }, 200],
  ['a request that is none', 'hello', chat({ messages: 7 }), 400],
  ['a request that nobody pays for', 'paid', chat({ stream: true }), 402],
  ['an unknown resource', 'hello', { path: '/v1/unknown' }, 404],
  ['an unknown model', 'hello', chat({ model: 'another' }), 404],
  ['a gateway that fails', 'broken', chat(), 500],
  ['a stream of a dead model server', 'dead', chat({ stream: true }), 503],
  ['a whole answer of a dead model server', 'dead', chat(), 503],
  ['the list of models', 'hello', { path: '/v1/models' }, 200],
  ['the prices', 'hello', { path: '/v1/prices' }, 200],
]

describe.each(KINDS)('%s', (_what, name, ask, status) => {
  it('is eight equal cells on both sides of the relay, behind equal headers', async () => {
    const seen = await watched(name, ask)
    expect(seen.status).toBe(status)
    const { outer, inner } = seen
    const requestBytes = sealedRequestBytes(requestSizeClass(encodeRequest(await innerOf(ask)).length))
    const relayPath = found(routes, name).gateway.url.pathname

    expect(outer.request.startLine).toBe(`POST ${relayPath} HTTP/1.1`)
    expect(headersOf(outer.request)).toEqual([
      `host: ${hostOf(outerWire.url)}`,
      'connection: keep-alive',
      'content-type: message/ohttp-chunked-req',
      'incremental: ?1',
      'accept: */*',
      'accept-language: *',
      'sec-fetch-mode: cors',
      'user-agent: node',
      'accept-encoding: gzip, deflate',
      `content-length: ${requestBytes}`,
    ])
    expect(inner.request.startLine).toBe('POST /gateway HTTP/1.1')
    expect(headersOf(inner.request)).toEqual([
      'content-type: message/ohttp-chunked-req',
      'incremental: ?1',
      `content-length: ${requestBytes}`,
      `Host: ${hostOf(found(innerWires, name).url)}`,
      'Connection: keep-alive',
    ])
    expect(outer.request.body).toHaveLength(requestBytes)
    expect(Buffer.compare(inner.request.body, outer.request.body)).toBe(0)

    for (const { response } of [inner, outer]) {
      expect(response.startLine).toBe('HTTP/1.1 200 OK')
      expect(plaintextLengths(response.body)).toEqual(Array(8).fill(CHUNK_BYTES_SEND))
    }
    const perConnection = ['connection: keep-alive', 'keep-alive: timeout=5', 'transfer-encoding: chunked']
    const lines = (message: WireMessage) =>
      headersOf(message, ['date'])
        .map((line) => line.toLowerCase())
        .sort()
    expect(lines(inner.response)).toEqual(
      [
        'cache-control: no-store',
        'content-type: message/ohttp-chunked-res',
        'incremental: ?1',
        ...perConnection,
      ].sort(),
    )
    expect(lines(outer.response)).toEqual([...lines(inner.response), 'access-control-allow-origin: *'].sort())
    // Each cell is a write of its own, and the relay holds none back to send it with another.
    expect(inner.response.chunks.map(({ bytes }) => bytes)).toEqual(cellSizes(8))
    expect(Buffer.compare(outer.response.body, inner.response.body)).toBe(0)
  })
})

describe('an answer of more than eight cells', () => {
  it.each([
    ['whole', chat()],
    ['a stream', chat({ stream: true })],
  ])('has sixteen for forty thousand bytes: %s', async (_what, ask) => {
    const { inner } = await watched('long', ask)
    expect(inner.response.chunks.map(({ bytes }) => bytes)).toEqual(cellSizes(16))
  })

  it.each([
    ['whole', chat()],
    ['a stream', chat({ stream: true })],
  ])('has a cell for each tick that its model took, and up to its class: %s', async (_what, ask) => {
    const { inner } = await watched('late', ask)
    // Twenty ticks and what surrounds them are 17 to 32 cells, unless a tick is a third off on average.
    expect(inner.response.chunks.map(({ bytes }) => bytes)).toEqual(cellSizes(cellClass(20)))
  })
})

describe('a request', () => {
  /** One whose message has exactly this length before it is padded. */
  function requestOf(messageBytes: number, fields: readonly Field[]): InnerRequest {
    const head = { method: 'POST', scheme: 'https', authority: 'gateway', path: '/v1/unknown' }
    const build = (bodyBytes: number): InnerRequest => ({ ...head, headers: fields, body: new Uint8Array(bodyBytes) })
    let bodyBytes = messageBytes - encodeRequest(build(0)).length
    while (encodeRequest(build(bodyBytes)).length > messageBytes) bodyBytes--
    expect(encodeRequest(build(bodyBytes))).toHaveLength(messageBytes)
    return build(bodyBytes)
  }

  it.each([
    ['without payment', [], [1, 2, 4, 8, 16, 32, 64, 128, 192]],
    // The payment is always as long, so that nothing shows what it is worth; it takes five of the eight.
    ['with payment', [PAID], [8, 16, 32, 64, 128, 192]],
  ] as const)('shows its class alone, at each bound and one byte beyond it: %s', async (_what, fields, classes) => {
    const begun = outerWire.exchanges.length
    const bounds = classes.map((kib) => kib * KIB)
    const next = (bytes: number) => (bytes < 64 * KIB ? 2 * bytes : bytes + 64 * KIB)
    const requests = bounds.flatMap((bytes) => [requestOf(bytes, fields), requestOf(bytes + 1, fields)])
    const statuses = await Promise.all(requests.map((request) => send('hello', request)))
    expect(new Set(statuses)).toEqual(new Set([404]))
    await outerWire.untilEnded(begun + requests.length)
    const seen = outerWire.exchanges.slice(begun)
    const lengths = (of: readonly number[]) => [...of].sort((a, b) => a - b)
    expect(lengths(seen.map(({ request }) => request.body.length))).toEqual(
      lengths(bounds.flatMap((bytes) => [bytes, next(bytes)]).map(sealedRequestBytes)),
    )
    for (const { response } of seen) expect(plaintextLengths(response.body)).toEqual(Array(8).fill(CHUNK_BYTES_SEND))
  })

  it('that is as small as can be has the first class, and with a payment the fourth', async () => {
    const sizes = []
    for (const fields of [[], [PAID]]) {
      const { outer } = await watched('hello', { path: '/v1/models', fields })
      sizes.push(outer.request.body.length)
    }
    expect(sizes).toEqual([KIB, 8 * KIB].map(sealedRequestBytes))
  })
})
