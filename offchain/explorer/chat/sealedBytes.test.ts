/** What an onlooker reads in sealed requests, against what was sealed. @module */
import { describe, expect, it } from 'vitest'
import { encodeUtf8 } from '#protocol/bytes.ts'
import { encodeRequest, type InnerRequest } from '#protocol/sealing/binaryHttp.ts'
import { sealHttpRequest } from '#protocol/sealing/client.ts'
import { AEAD_AES_128_GCM, KDF_HKDF_SHA256, KEM_X_WING, KEM_X25519 } from '#protocol/sealing/suite.ts'
import { createWebSuites } from '#protocol/sealing/webSuites.ts'
import { occursIn, readClearHeader } from './sealedBytes.ts'

const suites = createWebSuites()

function requestOf(bytes: number): InnerRequest {
  const body = new Uint8Array(bytes).fill(0x61)
  return { method: 'POST', scheme: 'https', authority: 'a.test', path: '/v1/chat/completions', headers: [], body }
}

async function seal(kemId: number, request: InnerRequest): Promise<Uint8Array> {
  const { publicKey } = await suites.generateKeyPair(kemId)
  const symmetric = [{ kdfId: KDF_HKDF_SHA256, aeadId: AEAD_AES_128_GCM }]
  return (await sealHttpRequest(suites, { keyId: 7, kemId, publicKey, suites: symmetric }, request)).body
}

describe('readClearHeader', () => {
  it.each([KEM_X25519, KEM_X_WING])('tells key, algorithms and size class: KEM %i', async (kemId) => {
    for (const bytes of [0, 900, 1_000, 2_000, 4_000, 16_000, 60_000, 66_000, 140_000]) {
      const request = requestOf(bytes)
      const unpadded = encodeRequest(request, (length) => length).length
      const header = readClearHeader(await seal(kemId, request))
      expect(header, `${bytes} bytes`).toMatchObject({ keyId: 7, aead: 'AES-128-GCM' })
      expect(header?.kem.startsWith(kemId === KEM_X_WING ? 'X-Wing' : 'X25519')).toBe(true)
      expect(unpadded).toBeLessThanOrEqual(header?.classBytes ?? 0)
      expect(unpadded).toBeGreaterThan(header?.smallerClassBytes ?? 0)
    }
  })

  it('says nothing of bytes that are no sealed request', async () => {
    const sealed = await seal(KEM_X25519, requestOf(10))
    expect(readClearHeader(sealed.subarray(0, 6))).toBeUndefined()
    expect(readClearHeader(sealed.subarray(0, 500))).toBeUndefined()
    const unknown = sealed.slice()
    unknown[1] = 0xff
    expect(readClearHeader(unknown)).toBeUndefined()
  })
})

it('finds bytes wherever they stand, and nothing where they do not', () => {
  const bytes = encodeUtf8('aab aabc')
  expect(occursIn(encodeUtf8('aabc'), bytes)).toBe(true)
  expect(occursIn(encodeUtf8('aab'), bytes)).toBe(true)
  expect(occursIn(encodeUtf8('abcd'), bytes)).toBe(false)
  expect(occursIn(new Uint8Array(), bytes)).toBe(false)
})
