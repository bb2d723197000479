/** X.509 v3 certificates as the Nitro PKI issues them (RFC 5280): P-384 keys, ecdsa-with-SHA384, everything else refused. @module */
import { p384 } from '@noble/curves/nist.js'
import { concatBytes, encodeUint, equalBytes, fromHex } from '#protocol/bytes.ts'
import { parseExtensions } from './certificateExtensions.ts'
import { readDerTime } from './certificateTime.ts'
import type { DerCursor } from './der.ts'
import {
  closeDer,
  DER_TAG,
  enterDer,
  enterDerTag,
  openDer,
  peekDerTag,
  readDer,
  readDerBits,
  readDerContent,
  readDerTag,
  readDerUint,
} from './der.ts'
import { EvidenceError } from './evidenceError.ts'

/** A parsed certificate. Byte fields are views of `der`, so their offsets can be derived. Nothing here is verified yet. */
export type Certificate = {
  readonly der: Uint8Array
  /** The signed part, tag and length included. */
  readonly tbs: Uint8Array
  /** Positive, at most 20 bytes. */
  readonly serial: bigint
  /** The Name's full encoding; names are compared byte by byte. */
  readonly issuer: Uint8Array
  readonly subject: Uint8Array
  /** First and last second of validity, both included, since the epoch. */
  readonly notBefore: bigint
  readonly notAfter: bigint
  /** Uncompressed point on P-384, 97 bytes. */
  readonly publicKey: Uint8Array
  readonly isCa: boolean
  /** How many CA certificates may follow before the leaf; undefined: no bound. */
  readonly pathLength: number | undefined
  readonly canSignCertificates: boolean
  readonly canSignData: boolean
  /** `r ‖ s`, 48 bytes each. */
  readonly signature: Uint8Array
}

/** Longest certificate taken, as AWS states it for documents. */
export const CERTIFICATE_BYTES_MAX = 1024

/** Parses one DER certificate that must fill `der` exactly. Throws `EvidenceError`. */
export function parseCertificate(der: Uint8Array): Certificate {
  const outer = openDer(der)
  const certificate = enterDerTag(outer, DER_TAG.sequence)
  closeDer(outer)
  const tbsElement = readDerTag(certificate, DER_TAG.sequence)
  readAlgorithm(certificate)
  const signature = parseSignature(readDerBits(certificate))
  closeDer(certificate)

  const tbs = enterDer(certificate, tbsElement)
  readVersion(tbs)
  const serial = readDerUint(tbs, SERIAL_BYTES_MAX)
  if (serial === 0n) throw new EvidenceError('CERTIFICATE_SERIAL', 'expected a positive serial number')
  readAlgorithm(tbs)
  const issuer = readName(tbs)
  const validity = enterDerTag(tbs, DER_TAG.sequence)
  const notBefore = readDerTime(validity)
  const notAfter = readDerTime(validity)
  closeDer(validity)
  const subject = readName(tbs)
  const publicKey = readPublicKey(tbs)
  if (peekDerTag(tbs) !== DER_TAG.context3) {
    throw new EvidenceError('CERTIFICATE_EXTENSION', 'expected extensions after the public key')
  }
  const extensions = parseExtensions(enterDerTag(tbs, DER_TAG.context3))
  closeDer(tbs)

  const tbsBytes = der.subarray(tbsElement.start, tbsElement.end)
  return { der, tbs: tbsBytes, serial, issuer, subject, notBefore, notAfter, publicKey, ...extensions, signature }
}

const SERIAL_BYTES_MAX = 20
/** INTEGER 2, which is v3. */
const VERSION_3 = fromHex('0x020102')
/** AlgorithmIdentifier { ecdsa-with-SHA384 }, no parameters (RFC 5758 section 3.2). */
const ECDSA_WITH_SHA384 = fromHex('0x06082a8648ce3d040303')
/** AlgorithmIdentifier { id-ecPublicKey, secp384r1 } (RFC 5480 section 2.1). */
const EC_KEY_P384 = fromHex('0x06072a8648ce3d020106052b81040022')
const P384_ORDER = p384.Point.Fn.ORDER

function readVersion(tbs: DerCursor): void {
  if (peekDerTag(tbs) !== DER_TAG.context0 || !equalBytes(readDerContent(tbs, DER_TAG.context0), VERSION_3)) {
    throw new EvidenceError('CERTIFICATE_VERSION', 'expected a certificate of version 3')
  }
}

/** Both places that name the signature algorithm must say the same single thing. */
function readAlgorithm(cursor: DerCursor): void {
  if (!equalBytes(readDerContent(cursor, DER_TAG.sequence), ECDSA_WITH_SHA384)) {
    throw new EvidenceError('CERTIFICATE_ALGORITHM', 'expected the signature algorithm ecdsa-with-SHA384')
  }
}

function readName(cursor: DerCursor): Uint8Array {
  const name = readDerTag(cursor, DER_TAG.sequence)
  if (name.content === name.end) throw new EvidenceError('DER_VALUE', 'expected a name that is not empty')
  const parts = enterDer(cursor, name)
  while (parts.offset < parts.end) {
    const part = enterDerTag(parts, DER_TAG.set)
    const attribute = enterDerTag(part, DER_TAG.sequence)
    closeDer(part)
    readDerTag(attribute, DER_TAG.oid)
    readDer(attribute)
    closeDer(attribute)
  }
  return cursor.bytes.subarray(name.start, name.end)
}

function readPublicKey(tbs: DerCursor): Uint8Array {
  const info = enterDerTag(tbs, DER_TAG.sequence)
  if (!equalBytes(readDerContent(info, DER_TAG.sequence), EC_KEY_P384)) {
    throw new EvidenceError('CERTIFICATE_KEY', 'expected a public key on P-384')
  }
  const point = readDerBits(info)
  closeDer(info)
  if (point.length !== 97 || point[0] !== 4) {
    throw new EvidenceError('CERTIFICATE_KEY', 'expected an uncompressed point of 97 bytes')
  }
  try {
    // Refuses coordinates at or above the field's prime, and points off the curve. P-384 has cofactor 1.
    p384.Point.fromBytes(point)
  } catch (cause) {
    throw new EvidenceError('CERTIFICATE_KEY', 'expected a point on P-384', { cause })
  }
  return point
}

/** Ecdsa-Sig-Value ::= SEQUENCE { r INTEGER, s INTEGER } to `r ‖ s`; 0 < r, s < n. High s is normal here. */
function parseSignature(der: Uint8Array): Uint8Array {
  const outer = openDer(der)
  const values = enterDerTag(outer, DER_TAG.sequence)
  closeDer(outer)
  const [r, s] = [readDerUint(values, 48), readDerUint(values, 48)]
  closeDer(values)
  if (r === 0n || s === 0n || r >= P384_ORDER || s >= P384_ORDER) {
    throw new EvidenceError('CERTIFICATE_SIGNATURE_FORMAT', 'expected r and s between 1 and the group order')
  }
  return concatBytes(encodeUint(r, 48), encodeUint(s, 48))
}
