/** AWS Nitro attestation documents: a COSE_Sign1 (RFC 9052) around a CBOR map (AWS, "attestation_process.md"). @module */
import { concatBytes, encodeUint, encodeUtf8, equalBytes, fromHex } from '#protocol/bytes.ts'
import type { CborCursor, CborKey, Span } from './cbor.ts'
import {
  closeCbor,
  openCbor,
  readCborArray,
  readCborBytes,
  readCborMap,
  readCborNull,
  readCborTag,
  readCborText,
  readCborUint,
  skipCborItem,
} from './cbor.ts'
import { CERTIFICATE_BYTES_MAX } from './certificate.ts'
import { EvidenceError } from './evidenceError.ts'

/** A parsed document. Byte fields are views of the input, so their offsets can be derived. Nothing here is verified yet. */
export type NitroDocument = {
  readonly moduleId: string
  /** Milliseconds since the epoch: Nitro's unit, never ours. */
  readonly timestampMs: number
  /** By index 0 to 31, never by position; 48 bytes each. */
  readonly pcrs: ReadonlyMap<number, Uint8Array>
  /** PCR 0, 1 and 2, which every document has: image, kernel and bootstrap, application. */
  readonly bootPcrs: readonly [Uint8Array, Uint8Array, Uint8Array]
  /** The leaf certificate, DER. */
  readonly certificate: Uint8Array
  /** CA certificates, DER, the root first. */
  readonly cabundle: readonly Uint8Array[]
  /** What the enclave put in, at most 1,024 bytes; undefined when absent or null. */
  readonly publicKey: Uint8Array | undefined
  readonly userData: Uint8Array | undefined
  readonly nonce: Uint8Array | undefined
  /** The signed CBOR map. */
  readonly payload: Uint8Array
  /** `r ‖ s`, 48 bytes each. */
  readonly signature: Uint8Array
  /** Sig_structure (RFC 9052 section 4.4), the bytes under the signature. */
  readonly signedBytes: Uint8Array
}

/** Bounds of what is taken. The Nitro module's own answers end at 12,288 bytes. */
export const DOCUMENT_BYTES_MAX = 16_384
export const CABUNDLE_COUNT_MAX = 8
export const OPTIONAL_FIELD_BYTES_MAX = 1024
export const PCR_BYTES = 48

/** Parses a document that must fill `bytes` exactly. Throws `EvidenceError`. */
export function parseNitroDocument(bytes: Uint8Array): NitroDocument {
  if (bytes.length > DOCUMENT_BYTES_MAX) {
    throw new EvidenceError('DOCUMENT_SIZE', `expected at most ${DOCUMENT_BYTES_MAX} bytes, got ${bytes.length}`)
  }
  const { payload, signature } = parseCoseSign1(bytes)
  return {
    ...parsePayload(bytes, payload),
    payload: bytes.subarray(payload.start, payload.end),
    signature,
    signedBytes: concatBytes(SIG_STRUCTURE_START, encodeBytesHead(payload), bytes.subarray(payload.start, payload.end)),
  }
}

/** True when PCR 0, 1 and 2 are all zero: the enclave runs in debug mode, and its host can read its memory. */
export function isDebugMode(bootPcrs: NitroDocument['bootPcrs']): boolean {
  return bootPcrs.every((pcr) => pcr.every((byte) => byte === 0))
}

/** { 1: -35 }, that is alg: ES384, and nothing else. */
const PROTECTED_ES384 = fromHex('0xa1013822')
/** array(4), "Signature1", the protected header, empty external data; the payload follows. */
const SIG_STRUCTURE_START = concatBytes(
  fromHex('0x846a'),
  encodeUtf8('Signature1'),
  fromHex('0x44'),
  PROTECTED_ES384,
  fromHex('0x40'),
)
const COSE_SIGN1_TAG = 18
const SIGNATURE_BYTES = 96
const MODULE_ID_CHARS_MAX = 256
const PCR_INDEX_MAX = 31
/** Header labels whose meaning is fixed by the protected header: alg and crit (RFC 9052 section 3.1). */
const PROTECTED_ONLY_LABELS: ReadonlySet<CborKey> = new Set([1, 2])

/** COSE_Sign1 = [ protected: bstr, unprotected: map, payload: bstr, signature: bstr ], tagged 18 or not. */
function parseCoseSign1(bytes: Uint8Array): { payload: Span; signature: Uint8Array } {
  const cursor = openCbor(bytes)
  readCborTag(cursor, COSE_SIGN1_TAG)
  let payload: Span | undefined
  let signature: Uint8Array | undefined
  const count = readCborArray(cursor, (index) => {
    if (index === 0) readProtectedHeader(cursor)
    else if (index === 1) readUnprotectedHeader(cursor)
    else if (index === 2) payload = readCborBytes(cursor)
    else if (index === 3) signature = readView(cursor)
    else skipCborItem(cursor)
  })
  closeCbor(cursor)
  if (count !== 4 || payload === undefined || signature === undefined) {
    throw new EvidenceError('COSE_STRUCTURE', `expected a COSE_Sign1 of 4 items, got ${count}`)
  }
  if (signature.length !== SIGNATURE_BYTES) {
    throw new EvidenceError('COSE_SIGNATURE_LENGTH', `expected ${SIGNATURE_BYTES} bytes, got ${signature.length}`)
  }
  return { payload, signature }
}

function readProtectedHeader(cursor: CborCursor): void {
  if (!equalBytes(readView(cursor), PROTECTED_ES384)) {
    throw new EvidenceError('COSE_ALGORITHM', 'expected a protected header of alg ES384 and nothing else')
  }
}

function readUnprotectedHeader(cursor: CborCursor): void {
  readCborMap(cursor, (label) => {
    if (PROTECTED_ONLY_LABELS.has(label)) {
      throw new EvidenceError('COSE_HEADER', `expected label ${label} in the protected header only`)
    }
    skipCborItem(cursor)
  })
}

type Payload = Omit<NitroDocument, 'payload' | 'signature' | 'signedBytes'>

/** Unknown keys are stepped over: the whole payload is signed, and AWS adds fields. */
function parsePayload(bytes: Uint8Array, span: Span): Payload {
  const cursor = openCbor(bytes, span)
  const fields: { -readonly [K in keyof Payload]?: Payload[K] } = {}
  let digest: string | undefined
  readCborMap(cursor, (key) => {
    if (key === 'module_id') fields.moduleId = readModuleId(cursor)
    else if (key === 'digest') digest = readCborText(cursor)
    else if (key === 'timestamp') fields.timestampMs = readCborUint(cursor)
    else if (key === 'pcrs') fields.pcrs = readPcrs(cursor)
    else if (key === 'certificate') fields.certificate = readCertificate(cursor)
    else if (key === 'cabundle') fields.cabundle = readBundle(cursor)
    else if (key === 'public_key') fields.publicKey = readOptional(cursor, key)
    else if (key === 'user_data') fields.userData = readOptional(cursor, key)
    else if (key === 'nonce') fields.nonce = readOptional(cursor, key)
    else skipCborItem(cursor)
  })
  closeCbor(cursor)
  if (required(digest, 'digest') !== 'SHA384') throw new EvidenceError('FIELD_VALUE', `expected the digest SHA384`)
  const pcrs = required(fields.pcrs, 'pcrs')
  return {
    moduleId: required(fields.moduleId, 'module_id'),
    timestampMs: required(fields.timestampMs, 'timestamp'),
    pcrs,
    bootPcrs: [requiredPcr(pcrs, 0), requiredPcr(pcrs, 1), requiredPcr(pcrs, 2)],
    certificate: required(fields.certificate, 'certificate'),
    cabundle: required(fields.cabundle, 'cabundle'),
    publicKey: fields.publicKey,
    userData: fields.userData,
    nonce: fields.nonce,
  }
}

function readModuleId(cursor: CborCursor): string {
  const text = readCborText(cursor)
  if (text.length === 0 || text.length > MODULE_ID_CHARS_MAX) {
    throw new EvidenceError('FIELD_LENGTH', `expected a module_id of 1 to ${MODULE_ID_CHARS_MAX} characters`)
  }
  return text
}

function readPcrs(cursor: CborCursor): ReadonlyMap<number, Uint8Array> {
  const pcrs = new Map<number, Uint8Array>()
  readCborMap(cursor, (index) => {
    if (typeof index !== 'number' || index < 0 || index > PCR_INDEX_MAX) {
      throw new EvidenceError('PCR_INDEX', `expected a PCR index of 0 to ${PCR_INDEX_MAX}, got '${index}'`)
    }
    const value = readView(cursor)
    if (value.length !== PCR_BYTES) {
      throw new EvidenceError('PCR_LENGTH', `expected ${PCR_BYTES} bytes in PCR ${index}, got ${value.length}`)
    }
    pcrs.set(index, value)
  })
  return pcrs
}

function readBundle(cursor: CborCursor): readonly Uint8Array[] {
  const bundle: Uint8Array[] = []
  const count = readCborArray(cursor, (index) => {
    if (index < CABUNDLE_COUNT_MAX) bundle.push(readCertificate(cursor))
    else skipCborItem(cursor)
  })
  if (count < 1 || count > CABUNDLE_COUNT_MAX) {
    throw new EvidenceError(
      'BUNDLE_LENGTH',
      `expected 1 to ${CABUNDLE_COUNT_MAX} certificates in cabundle, got ${count}`,
    )
  }
  return bundle
}

function readCertificate(cursor: CborCursor): Uint8Array {
  return bounded(readView(cursor), 'a certificate', CERTIFICATE_BYTES_MAX)
}

function readOptional(cursor: CborCursor, field: string): Uint8Array | undefined {
  return readCborNull(cursor) ? undefined : bounded(readView(cursor), field, OPTIONAL_FIELD_BYTES_MAX)
}

function readView(cursor: CborCursor): Uint8Array {
  const { start, end } = readCborBytes(cursor)
  return cursor.bytes.subarray(start, end)
}

function bounded(bytes: Uint8Array, field: string, bytesMax: number): Uint8Array {
  if (bytes.length > bytesMax) {
    throw new EvidenceError('FIELD_LENGTH', `expected ${field} of at most ${bytesMax} bytes, got ${bytes.length}`)
  }
  return bytes
}

function required<T>(value: T | undefined, field: string): T {
  if (value === undefined) throw new EvidenceError('FIELD_MISSING', `expected the field ${field}`)
  return value
}

function requiredPcr(pcrs: ReadonlyMap<number, Uint8Array>, index: number): Uint8Array {
  const pcr = pcrs.get(index)
  if (pcr === undefined) throw new EvidenceError('PCR_MISSING', `expected PCR ${index}`)
  return pcr
}

/** The head of a CBOR byte string as long as `span`, shortest form; documents end far below 65,536 bytes. */
function encodeBytesHead(span: Span): Uint8Array {
  const length = span.end - span.start
  if (length < 24) return Uint8Array.of(0x40 + length)
  return length < 256 ? Uint8Array.of(0x58, length) : concatBytes(Uint8Array.of(0x59), encodeUint(BigInt(length), 2))
}
