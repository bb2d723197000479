/** A strict DER reader (ITU-T X.690) for certificates: definite, minimal lengths, offsets out, every wrapper consumed. @module */
import { decodeUint } from '#protocol/bytes.ts'
import { EvidenceError } from './evidenceError.ts'

/** The tags that occur in a certificate. */
export const DER_TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
  context0: 0xa0,
  context3: 0xa3,
} as const

/** A reading position in `bytes`; nothing at or after `end` is ever read. */
export type DerCursor = { readonly bytes: Uint8Array; offset: number; readonly end: number }

/** One element: where its tag starts, where its content starts, and where both end. */
export type DerElement = {
  readonly tag: number
  readonly start: number
  readonly content: number
  readonly end: number
}

/** A cursor over all of `bytes`. */
export function openDer(bytes: Uint8Array): DerCursor {
  return { bytes, offset: 0, end: bytes.length }
}

/** A cursor over the content of `element`. */
export function enterDer(cursor: DerCursor, element: DerElement): DerCursor {
  return { bytes: cursor.bytes, offset: element.content, end: element.end }
}

/** Reads the next element, whatever its tag. Tags of more than one byte are refused. */
export function readDer(cursor: DerCursor): DerElement {
  const start = cursor.offset
  const tag = readByte(cursor)
  if ((tag & 0x1f) === 0x1f) throw new EvidenceError('DER_TAG', 'expected a tag of one byte')
  let length = readByte(cursor)
  if (length >= 0x80) {
    // Two length bytes reach 65,535, far above any certificate taken here. 0x80 is BER's indefinite length.
    const lengthBytes = length & 0x7f
    if (lengthBytes < 1 || lengthBytes > 2) throw badLength()
    length = readByte(cursor)
    if (lengthBytes === 2) length = length * 256 + readByte(cursor)
    if (length < (lengthBytes === 1 ? 0x80 : 0x100)) throw badLength()
  }
  const content = cursor.offset
  if (length > cursor.end - content) throw truncated()
  cursor.offset = content + length
  return { tag, start, content, end: cursor.offset }
}

/** Reads the next element, which must have `tag` (`DER_TAG`). */
export function readDerTag(cursor: DerCursor, tag: number): DerElement {
  const element = readDer(cursor)
  if (element.tag !== tag)
    throw new EvidenceError('DER_TAG', `expected tag ${hexByte(tag)}, got ${hexByte(element.tag)}`)
  return element
}

/** Reads the next element and returns a cursor over its content. */
export function enterDerTag(cursor: DerCursor, tag: number): DerCursor {
  return enterDer(cursor, readDerTag(cursor, tag))
}

/** Reads the next element and returns its content, a view. */
export function readDerContent(cursor: DerCursor, tag: number): Uint8Array {
  const element = readDerTag(cursor, tag)
  return cursor.bytes.subarray(element.content, element.end)
}

/** The tag of the next element, or undefined at the end. */
export function peekDerTag(cursor: DerCursor): number | undefined {
  return cursor.offset < cursor.end ? cursor.bytes[cursor.offset] : undefined
}

/** Reads an INTEGER that is not negative: its shortest form, of at most `bytesMax` bytes of magnitude. */
export function readDerUint(cursor: DerCursor, bytesMax: number): bigint {
  const content = readDerContent(cursor, DER_TAG.integer)
  const [first, second = 0] = content
  if (first === undefined) throw new EvidenceError('DER_VALUE', 'expected an integer, got no bytes')
  if (first >= 0x80) throw new EvidenceError('DER_VALUE', 'expected an integer that is not negative')
  if (first === 0 && content.length > 1 && second < 0x80) {
    throw new EvidenceError('DER_VALUE', 'expected the shortest form of an integer')
  }
  if (content.length - (first === 0 ? 1 : 0) > bytesMax) {
    throw new EvidenceError('DER_VALUE', `expected an integer of at most ${bytesMax} bytes`)
  }
  return decodeUint(content)
}

/** Reads a BOOLEAN with DEFAULT FALSE: absent is false, and DER allows no encoding but 0xff for true. */
export function readDerFlag(cursor: DerCursor): boolean {
  if (peekDerTag(cursor) !== DER_TAG.boolean) return false
  const content = readDerContent(cursor, DER_TAG.boolean)
  if (content.length !== 1 || content[0] !== 0xff) {
    throw new EvidenceError('DER_VALUE', 'expected a BOOLEAN of one byte 0xff, or none')
  }
  return true
}

/** Reads a BIT STRING without unused bits and returns its bytes, a view. */
export function readDerBits(cursor: DerCursor): Uint8Array {
  const content = readDerContent(cursor, DER_TAG.bitString)
  if (content[0] !== 0) throw new EvidenceError('DER_VALUE', 'expected a BIT STRING without unused bits')
  return content.subarray(1)
}

/** Throws `DER_TRAILING_BYTES` unless everything was read. */
export function closeDer(cursor: DerCursor): void {
  if (cursor.offset !== cursor.end) {
    throw new EvidenceError('DER_TRAILING_BYTES', `expected the end, got ${cursor.end - cursor.offset} more bytes`)
  }
}

function readByte(cursor: DerCursor): number {
  const byte = cursor.offset < cursor.end ? cursor.bytes[cursor.offset] : undefined
  if (byte === undefined) throw truncated()
  cursor.offset++
  return byte
}

function truncated(): EvidenceError {
  return new EvidenceError('DER_TRUNCATED', 'expected more bytes, got the end of the input')
}

function badLength(): EvidenceError {
  return new EvidenceError('DER_LENGTH', 'expected a definite length in its shortest form')
}

function hexByte(byte: number): string {
  return `0x${byte.toString(16).padStart(2, '0')}`
}
