import fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import { concatBytes, encodeUint, encodeUtf8 } from '../bytes.ts'
import { createChunkedRequestSealer, type SealedChunkedRequest, sealChunkedRequest } from './chunkedOhttp.ts'
import { ChunkedRequestOpener } from './chunkedOpener.ts'
import type { ChunkLimits } from './chunkReader.ts'
import { CHUNK_BYTES_SEND, ChunkedResponseSealer, chunkNonce, splitPlaintext } from './chunkSealing.ts'
import type { GatewayKey } from './exchange.ts'
import { openRequest, sealRequest } from './ohttp.ts'
import { AEAD_AES_128_GCM, AEAD_CHACHA20_POLY1305, KEM_X_WING, KEM_X25519, type SenderSession } from './suite.ts'
import { encodeVarint } from './varint.ts'
import { createWebSuites } from './webSuites.ts'

const suites = createWebSuites()
const HEAD_BYTES = 7 + 32
const EMPTY = new Uint8Array()
const FINAL = encodeUtf8('final')
const PLAINTEXT = encodeUtf8('a chunked request')
const random = (bytes: number): Uint8Array => new Uint8Array(bytes).fill(bytes)

let key: GatewayKey
let keys: Map<number, GatewayKey>

async function gatewayKey(kemId: number, aeadId: number): Promise<GatewayKey> {
  const pair = await suites.generateKeyPair(kemId)
  return { config: { keyId: 1, kemId, publicKey: pair.publicKey, suites: [{ kdfId: 1, aeadId }] }, pair }
}

beforeAll(async () => {
  key = await gatewayKey(KEM_X25519, AEAD_AES_128_GCM)
  keys = new Map([[1, key]])
})

async function open(pieces: readonly Uint8Array[], limits?: ChunkLimits): Promise<Uint8Array> {
  const opener = new ChunkedRequestOpener(suites, keys, limits)
  const plaintexts: Uint8Array[] = []
  for (const piece of pieces) plaintexts.push(...(await opener.push(piece)))
  return concatBytes(...plaintexts, await opener.end())
}

async function codeOf(run: Promise<unknown>): Promise<unknown> {
  return run.then(
    () => undefined,
    (error) => error.code,
  )
}

/** A request by hand, for what our own sealer never sends. */
async function handMade(): Promise<{ head: Uint8Array; session: SenderSession }> {
  const suite = await suites.get(KEM_X25519, 1, AEAD_AES_128_GCM)
  if (suite === undefined) throw new Error('expected the suite')
  const header = concatBytes(Uint8Array.of(1), ...[KEM_X25519, 1, 1].map((id) => encodeUint(BigInt(id), 2)))
  const info = concatBytes(encodeUtf8('message/bhttp chunked request'), Uint8Array.of(0), header)
  const session = await suite.setupSender(key.config.publicKey, info)
  return { head: concatBytes(header, session.enc), session }
}

const prefixed = (ciphertext: Uint8Array): Uint8Array => concatBytes(encodeVarint(ciphertext.length), ciphertext)
const finalChunk = (ciphertext: Uint8Array): Uint8Array => concatBytes(Uint8Array.of(0), ciphertext)

/** A response in chunks of the given plaintexts, the last of them final. */
async function respond(sealed: SealedChunkedRequest, ...plaintexts: Uint8Array[]): Promise<Uint8Array[]> {
  const opener = new ChunkedRequestOpener(suites, keys)
  await opener.push(sealed.encapsulated)
  await opener.end()
  const sealer = await opener.exchange.createResponseSealer(random)
  const parts: Uint8Array[] = []
  for (const plaintext of plaintexts.slice(0, -1)) parts.push(await sealer.chunk(plaintext))
  parts.push(await sealer.final(plaintexts.at(-1) ?? EMPTY))
  return parts
}

describe.each([
  ['X25519', KEM_X25519],
  ['X-Wing', KEM_X_WING],
])('%s', (_kem, kemId) => {
  it.each([
    ['AES-128-GCM', AEAD_AES_128_GCM, 16],
    ['ChaCha20-Poly1305', AEAD_CHACHA20_POLY1305, 32],
  ])('carries a request and its response in chunks with %s', async (_aead, aeadId, nonceBytes) => {
    const own = await gatewayKey(kemId, aeadId)
    const sealed = await sealChunkedRequest(suites, own.config, PLAINTEXT)
    const opener = new ChunkedRequestOpener(suites, new Map([[1, own]]))
    const plaintexts = [...(await opener.push(sealed.encapsulated)), await opener.end()]
    expect(concatBytes(...plaintexts)).toEqual(PLAINTEXT)
    expect(opener.exchange).toMatchObject({ enc: sealed.enc, key: own })
    expect(await opener.exchange.exportSecret('x', 16)).toEqual(await sealed.exportSecret('x', 16))

    const sealer = await opener.exchange.createResponseSealer(random)
    const first = await sealer.chunk(PLAINTEXT)
    // The nonce travels with the first chunk: max(Nn, Nk) bytes, a length of one byte, ciphertext, tag.
    expect(first).toHaveLength(nonceBytes + 1 + PLAINTEXT.length + 16)
    expect(first.subarray(0, nonceBytes)).toEqual(random(nonceBytes))
    const reader = sealed.openResponse()
    expect(await reader.push(first)).toEqual([PLAINTEXT])
    expect(await reader.push(await sealer.final(FINAL))).toEqual([])
    expect(await reader.end()).toEqual(FINAL)
  })
})

describe('sending', () => {
  it.each([
    [0, []],
    [1, [1]],
    [4096, [4096]],
    [4097, [4096, 1]],
    [12_288, [4096, 4096, 4096]],
  ])('splits %i bytes into chunks of at most 4,096, the final one too', async (length, sizes) => {
    const plaintext = new Uint8Array(length).fill(1)
    expect(splitPlaintext(plaintext).map((piece) => piece.length)).toEqual(sizes)
    const { encapsulated } = await sealChunkedRequest(suites, key.config, plaintext)
    const opener = new ChunkedRequestOpener(suites, keys)
    const chunks = await opener.push(encapsulated)
    expect([...chunks, await opener.end()].map((chunk) => chunk.length)).toEqual(sizes.length === 0 ? [0] : sizes)
  })

  it('never seals a chunk above 4,096 bytes or an empty one that is not final', async () => {
    const large = new Uint8Array(CHUNK_BYTES_SEND + 1)
    const request = await createChunkedRequestSealer(suites, key.config)
    expect(await codeOf(request.chunk(large))).toBe('CHUNK_TOO_LARGE')
    expect(await codeOf(request.final(large))).toBe('CHUNK_TOO_LARGE')
    expect(await codeOf(request.chunk(EMPTY))).toBe('EMPTY_CHUNK')
    const suite = await suites.get(KEM_X25519, 1, 1)
    if (suite === undefined) throw new Error('expected the suite')
    const response = new ChunkedResponseSealer(suite.cipher(new Uint8Array(16)), new Uint8Array(12), 16, EMPTY)
    expect(() => response.chunk(large)).toThrow(expect.objectContaining({ code: 'CHUNK_TOO_LARGE' }))
    expect(() => response.final(large)).toThrow(expect.objectContaining({ code: 'CHUNK_TOO_LARGE' }))
    expect(() => response.chunk(EMPTY)).toThrow(expect.objectContaining({ code: 'EMPTY_CHUNK' }))
    await response.final(EMPTY)
    expect(() => response.chunk(FINAL)).toThrow(expect.objectContaining({ code: 'CLOSED' }))
  })

  it('counts response chunks in the nonce and stops far below 2^53', () => {
    const base = new Uint8Array(12).fill(0xff)
    expect(chunkNonce(base, 0)).toEqual(base)
    expect(chunkNonce(base, 0x01020304).subarray(8)).toEqual(Uint8Array.of(0xfe, 0xfd, 0xfc, 0xfb))
    expect(chunkNonce(base, 0xffff_ffff).subarray(7)).toEqual(Uint8Array.of(0xff, 0, 0, 0, 0))
    expect(() => chunkNonce(base, 2 ** 32)).toThrow(expect.objectContaining({ code: 'TOO_MANY_CHUNKS' }))
  })
})

describe('a gateway', () => {
  it('takes chunks of 16,384 bytes, final ones too, and no larger', async () => {
    const full = new Uint8Array(16_384).fill(3)
    const over = new Uint8Array(16_385)
    const one = await handMade()
    const chunk = prefixed(await one.session.seal(full, EMPTY))
    const final = finalChunk(await one.session.seal(full, FINAL))
    expect(await open([one.head, chunk, final])).toEqual(concatBytes(full, full))
    const two = await handMade()
    expect(await codeOf(open([two.head, prefixed(await two.session.seal(over, EMPTY))]))).toBe('CHUNK_TOO_LARGE')
    const three = await handMade()
    expect(await codeOf(open([three.head, finalChunk(await three.session.seal(over, FINAL))]))).toBe('CHUNK_TOO_LARGE')
  })

  it('takes any of the four encodings of a length', async () => {
    for (const size of [1, 2, 4, 8]) {
      const { head, session } = await handMade()
      const ciphertext = await session.seal(PLAINTEXT, EMPTY)
      const length = encodeUint(BigInt(ciphertext.length) | (BigInt(Math.log2(size)) << BigInt(8 * size - 2)), size)
      const zero = encodeUint(BigInt(Math.log2(size)) << BigInt(8 * size - 2), size)
      const final = concatBytes(zero, await session.seal(EMPTY, FINAL))
      expect(await open([head, length, ciphertext, final])).toEqual(PLAINTEXT)
    }
  })

  it('refuses a huge length as soon as it is read', async () => {
    for (const length of [encodeVarint(2 ** 30), encodeVarint(2 ** 50), new Uint8Array(8).fill(0xff)]) {
      const { head } = await handMade()
      const opener = new ChunkedRequestOpener(suites, keys)
      await opener.push(head)
      expect(await codeOf(opener.push(length))).toBe('CHUNK_TOO_LARGE')
    }
  })

  it('refuses a message above its total bound before it keeps the excess', async () => {
    const { encapsulated } = await sealChunkedRequest(suites, key.config, new Uint8Array(10_000))
    const limits = { chunkBytesMax: 16_384, messageBytesMax: encapsulated.length - 1 }
    expect(await codeOf(open([encapsulated], limits))).toBe('MESSAGE_TOO_LARGE')
    const bytes = Array.from({ length: 10 }, (_, i) => encapsulated.subarray(i * 1200, (i + 1) * 1200))
    expect(await codeOf(open(bytes, limits))).toBe('MESSAGE_TOO_LARGE')
    await expect(open(bytes, { ...limits, messageBytesMax: encapsulated.length })).resolves.toHaveLength(10_000)
  })

  it('refuses an empty chunk that is not final, although it authenticates', async () => {
    const { head, session } = await handMade()
    const chunks = [prefixed(await session.seal(EMPTY, EMPTY)), finalChunk(await session.seal(EMPTY, FINAL))]
    expect(await codeOf(open([head, ...chunks]))).toBe('EMPTY_CHUNK')
  })

  it('refuses a chunk too short for its tag', async () => {
    const { head } = await handMade()
    expect(await codeOf(open([head, prefixed(new Uint8Array(15))]))).toBe('EMPTY_CHUNK')
    expect(await codeOf(open([head, finalChunk(new Uint8Array(15))]))).toBe('TRUNCATED')
  })

  it('takes a request as complete only with a final chunk that opens as final', async () => {
    const cut = await handMade()
    expect(await codeOf(open([cut.head, prefixed(await cut.session.seal(PLAINTEXT, EMPTY))]))).toBe('TRUNCATED')
    const posing = await handMade()
    expect(await codeOf(open([posing.head, finalChunk(await posing.session.seal(PLAINTEXT, EMPTY))]))).toBe(
      'DECRYPTION_FAILED',
    )
    const early = await handMade()
    expect(await codeOf(open([early.head, prefixed(await early.session.seal(PLAINTEXT, FINAL))]))).toBe(
      'DECRYPTION_FAILED',
    )
  })

  it('refuses chunks that are swapped, repeated or left out', async () => {
    const sealer = await createChunkedRequestSealer(suites, key.config)
    const [one, two, final] = [await sealer.chunk(PLAINTEXT), await sealer.chunk(PLAINTEXT), await sealer.final(EMPTY)]
    for (const order of [
      [two, one, final],
      [one, one, final],
      [two, final],
      [one, final],
    ]) {
      expect(await codeOf(open([sealer.head, ...order]))).toBe('DECRYPTION_FAILED')
    }
    expect(await open([sealer.head, one, two, final])).toEqual(concatBytes(PLAINTEXT, PLAINTEXT))
  })

  it('reads the same request in whatever portions it comes', async () => {
    const plaintext = new Uint8Array(9000).map((_, i) => i)
    const { encapsulated } = await sealChunkedRequest(suites, key.config, plaintext)
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(encapsulated.length), { maxLength: 8 }), async (cuts) => {
        const edges = [0, ...cuts.sort((a, b) => a - b), encapsulated.length]
        const pieces = edges.slice(1).map((end, i) => encapsulated.subarray(edges[i], end))
        expect(await open(pieces)).toEqual(plaintext)
      }),
      { numRuns: 30 },
    )
  })

  it('refuses a request cut at any length, longer by a byte, or with any bit flipped', async () => {
    const sealer = await createChunkedRequestSealer(suites, key.config)
    const encapsulated = concatBytes(sealer.head, await sealer.chunk(FINAL), await sealer.final(FINAL))
    for (let end = 0; end < encapsulated.length; end++) {
      const hasWholeTag = end >= HEAD_BYTES + 1 + FINAL.length + 16 + 1 + 16
      expect(await codeOf(open([encapsulated.subarray(0, end)]))).toBe(hasWholeTag ? 'DECRYPTION_FAILED' : 'TRUNCATED')
    }
    expect(await codeOf(open([encapsulated, Uint8Array.of(0)]))).toBe('DECRYPTION_FAILED')
    for (let i = 0; i < encapsulated.length * 8; i++) {
      const flipped = encapsulated.slice()
      flipped[i >> 3] = (flipped[i >> 3] ?? 0) ^ (1 << (i & 7))
      await expect(open([flipped])).rejects.toMatchObject({ name: 'OhttpError' })
    }
  })

  it('has no exchange before the head is complete, and is closed after a failure', async () => {
    const { head } = await handMade()
    const opener = new ChunkedRequestOpener(suites, keys)
    await opener.push(head.subarray(0, 20))
    expect(() => opener.exchange).toThrow(expect.objectContaining({ code: 'TRUNCATED' }))
    await opener.push(head.subarray(20))
    expect(opener.exchange.enc).toHaveLength(32)
    expect(await codeOf(opener.push(prefixed(new Uint8Array(40))))).toBe('DECRYPTION_FAILED')
    expect(await codeOf(opener.push(EMPTY))).toBe('CLOSED')
    expect(await codeOf(opener.end())).toBe('CLOSED')
  })

  it('does not open a chunked request as a single-shot one or the other way round', async () => {
    const chunked = await sealChunkedRequest(suites, key.config, PLAINTEXT)
    expect(await codeOf(openRequest(suites, keys, chunked.encapsulated))).toBe('DECRYPTION_FAILED')
    const { head, session } = await handMade()
    expect(await codeOf(openRequest(suites, keys, concatBytes(head, await session.seal(PLAINTEXT, EMPTY))))).toBe(
      'DECRYPTION_FAILED',
    )
    const single = await sealRequest(suites, key.config, PLAINTEXT)
    const body = single.encapsulated.subarray(HEAD_BYTES)
    expect(await codeOf(open([single.encapsulated.subarray(0, HEAD_BYTES), finalChunk(body)]))).toBe(
      'DECRYPTION_FAILED',
    )
  })
})

describe('a client', () => {
  it('emits each chunk as it authenticates and completes at the final one', async () => {
    const sealed = await sealChunkedRequest(suites, key.config, PLAINTEXT)
    const [first = EMPTY, second = EMPTY, last = EMPTY] = await respond(sealed, FINAL, PLAINTEXT, FINAL)
    const reader = sealed.openResponse()
    expect(await reader.push(first.subarray(0, first.length - 1))).toEqual([])
    expect(await reader.push(first.subarray(first.length - 1))).toEqual([FINAL])
    expect(await reader.push(concatBytes(second, last))).toEqual([PLAINTEXT])
    expect(await reader.end()).toEqual(FINAL)
    expect(await codeOf(reader.end())).toBe('CLOSED')
  })

  it('reports a response as truncated whatever it has shown before', async () => {
    const sealed = await sealChunkedRequest(suites, key.config, PLAINTEXT)
    const [first = EMPTY] = await respond(sealed, encodeUtf8('data: [DONE]\n\n'), EMPTY)
    const reader = sealed.openResponse()
    expect(await reader.push(first)).toHaveLength(1)
    expect(await codeOf(reader.end())).toBe('TRUNCATED')
    expect(await codeOf(sealed.openResponse().end())).toBe('TRUNCATED')
  })

  it('refuses a response cut at any length, longer by a byte, or with any bit flipped', async () => {
    const sealed = await sealChunkedRequest(suites, key.config, PLAINTEXT)
    const response = concatBytes(...(await respond(sealed, FINAL, FINAL)))
    const read = async (bytes: Uint8Array): Promise<unknown> => {
      const reader = sealed.openResponse()
      await reader.push(bytes)
      return reader.end()
    }
    for (let end = 0; end < response.length; end++) {
      const hasWholeTag = end >= 16 + 1 + FINAL.length + 16 + 1 + 16
      expect(await codeOf(read(response.subarray(0, end)))).toBe(hasWholeTag ? 'DECRYPTION_FAILED' : 'TRUNCATED')
    }
    expect(await codeOf(read(concatBytes(response, Uint8Array.of(0))))).toBe('DECRYPTION_FAILED')
    for (let i = 0; i < response.length * 8; i++) {
      const flipped = response.slice()
      flipped[i >> 3] = (flipped[i >> 3] ?? 0) ^ (1 << (i & 7))
      await expect(read(flipped)).rejects.toMatchObject({ name: 'OhttpError' })
    }
    expect(await read(response)).toEqual(FINAL)
  })
})
