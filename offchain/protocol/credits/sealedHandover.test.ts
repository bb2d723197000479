/** Keysets under seal: they open for one key, whole or not at all. @module */
import { beforeAll, describe, expect, it } from 'vitest'
import { concatBytes, toHex } from '../bytes.ts'
import type { GatewayKey } from '../sealing/exchange.ts'
import { openRequest, sealRequest } from '../sealing/ohttp.ts'
import { AEAD_AES_128_GCM, KDF_HKDF_SHA256, KEM_X_WING, KEM_X25519 } from '../sealing/suite.ts'
import { createWebSuites } from '../sealing/webSuites.ts'
import { type HandedKeyset, openHandover, sealHandover } from './sealedHandover.ts'

const suites = createWebSuites()
const LABELS = { request: 'sealpath keyset handover', response: 'sealpath keyset handover answer' }

async function makeKey(kemId: number): Promise<GatewayKey> {
  const pair = await suites.generateKeyPair(kemId)
  const symmetric = [{ kdfId: KDF_HKDF_SHA256, aeadId: AEAD_AES_128_GCM }]
  return { config: { keyId: 1, kemId, publicKey: pair.publicKey, suites: symmetric }, pair }
}

function makeKeyset(byte: number): HandedKeyset {
  const keyset = toHex(new Uint8Array(32).fill(byte))
  const secretKeys = Array.from({ length: 24 }, (_, i) => new Uint8Array(32).fill(i + byte))
  return { keyset, signUntil: 2_000_000_000, spendUntil: 2_100_000_000, exitUntil: 2 ** 40 - 1, secretKeys }
}
const SUCCESSION = { r: toHex(new Uint8Array(32).fill(0xaa)), vs: toHex(new Uint8Array(32).fill(0xbb)) }

let key: GatewayKey
beforeAll(async () => {
  key = await makeKey(KEM_X25519)
})
const keysOf = (own: GatewayKey) => new Map([[1, own]])

describe('a handover', () => {
  it.each([KEM_X25519, KEM_X_WING])('opens as it was sealed, under KEM %i', async (kemId) => {
    const own = await makeKey(kemId)
    const keysets = [{ ...makeKeyset(1), succession: SUCCESSION }, makeKeyset(2)]
    expect(await openHandover(suites, keysOf(own), await sealHandover(suites, own.config, keysets))).toEqual(keysets)
    expect(await openHandover(suites, keysOf(own), await sealHandover(suites, own.config, []))).toEqual([])
  })

  it('takes sixty-four keysets, as many as an issuer has', async () => {
    const keysets = Array.from({ length: 64 }, (_, i) => makeKeyset(i))
    expect(await openHandover(suites, keysOf(key), await sealHandover(suites, key.config, keysets))).toEqual(keysets)
  })

  it('leaves the keys that it sealed as they are', async () => {
    const keyset = makeKeyset(3)
    await sealHandover(suites, key.config, [keyset])
    expect(keyset).toEqual(makeKeyset(3))
  })

  it('opens with no other key, and as nothing else', async () => {
    const sealed = await sealHandover(suites, key.config, [makeKeyset(1)])
    const other = keysOf(await makeKey(KEM_X25519))
    await expect(openHandover(suites, other, sealed)).rejects.toMatchObject({ code: 'DECRYPTION_FAILED' })
    await expect(openRequest(suites, keysOf(key), sealed)).rejects.toMatchObject({ code: 'DECRYPTION_FAILED' })
  })

  it.each([
    ['too many keysets', Array.from({ length: 65 }, (_, i) => makeKeyset(i))],
    ['a key too few', [{ ...makeKeyset(1), secretKeys: makeKeyset(1).secretKeys.slice(1) }]],
    [
      'a key that is too long',
      [{ ...makeKeyset(1), secretKeys: makeKeyset(1).secretKeys.map(() => new Uint8Array(33)) }],
    ],
  ])('is not made of %s', async (_, keysets) => {
    await expect(sealHandover(suites, key.config, keysets)).rejects.toMatchObject({ code: 'WRONG_LENGTH' })
  })

  it('is refused at every other length, in another version, and with bytes where there is no succession', async () => {
    const sealed = await sealHandover(suites, key.config, [makeKeyset(1)])
    const { plaintext } = await openRequest(suites, keysOf(key), sealed, LABELS)
    const open = async (bytes: Uint8Array) =>
      openHandover(suites, keysOf(key), (await sealRequest(suites, key.config, bytes, LABELS)).encapsulated)
    expect(await open(plaintext)).toHaveLength(1)
    for (let length = 1; length < plaintext.length; length++) {
      await expect(open(plaintext.subarray(0, length))).rejects.toMatchObject({ code: 'WRONG_LENGTH' })
    }
    await expect(open(concatBytes(plaintext, Uint8Array.of(0)))).rejects.toMatchObject({ code: 'WRONG_LENGTH' })
    await expect(open(new Uint8Array())).rejects.toMatchObject({ code: 'WRONG_VERSION' })
    const changed = (at: number, byte: number) => plaintext.map((old, i) => (i === at ? byte : old))
    const ofKeysets = (count: number) => {
      const keysets = Array.from({ length: count }, () => plaintext.subarray(2))
      return open(concatBytes(Uint8Array.of(1, count), ...keysets))
    }
    expect(await ofKeysets(64)).toHaveLength(64)
    await expect(ofKeysets(65)).rejects.toMatchObject({ code: 'WRONG_LENGTH' })
    await expect(open(changed(0, 2))).rejects.toMatchObject({ code: 'WRONG_VERSION' })
    await expect(open(changed(1, 2))).rejects.toMatchObject({ code: 'WRONG_LENGTH' })
    await expect(open(changed(plaintext.length - 65, 2))).rejects.toMatchObject({ code: 'NOT_CANONICAL' })
    await expect(open(changed(plaintext.length - 1, 1))).rejects.toMatchObject({ code: 'NOT_CANONICAL' })
  })
})
