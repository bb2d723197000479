import { keccak_256 } from '@noble/hashes/sha3.js'
import { beforeAll, describe, expect, it } from 'vitest'
import { concatBytes, encodeUtf8 } from '../bytes.ts'
import { encodeContentChunk, encodeEnd, encodeResponse, encodeResponseHead } from './binaryHttp.ts'
import { decodeRequest } from './binaryHttpDecoder.ts'
import { ChunkedRequestOpener } from './chunkedOpener.ts'
import { RESPONSE_LIMITS, type ResponseEvent, type SealedHttpRequest, sealHttpRequest } from './client.ts'
import type { GatewayKey } from './exchange.ts'
import { type OpenedRequest, openRequest } from './ohttp.ts'
import { KEM_X25519 } from './suite.ts'
import { encodeVarint } from './varint.ts'
import { createWebSuites } from './webSuites.ts'

const suites = createWebSuites()
const random = (bytes: number): Uint8Array => new Uint8Array(bytes).fill(7)
const BODY = encodeUtf8('{"model":"tiny"}')
const REQUEST = {
  method: 'POST',
  scheme: 'https',
  authority: 'gateway.example',
  path: '/v1/chat/completions',
  headers: [['content-type', 'application/json']],
  body: BODY,
} as const
const HEADERS = [['content-type', 'text/event-stream']] as const

let key: GatewayKey
let keys: Map<number, GatewayKey>

beforeAll(async () => {
  const pair = await suites.generateKeyPair(KEM_X25519)
  key = { config: { keyId: 4, kemId: KEM_X25519, publicKey: pair.publicKey, suites: [{ kdfId: 1, aeadId: 1 }] }, pair }
  keys = new Map([[4, key]])
})

async function openChunked(
  sealed: SealedHttpRequest,
): Promise<{ plaintext: Uint8Array; opener: ChunkedRequestOpener<Promise<Uint8Array>> }> {
  const opener = new ChunkedRequestOpener(suites, keys)
  const plaintexts = await opener.push(sealed.body)
  return { plaintext: concatBytes(...plaintexts, await opener.end()), opener }
}

async function openWhole(sealed: SealedHttpRequest): Promise<OpenedRequest> {
  return openRequest(suites, keys, sealed.body)
}

describe('sealHttpRequest', () => {
  it('seals the request padded to its size class, chunked by default', async () => {
    const sealed = await sealHttpRequest(suites, key.config, REQUEST)
    expect(sealed).toMatchObject({ contentType: 'message/ohttp-chunked-req', accept: 'message/ohttp-chunked-res' })
    const { plaintext } = await openChunked(sealed)
    expect(plaintext).toHaveLength(1024)
    expect(decodeRequest(plaintext)).toEqual({ ...REQUEST, trailers: [] })
    expect(sealed.encapsulatedHash).toEqual(keccak_256(sealed.body))
    expect(sealed.body.subarray(7, 39)).toEqual(sealed.enc)
  })

  it('gives requests of one class the same size', async () => {
    const small = await sealHttpRequest(suites, key.config, REQUEST)
    const larger = await sealHttpRequest(suites, key.config, { ...REQUEST, body: new Uint8Array(800) })
    expect(larger.body).toHaveLength(small.body.length)
  })

  it('seals a single-shot request on demand, padded as asked', async () => {
    const sealed = await sealHttpRequest(suites, key.config, REQUEST, { chunked: false, padTo: () => 300 })
    expect(sealed).toMatchObject({ contentType: 'message/ohttp-req', accept: 'message/ohttp-res' })
    expect((await openWhole(sealed)).plaintext).toHaveLength(300)
  })

  it('refuses a response of the other format', async () => {
    const [chunked, single] = [
      await sealHttpRequest(suites, key.config, REQUEST),
      await sealHttpRequest(suites, key.config, REQUEST, { chunked: false }),
    ]
    expect(() => chunked.checkResponseType('message/ohttp-chunked-res')).not.toThrow()
    expect(() => single.checkResponseType('message/ohttp-res')).not.toThrow()
    for (const [sealed, type] of [
      [chunked, 'message/ohttp-res'],
      [single, 'message/ohttp-chunked-res'],
    ] as const) {
      expect(() => sealed.checkResponseType(type)).toThrow(expect.objectContaining({ code: 'WRONG_MEDIA_TYPE' }))
    }
  })
})

describe('openResponse', () => {
  it('gives head, body and trailers of a chunked response as they come', async () => {
    const sealed = await sealHttpRequest(suites, key.config, REQUEST)
    const { opener } = await openChunked(sealed)
    const sealer = await opener.exchange.createResponseSealer(random)
    const reader = sealed.openResponse()
    const head = encodeResponseHead({ status: 200, headers: HEADERS })
    expect(await reader.push(await sealer.chunk(concatBytes(head, encodeContentChunk(encodeUtf8('one')))))).toEqual([
      { type: 'head', status: 200, headers: HEADERS },
      { type: 'body', bytes: encodeUtf8('one') },
    ])
    expect(await reader.push(await sealer.chunk(encodeContentChunk(encodeUtf8('two'))))).toEqual([
      { type: 'body', bytes: encodeUtf8('two') },
    ])
    expect(await reader.push(await sealer.final(encodeEnd([['receipt', 'abc']])))).toEqual([])
    expect(await reader.end()).toEqual([{ type: 'trailers', trailers: [['receipt', 'abc']] }])
  })

  it('reports a stream without its final chunk as truncated, even when the inner message is whole', async () => {
    const sealed = await sealHttpRequest(suites, key.config, REQUEST)
    const { opener } = await openChunked(sealed)
    const sealer = await opener.exchange.createResponseSealer(random)
    const whole = concatBytes(encodeResponseHead({ status: 200, headers: [] }), encodeContentChunk(BODY), encodeEnd())
    const reader = sealed.openResponse()
    expect(await reader.push(await sealer.chunk(whole))).toHaveLength(3)
    await expect(reader.end()).rejects.toMatchObject({ code: 'TRUNCATED' })
  })

  it('reports an inner message that ends too early although the seal is whole', async () => {
    const sealed = await sealHttpRequest(suites, key.config, REQUEST)
    const { opener } = await openChunked(sealed)
    const sealer = await opener.exchange.createResponseSealer(random)
    const head = encodeResponseHead({ status: 200, headers: [] })
    const reader = sealed.openResponse()
    await reader.push(await sealer.final(concatBytes(head, encodeContentChunk(BODY))))
    await expect(reader.end()).rejects.toMatchObject({ name: 'BinaryHttpError', code: 'TRUNCATED' })
  })

  it('gives the same events for a single-shot response, once it has opened', async () => {
    const sealed = await sealHttpRequest(suites, key.config, REQUEST, { chunked: false })
    const opened = await openWhole(sealed)
    const message = encodeResponse({ status: 404, headers: HEADERS, body: BODY, trailers: [['t', 'u']] })
    const response = await opened.sealResponse(message, random)
    const reader = sealed.openResponse()
    expect(await reader.push(response.subarray(0, 40))).toEqual([])
    expect(await reader.push(response.subarray(40))).toEqual([])
    const expected: ResponseEvent[] = [
      { type: 'head', status: 404, headers: HEADERS },
      { type: 'body', bytes: BODY },
      { type: 'trailers', trailers: [['t', 'u']] },
    ]
    expect(await reader.end()).toEqual(expected)
  })

  it('bounds what it reads in both formats', async () => {
    const limits = { ...RESPONSE_LIMITS, messageBytesMax: 100 }
    for (const chunked of [true, false]) {
      const sealed = await sealHttpRequest(suites, key.config, REQUEST, { chunked })
      await expect(sealed.openResponse(limits).push(new Uint8Array(101))).rejects.toMatchObject({
        code: 'MESSAGE_TOO_LARGE',
      })
    }
  })

  it('reads chunked responses of 268,435,456 bytes unless told otherwise, and others of 67,108,864', async () => {
    for (const [chunked, bytes] of [
      [true, 268_435_456],
      [false, 67_108_864],
    ] as const) {
      const sealed = await sealHttpRequest(suites, key.config, REQUEST, { chunked })
      // Nonce and final chunk: zeros are no chunk that could open, once all of them may be read.
      const whole = sealed.openResponse().push(new Uint8Array(bytes))
      await (chunked
        ? expect(whole).rejects.toMatchObject({ code: 'CHUNK_TOO_LARGE' })
        : expect(whole).resolves.toEqual([]))
      const over = sealed.openResponse().push(new Uint8Array(bytes + 1))
      await expect(over).rejects.toMatchObject({ code: 'MESSAGE_TOO_LARGE' })
    }
  })

  it('takes content of 268,435,456 bytes unless told otherwise', async () => {
    const sealed = await sealHttpRequest(suites, key.config, REQUEST)
    const { opener } = await openChunked(sealed)
    const head = encodeResponseHead({ status: 200, headers: [] })
    const begin = async (bytes: number): Promise<ResponseEvent[]> => {
      const sealer = await opener.exchange.createResponseSealer(random)
      return sealed.openResponse().push(await sealer.chunk(concatBytes(head, encodeVarint(bytes))))
    }
    expect(await begin(268_435_456)).toEqual([{ type: 'head', status: 200, headers: [] }])
    await expect(begin(268_435_457)).rejects.toMatchObject({ code: 'CONTENT_TOO_LARGE' })
  })
})
