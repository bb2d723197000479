/**
 * The signature section of an enclave image: one signing certificate, and its COSE signature over PCR0.
 *
 * Source: aws/aws-nitro-enclaves-image-format, `src/defs/mod.rs` (`PcrSignature`, `PcrInfo`), `src/utils/eif_signer.rs` and `src/utils/cbor.rs` (bytes):
 *
 *     section = [ { "signing_certificate": [* uint], "signature": [* uint] } ]        a PEM file's bytes; a COSE_Sign1's bytes, untagged or tagged
 *     payload = { "register_index": 0, "register_value": [48* uint] }                 what the COSE_Sign1 holds
 * @module
 */
import { verify, X509Certificate } from 'node:crypto'
import {
  encodeCborArray,
  encodeCborBytes,
  encodeCborMap,
  encodeCborText,
  encodeCborUint,
} from '#node/attesters/cborEncode.ts'
import { equalBytes } from '#protocol/bytes.ts'
import {
  type CborCursor,
  closeCbor,
  openCbor,
  readCborArray,
  readCborBytes,
  readCborMap,
  readCborTag,
  readCborUint,
} from '#protocol/evidence/cbor.ts'
import { EvidenceError } from '#protocol/evidence/evidenceError.ts'
import { EifError } from './eifError.ts'

export type ImageSignature = {
  /** DER; PCR8 measures these bytes. */
  readonly certificate: Uint8Array
  /** COSE_Sign1 (RFC 9052 section 4.2), not looked at yet. */
  readonly cose: Uint8Array
}

/** Parses the section's content, at most 65,536 bytes. Throws `EifError` (`BAD_SIGNATURE`). */
export function parseImageSignature(content: Uint8Array): ImageSignature {
  const entries = readingCbor(() => {
    const cursor = openCbor(content)
    const read: { pem: Uint8Array | undefined; cose: Uint8Array | undefined }[] = []
    readCborArray(cursor, () => {
      const entry: (typeof read)[number] = { pem: undefined, cose: undefined }
      readCborMap(cursor, (key) => {
        if (key === 'signing_certificate') entry.pem = readByteArray(cursor)
        else if (key === 'signature') entry.cose = readByteArray(cursor)
        else throw new EifError('BAD_SIGNATURE', 'expected nothing but a certificate and a signature')
      })
      read.push(entry)
    })
    closeCbor(cursor)
    return read
  })
  const [entry, ...more] = entries
  // Of several the first would be measured; no builder writes more than one.
  if (entry?.pem === undefined || entry.cose === undefined || more.length > 0) {
    throw new EifError('BAD_SIGNATURE', 'expected one certificate with one signature')
  }
  return { certificate: readPem(entry.pem), cose: entry.cose }
}

/**
 * True when `signature` is the certificate's over `pcr0`, 48 bytes: only such an image starts. ES256, ES384 or ES512, by the key's curve.
 * Who may sign, and until when, is not asked: PCR8 answers that. Throws `EifError` (`BAD_SIGNATURE`) for what is no COSE_Sign1.
 */
export function verifyImageSignature(signature: ImageSignature, pcr0: Uint8Array): boolean {
  const { algorithm, protectedHeader, payload, rs } = parseCose(signature.cose)
  const { publicKey } = new X509Certificate(signature.certificate)
  const known = ALGORITHMS.get(algorithm)
  if (known === undefined || publicKey.asymmetricKeyDetails?.namedCurve !== known.curve) return false
  if (!equalBytes(payload, encodePcr0(pcr0))) return false
  const signedBytes = encodeCborArray([
    encodeCborText('Signature1'),
    encodeCborBytes(protectedHeader),
    encodeCborBytes(new Uint8Array()),
    encodeCborBytes(payload),
  ])
  return verify(known.hash, signedBytes, { key: publicKey, dsaEncoding: 'ieee-p1363' }, rs)
}

/** By COSE's identifiers (RFC 9053 section 2.1): ES256, ES384, ES512. */
const ALGORITHMS: ReadonlyMap<number, { readonly hash: string; readonly curve: string }> = new Map([
  [-7, { hash: 'sha256', curve: 'prime256v1' }],
  [-35, { hash: 'sha384', curve: 'secp384r1' }],
  [-36, { hash: 'sha512', curve: 'secp521r1' }],
])
const COSE_SIGN1_TAG = 18
/** The header label of the algorithm (RFC 9052 section 3.1). */
const LABEL_ALGORITHM = 1

/** COSE_Sign1 = [ protected: bstr .cbor { 1: algorithm }, unprotected: {}, payload: bstr, signature: bstr ]. */
function parseCose(bytes: Uint8Array): {
  algorithm: number
  protectedHeader: Uint8Array
  payload: Uint8Array
  rs: Uint8Array
} {
  return readingCbor(() => {
    const cursor = openCbor(bytes)
    readCborTag(cursor, COSE_SIGN1_TAG)
    const strings: Uint8Array[] = []
    const count = readCborArray(cursor, (index) => {
      if (index !== 1) strings.push(readView(cursor))
      else readCborMap(cursor, refuseUnprotected)
    })
    closeCbor(cursor)
    const [protectedHeader, payload, rs] = strings
    if (count !== 4 || protectedHeader === undefined || payload === undefined || rs === undefined) {
      throw new EifError('BAD_SIGNATURE', 'expected a COSE_Sign1 of four items')
    }
    return { algorithm: readAlgorithm(protectedHeader), protectedHeader, payload, rs }
  })
}

/** What stands there is not signed. Builders leave it empty. */
function refuseUnprotected(): never {
  throw new EifError('BAD_SIGNATURE', 'expected no unprotected header')
}

/** The identifier in `{ 1: identifier }`; zero, which COSE reserves, for any other header. */
function readAlgorithm(protectedHeader: Uint8Array): number {
  for (const [algorithm] of ALGORITHMS) {
    // A negative integer n stands as -1 - n.
    const [head, ...rest] = encodeCborUint(-1 - algorithm)
    const negative = Uint8Array.of((head ?? 0) | 0x20, ...rest)
    if (equalBytes(protectedHeader, encodeCborMap([[encodeCborUint(LABEL_ALGORITHM), negative]]))) return algorithm
  }
  return 0
}

function encodePcr0(pcr0: Uint8Array): Uint8Array {
  return encodeCborMap([
    [encodeCborText('register_index'), encodeCborUint(0)],
    [encodeCborText('register_value'), encodeCborArray(Array.from(pcr0, encodeCborUint))],
  ])
}

/** The reference encoder writes bytes as an array of numbers. */
function readByteArray(cursor: CborCursor): Uint8Array {
  const bytes: number[] = []
  readCborArray(cursor, () => {
    const value = readCborUint(cursor)
    if (value > 0xff) throw new EifError('BAD_SIGNATURE', `expected a byte, got ${value}`)
    bytes.push(value)
  })
  return Uint8Array.from(bytes)
}

function readView(cursor: CborCursor): Uint8Array {
  const { start, end } = readCborBytes(cursor)
  return cursor.bytes.subarray(start, end)
}

/** The first certificate of a PEM file, DER. */
function readPem(pem: Uint8Array): Uint8Array {
  // Node takes DER as well, of which the reference implementation would make nothing.
  if (!Buffer.from(pem).includes('-----BEGIN CERTIFICATE-----')) {
    throw new EifError('BAD_SIGNATURE', 'expected the signing certificate in PEM')
  }
  try {
    const certificate = new X509Certificate(pem)
    // The key is read here, so that one that Node does not know is an error of the certificate.
    if (certificate.publicKey.type !== 'public') throw new TypeError('a certificate has a public key')
    return new Uint8Array(certificate.raw)
  } catch (cause) {
    throw new EifError('BAD_SIGNATURE', 'the signing certificate cannot be read', { cause })
  }
}

function readingCbor<T>(read: () => T): T {
  try {
    return read()
  } catch (cause) {
    if (!(cause instanceof EvidenceError)) throw cause
    throw new EifError('BAD_SIGNATURE', `the signature section is not what signers write: ${cause.message}`, { cause })
  }
}
