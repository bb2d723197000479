import { beforeEach, describe, expect, it } from 'vitest'
import { concatBytes, decodeUtf8, encodeUtf8 } from '#protocol/bytes.ts'
import type { InnerRequest } from '#protocol/sealing/binaryHttp.ts'
import { sealChunkedRequest } from '#protocol/sealing/chunkedOhttp.ts'
import {
  RESPONSE_LIMITS,
  type ResponseEvent,
  type SealedHttpRequest,
  type SealOptions,
  sealHttpRequest,
} from '#protocol/sealing/client.ts'
import { OHTTP_KEY_PROBLEM } from '#protocol/sealing/mediaTypes.ts'
import { sealRequest } from '#protocol/sealing/ohttp.ts'
import { KEM_X_WING, KEM_X25519 } from '#protocol/sealing/suite.ts'
import type { AnswerShape } from './answerShape.ts'
import type { InnerResponse } from './innerResponse.ts'
import { generateGatewayKey, KeyRing } from './keyRing.ts'
import { createNodeSuites } from './nodeSuites.ts'
import { SEALED_SERVER_LIMITS } from './openHttpRequest.ts'
import { ReplayMemory } from './replayMemory.ts'
import { CONTENT_BYTES_PER_CHUNK } from './sealedResponse.ts'
import { createSealedServer, type SealedExchange, type SealedServerOptions } from './sealedServer.ts'

const suites = createNodeSuites()
const NOW_MS = Date.UTC(2026, 0, 2, 3, 4, 5)
const INNER: InnerRequest = {
  method: 'POST',
  scheme: 'https',
  authority: 'gateway.example',
  path: '/v1/echo',
  headers: [['content-type', 'text/plain']],
  body: encodeUtf8('hello'),
}

let keys: KeyRing
let refusals: string[]
let faults: unknown[]
let handled: { inner: InnerRequest; exchange: SealedExchange }[]

beforeEach(async () => {
  keys = new KeyRing()
  keys.add(await generateGatewayKey(suites, 1, KEM_X_WING))
  keys.add(await generateGatewayKey(suites, 2, KEM_X25519))
  refusals = []
  faults = []
  handled = []
})

function createServer(
  respond: (inner: InnerRequest, exchange: SealedExchange) => InnerResponse | Promise<InnerResponse>,
  options: Partial<SealedServerOptions> = {},
): (request: Request) => Promise<Response> {
  return createSealedServer({
    keys,
    suites,
    replay: new ReplayMemory(() => NOW_MS),
    async handle(inner, exchange) {
      handled.push({ inner, exchange })
      return respond(inner, exchange)
    },
    onRefused: (code) => refusals.push(code),
    onFault: (error) => faults.push(error),
    ...options,
  })
}

const echo = (inner: InnerRequest): InnerResponse => ({ status: 200, headers: [['x', 'y']], body: inner.body })

async function seal(
  inner: Partial<InnerRequest> = {},
  options: SealOptions & { keyId?: number } = {},
): Promise<SealedHttpRequest> {
  const key = keys.get(options.keyId ?? 2)
  if (key === undefined) throw new Error('expected a live key')
  return sealHttpRequest(suites, key.config, { ...INNER, ...inner }, options)
}

function outer(
  sealed: { contentType: string; body: Uint8Array<ArrayBuffer> },
  headers: Record<string, string> = {},
): Request {
  return new Request('https://gateway.example/gateway', {
    method: 'POST',
    headers: { 'content-type': sealed.contentType, 'content-length': `${sealed.body.length}`, ...headers },
    body: sealed.body,
  })
}

interface Answer {
  readonly status: number
  readonly headers: readonly (readonly [string, string])[]
  readonly text: string
  readonly trailers: readonly (readonly [string, string])[]
}

async function read(sealed: SealedHttpRequest, response: Response): Promise<Answer> {
  expect(response.status).toBe(200)
  sealed.checkResponseType(response.headers.get('content-type'))
  const reader = sealed.openResponse(RESPONSE_LIMITS)
  const events: ResponseEvent[] = []
  for await (const part of response.body ?? []) events.push(...(await reader.push(part)))
  events.push(...(await reader.end()))
  const [head, ...rest] = events
  if (head?.type !== 'head') throw new Error('expected the head first')
  const body = rest.flatMap((event) => (event.type === 'body' ? [event.bytes] : []))
  const last = rest.at(-1)
  return {
    status: head.status,
    headers: head.headers,
    text: decodeUtf8(concatBytes(...body)),
    trailers: last?.type === 'trailers' ? last.trailers : [],
  }
}

async function* pieces(...texts: string[]): AsyncGenerator<Uint8Array> {
  for (const text of texts) yield encodeUtf8(text)
}

describe.each([
  ['chunked', true],
  ['single-shot', false],
])('a %s exchange', (_form, chunked) => {
  it.each([
    ['X-Wing', 1],
    ['X25519', 2],
  ])('reaches the handler and comes back, sealed with %s', async (_kem, keyId) => {
    const server = createServer(echo)
    const sealed = await seal({}, { chunked, keyId })
    const response = await server(outer(sealed))
    expect(response.headers.get('incremental')).toBe(chunked ? '?1' : null)
    expect(await read(sealed, response)).toEqual({ status: 200, headers: [['x', 'y']], text: 'hello', trailers: [] })
    const [call] = handled
    expect(call?.inner).toMatchObject(INNER)
    expect(call?.exchange.encapsulatedHash).toEqual(sealed.encapsulatedHash)
    expect(await call?.exchange.exportSecret('salt', 32)).toEqual(await sealed.exportSecret('salt', 32))
    expect(refusals).toEqual([])
  })

  it('carries a body of pieces and trailers made at its end', async () => {
    let ended = false
    async function* body(): AsyncGenerator<Uint8Array> {
      yield* pieces('one ', '', 'two ', 'x'.repeat(10_000))
      ended = true
    }
    const server = createServer(() => ({
      status: 201,
      headers: [],
      body: body(),
      trailers: async () => [['ended', String(ended)]],
    }))
    const sealed = await seal({}, { chunked })
    expect(await read(sealed, await server(outer(sealed)))).toEqual({
      status: 201,
      headers: [],
      text: `one two ${'x'.repeat(10_000)}`,
      trailers: [['ended', 'true']],
    })
  })

  it('carries a large request that arrives in portions without a declared length', async () => {
    const server = createServer((inner) => ({ status: 200, headers: [], body: encodeUtf8(String(inner.body.length)) }))
    const sealed = await seal({ body: new Uint8Array(300_000) }, { chunked })
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        for (let i = 0; i < sealed.body.length; i += 7_777) controller.enqueue(sealed.body.subarray(i, i + 7_777))
        controller.close()
      },
    })
    const init: RequestInit & { duplex: 'half' } = {
      method: 'POST',
      headers: { 'content-type': sealed.contentType },
      body,
      duplex: 'half',
    }
    const answer = await read(sealed, await server(new Request('https://gateway.example/', init)))
    expect(answer.text).toBe('300000')
    expect(handled[0]?.exchange.encapsulatedHash).toEqual(sealed.encapsulatedHash)
  })

  it('answers a failing handler inside the seal, without details', async () => {
    const server = createServer(() => {
      throw new Error('secret detail')
    })
    const sealed = await seal({}, { chunked })
    const answer = await read(sealed, await server(outer(sealed)))
    expect(answer.status).toBe(500)
    expect(JSON.parse(answer.text)).toEqual({
      error: { message: expect.any(String), type: 'server_error', code: 'internal_error' },
    })
    expect(answer.text).not.toContain('secret')
    expect(faults).toMatchObject([{ message: 'secret detail' }])
  })

  it('answers a handler whose response is not valid HTTP inside the seal', async () => {
    const server = createServer(() => ({ status: 200, headers: [['Bad Name', 'x']], body: INNER.body }))
    const sealed = await seal({}, { chunked })
    expect((await read(sealed, await server(outer(sealed)))).status).toBe(500)
    expect(faults).toMatchObject([{ code: 'BAD_FIELD_NAME' }])
  })

  it('fills the last chunk as the response asks', async () => {
    const server = createServer((inner) => ({ ...echo(inner), padLastChunkTo: 4096 }))
    const sealed = await seal({}, { chunked })
    const response = await server(outer(sealed))
    const bytes = new Uint8Array(await response.clone().arrayBuffer())
    expect(bytes).toHaveLength(16 + (chunked ? 1 : 0) + 4096 + 16)
    expect((await read(sealed, response)).text).toBe('hello')
  })

  it.each([
    ['open', 0],
    ['filled', 4096],
    ['paced', chunked ? 8 * (4096 + 18) - 18 : 4096],
  ] as const)('gives answers and its own sealed errors one shape: %s', async (kind, bytesMin) => {
    const shapeOf = (): AnswerShape => ({ kind, tickMs: 1, readerTimeoutMs: 5_000, deliveryMsMax: 5_000 })
    for (const respond of [echo, () => Promise.reject(new Error('no'))]) {
      const sealed = await seal({}, { chunked })
      const response = await createServer(respond, { shapeOf })(outer(sealed))
      const { byteLength } = await response.clone().arrayBuffer()
      if (bytesMin > 0) expect(byteLength).toBe(16 + (chunked ? 1 : 0) + bytesMin + 16)
      else expect(byteLength).toBeLessThan(300)
      expect((await read(sealed, response)).status).toBe(respond === echo ? 200 : 500)
    }
  })
})

describe('refusals before the inner request exists', () => {
  it('look exactly alike, whatever is wrong', async () => {
    const server = createServer(echo)
    const chunked = await seal()
    const single = await seal({}, { chunked: false })
    const config = keys.get(2)?.config
    if (config === undefined) throw new Error('expected a live key')
    const changed = (sealed: SealedHttpRequest, offset: number): Uint8Array<ArrayBuffer> => {
      const body = sealed.body.slice()
      body[offset] = (body[offset] ?? 0) ^ 8
      return body
    }
    const cases: [string, { contentType: string; body: Uint8Array<ArrayBuffer> }][] = []
    for (const sealed of [chunked, single]) {
      const { contentType } = sealed
      cases.push(
        ['UNKNOWN_KEY', { contentType, body: changed(sealed, 0) }],
        ['WRONG_KEM', { contentType, body: changed(sealed, 2) }],
        ['UNSUPPORTED_SUITE', { contentType, body: changed(sealed, 6) }],
        ['DECRYPTION_FAILED', { contentType, body: changed(sealed, 20) }],
        ['DECRYPTION_FAILED', { contentType, body: changed(sealed, sealed.body.length - 1) }],
        ['TRUNCATED', { contentType, body: sealed.body.slice(0, 5) }],
        ['TRUNCATED', { contentType, body: sealed.body.slice(0, 40) }],
        ['TRUNCATED', { contentType, body: new Uint8Array() }],
      )
    }
    const rubbish = encodeUtf8('\x07 not Binary HTTP')
    cases.push(
      [
        'BAD_FRAMING',
        { contentType: chunked.contentType, body: (await sealChunkedRequest(suites, config, rubbish)).encapsulated },
      ],
      [
        'BAD_FRAMING',
        { contentType: single.contentType, body: (await sealRequest(suites, config, rubbish)).encapsulated },
      ],
      ['DECRYPTION_FAILED', { contentType: single.contentType, body: chunked.body }],
      ['DECRYPTION_FAILED', { contentType: chunked.contentType, body: single.body }],
    )
    // Replays: each is admitted once.
    for (const sealed of [chunked, single]) expect((await server(outer(sealed))).status).toBe(200)
    cases.push(['REPLAYED', chunked], ['REPLAYED', single])
    handled = []

    const seen: unknown[] = []
    for (const [code, request] of cases) {
      const response = await server(outer(request))
      seen.push({ status: response.status, headers: [...response.headers], body: await response.text() })
      // The last case puts a single-shot body where a chunk's length is due: which check fails is up to its bytes.
      if (request.body !== single.body || request.contentType === single.contentType) expect(refusals.at(-1)).toBe(code)
    }
    expect(new Set(seen.map((answer) => JSON.stringify(answer))).size).toBe(1)
    expect(seen[0]).toMatchObject({ status: 400 })
    const response = await server(outer(chunked))
    expect(response.headers.get('content-type')).toBe('application/problem+json')
    expect(await response.json()).toMatchObject({ type: OHTTP_KEY_PROBLEM, status: 400 })
    expect(handled).toEqual([])
  })

  it('come without the handler having seen a request whose final chunk is missing', async () => {
    const server = createServer(echo)
    const sealed = await seal({ body: new Uint8Array(9_000) })
    // The Binary HTTP in the chunks before is complete but for padding.
    const cut = { contentType: sealed.contentType, body: sealed.body.slice(0, -1) }
    expect((await server(outer(cut))).status).toBe(400)
    expect(handled).toEqual([])
    expect((await server(outer(sealed))).status).toBe(200)
  })

  it('admit one of two copies that arrive together', async () => {
    const server = createServer(echo)
    const sealed = await seal()
    const statuses = await Promise.all([server(outer(sealed)), server(outer(sealed))])
    expect(statuses.map((response) => response.status).sort()).toEqual([200, 400])
    expect(handled).toHaveLength(1)
  })

  it('end a key with its removal from the ring', async () => {
    const server = createServer(echo)
    const sealed = await seal()
    keys.remove(2)
    expect((await server(outer(sealed))).status).toBe(400)
    expect(refusals).toEqual(['UNKNOWN_KEY'])
  })
})

describe('refusals that show outside', () => {
  it('are 405 for another method and 415 for another type', async () => {
    const server = createServer(echo)
    const get = await server(new Request('https://gateway.example/'))
    expect(get.status).toBe(405)
    expect(get.headers.get('allow')).toBe('POST')
    for (const type of ['application/json', 'message/ohttp-res', 'message/ohttp-chunked-res', '']) {
      const response = await server(outer({ contentType: type, body: (await seal()).body }))
      expect(response.status).toBe(415)
    }
    expect(refusals).toEqual(['WRONG_METHOD', ...Array(4).fill('WRONG_MEDIA_TYPE')])
  })

  it('are 413 above the bound, by the declared length or by the bytes that come', async () => {
    const limits = { ...SEALED_SERVER_LIMITS, messageBytesMax: 2_000 }
    const server = createServer(echo, { limits })
    for (const chunked of [true, false]) {
      const sealed = await seal({ body: new Uint8Array(3_000) }, { chunked })
      expect((await server(outer(sealed))).status).toBe(413)
      expect((await server(outer(sealed, { 'content-length': '10' }))).status).toBe(413)
      const body = new ReadableStream<Uint8Array>({
        start(controller) {
          for (let i = 0; i < 5; i++) controller.enqueue(sealed.body.subarray(i * 1000, (i + 1) * 1000))
          controller.close()
        },
      })
      const init: RequestInit & { duplex: 'half' } = {
        method: 'POST',
        headers: { 'content-type': sealed.contentType },
        body,
        duplex: 'half',
      }
      expect((await server(new Request('https://gateway.example/', init))).status).toBe(413)
    }
    expect(refusals).toEqual(Array(6).fill('MESSAGE_TOO_LARGE'))
  })
})

describe('the date inside the seal', () => {
  const date = (offsetSeconds: number): string => new Date(NOW_MS + offsetSeconds * 1000).toUTCString()

  it.each([
    ['now', date(0), 200],
    ['at the edge of the window', date(-300), 200],
    ['too old', date(-301), 400],
    ['too far ahead', date(301), 400],
    ['in another form', '2026-01-02T03:04:05Z', 400],
  ])('%s is answered with %3$i inside the seal', async (_what, value, status) => {
    const server = createServer(echo)
    for (const chunked of [true, false]) {
      const sealed = await seal({ headers: [['date', value]] }, { chunked })
      const answer = await read(sealed, await server(outer(sealed)))
      expect(answer.status).toBe(status)
      if (status === 400) expect(JSON.parse(answer.text).error.code).toBe('date_outside_window')
    }
    expect(handled).toHaveLength(status === 200 ? 2 : 0)
  })

  it('is refused when it stands there twice', async () => {
    const sealed = await seal({
      headers: [
        ['date', date(0)],
        ['date', date(0)],
      ],
    })
    expect((await read(sealed, await createServer(echo)(outer(sealed)))).status).toBe(400)
  })

  it('cannot be checked for replays without room, which is a sealed 503', async () => {
    const replay = new ReplayMemory(() => NOW_MS, { windowSeconds: 60, entriesPerKeyMax: 0 })
    const sealed = await seal()
    const answer = await read(sealed, await createServer(echo, { replay })(outer(sealed)))
    expect(answer.status).toBe(503)
    expect(JSON.parse(answer.text).error.code).toBe('overloaded')
    expect(refusals).toEqual(['REPLAY_MEMORY_FULL'])
  })
})

describe('a streamed response', () => {
  it('sends nonce, head and first piece in one write and then one write per piece', async () => {
    const server = createServer(() => ({ status: 200, headers: [], body: pieces('one', 'two') }))
    const sealed = await seal()
    const response = await server(outer(sealed))
    const reader = sealed.openResponse()
    const writes: ResponseEvent[][] = []
    for await (const part of response.body ?? []) writes.push(await reader.push(part))
    expect(writes).toEqual([
      [
        { type: 'head', status: 200, headers: [] },
        { type: 'body', bytes: encodeUtf8('one') },
      ],
      [{ type: 'body', bytes: encodeUtf8('two') }],
      [],
    ])
    expect(await reader.end()).toEqual([{ type: 'trailers', trailers: [] }])
  })

  it('fills one chunk of 4,096 bytes with each piece of the right size', async () => {
    const piece = new Uint8Array(CONTENT_BYTES_PER_CHUNK)
    async function* body(): AsyncGenerator<Uint8Array> {
      yield encodeUtf8('first')
      yield piece
      yield piece
    }
    const server = createServer(() => ({ status: 200, headers: [], body: body(), padLastChunkTo: 4096 }))
    const response = await server(outer(await seal()))
    const sizes: number[] = []
    for await (const part of response.body ?? []) sizes.push(part.length)
    expect(sizes.slice(1)).toEqual([2 + 4096 + 16, 2 + 4096 + 16, 1 + 4096 + 16])
  })

  it('produces nothing ahead of its reader', async () => {
    let produced = 0
    async function* body(): AsyncGenerator<Uint8Array> {
      for (;;) {
        produced++
        yield new Uint8Array(65_536)
      }
    }
    const server = createServer(() => ({ status: 200, headers: [], body: body() }))
    const response = await server(outer(await seal()))
    const reader = response.body?.getReader()
    expect(produced).toBe(0)
    await reader?.read()
    await reader?.read()
    expect(produced).toBe(2)
    await reader?.cancel()
    expect(produced).toBe(2)
  })

  it('ends without its final chunk when its iterator throws at once', async () => {
    const broken: AsyncIterator<Uint8Array> = {
      next() {
        throw new Error('no iterator')
      },
    }
    const server = createServer(() => ({ status: 200, headers: [], body: { [Symbol.asyncIterator]: () => broken } }))
    const sealed = await seal()
    const response = await server(outer(sealed))
    expect(await response.arrayBuffer()).toHaveProperty('byteLength', 0)
    await expect(sealed.openResponse().end()).rejects.toMatchObject({ code: 'TRUNCATED' })
    expect(faults).toMatchObject([{ message: 'no iterator' }])
  })

  it.each(['body', 'trailers'])('ends without its final chunk when its %s fails', async (part) => {
    async function* body(): AsyncGenerator<Uint8Array> {
      yield* pieces('data: [DONE]\n\n')
      if (part === 'body') throw new Error('upstream broke')
    }
    const trailers = async (): Promise<[]> => {
      throw new Error('no trailers')
    }
    const server = createServer(() => ({ status: 200, headers: [], body: body(), trailers }))
    const sealed = await seal()
    const response = await server(outer(sealed))
    const reader = sealed.openResponse()
    const events: ResponseEvent[] = []
    for await (const bytes of response.body ?? []) events.push(...(await reader.push(bytes)))
    expect(events).toHaveLength(2)
    await expect(reader.end()).rejects.toMatchObject({ name: 'OhttpError', code: 'TRUNCATED' })
    expect(faults).toMatchObject([{ message: part === 'body' ? 'upstream broke' : 'no trailers' }])
    expect(handled[0]?.exchange.signal.aborted).toBe(false)
  })

  it('is refused above one chunk of padding before anything is sealed', async () => {
    const server = createServer(() => ({ status: 200, headers: [], body: pieces('x'), padLastChunkTo: 4097 }))
    const sealed = await seal()
    expect((await read(sealed, await server(outer(sealed)))).status).toBe(500)
  })
})

it('answers a single-shot request whose body fails with a sealed 500', async () => {
  async function* body(): AsyncGenerator<Uint8Array> {
    yield* pieces('part')
    throw new Error('upstream broke')
  }
  const server = createServer(() => ({ status: 200, headers: [], body: body() }))
  const sealed = await seal({}, { chunked: false })
  expect(await read(sealed, await server(outer(sealed)))).toMatchObject({ status: 500 })
})

it('bounds the response that it collects for a single-shot request', async () => {
  let isStopped = false
  async function* body(): AsyncGenerator<Uint8Array> {
    try {
      for (;;) yield new Uint8Array(1000)
    } finally {
      isStopped = true
    }
  }
  const limits = { ...SEALED_SERVER_LIMITS, contentBytesMax: 5_000 }
  const server = createServer(() => ({ status: 200, headers: [], body: body() }), { limits })
  const sealed = await seal({}, { chunked: false })
  expect(await read(sealed, await server(outer(sealed)))).toMatchObject({ status: 500 })
  expect(isStopped).toBe(true)
})
