import { createHash, type KeyObject, verify, X509Certificate } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { encodeUtf8, toHex } from '#protocol/bytes.ts'
import { AWS_NITRO_ROOT } from '#protocol/evidence/awsRoot.ts'
import {
  type CborCursor,
  openCbor,
  readCborArray,
  readCborBytes,
  readCborMap,
  skipCborItem,
} from '#protocol/evidence/cbor.ts'
import { parseCertificate } from '#protocol/evidence/certificate.ts'
import { type DerCursor, enterDer, openDer, readDer } from '#protocol/evidence/der.ts'
import type { EvidencePolicy, PinnedRoot } from '#protocol/evidence/evidence.ts'
import type { EvidenceCode } from '#protocol/evidence/evidenceError.ts'
import { measurementOf } from '#protocol/evidence/measurement.ts'
import { parseNitroDocument } from '#protocol/evidence/nitroDocument.ts'
import { verifyNitroEvidence } from '#protocol/evidence/verifyEvidence.ts'
import { AttesterError } from './attester.ts'
import { createDevelopmentAttester } from './development.ts'
import { issueCertificate } from './developmentCertificate.ts'
import { createDevelopmentHost } from './developmentHost.ts'
import { createDevelopmentRoot, pinDevelopmentRoot } from './developmentRoot.ts'
import { signNitroDocument } from './nitroEncode.ts'

const NOW_MS = Date.UTC(2026, 10, 21, 12, 0, 0) + 789
const NOW = BigInt(Math.floor(NOW_MS / 1000))
const HOUR_MS = 3_600_000
const USER_DATA = encodeUtf8('what the enclave states, 32 byte.')
const PCRS = new Map([0, 1, 2, 4].map((index) => [index, sha384(`pcr ${index}`)] as const))
const ROOT = createDevelopmentRoot(Number(NOW))
const HOST = createDevelopmentHost(ROOT)

describe('development attester', () => {
  it('makes a document that verifies under its pinned root and says what was bound', async () => {
    const nonce = encodeUtf8('block hash')
    const publicKey = new Uint8Array(1024).fill(7)
    const document = await attester().attest({ userData: USER_DATA, nonce, publicKey })
    const verdict = verifyNitroEvidence(document, policy(pinDevelopmentRoot(ROOT)), NOW)
    if (!verdict.ok) throw new Error(verdict.message)
    const { evidence } = verdict
    expect(evidence).toMatchObject({
      kind: 'development',
      issuedAt: NOW,
      isDebug: false,
      userData: USER_DATA,
      nonce,
      publicKey,
    })
    expect(evidence.moduleId).toMatch(/^i-[0-9a-f]{17}-enc[0-9a-f]{16}$/)
    expect(evidence.validUntil).toBe(NOW + 3n * 3600n)
    expect([...evidence.pcrs.keys()]).toEqual(Array.from({ length: 16 }, (_, index) => index))
    expect(evidence.pcrs.get(4)).toEqual(PCRS.get(4))
    expect(evidence.pcrs.get(3)).toEqual(new Uint8Array(48))
    expect(evidence.measurement).toBe(measurementOf('nitro', sha384('pcr 0'), sha384('pcr 1'), sha384('pcr 2')))
  })

  it('makes documents that are refused under any other root', async () => {
    const document = await attester().attest({ userData: USER_DATA })
    const other = pinDevelopmentRoot(createDevelopmentRoot(Number(NOW)))
    for (const roots of [[AWS_NITRO_ROOT], [other], []]) {
      expect(verifyNitroEvidence(document, { roots, ageSecondsMax: 60n }, NOW)).toMatchObject({
        code: 'ROOT_NOT_PINNED',
      })
    }
  })

  it('is in debug mode when PCR 0 to 2 are zero', async () => {
    const debug = createDevelopmentAttester({ pcrs: new Map(), host: HOST, now: () => NOW_MS })
    const verdict = verifyNitroEvidence(
      await debug.attest({ userData: USER_DATA }),
      policy(pinDevelopmentRoot(ROOT)),
      NOW,
    )
    expect(verdict).toMatchObject({ ok: false, code: 'DEBUG_MODE' })
  })

  it('renews certificates before they end, over 25 days of hourly documents', async () => {
    let nowMs = NOW_MS
    const enclave = createDevelopmentAttester({ pcrs: PCRS, root: ROOT, now: () => nowMs })
    const seen: Set<string>[] = [new Set(), new Set(), new Set(), new Set(), new Set()]
    for (let hour = 0; hour < 25 * 24; hour += hour < 30 ? 1 : 7) {
      nowMs = NOW_MS + hour * HOUR_MS
      const { cabundle, certificate } = parseNitroDocument(await enclave.attest({ userData: USER_DATA }))
      for (const [index, der] of [...cabundle, certificate].entries()) {
        seen[index]?.add(toHex(der))
        const { notBefore, notAfter } = parseCertificate(der)
        // A client takes a document for an hour after the next one is due.
        expect(notBefore * 1000n <= BigInt(nowMs) && BigInt(nowMs + HOUR_MS) <= notAfter * 1000n).toBe(true)
      }
    }
    const [root = 0, regional = 0, zonal = 0, instance = 0, leaf = 0] = seen.map(({ size }) => size)
    expect(root).toBe(1)
    expect(regional).toBe(3)
    expect(zonal).toBeGreaterThan(regional)
    expect(instance).toBeGreaterThan(zonal)
    expect(leaf).toBeGreaterThan(instance)
  })

  it('keeps its certificates from one document to the next, and makes new ones when the clock goes back', async () => {
    let nowMs = NOW_MS
    const enclave = createDevelopmentAttester({ pcrs: PCRS, host: createDevelopmentHost(ROOT), now: () => nowMs })
    const attest = async () => parseNitroDocument(await enclave.attest({ userData: USER_DATA }))
    const first = await attest()
    nowMs += HOUR_MS
    expect((await attest()).certificate).toEqual(first.certificate)
    nowMs = NOW_MS - 24 * HOUR_MS
    const back = await enclave.attest({ userData: USER_DATA })
    expect(verifyNitroEvidence(back, policy(pinDevelopmentRoot(ROOT)), NOW - 24n * 3600n)).toMatchObject({
      code: 'CERTIFICATE_NOT_YET_VALID',
      message: expect.stringContaining('root'),
    })
  })

  it('gives enclaves of one host the same CA certificates and different leaves', async () => {
    const [a, b] = [
      parseNitroDocument(await attester().attest({ userData: USER_DATA })),
      parseNitroDocument(await attester().attest({ userData: USER_DATA })),
    ]
    expect(a.cabundle).toEqual(b.cabundle)
    expect(a.certificate).not.toEqual(b.certificate)
    expect(a.moduleId).not.toBe(b.moduleId)
  })

  it('refuses fields above 1,024 bytes and PCRs that are none', async () => {
    const long = new Uint8Array(1025)
    for (const request of [
      { userData: long },
      { userData: USER_DATA, nonce: long },
      { userData: USER_DATA, publicKey: long },
    ]) {
      await expect(attester().attest(request)).rejects.toMatchObject({ code: 'FIELD_TOO_LONG' })
    }
    for (const pcrs of [
      new Map([[16, new Uint8Array(48)]]),
      new Map([[-1, new Uint8Array(48)]]),
      new Map([[0, new Uint8Array(32)]]),
    ]) {
      expect(() => createDevelopmentAttester({ pcrs, now: () => NOW_MS })).toThrow(AttesterError)
    }
  })
})

describe('chains with one fault, every signature of the document right', () => {
  const [regional, zonal, instance] = HOST.authorities(Number(NOW))
  if (regional === undefined || zonal === undefined || instance === undefined) throw new Error('a host has three CAs')
  const order = { role: 'leaf', commonName: 'a leaf', nowSeconds: Number(NOW) } as const
  const leaf = issueCertificate({ ...order, issuer: instance })
  const bundle = [ROOT.certificate, regional.certificate, zonal.certificate, instance.certificate]
  const stranger = issueCertificate({ ...order, role: 'root' })
  const underRoot = issueCertificate({
    ...order,
    issuer: { ...ROOT, subject: parseCertificate(ROOT.certificate).subject },
  })
  const extra = issueCertificate({ ...order, role: 'instance', issuer: instance })
  type Fault = [string, { certificate: Uint8Array; key: KeyObject }, Uint8Array[], EvidenceCode | undefined]

  it.each<Fault>([
    ['none', leaf, bundle, undefined],
    ['a CA left out', leaf, [...bundle.slice(0, 2), instance.certificate], 'CHAIN_NAME'],
    [
      'CAs swapped',
      leaf,
      [ROOT.certificate, zonal.certificate, regional.certificate, instance.certificate],
      'CHAIN_NAME',
    ],
    [
      'a leaf above the leaf',
      issueCertificate({ ...order, issuer: underRoot }),
      [ROOT.certificate, underRoot.certificate],
      'CHAIN_NOT_CA',
    ],
    ['a CA as leaf', instance, bundle.slice(0, 3), 'LEAF_IS_CA'],
    ['the root as leaf', { ...ROOT }, [ROOT.certificate], 'LEAF_IS_CA'],
    [
      'one CA more than allowed',
      issueCertificate({ ...order, issuer: extra }),
      [...bundle, extra.certificate],
      'CHAIN_PATH_LENGTH',
    ],
    [
      "a stranger's key under the right name",
      issueCertificate({ ...order, issuer: { ...instance, key: stranger.key } }),
      bundle,
      'BAD_CHAIN_SIGNATURE',
    ],
    [
      "a document under another leaf's key",
      { certificate: leaf.certificate, key: stranger.key },
      bundle,
      'BAD_DOCUMENT_SIGNATURE',
    ],
    [
      'a leaf that ended',
      issueCertificate({ ...order, nowSeconds: Number(NOW) - 10_801, issuer: instance }),
      bundle,
      'CERTIFICATE_EXPIRED',
    ],
    [
      'a leaf that has not begun',
      issueCertificate({ ...order, nowSeconds: Number(NOW) + 4, issuer: instance }),
      bundle,
      'CERTIFICATE_NOT_YET_VALID',
    ],
  ])('%s', (_, { certificate, key }, chain, code) => {
    const pcrs = [0, 1, 2].map((index) => sha384(`pcr ${index}`))
    const document = signNitroDocument({ moduleId: 'i-0', timestampMs: NOW_MS, pcrs, certificate, bundle: chain }, key)
    const verdict = verifyNitroEvidence(document, policy(pinDevelopmentRoot(ROOT)), NOW)
    expect(verdict.ok ? undefined : verdict.code).toBe(code)
  })
})

const REAL = new URL('../../../../shared/vectors/nitro/nitro-2026-01-03-prod-base.bin', import.meta.url)
const hasReal = existsSync(REAL)
if (!hasReal) console.warn('skipped: vectors/nitro is absent, development documents are not compared with real ones')

describe.skipIf(!hasReal)('beside a real document', () => {
  it('has the same keys, order, types and encodings', async () => {
    const real = new Uint8Array(readFileSync(REAL))
    const ours = await attester().attest({ userData: new Uint8Array(20).fill(1) })
    expect(outlineDocument(ours)).toEqual(outlineDocument(real))
  })

  it('has certificates of the same structure, object identifiers and lifetimes', async () => {
    const real = parseNitroDocument(new Uint8Array(readFileSync(REAL)))
    const ours = parseNitroDocument(await attester().attest({ userData: USER_DATA }))
    for (const [index, der] of [...real.cabundle, real.certificate].entries()) {
      const own = [...ours.cabundle, ours.certificate][index] ?? new Uint8Array()
      expect(outlineDer(openDer(own))).toEqual(outlineDer(openDer(der)))
      const [a, b] = [parseCertificate(own), parseCertificate(der)]
      expect(a).toMatchObject({ isCa: b.isCa, pathLength: b.pathLength, canSignData: b.canSignData })
      const ratio = Number(a.notAfter - a.notBefore) / Number(b.notAfter - b.notBefore)
      expect(ratio).toBeGreaterThan(0.99)
      expect(ratio).toBeLessThan(1.05)
    }
  })

  it('passes an independent check by the same code of Node that real documents pass', async () => {
    const ours = await attester().attest({ userData: USER_DATA })
    expect(checkByNode(ours)).toEqual(GENUINE)
    expect(checkByNode(new Uint8Array(readFileSync(REAL)))).toEqual(GENUINE)
    const forged = ours.slice()
    forged[ours.length - 1] = (ours.at(-1) ?? 0) ^ 1
    expect(checkByNode(forged)).toEqual({ ...GENUINE, document: false })
  })
})

describe('signing', () => {
  it('is plain ECDSA: low and high s both occur and both verify', async () => {
    const half = BigInt(
      '0x7fffffffffffffffffffffffffffffffffffffffffffffffe3b1a6c0fa1b96efac0d06d9245853bd76760cb5666294b9',
    )
    const found = new Set<boolean>()
    const enclave = attester()
    for (let i = 0; i < 64 && found.size < 2; i++) {
      const document = await enclave.attest({ userData: USER_DATA })
      const isHigh = BigInt(toHex(document.subarray(-48))) > half
      if (found.has(isHigh)) continue
      found.add(isHigh)
      expect(verifyNitroEvidence(document, policy(pinDevelopmentRoot(ROOT)), NOW).ok).toBe(true)
    }
    expect(found.size).toBe(2)
  })
})

const GENUINE = { names: true, signatures: true, document: true }

/** Node's own X.509 and ECDSA, over a signed structure put together here. */
function checkByNode(bytes: Uint8Array): typeof GENUINE {
  const { cabundle, certificate, payload, signature } = parseNitroDocument(bytes)
  const chain = [...cabundle, certificate].map((der) => new X509Certificate(der))
  const pairs = chain.flatMap((child, index) => {
    const parent = chain[index - 1]
    return parent === undefined ? [] : [{ child, parent }]
  })
  const leaf = chain.at(-1)
  if (leaf === undefined) throw new Error('a chain has a leaf')
  const head = Buffer.from([0x84, 0x6a, ...Buffer.from('Signature1'), 0x44, 0xa1, 0x01, 0x38, 0x22, 0x40, 0x59, 0, 0])
  head.writeUInt16BE(payload.length, head.length - 2)
  const key = { key: leaf.publicKey, dsaEncoding: 'ieee-p1363' } as const
  return {
    names: pairs.every(({ child, parent }) => child.checkIssued(parent)),
    signatures: pairs.every(({ child, parent }) => child.verify(parent.publicKey)),
    document: verify('sha384', Buffer.concat([head, payload]), key, signature),
  }
}

/** Keys, types and the length of each head; contents only where they say what kind of document it is. */
function outlineDocument(bytes: Uint8Array): unknown[] {
  const outline: unknown[] = []
  const outer = openCbor(bytes)
  const note = (cursor: CborCursor, label: string | number): void => {
    const first = cursor.bytes[cursor.offset] ?? 0
    const isMapOrArray = first >> 5 === 4 || first >> 5 === 5
    outline.push([
      label,
      isMapOrArray || first >= 0xe0 ? first : [first >> 5, (first & 31) < 24 ? 'short' : first & 31],
    ])
    if (first >> 5 === 4) readCborArray(cursor, (index) => note(cursor, index))
    else if (first >> 5 === 5) readCborMap(cursor, (key) => note(cursor, key))
    else if (label === 2 && first === 0x59 && cursor === outer) {
      const payload = openCbor(bytes, readCborBytes(cursor))
      note(payload, 'payload')
    } else skipCborItem(cursor)
  }
  note(outer, 'document')
  return outline
}

/** Tags in order and depth, with the object identifiers. Both forms of a date count as one. */
function outlineDer(cursor: DerCursor): unknown[] {
  const outline: unknown[] = []
  while (cursor.offset < cursor.end) {
    const element = readDer(cursor)
    if ((element.tag & 0x20) !== 0) outline.push([element.tag, outlineDer(enterDer(cursor, element))])
    else if (element.tag === 6) outline.push(toHex(cursor.bytes.subarray(element.content, element.end)))
    else outline.push(element.tag === 0x18 ? 0x17 : element.tag)
  }
  return outline
}

function attester() {
  return createDevelopmentAttester({ pcrs: PCRS, host: HOST, now: () => NOW_MS })
}

function policy(root: PinnedRoot): EvidencePolicy {
  return { roots: [root], ageSecondsMax: 60n }
}

function sha384(text: string): Uint8Array {
  return new Uint8Array(createHash('sha384').update(text).digest())
}
