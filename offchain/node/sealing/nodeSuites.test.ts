import type { KEM } from 'hpke'
import { describe, expect, it } from 'vitest'
import { encodeUtf8 } from '#protocol/bytes.ts'
import { KEM_X_WING, KEM_X25519, type SealingSuites } from '#protocol/sealing/suite.ts'
import { createWebSuites } from '#protocol/sealing/webSuites.ts'
import { nodeX25519 } from './nodeKems.ts'
import { createNodeSuites } from './nodeSuites.ts'

const BACK_ENDS: readonly (readonly [string, SealingSuites])[] = [
  ['node:crypto', createNodeSuites()],
  ['WebCrypto', createWebSuites({ noble: 'never' })],
  ['noble', createWebSuites({ noble: 'always' })],
]
const PAIRS = BACK_ENDS.flatMap(([clientName, client]) =>
  BACK_ENDS.map(([gatewayName, gateway]) => [clientName, gatewayName, client, gateway] as const),
)
const INFO = encodeUtf8('info')
const AAD = encodeUtf8('aad')

describe.each(PAIRS)('a client on %s and a gateway on %s', (_client, _gateway, client, gateway) => {
  it.each([
    [KEM_X25519, 1],
    [KEM_X25519, 3],
    [KEM_X_WING, 1],
    [KEM_X_WING, 3],
  ])('understand each other with KEM %i and AEAD %i', async (kemId, aeadId) => {
    const [sending, receiving] = [await client.get(kemId, 1, aeadId), await gateway.get(kemId, 1, aeadId)]
    if (sending === undefined || receiving === undefined) throw new Error('expected the suite')
    const key = await gateway.generateKeyPair(kemId)
    const sender = await sending.setupSender(key.publicKey, INFO)
    expect(sender.enc).toHaveLength(receiving.Nenc)
    const recipient = await receiving.setupRecipient(key, sender.enc, INFO)
    const plaintext = encodeUtf8('a sentence that crosses')
    expect(await recipient.open(await sender.seal(plaintext, AAD), AAD)).toEqual(plaintext)
    expect(await recipient.export(AAD, 48)).toEqual(await sender.export(AAD, 48))

    const [responseKey, nonce] = [await sender.export(INFO, receiving.Nk), new Uint8Array(receiving.Nn)]
    const prefix = Uint8Array.of(7, 7)
    const sealed = await receiving.cipher(responseKey).seal(nonce, AAD, plaintext, prefix)
    expect(sealed.subarray(0, 2)).toEqual(prefix)
    expect(await sending.cipher(responseKey).open(nonce, AAD, sealed.subarray(2))).toEqual(plaintext)
    sealed[2] = (sealed[2] ?? 0) ^ 1
    await expect(async () => sending.cipher(responseKey).open(nonce, AAD, sealed.subarray(2))).rejects.toThrow()
  })
})

describe.each(BACK_ENDS)('%s', (_name, suites) => {
  it('has no suite for an unknown KEM, KDF or AEAD', async () => {
    expect(await suites.get(0x10, 1, 1)).toBeUndefined()
    expect(await suites.get(KEM_X25519, 2, 1)).toBeUndefined()
    expect(await suites.get(KEM_X25519, 1, 2)).toBeUndefined()
    await expect(suites.generateKeyPair(0x10)).rejects.toMatchObject({ code: 'UNSUPPORTED_SUITE' })
  })

  it.each([KEM_X25519, KEM_X_WING])(
    'refuses a private key with the public key of another pair, KEM %i',
    async (kemId) => {
      const other = await suites.generateKeyPair(kemId)
      const privateKey = new Uint8Array(32).fill(5)
      await expect(suites.importKeyPair(kemId, privateKey, other.publicKey)).rejects.toMatchObject({ code: 'BAD_KEY' })
      await expect(suites.importKeyPair(kemId, privateKey.subarray(1), other.publicKey)).rejects.toMatchObject({
        code: 'BAD_KEY',
      })
    },
  )

  it.each([KEM_X25519, KEM_X_WING])('refuses an X25519 share of small order on both ends, KEM %i', async (kemId) => {
    const suite = await suites.get(kemId, 1, 1)
    const key = await suites.generateKeyPair(kemId)
    if (suite === undefined) throw new Error('expected the suite')
    const { enc } = await suite.setupSender(key.publicKey, INFO)
    const [badEnc, badKey] = [enc.slice().fill(0, -32), key.publicKey.slice().fill(0, -32)]
    await expect(suite.setupRecipient(key, badEnc, INFO)).rejects.toThrow()
    await expect(suite.setupSender(badKey, INFO)).rejects.toThrow()
  })
})

it('keeps the bytes of a generated private key out of reach', async () => {
  const kem: KEM = nodeX25519()
  const pair = await kem.GenerateKeyPair(false)
  await expect(kem.SerializePrivateKey(pair.privateKey)).rejects.toThrow(/not extractable/)
})

it('seals a response chunk on node:crypto without a promise', async () => {
  const suite = await createNodeSuites().get(KEM_X25519, 1, 1)
  const sealed = suite?.cipher(new Uint8Array(16)).seal(new Uint8Array(12), AAD, encodeUtf8('now'), new Uint8Array())
  expect(sealed).toBeInstanceOf(Uint8Array)
})
