/** Writes documents of the Nitro format: the same keys, order and encodings as the Nitro module has used since mid-2025. @module */
import { type KeyObject, sign } from 'node:crypto'
import { fromHex } from '#protocol/bytes.ts'
import {
  encodeCborArray,
  encodeCborBytes,
  encodeCborMap,
  encodeCborOpenMap,
  encodeCborText,
  encodeCborUint,
} from './cborEncode.ts'

/** COSE_Sign1 (RFC 9052 section 4.2), untagged, signed ES384 by `leafKey`. The payload's map is of indefinite length. */
export function signNitroDocument(fields: NitroDocumentFields, leafKey: KeyObject): Uint8Array {
  const entries: readonly (readonly [string, Uint8Array])[] = [
    ['module_id', encodeCborText(fields.moduleId)],
    ['digest', encodeCborText('SHA384')],
    ['timestamp', encodeCborUint(fields.timestampMs)],
    ['pcrs', encodeCborMap(fields.pcrs.map((pcr, index) => [encodeCborUint(index), encodeCborBytes(pcr)]))],
    ['certificate', encodeCborBytes(fields.certificate)],
    ['cabundle', encodeCborArray(fields.bundle.map(encodeCborBytes))],
    ['public_key', encodeCborBytes(fields.publicKey)],
    ['user_data', encodeCborBytes(fields.userData)],
    ['nonce', encodeCborBytes(fields.nonce)],
  ]
  const payload = encodeCborOpenMap(entries.map(([name, value]) => [encodeCborText(name), value]))
  // Sig_structure (RFC 9052 section 4.4) with empty external data.
  const signed = encodeCborArray([
    encodeCborText('Signature1'),
    encodeCborBytes(PROTECTED_HEADER),
    encodeCborBytes(new Uint8Array()),
    encodeCborBytes(payload),
  ])
  const signature = new Uint8Array(sign('sha384', signed, { key: leafKey, dsaEncoding: 'ieee-p1363' }))
  return encodeCborArray([
    encodeCborBytes(PROTECTED_HEADER),
    encodeCborMap([]),
    encodeCborBytes(payload),
    encodeCborBytes(signature),
  ])
}

/** What a document says. */
export type NitroDocumentFields = {
  readonly moduleId: string
  /** Milliseconds since the epoch. */
  readonly timestampMs: number
  /** By position from PCR 0, 48 bytes each. */
  readonly pcrs: readonly Uint8Array[]
  /** The leaf in DER, and the CA certificates above it, root first. */
  readonly certificate: Uint8Array
  readonly bundle: readonly Uint8Array[]
  /** Null in the document when undefined. */
  readonly userData?: Uint8Array | undefined
  readonly nonce?: Uint8Array | undefined
  readonly publicKey?: Uint8Array | undefined
}

/** { 1: -35 }: alg ES384. */
const PROTECTED_HEADER = fromHex('0xa1013822')
