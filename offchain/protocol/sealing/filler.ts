/**
 * Filler for a response of indeterminate length that has nothing to say yet: every reader of Binary HTTP drops it. Behind the end of a
 * message zero bytes are filler (RFC 9292 section 3.8) and need no function. @module
 */
import { concatBytes } from '../bytes.ts'
import { encodeContentChunk } from './binaryHttp.ts'
import { encodeLatin1 } from './binaryHttpFields.ts'
import { encodeVarint, varintBytes } from './varint.ts'

/** 102, "the server has accepted the complete request, but has not yet completed it" (RFC 2518 section 10.1). */
export const FILLER_STATUS = 102

const NAME = 'filler'
/** Status, name and value with their lengths, end of the section; the length of a value of 64 to 16,383 bytes takes two. */
const OVERHEAD_BYTES: number = varintBytes(FILLER_STATUS) + 1 + NAME.length + 2 + 1

/**
 * An informational response (RFC 9292 section 3.5.1) of exactly `lengthBytes`, 76 to 16,395: its one field has dots for a value. It stands before
 * the final status; in front of the first there is the framing indicator.
 */
export function informationalFiller(lengthBytes: number): Uint8Array<ArrayBuffer> {
  const valueBytes = lengthBytes - OVERHEAD_BYTES
  if (varintBytes(Math.max(0, valueBytes)) !== 2) throw new RangeError('expected a length of 76 to 16,395 bytes')
  const name = [encodeVarint(NAME.length), encodeLatin1(NAME)]
  const value = [encodeVarint(valueBytes), encodeLatin1('.'.repeat(valueBytes))]
  return concatBytes(encodeVarint(FILLER_STATUS), ...name, ...value, encodeVarint(0))
}

/**
 * A content chunk of `lengthBytes`, 1 to 16,385, or one or two bytes more where no chunk has that length. `fill` makes content of any number of bytes
 * from two, and of as many as it is asked for.
 */
export function contentFiller(lengthBytes: number, fill: (lengthBytes: number) => Uint8Array): Uint8Array<ArrayBuffer> {
  // The length in front takes one byte below 64 and two from there.
  const contentBytes = lengthBytes <= 64 ? Math.max(2, lengthBytes - 1) : Math.max(64, lengthBytes - 2)
  return encodeContentChunk(fill(contentBytes))
}
