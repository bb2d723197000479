/** How much a request may be unless a role says otherwise: outside the seal, and inside it. @module */
import { describe, expect, it } from 'vitest'
import { concatBytes } from '#protocol/bytes.ts'
import { encodeRequest } from '#protocol/sealing/binaryHttp.ts'
import { sealChunkedRequest } from '#protocol/sealing/chunkedOhttp.ts'
import { sealRequest } from '#protocol/sealing/ohttp.ts'
import { KEM_X25519 } from '#protocol/sealing/suite.ts'
import { encodeVarint } from '#protocol/sealing/varint.ts'
import { generateGatewayKey, KeyRing } from './keyRing.ts'
import { createNodeSuites } from './nodeSuites.ts'
import { openChunkedRequest, openWholeRequest, SEALED_SERVER_LIMITS } from './openHttpRequest.ts'

const suites = createNodeSuites()
const keys = new KeyRing()
const key = await generateGatewayKey(suites, 1, KEM_X25519)
keys.add(key)
const INNER = { method: 'POST', scheme: 'https', authority: '', path: '/', headers: [] } as const

/** The code with which a body is refused, or the lengths of its header values. */
async function outcome(
  open: typeof openWholeRequest,
  body: Uint8Array<ArrayBuffer>,
  headers: Record<string, string> = {},
): Promise<unknown> {
  const request = new Request('https://gateway/', { method: 'POST', headers, body })
  try {
    const { inner } = await open(suites, keys, request, SEALED_SERVER_LIMITS)
    return inner.headers.map(([, value]) => value.length)
  } catch (error) {
    return (error as { code?: unknown }).code
  }
}

const whole = async (message: Uint8Array): Promise<unknown> =>
  outcome(openWholeRequest, (await sealRequest(suites, key.config, message)).encapsulated)

describe.each([
  ['whole', openWholeRequest],
  ['chunked', openChunkedRequest],
])('a %s body', (_form, open) => {
  it('has 8,388,608 bytes and not one more', async () => {
    // Zeros name a key that nobody has.
    expect(await outcome(open, new Uint8Array(8_388_608))).toBe('UNKNOWN_KEY')
    expect(await outcome(open, new Uint8Array(8_388_609))).toBe('MESSAGE_TOO_LARGE')
  })

  it('is refused by its declared length alone', async () => {
    const declaring = (bytes: number) => outcome(open, new Uint8Array(7), { 'content-length': `${bytes}` })
    expect(await declaring(8_388_608)).toBe('UNKNOWN_KEY')
    expect(await declaring(8_388_609)).toBe('MESSAGE_TOO_LARGE')
  })
})

it('a chunk has 16,384 bytes and not one more', async () => {
  const { encapsulated } = await sealChunkedRequest(suites, key.config, new Uint8Array(1))
  const head = encapsulated.subarray(0, 7 + 32)
  const withChunk = (bytes: number) =>
    outcome(openChunkedRequest, concatBytes(head, encodeVarint(bytes + 16), new Uint8Array(bytes + 16)))
  expect(await withChunk(16_384)).toBe('DECRYPTION_FAILED')
  expect(await withChunk(16_385)).toBe('CHUNK_TOO_LARGE')
})

it('metadata have 65,536 bytes and not one more', async () => {
  // Four strings, the section, its one line with a name of one byte, and no trailers, each with its length in front.
  const around = 1 + 4 + 1 + 5 + 1 + 1 + 1 + 4 + (1 + 1 + 4) + 1
  const withValue = (bytes: number) => whole(encodeRequest({ ...INNER, headers: [['a', 'x'.repeat(bytes)]] }))
  expect(await withValue(65_536 - around)).toEqual([65_536 - around])
  expect(await withValue(65_537 - around)).toBe('METADATA_TOO_LARGE')
})

it('content has 8,388,608 bytes and not one more, by its length before it comes', async () => {
  // Without content and trailers, of which there is one byte each.
  const head = encodeRequest(INNER).subarray(0, -2)
  const begun = (bytes: number) => whole(concatBytes(head, encodeVarint(bytes)))
  expect(await begun(8_388_608)).toBe('TRUNCATED')
  expect(await begun(8_388_609)).toBe('CONTENT_TOO_LARGE')
})
