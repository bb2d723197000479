/**
 * Encodings that audits found other verifiers to take or to stumble over, on chain and in the client, in documents and certificates whose
 * signatures are all right.
 * @module
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { encodeCborArray, encodeCborBytes, encodeCborText, encodeCborUint } from '#node/attesters/cborEncode.ts'
import { encodeUtf8, fromHex, toHex } from '#protocol/bytes.ts'
import { type DerTree, derAt, derLeaf } from '../support/derTree.ts'
import { type EvidenceChain, startEvidenceChain } from '../support/evidenceChain.ts'
import { COLD, DOCUMENT, documentOf, GOOD, hintsUnder, IDS, NOW, ROOT, TIME, WARM } from '../support/goodChain.ts'
import { askClient } from '../support/mutations.ts'
import { type DocumentOrder, reissue } from '../support/oddEvidence.ts'

let chain: EvidenceChain
beforeAll(async () => {
  chain = await startEvidenceChain(ROOT, NOW)
  await chain.send('verify', [toHex(DOCUMENT), toHex(COLD)])
})
afterAll(() => chain?.close())

/** The contract's code under cached CA certificates, then the client's. */
async function codesOf(document: Uint8Array, hints: Uint8Array): Promise<[string, string]> {
  return [(await chain.ask(document, hints, { time: TIME })).code, askClient(document, ROOT, TIME)]
}

const [EXTENSIONS, CONSTRAINTS, USAGE] = [
  [7, 0],
  [7, 0, 0],
  [7, 0, 1],
] as const
const set = (tbs: DerTree, path: readonly number[], content: string) => {
  derAt(tbs, ...path).content = fromHex(content)
}
const add = (tbs: DerTree, path: readonly number[], ...leaves: DerTree[]) =>
  derAt(tbs, ...path).children?.push(...leaves)
const tag = (tbs: DerTree, path: readonly number[], value: number) => {
  derAt(tbs, ...path).tag = value
}
const date = (tbs: DerTree, index: number, text: string) => {
  const value = derLeaf(text.length === 13 ? 0x17 : 0x18, toHex(encodeUtf8(text)))
  derAt(tbs, 4).children?.splice(index, 1, value)
}
const NULL = derLeaf(0x05, '0x')

describe('a leaf with', () => {
  // The leaf's first extension is an empty BasicConstraints, critical; its second a KeyUsage, not critical.
  it.each<[string, string, (tbs: DerTree) => void]>([
    [
      'a path length of 2^64, which would wrap',
      'DER_VALUE',
      (t) => set(t, [...CONSTRAINTS, 2], '0x300e0101ff0209010000000000000000'),
    ],
    ['a path length of 2^63', 'DER_VALUE', (t) => set(t, [...CONSTRAINTS, 2], '0x300e0101ff0209008000000000000000')],
    ['a path length of 256', 'DER_VALUE', (t) => set(t, [...CONSTRAINTS, 2], '0x30070101ff02020100')],
    ['a path length of -1', 'DER_VALUE', (t) => set(t, [...CONSTRAINTS, 2], '0x30060101ff0201ff')],
    ['a path length and no CA flag', 'CERTIFICATE_EXTENSION', (t) => set(t, [...CONSTRAINTS, 2], '0x3003020100')],
    ['a CA flag of 0x01', 'DER_VALUE', (t) => set(t, [...CONSTRAINTS, 2], '0x3003010101')],
    ['a CA flag that says FALSE', 'DER_VALUE', (t) => set(t, [...CONSTRAINTS, 2], '0x3003010100')],
    ['a CA flag of two bytes', 'DER_VALUE', (t) => set(t, [...CONSTRAINTS, 2], '0x30040102ffff')],
    ['a critical flag of 0x01', 'DER_VALUE', (t) => set(t, [...CONSTRAINTS, 1], '0x01')],
    ['a critical flag of 0x00', 'DER_VALUE', (t) => set(t, [...CONSTRAINTS, 1], '0x00')],
    ['an issuer that is a set', 'DER_TAG', (t) => tag(t, [3], 0x31)],
    ['a subject whose part is a sequence', 'DER_TAG', (t) => tag(t, [5, 0], 0x30)],
    ['an attribute type that is no object identifier', 'DER_TAG', (t) => tag(t, [5, 0, 0, 0], 0x0d)],
    ['a validity that is a set', 'DER_TAG', (t) => tag(t, [4], 0x31)],
    ['a date that is a string', 'CERTIFICATE_DATE', (t) => tag(t, [4, 0], 0x16)],
    ['a key that is a set', 'DER_TAG', (t) => tag(t, [6], 0x31)],
    ['a key in an octet string', 'DER_TAG', (t) => tag(t, [6, 1], 0x04)],
    ['a serial number that is an enumeration', 'DER_TAG', (t) => tag(t, [1], 0x0a)],
    ['extensions in a set', 'DER_TAG', (t) => tag(t, [...EXTENSIONS], 0x31)],
    ['an extension in a bit string', 'DER_TAG', (t) => tag(t, [...USAGE, 1], 0x03)],
    ['constraints in a set', 'DER_TAG', (t) => set(t, [...CONSTRAINTS, 2], '0x3100')],
    ['a key usage in an octet string', 'DER_TAG', (t) => set(t, [...USAGE, 1], '0x040206c0')],
    ['30 February', 'CERTIFICATE_DATE', (t) => date(t, 0, '260230000000Z')],
    ['29 February of a year without', 'CERTIFICATE_DATE', (t) => date(t, 0, '250229000000Z')],
    ['a month 13', 'CERTIFICATE_DATE', (t) => date(t, 1, '261301000000Z')],
    ['a day 0', 'CERTIFICATE_DATE', (t) => date(t, 1, '261200000000Z')],
    ['a 24th hour', 'CERTIFICATE_DATE', (t) => date(t, 1, '261122240000Z')],
    ['a 60th second', 'CERTIFICATE_DATE', (t) => date(t, 1, '261122000060Z')],
    ['a year below 2050 in four digits', 'CERTIFICATE_DATE', (t) => date(t, 1, '20491231235959Z')],
    ['a date without Z', 'CERTIFICATE_DATE', (t) => date(t, 1, '2611220000000')],
    ['more after its extensions', 'DER_TRAILING_BYTES', (t) => add(t, [], NULL)],
    ['two lists of extensions', 'DER_TRAILING_BYTES', (t) => add(t, [7], { tag: 0x30, children: [] })],
    ['more in an extension', 'DER_TRAILING_BYTES', (t) => add(t, [...CONSTRAINTS], NULL)],
    ['more behind its constraints', 'DER_TRAILING_BYTES', (t) => set(t, [...CONSTRAINTS, 2], '0x30000500')],
    ['more behind its path length', 'DER_TRAILING_BYTES', (t) => set(t, [...CONSTRAINTS, 2], '0x30080101ff0201000500')],
    ['more behind its key usage', 'DER_TRAILING_BYTES', (t) => set(t, [...USAGE, 1], '0x030206c00500')],
    ['more behind its key', 'DER_TRAILING_BYTES', (t) => add(t, [6], NULL)],
    ['a third date', 'DER_TRAILING_BYTES', (t) => add(t, [4], derLeaf(0x17, toHex(encodeUtf8('490101000000Z'))))],
    ['more in a part of its name', 'DER_TRAILING_BYTES', (t) => add(t, [5, 0], NULL)],
    ['an extension twice', 'CERTIFICATE_EXTENSION_DUPLICATE', (t) => set(t, [...USAGE, 0], '0x551d13')],
    ['critical name constraints', 'CERTIFICATE_EXTENSION_CRITICAL', (t) => set(t, [...CONSTRAINTS, 0], '0x551d1e')],
    ['a key usage with unused bits set', 'CERTIFICATE_EXTENSION', (t) => set(t, [...USAGE, 1], '0x030207c0')],
    ['version 2', 'CERTIFICATE_VERSION', (t) => set(t, [0, 0], '0x01')],
    ['serial number 0', 'CERTIFICATE_SERIAL', (t) => set(t, [1], '0x00')],
    ['a negative serial number', 'DER_VALUE', (t) => set(t, [1], '0x80')],
    ['ecdsa-with-SHA256', 'CERTIFICATE_ALGORITHM', (t) => set(t, [2, 0], '0x2a8648ce3d040302')],
    ['a key on P-256', 'CERTIFICATE_KEY', (t) => set(t, [6, 0, 1], '0x2a8648ce3d030107')],
  ])('%s is refused: %s', async (_, code, edit) => {
    const leaf = reissue(GOOD.leaf, edit)
    const document = documentOf({ certificate: leaf.certificate })
    expect(await codesOf(document, WARM)).toEqual([code, code])
  })

  it.each<[string, (tbs: DerTree) => void]>([
    ['nothing odd', () => {}],
    ['a date of 2050 in four digits', (t) => date(t, 1, '20500101000000Z')],
    ['a serial number of 20 bytes', (t) => set(t, [1], `0x00${'ff'.repeat(20)}`)],
    [
      'an unknown extension',
      (t) => add(t, [...EXTENSIONS], { tag: 0x30, children: [derLeaf(6, '0x551dff7f'), derLeaf(4, '0x')] }),
    ],
  ])('%s is accepted', async (_, edit) => {
    const leaf = reissue(GOOD.leaf, edit)
    const document = documentOf({ certificate: leaf.certificate })
    expect(await codesOf(document, hintsUnder(document, IDS))).toEqual(['ACCEPTED', 'ACCEPTED'])
  })
})

const CBOR_NULL = fromHex('0xf6')
const bytes = (length: number) => encodeCborBytes(new Uint8Array(length).fill(7))

describe('a document with', () => {
  it.each<[string, Partial<DocumentOrder>]>([
    ['no public_key', { fields: { public_key: undefined } }],
    ['no nonce and no public_key', { fields: { public_key: undefined, nonce: undefined } }],
    ['an empty public_key and a nonce', { fields: { public_key: bytes(0), nonce: bytes(64) } }],
    ['a nonce of 1,024 bytes', { fields: { nonce: bytes(1_024) } }],
    ['a map of definite length', { isDefinite: true }],
    ['a number of three bytes at its very end', { isDefinite: true, fields: { counter: encodeCborUint(1_000) } }],
    ['a key that nobody knows', { fields: { nitrotpm_pcrs: encodeCborArray([encodeCborUint(1), CBOR_NULL]) } }],
    ['a key identifier in the unprotected header', { unprotected: [[encodeCborUint(4), bytes(8)]] }],
    [
      'text and numbers in the unprotected header',
      {
        unprotected: [
          [encodeCborText('x'), CBOR_NULL],
          [encodeCborUint(9), bytes(3)],
        ],
      },
    ],
  ])('%s is accepted', async (_, change) => {
    const document = documentOf(change)
    expect(await codesOf(document, hintsUnder(document, IDS))).toEqual(['ACCEPTED', 'ACCEPTED'])
  })

  it.each<[string, string, Partial<DocumentOrder>]>([
    [
      'another algorithm in the unprotected header',
      'COSE_HEADER',
      { unprotected: [[encodeCborUint(1), encodeCborUint(7)]] },
    ],
    [
      'critical labels in the unprotected header',
      'COSE_HEADER',
      { unprotected: [[encodeCborUint(2), encodeCborArray([encodeCborUint(4)])]] },
    ],
    [
      'an unprotected label twice',
      'CBOR_DUPLICATE_KEY',
      {
        unprotected: [
          [encodeCborUint(4), CBOR_NULL],
          [encodeCborUint(4), CBOR_NULL],
        ],
      },
    ],
    ['a nonce of 1,025 bytes', 'FIELD_LENGTH', { fields: { nonce: bytes(1_025) } }],
    ['a text for user_data', 'CBOR_TYPE', { fields: { user_data: encodeCborText('text') } }],
    [
      'no PCR 1',
      'PCR_MISSING',
      {
        pcrs: [
          [0, new Uint8Array(48)],
          [2, new Uint8Array(48)],
        ],
      },
    ],
    ['a PCR twice', 'CBOR_DUPLICATE_KEY', { pcrs: [0, 1, 2, 1].map((index) => [index, new Uint8Array(48)]) }],
    ['PCR 32', 'PCR_INDEX', { pcrs: [0, 1, 2, 32].map((index) => [index, new Uint8Array(48)]) }],
    ['PCRs of 32 bytes', 'PCR_LENGTH', { pcrs: [0, 1, 2].map((index) => [index, new Uint8Array(32)]) }],
    ['a digest that is not SHA384', 'FIELD_VALUE', { fields: { digest: encodeCborText('SHA512') } }],
    ['no timestamp', 'FIELD_MISSING', { fields: { timestamp: undefined } }],
    ['an empty bundle', 'BUNDLE_LENGTH', { bundle: [] }],
    ['nine CA certificates', 'BUNDLE_LENGTH', { bundle: Array.from({ length: 9 }, () => ROOT.certificate) }],
  ])('%s is refused: %s', async (_, code, change) => {
    expect(await codesOf(documentOf(change), WARM)).toEqual([code, code])
  })

  it.each([
    ['no user_data', undefined],
    ['user_data of null', CBOR_NULL],
    ['empty user_data', bytes(0)],
    ['user_data of 31 bytes', bytes(31)],
    ['user_data of 33 bytes', bytes(33)],
    ['user_data of 1,024 bytes', bytes(1_024)],
  ])('%s is accepted by both: whoever asks for a binding compares it', async (_, value) => {
    const document = documentOf({ fields: { user_data: value } })
    expect(await codesOf(document, hintsUnder(document, IDS))).toEqual(['ACCEPTED', 'ACCEPTED'])
  })
})
