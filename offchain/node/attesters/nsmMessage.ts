/**
 * Messages to and from the Nitro Secure Module (aws-nitro-enclaves-nsm-api, src/api/mod.rs), one CBOR item each:
 *
 *   request   { "Attestation": { "user_data": bytes / null, "nonce": bytes / null, "public_key": bytes / null } }
 *   answer    { "Attestation": { "document": bytes } }  or  { "Error": text }
 *
 * @module
 */
import {
  type CborCursor,
  closeCbor,
  openCbor,
  readCborBytes,
  readCborMap,
  readCborText,
  skipCborItem,
} from '#protocol/evidence/cbor.ts'
import { EvidenceError } from '#protocol/evidence/evidenceError.ts'
import { type AttestationRequest, AttesterError } from './attester.ts'
import { encodeCborBytes, encodeCborMap, encodeCborText } from './cborEncode.ts'

/** Bounds of the real module (AWS, "attestation_process.md"). An X-Wing key of 1,216 bytes does not fit: bind its digest. */
export const NSM_USER_DATA_BYTES_MAX = 512
export const NSM_NONCE_BYTES_MAX = 512
export const NSM_PUBLIC_KEY_BYTES_MAX = 1024

/** The request for a document. Throws `AttesterError`: `FIELD_TOO_LONG`, or `FIELD_EMPTY` for a public key of no bytes. */
export function encodeAttestationRequest({ userData, nonce, publicKey }: AttestationRequest): Uint8Array {
  requireLength('userData', userData, NSM_USER_DATA_BYTES_MAX)
  requireLength('nonce', nonce, NSM_NONCE_BYTES_MAX)
  requireLength('publicKey', publicKey, NSM_PUBLIC_KEY_BYTES_MAX)
  if (publicKey?.length === 0)
    throw new AttesterError('FIELD_EMPTY', 'expected a publicKey of at least 1 byte, or none')
  const fields = encodeCborMap([
    [encodeCborText('user_data'), encodeCborBytes(userData)],
    [encodeCborText('nonce'), encodeCborBytes(nonce)],
    [encodeCborText('public_key'), encodeCborBytes(publicKey)],
  ])
  return encodeCborMap([[encodeCborText('Attestation'), fields]])
}

/**
 * The document in an answer, a copy. Throws `AttesterError`: `MODULE_REFUSED` with the module's own word for why, `BAD_MODULE_ANSWER` for
 * anything that is neither a document nor an error.
 */
export function decodeAttestationAnswer(answer: Uint8Array): Uint8Array {
  let found: Answer
  try {
    found = readAnswer(answer)
  } catch (cause) {
    if (!(cause instanceof EvidenceError)) throw cause
    throw new AttesterError('BAD_MODULE_ANSWER', `the Nitro module's answer is malformed: ${cause.message}`, { cause })
  }
  if (found.refusal !== undefined) {
    throw new AttesterError('MODULE_REFUSED', `the Nitro module refused to attest: ${found.refusal}`)
  }
  if (found.document === undefined || found.entries !== 1) {
    throw new AttesterError('BAD_MODULE_ANSWER', "expected a document in the Nitro module's answer, and nothing else")
  }
  return found.document
}

/** `entries` counts those of the outer map: one, which says what kind of answer it is. */
type Answer = { entries: number; document?: Uint8Array; refusal?: string }

function readAnswer(bytes: Uint8Array): Answer {
  const answer: Answer = { entries: 0 }
  const cursor = openCbor(bytes)
  answer.entries = readCborMap(cursor, (kind) => {
    if (kind === 'Attestation') readDocument(cursor, answer)
    else if (kind === 'Error') answer.refusal = readCborText(cursor)
    else skipCborItem(cursor)
  })
  closeCbor(cursor)
  return answer
}

function readDocument(cursor: CborCursor, answer: Answer): void {
  readCborMap(cursor, (field) => {
    if (field === 'document') {
      const { start, end } = readCborBytes(cursor)
      answer.document = new Uint8Array(cursor.bytes.subarray(start, end))
    } else skipCborItem(cursor)
  })
}

function requireLength(field: string, bytes: Uint8Array | undefined, bytesMax: number): void {
  if (bytes === undefined || bytes.length <= bytesMax) return
  const got = `${bytes.length} bytes`
  throw new AttesterError('FIELD_TOO_LONG', `expected ${field} of at most ${bytesMax} bytes, got ${got}`)
}
