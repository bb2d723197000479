/** Published vectors of HPKE and OHTTP on all three back ends: node:crypto, WebCrypto, noble. @module */
import { existsSync, readFileSync } from 'node:fs'
import * as noble from '@panva/hpke-noble'
import * as webcrypto from 'hpke'
import { describe, expect, it } from 'vitest'
import { concatBytes, fromHex, toHex } from '#protocol/bytes.ts'
import { createChunkedRequestSealer } from '#protocol/sealing/chunkedOhttp.ts'
import { ChunkedRequestOpener } from '#protocol/sealing/chunkedOpener.ts'
import type { GatewayKeys } from '#protocol/sealing/exchange.ts'
import { createHpkeSuite, hpkeCipher, importHpkeKeyPair } from '#protocol/sealing/hpkeSuite.ts'
import { encodeKeyConfig, type KeyConfig, parseKeyConfig } from '#protocol/sealing/keyConfig.ts'
import { nobleHkdfSha256 } from '#protocol/sealing/nobleHkdf.ts'
import { openRequest, sealRequest } from '#protocol/sealing/ohttp.ts'
import type { MaybeBytes, ResponseCipher, SealingSuite, SealingSuites } from '#protocol/sealing/suite.ts'
import { createWebSuites } from '#protocol/sealing/webSuites.ts'
import { nodeAes128Gcm, nodeChaCha20Poly1305, nodeCipher, nodeHkdfSha256 } from './nodeAlgorithms.ts'
import { nodeX25519, nodeXWing } from './nodeKems.ts'
import { createNodeSuites } from './nodeSuites.ts'

interface BackEnd {
  readonly suites: SealingSuites
  readonly x25519: webcrypto.KEMFactory
  readonly xWing: webcrypto.KEMFactory
  readonly kdf: webcrypto.KDFFactory
  readonly aeads: ReadonlyMap<number, webcrypto.AEADFactory>
  cipher(aeadId: number): (key: Uint8Array) => ResponseCipher<MaybeBytes>
}

function required<Value>(value: Value | undefined): Value {
  if (value === undefined) throw new Error('the vector needs an algorithm that the test does not name')
  return value
}

const nodeAeads = new Map([
  [1, nodeAes128Gcm],
  [3, nodeChaCha20Poly1305],
])
const webAeads = new Map([
  [1, webcrypto.AEAD_AES_128_GCM],
  [3, webcrypto.AEAD_ChaCha20Poly1305],
])
const nobleAeads = new Map([
  [1, noble.AEAD_AES_128_GCM],
  [3, noble.AEAD_ChaCha20Poly1305],
])

const BACK_ENDS: readonly (readonly [string, BackEnd])[] = [
  [
    'node:crypto',
    {
      suites: createNodeSuites(),
      x25519: nodeX25519,
      xWing: nodeXWing,
      kdf: nodeHkdfSha256,
      aeads: nodeAeads,
      cipher: (aeadId) => (key) => nodeCipher(aeadId, key),
    },
  ],
  [
    'WebCrypto',
    {
      suites: createWebSuites({ noble: 'never' }),
      x25519: webcrypto.KEM_DHKEM_X25519_HKDF_SHA256 as webcrypto.KEMFactory,
      xWing: webcrypto.KEM_MLKEM768_X25519,
      kdf: webcrypto.KDF_HKDF_SHA256,
      aeads: webAeads,
      cipher: (aeadId) => hpkeCipher(required(webAeads.get(aeadId))),
    },
  ],
  [
    'noble',
    {
      suites: createWebSuites({ noble: 'always' }),
      x25519: noble.KEM_DHKEM_X25519_HKDF_SHA256,
      xWing: noble.KEM_MLKEM768_X25519,
      kdf: nobleHkdfSha256,
      aeads: nobleAeads,
      cipher: (aeadId) => hpkeCipher(required(nobleAeads.get(aeadId))),
    },
  ],
]

const hex = (text: string): Uint8Array<ArrayBuffer> => fromHex(`0x${text}`)
const text = (bytes: Uint8Array): string => toHex(bytes).slice(2)

/** The KEM with the vector's ephemeral key: every implementation makes it by its own `GenerateKeyPair`. */
function withEphemeral(kem: webcrypto.KEMFactory, skE: Uint8Array, pkE: Uint8Array): webcrypto.KEMFactory {
  return () => {
    const base = kem()
    return {
      ...base,
      GenerateKeyPair: async () => ({
        privateKey: await base.DeserializePrivateKey(skE, true),
        publicKey: await base.DeserializePublicKey(pkE),
      }),
    }
  }
}

function suiteOf(backEnd: BackEnd, kem: webcrypto.KEMFactory, aeadId: number): SealingSuite {
  const aead = required(backEnd.aeads.get(aeadId))
  return createHpkeSuite({ kem, kdf: backEnd.kdf, aead }, backEnd.cipher(aeadId))
}

interface OhttpVector {
  readonly skR: string
  readonly skE: string
  readonly pkE: string
  readonly key_config: string
  readonly bhttp_request: string
  readonly enc_request: string
  readonly bhttp_response: string
  readonly enc_response: string
}

function readVector<Vector>(name: string): Vector {
  return JSON.parse(readFileSync(new URL(`../../../test/vectors/${name}`, import.meta.url), 'utf8'))
}

async function ends(
  backEnd: BackEnd,
  vector: OhttpVector,
): Promise<{ client: SealingSuites; config: KeyConfig; keys: GatewayKeys }> {
  const config = parseKeyConfig(hex(vector.key_config))
  const suite = suiteOf(backEnd, withEphemeral(backEnd.x25519, hex(vector.skE), hex(vector.pkE)), 1)
  const client = { ...backEnd.suites, get: () => suite }
  const pair = await backEnd.suites.importKeyPair(config.kemId, hex(vector.skR), config.publicKey)
  return { client, config, keys: new Map([[config.keyId, { config, pair }]]) }
}

describe.each(BACK_ENDS)('%s', (_name, backEnd) => {
  it('reproduces the exchange of RFC 9458 appendix A on both ends', async () => {
    const vector = readVector<OhttpVector & { response_nonce: string }>('ohttp-rfc9458.json')
    const { client, config, keys } = await ends(backEnd, vector)
    expect(text(encodeKeyConfig(config))).toBe(vector.key_config)
    const sealed = await sealRequest(client, config, hex(vector.bhttp_request))
    expect(text(sealed.encapsulated)).toBe(vector.enc_request)
    const opened = await openRequest(backEnd.suites, keys, sealed.encapsulated)
    expect(text(opened.plaintext)).toBe(vector.bhttp_request)
    const response = await opened.sealResponse(hex(vector.bhttp_response), () => hex(vector.response_nonce))
    expect(text(response)).toBe(vector.enc_response)
    expect(text(await sealed.openResponse(response))).toBe(vector.bhttp_response)
    expect(await opened.exportSecret('test', 32)).toEqual(await sealed.exportSecret('test', 32))
  })

  it('reproduces the exchange of the chunked draft on both ends', async () => {
    const vector = readVector<
      OhttpVector & {
        enc_request_parts: { header: string; enc: string; chunks_with_length_prefix: string[] }
        enc_response_parts: { response_nonce: string }
      }
    >('ohttp-chunked.json')
    const { client, config, keys } = await ends(backEnd, vector)
    const request = hex(vector.bhttp_request)
    const sealer = await createChunkedRequestSealer(client, config)
    const chunks = [
      await sealer.chunk(request.subarray(0, 12)),
      await sealer.chunk(request.subarray(12)),
      await sealer.final(new Uint8Array()),
    ]
    expect(text(sealer.head)).toBe(vector.enc_request_parts.header + vector.enc_request_parts.enc)
    expect(chunks.map(text)).toEqual(vector.enc_request_parts.chunks_with_length_prefix)
    expect(text(concatBytes(sealer.head, ...chunks))).toBe(vector.enc_request)

    const opener = new ChunkedRequestOpener(backEnd.suites, keys)
    const plaintexts = await opener.push(hex(vector.enc_request))
    expect(text(concatBytes(...plaintexts, await opener.end()))).toBe(vector.bhttp_request)

    const responder = await opener.exchange.createResponseSealer(() => hex(vector.enc_response_parts.response_nonce))
    const response = hex(vector.bhttp_response)
    const encapsulated = concatBytes(
      await responder.chunk(response.subarray(0, 1)),
      await responder.chunk(response.subarray(1)),
      await responder.final(new Uint8Array()),
    )
    expect(text(encapsulated)).toBe(vector.enc_response)
    const reader = sealer.openResponse()
    expect((await reader.push(encapsulated)).map(text)).toEqual(['01', '40c8'])
    expect(await reader.end()).toHaveLength(0)
  })
})

interface HpkeVector {
  readonly mode: number
  readonly kem_id: number
  readonly kdf_id: number
  readonly aead_id: number
  readonly info: string
  readonly ikmR: string
  readonly skRm: string
  readonly pkRm: string
  readonly skEm?: string
  readonly pkEm?: string
  readonly psk?: string
  readonly psk_id?: string
  readonly enc: string
  readonly encryptions: readonly { readonly aad: string; readonly ct: string; readonly pt: string }[]
  readonly exports: readonly {
    readonly exporter_context: string
    readonly L: number
    readonly exported_value: string
  }[]
}

function readShared(name: string): HpkeVector[] | undefined {
  const file = new URL(`../../../../shared/vectors/ohttp/${name}`, import.meta.url)
  if (!existsSync(file)) {
    console.info(`skipped: the vectors ${name} are not beside the repository`)
    return undefined
  }
  return JSON.parse(readFileSync(file, 'utf8')).vectors
}

const rfc9180 = readShared('rfc9180-subset.json')
const hpkePq = readShared('hpke-pq.json')?.filter((vector) => vector.kem_id === 0x647a)

describe.each(BACK_ENDS)('HPKE on %s', (_name, backEnd) => {
  it.skipIf(rfc9180 === undefined)(
    'passes the base mode vectors of RFC 9180 for X25519 as a sealing suite',
    async () => {
      const vectors = required(rfc9180).filter((v) => v.mode === 0 && v.kem_id === 0x20 && backEnd.aeads.has(v.aead_id))
      expect(vectors).toHaveLength(2)
      for (const vector of vectors) {
        const kem = withEphemeral(backEnd.x25519, hex(required(vector.skEm)), hex(required(vector.pkEm)))
        const aead = required(backEnd.aeads.get(vector.aead_id))
        const suite = suiteOf(backEnd, kem, vector.aead_id)
        const sender = await suite.setupSender(hex(vector.pkRm), hex(vector.info))
        expect(text(sender.enc)).toBe(vector.enc)
        const algorithms = { kem: backEnd.x25519, kdf: backEnd.kdf, aead }
        const pair = await importHpkeKeyPair(algorithms, hex(vector.skRm), hex(vector.pkRm))
        const recipient = await suite.setupRecipient(pair, sender.enc, hex(vector.info))
        expect(vector.encryptions.length).toBeGreaterThan(4)
        for (const { aad, ct, pt } of vector.encryptions) {
          expect(text(await sender.seal(hex(pt), hex(aad)))).toBe(ct)
          expect(text(await recipient.open(hex(ct), hex(aad)))).toBe(pt)
        }
        for (const { exporter_context, L, exported_value } of vector.exports) {
          expect(text(await sender.export(hex(exporter_context), L))).toBe(exported_value)
          expect(text(await recipient.export(hex(exporter_context), L))).toBe(exported_value)
        }
      }
    },
  )

  it.skipIf(rfc9180 === undefined)(
    'passes every vector of RFC 9180 with its own algorithms wherever it has them',
    async () => {
      const vectors = required(rfc9180)
      expect(vectors).toHaveLength(16)
      const others = new Map([
        [2, webcrypto.AEAD_AES_256_GCM],
        [0xffff, webcrypto.AEAD_EXPORT_ONLY],
      ])
      for (const vector of vectors) {
        const ownKem =
          vector.kem_id === 0x20 ? backEnd.x25519 : (webcrypto.KEM_DHKEM_P256_HKDF_SHA256 as webcrypto.KEMFactory)
        const aead = required(backEnd.aeads.get(vector.aead_id) ?? others.get(vector.aead_id))
        await checkRecipient(new webcrypto.CipherSuite(ownKem, backEnd.kdf, aead), vector)
      }
    },
  )

  it.skipIf(hpkePq === undefined)('passes the X-Wing vectors of the post-quantum draft', async () => {
    expect(required(hpkePq)).toHaveLength(2)
    for (const vector of required(hpkePq)) {
      const kdf = vector.kdf_id === 1 ? backEnd.kdf : webcrypto.KDF_SHAKE256
      const aead = required(backEnd.aeads.get(vector.aead_id))
      await checkRecipient(new webcrypto.CipherSuite(backEnd.xWing, kdf, aead), vector)
    }
  })
})

/** Derives the recipient's keys, opens and exports; a vector has no ephemeral randomness for every KEM, so nothing is sealed. */
async function checkRecipient(suite: webcrypto.CipherSuite, vector: HpkeVector): Promise<void> {
  const pair = await suite.DeriveKeyPair(hex(vector.ikmR), true)
  expect(text(await suite.SerializePrivateKey(pair.privateKey))).toBe(vector.skRm)
  expect(text(await suite.SerializePublicKey(pair.publicKey))).toBe(vector.pkRm)
  const psk = vector.psk === undefined ? {} : { psk: hex(vector.psk), pskId: hex(required(vector.psk_id)) }
  const recipient = await suite.SetupRecipient(await suite.DeserializePrivateKey(hex(vector.skRm)), hex(vector.enc), {
    info: hex(vector.info),
    ...psk,
  })
  for (const { aad, ct, pt } of vector.encryptions) expect(text(await recipient.Open(hex(ct), hex(aad)))).toBe(pt)
  for (const { exporter_context, L, exported_value } of vector.exports) {
    expect(text(await recipient.Export(hex(exporter_context), L))).toBe(exported_value)
  }
}
