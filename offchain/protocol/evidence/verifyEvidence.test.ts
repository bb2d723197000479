import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { p384 } from '@noble/curves/nist.js'
import { keccak_256 } from '@noble/hashes/sha3.js'
import { describe, expect, it } from 'vitest'
import { concatBytes, decodeUint, encodeUint, fromHex, type Hex, toHex } from '#protocol/bytes.ts'
import { readEvidenceVector } from '../../../test/support/evidenceVector.ts'
import { AWS_NITRO_ROOT } from './awsRoot.ts'
import { parseCertificate } from './certificate.ts'
import type { EvidencePolicy, EvidenceVerdict } from './evidence.ts'
import { EvidenceError } from './evidenceError.ts'
import { measurementOf } from './measurement.ts'
import { type NitroDocument, parseNitroDocument } from './nitroDocument.ts'
import { verifyNitroEvidence } from './verifyEvidence.ts'

const FOLDER = new URL('../../../../shared/vectors/nitro/', import.meta.url)
const hasVectors = existsSync(FOLDER)
if (!hasVectors) console.warn('skipped: vectors/nitro is absent, real documents are not verified')

type Vector = {
  name: string
  kind: 'positive' | 'policy-negative' | 'crypto-negative'
  module_id: string
  timestamp_ms: number
  sig_structure_bytes: number
  cose_signature: string
  pcrs_nonzero: Record<string, string>
  pcrs_zero_indices: number[]
  public_key: string | null
  user_data: string | null
  nonce: string | null
  certificates: { serial: string; not_before: string; not_after: string; bytes: number }[]
  bytes: Uint8Array
  issuedAt: bigint
}

const VECTORS = hasVectors
  ? readdirSync(FOLDER)
      .filter((name) => name.endsWith('.json'))
      .map(readVector)
  : []
const POSITIVE = VECTORS.filter(({ kind }) => kind === 'positive')
const GENUINE = VECTORS.filter(({ kind }) => kind !== 'crypto-negative')
const POLICY: EvidencePolicy = { roots: [AWS_NITRO_ROOT], ageSecondsMax: 7200n }

it('checks nothing behind a signature that is wrong, a certificate’s or the document’s own', () => {
  const vector = readEvidenceVector()
  const [document, root] = [fromHex(vector.document), fromHex(vector.root)]
  const policy = { roots: [{ kind: 'development', certificate: root }], ageSecondsMax: 7200n } as const
  const time = BigInt(vector.issuedAt)
  const names = (bytes: Uint8Array) => verifyNitroEvidence(bytes, policy, time).checks.map(({ name }) => name)
  expect(verifyNitroEvidence(document, policy, time)).toMatchObject({ ok: true })
  for (const certificate of parseNitroDocument(document).cabundle.slice(1)) {
    const spoilt = document.slice()
    // The last byte of a certificate is the last of its signature's s.
    const at = toHex(document).indexOf(toHex(certificate).slice(2)) / 2 - 1 + certificate.length - 1
    spoilt[at] = (spoilt[at] ?? 0) ^ 1
    expect(verifyNitroEvidence(spoilt, policy, time)).toMatchObject({ ok: false })
    expect(names(spoilt)).toEqual(names(document).slice(0, names(document).indexOf('chain-signatures') + 1))
  }
  const spoilt = document.slice()
  // The last byte of a document is the last of its own.
  spoilt[spoilt.length - 1] = (spoilt.at(-1) ?? 0) ^ 1
  expect(verifyNitroEvidence(spoilt, policy, time)).toMatchObject({ ok: false, code: 'BAD_DOCUMENT_SIGNATURE' })
  expect(names(spoilt)).toEqual(names(document).slice(0, names(document).indexOf('document-signature') + 1))
})

it('refuses bytes that are no document with the code of the first thing wrong, and checks nothing else', () => {
  for (const [bytes, code] of [
    [new Uint8Array(), 'CBOR_TRUNCATED'],
    [new Uint8Array(16_385), 'DOCUMENT_SIZE'],
    [fromHex('0x8444a1013822a040'), 'CBOR_TRUNCATED'],
    [fromHex('0xa0'), 'CBOR_TYPE'],
  ] as const) {
    const verdict = verifyNitroEvidence(bytes, POLICY, 0n)
    expect(verdict).toMatchObject({ ok: false, code })
    expect(verdict.checks.map(({ name, passed }) => [name, passed])).toEqual([['format', false]])
  }
})

describe.skipIf(!hasVectors)('real documents', () => {
  it('are all here', () => {
    expect(POSITIVE.length).toBeGreaterThanOrEqual(5)
    expect(VECTORS.length - POSITIVE.length).toBeGreaterThanOrEqual(3)
  })

  it.each(POSITIVE)('are accepted at their own time: $name', (vector) => {
    const verdict = verifyNitroEvidence(vector.bytes, POLICY, vector.issuedAt)
    if (!verdict.ok) throw new Error(verdict.message)
    const { evidence } = verdict
    expect(evidence).toMatchObject({
      kind: 'nitro',
      moduleId: vector.module_id,
      issuedAt: vector.issuedAt,
      isDebug: false,
    })
    expect(hexOrNull(evidence.publicKey)).toBe(vector.public_key)
    expect(hexOrNull(evidence.userData)).toBe(vector.user_data)
    expect(hexOrNull(evidence.nonce)).toBe(vector.nonce)
    for (const [index, value] of Object.entries(vector.pcrs_nonzero)) {
      expect(toHex(evidence.pcrs.get(Number(index)) ?? new Uint8Array())).toBe(`0x${value}`)
    }
    for (const index of vector.pcrs_zero_indices) expect(evidence.pcrs.get(index)).toEqual(new Uint8Array(48))
    expect(evidence.pcrs.size).toBe(Object.keys(vector.pcrs_nonzero).length + vector.pcrs_zero_indices.length)
    const ends = vector.certificates.map(({ not_after }) => Date.parse(not_after) / 1000)
    expect(evidence.validUntil).toBe(BigInt(Math.min(...ends)))
    expect(evidence.documentHash).toBe(toHex(keccak_256(vector.bytes)))
    expect(verdict.checks.map(({ name }) => name)).toEqual([
      'format',
      'root',
      'chain',
      'chain-signatures',
      'document-signature',
      'validity',
      'freshness',
      'debug-mode',
    ])
    expect(verdict.checks.every(({ passed }) => passed)).toBe(true)
  })

  it.each(VECTORS)('parse into the fields others have read: $name', (vector) => {
    const document = parseNitroDocument(vector.bytes)
    expect(document).toMatchObject({ moduleId: vector.module_id, timestampMs: vector.timestamp_ms })
    expect(document.signedBytes.length).toBe(vector.sig_structure_bytes)
    expect(toHex(document.signature)).toBe(`0x${vector.cose_signature}`)
    const chain = [...document.cabundle, document.certificate].map(parseCertificate)
    expect(
      chain.map(({ serial, notBefore, notAfter, der }) => ({ serial, notBefore, notAfter, bytes: der.length })),
    ).toEqual(
      vector.certificates.map(({ serial, not_before, not_after, bytes }) => ({
        serial: BigInt(`0x${serial}`),
        notBefore: BigInt(Date.parse(not_before) / 1000),
        notAfter: BigInt(Date.parse(not_after) / 1000),
        bytes,
      })),
    )
  })

  it('in debug mode are refused for that alone, and are genuine', () => {
    const debug = VECTORS.filter(({ kind }) => kind === 'policy-negative')
    expect(debug.length).toBeGreaterThan(0)
    for (const { bytes, issuedAt } of debug) {
      const verdict = verifyNitroEvidence(bytes, POLICY, issuedAt)
      expect(verdict).toMatchObject({ ok: false, code: 'DEBUG_MODE' })
      expect(failures(verdict)).toEqual(['debug-mode'])
      const allowed = verifyNitroEvidence(bytes, { ...POLICY, allowDebug: true }, issuedAt)
      expect(allowed).toMatchObject({ ok: true, evidence: { isDebug: true } })
    }
  })

  it('with a corrupted signature are refused for it', () => {
    const [vector] = VECTORS.filter(({ name }) => name.includes('badsig'))
    if (vector === undefined) throw new Error('expected the vector with a bad signature')
    expect(verifyNitroEvidence(vector.bytes, POLICY, vector.issuedAt)).toMatchObject({ code: 'BAD_DOCUMENT_SIGNATURE' })
  })

  it('of other makers are refused by their root, even when every signature is right', () => {
    const [vector] = VECTORS.filter(({ name }) => name.includes('customroot'))
    if (vector === undefined) throw new Error('expected the vector under another root')
    expect(verifyNitroEvidence(vector.bytes, POLICY, vector.issuedAt)).toMatchObject({ code: 'ROOT_NOT_PINNED' })
    const [certificate = new Uint8Array()] = parseNitroDocument(vector.bytes).cabundle
    const pinned = verifyNitroEvidence(
      vector.bytes,
      { ...POLICY, roots: [AWS_NITRO_ROOT, { kind: 'development', certificate }] },
      vector.issuedAt,
    )
    expect(pinned.checks.find(({ name }) => name === 'root')?.passed).toBe(true)
  })

  it.each(GENUINE)('are refused outside the life of any certificate: $name', (vector) => {
    const starts = vector.certificates.map(({ not_before }) => BigInt(Date.parse(not_before) / 1000))
    const ends = vector.certificates.map(({ not_after }) => BigInt(Date.parse(not_after) / 1000))
    const [first = 0n] = starts.sort((a, b) => (a > b ? -1 : 1))
    const [last = 0n] = ends.sort((a, b) => (a < b ? -1 : 1))
    const wide = { ...POLICY, ageSecondsMax: 10n ** 9n, futureSkewSecondsMax: 10n ** 9n, allowDebug: true }
    expect(verifyNitroEvidence(vector.bytes, wide, first).ok).toBe(true)
    expect(verifyNitroEvidence(vector.bytes, wide, first - 1n)).toMatchObject({ code: 'CERTIFICATE_NOT_YET_VALID' })
    expect(verifyNitroEvidence(vector.bytes, wide, last).ok).toBe(true)
    expect(verifyNitroEvidence(vector.bytes, wide, last + 1n)).toMatchObject({ code: 'CERTIFICATE_EXPIRED' })
  })
})

describe.skipIf(!hasVectors)('policy', () => {
  const marlin = (): Vector => vectorNamed('prod-marlin')

  it('compares age in seconds, so that a document one second too old is refused', () => {
    const { bytes, issuedAt } = marlin()
    const policy = { ...POLICY, ageSecondsMax: 600n }
    expect(verifyNitroEvidence(bytes, policy, issuedAt + 600n).ok).toBe(true)
    const late = verifyNitroEvidence(bytes, policy, issuedAt + 601n)
    expect(late).toMatchObject({ code: 'TOO_OLD' })
    expect(failures(late)).toEqual(['freshness'])
    expect(failures(verifyNitroEvidence(bytes, policy, issuedAt * 1000n))).toEqual(['validity', 'freshness'])
  })

  it('takes a clock 300 seconds ahead, or as many as told, and not one more', () => {
    const { bytes, issuedAt } = marlin()
    expect(verifyNitroEvidence(bytes, POLICY, issuedAt - 300n).ok).toBe(true)
    const early = verifyNitroEvidence(bytes, POLICY, issuedAt - 301n)
    expect(early).toMatchObject({ code: 'ISSUED_IN_FUTURE' })
    expect(failures(early)).toEqual(['freshness'])
    const strict = { ...POLICY, futureSkewSecondsMax: 0n }
    expect(verifyNitroEvidence(bytes, strict, issuedAt).ok).toBe(true)
    expect(verifyNitroEvidence(bytes, strict, issuedAt - 1n)).toMatchObject({ code: 'ISSUED_IN_FUTURE' })
  })

  it('compares user_data and nonce byte by byte, and does not take a missing one for an empty one', () => {
    const { bytes, issuedAt, user_data, nonce } = vectorNamed('prod-veracruz')
    const [userData, given] = [fromHex(`0x${user_data}`), fromHex(`0x${nonce}`)]
    const attempt = (change: Partial<EvidencePolicy>): string[] =>
      failures(verifyNitroEvidence(bytes, { ...POLICY, ...change }, issuedAt))
    expect(attempt({ expectedUserData: userData, expectedNonce: given })).toEqual([])
    expect(attempt({ expectedUserData: userData.subarray(1), expectedNonce: given })).toEqual(['user-data'])
    expect(attempt({ expectedUserData: given, expectedNonce: userData })).toEqual(['user-data', 'nonce'])
    const absent = marlin()
    const empty = { expectedUserData: new Uint8Array(), expectedNonce: new Uint8Array() }
    const verdict = verifyNitroEvidence(absent.bytes, { ...POLICY, ...empty }, absent.issuedAt)
    expect(verdict).toMatchObject({ code: 'USER_DATA_MISMATCH' })
    expect(failures(verdict)).toEqual(['user-data', 'nonce'])
    const nonceOnly = { ...POLICY, expectedNonce: new Uint8Array() }
    expect(verifyNitroEvidence(absent.bytes, nonceOnly, absent.issuedAt)).toMatchObject({ code: 'NONCE_MISMATCH' })
  })

  it('takes accepted measurements only, and none when none is accepted', () => {
    const { bytes, issuedAt, pcrs_nonzero } = marlin()
    const [pcr0, pcr1, pcr2] = ['0', '1', '2'].map((index) => fromHex(`0x${pcrs_nonzero[index]}`, 48))
    if (pcr0 === undefined || pcr1 === undefined || pcr2 === undefined) throw new Error('three PCRs')
    const accepted = measurementOf('nitro', pcr0, pcr1, pcr2)
    const attempt = (measurements: ReadonlySet<Hex>): EvidenceVerdict =>
      verifyNitroEvidence(bytes, { ...POLICY, measurements }, issuedAt)
    expect(attempt(new Set([accepted]))).toMatchObject({ ok: true, evidence: { measurement: accepted } })
    expect(attempt(new Set())).toMatchObject({ code: 'MEASUREMENT_NOT_ACCEPTED' })
    expect(attempt(new Set([measurementOf('nitro', pcr1, pcr0, pcr2)]))).toMatchObject({
      code: 'MEASUREMENT_NOT_ACCEPTED',
    })
  })

  it('trusts no root when none is pinned, and pins all bytes of a root', () => {
    const { bytes, issuedAt } = marlin()
    const trimmed = AWS_NITRO_ROOT.certificate.subarray(0, -1)
    for (const roots of [
      [],
      [{ kind: 'nitro', certificate: trimmed }],
      [{ kind: 'nitro', certificate: new Uint8Array() }],
    ] as const) {
      expect(verifyNitroEvidence(bytes, { ...POLICY, roots }, issuedAt)).toMatchObject({ code: 'ROOT_NOT_PINNED' })
    }
  })
})

describe.skipIf(!hasVectors)('tampering', () => {
  it('finds both s and n - s valid, keeps the payload hash and changes the document hash', () => {
    const order = p384.Point.Fn.ORDER
    let highCount = 0
    for (const { bytes, issuedAt } of POSITIVE) {
      const s = decodeUint(bytes.subarray(-48))
      if (s > order / 2n) highCount++
      const twin = concatBytes(bytes.subarray(0, -48), encodeUint(order - s, 48))
      const [a, b] = [bytes, twin].map((document) => verifyNitroEvidence(document, POLICY, issuedAt))
      if (!a?.ok || !b?.ok) throw new Error('expected both signatures to be valid')
      expect(b.evidence.payloadHash).toBe(a.evidence.payloadHash)
      expect(b.evidence.documentHash).not.toBe(a.evidence.documentHash)
    }
    expect(highCount).toBeGreaterThan(0)
  })

  it('refuses every cut and one appended byte', () => {
    for (const { bytes, issuedAt } of GENUINE) {
      for (let length = 0; length < bytes.length; length++) {
        const verdict = verifyNitroEvidence(bytes.subarray(0, length), POLICY, issuedAt)
        expect(verdict.ok || verdict.code).toBe('CBOR_TRUNCATED')
      }
      const longer = concatBytes(bytes, Uint8Array.of(0))
      expect(verifyNitroEvidence(longer, POLICY, issuedAt)).toMatchObject({ code: 'CBOR_TRAILING_BYTES' })
    }
  })

  it('makes of each flip of one bit either no document or one with another signed text or signature', () => {
    const { bytes } = vectorNamed('2026-01-03-prod-base')
    const original = parseNitroDocument(bytes)
    for (let bit = 0; bit < 8 * bytes.length; bit++) {
      const flipped = parseOrCode(flip(bytes, bit))
      if (typeof flipped === 'string') continue
      const isSame = same(flipped.signedBytes, original.signedBytes) && same(flipped.signature, original.signature)
      expect(isSame).toBe(false)
    }
  })

  it('refuses every flip of one bit out of a seeded sample', () => {
    const random = seeded(0x5ea1)
    for (const { bytes, issuedAt } of POSITIVE) {
      for (let i = 0; i < 30; i++) {
        // Some in the signature itself, the rest anywhere.
        const bit = i < 6 ? 8 * bytes.length - 1 - random(768) : random(8 * bytes.length)
        expect(verifyNitroEvidence(flip(bytes, bit), POLICY, issuedAt).ok, `bit ${bit}`).toBe(false)
      }
    }
  })

  it('cannot change evidence after it was accepted', () => {
    const { bytes, issuedAt } = vectorNamed('prod-veracruz')
    const buffer = Buffer.from(bytes)
    const verdict = verifyNitroEvidence(buffer, POLICY, issuedAt)
    buffer.fill(0)
    if (!verdict.ok) throw new Error(verdict.message)
    expect(verdict.evidence.userData?.some((byte) => byte !== 0)).toBe(true)
  })
})

function readVector(name: string): Vector {
  const fields = JSON.parse(readFileSync(new URL(name, FOLDER), 'utf8'))
  const bytes = new Uint8Array(readFileSync(new URL(name.replace('.json', '.bin'), FOLDER)))
  return { ...fields, bytes, issuedAt: BigInt(Math.floor(fields.timestamp_ms / 1000)) }
}

function vectorNamed(part: string): Vector {
  const found = POSITIVE.find(({ name }) => name.includes(part))
  if (found === undefined) throw new Error(`expected a vector named ${part}`)
  return found
}

function failures(verdict: EvidenceVerdict): string[] {
  return verdict.checks.filter(({ passed }) => !passed).map(({ name }) => name)
}

function hexOrNull(bytes: Uint8Array | undefined): string | null {
  return bytes === undefined ? null : toHex(bytes).slice(2)
}

function parseOrCode(bytes: Uint8Array): NitroDocument | string {
  try {
    return parseNitroDocument(bytes)
  } catch (error) {
    if (error instanceof EvidenceError) return error.code
    throw error
  }
}

function flip(bytes: Uint8Array, bit: number): Uint8Array {
  const flipped = bytes.slice()
  flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7))
  return flipped
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0
}

/** Small numbers below `bound` from `seed` (mulberry32). */
function seeded(seed: number): (bound: number) => number {
  let state = seed
  return (bound) => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % bound
  }
}
