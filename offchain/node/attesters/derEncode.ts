/** DER encoding (ITU-T X.690), as much as development certificates need. @module */
import { concatBytes, encodeUint, encodeUtf8, fromHex } from '#protocol/bytes.ts'
import { DER_TAG } from '#protocol/evidence/der.ts'

/** One element: tag, shortest length, content. */
export function encodeDer(tag: number, ...content: readonly Uint8Array[]): Uint8Array {
  const body = concatBytes(...content)
  return concatBytes(Uint8Array.of(tag), encodeLength(body.length), body)
}

/** A SEQUENCE of encoded items. */
export function encodeDerSequence(...items: readonly Uint8Array[]): Uint8Array {
  return encodeDer(DER_TAG.sequence, ...items)
}

/** An INTEGER that is not negative, from its magnitude in big-endian bytes. */
export function encodeDerUint(magnitude: Uint8Array): Uint8Array {
  const start = magnitude.findIndex((byte) => byte !== 0)
  const bytes = start < 0 ? Uint8Array.of(0) : magnitude.subarray(start)
  const [first = 0] = bytes
  return encodeDer(DER_TAG.integer, first >= 0x80 ? Uint8Array.of(0) : new Uint8Array(), bytes)
}

/** An OBJECT IDENTIFIER from the hex of its content. */
export function encodeDerOid(content: string): Uint8Array {
  return encodeDer(DER_TAG.oid, fromHex(content))
}

/** A BIT STRING with `unusedBits` at its end. */
export function encodeDerBits(bytes: Uint8Array, unusedBits = 0): Uint8Array {
  return encodeDer(DER_TAG.bitString, Uint8Array.of(unusedBits), bytes)
}

/** A certificate's date (RFC 5280 section 4.1.2.5): UTCTime up to 2049, GeneralizedTime after. Seconds since the epoch. */
export function encodeDerTime(seconds: number): Uint8Array {
  const digits = new Date(seconds * 1000).toISOString().replace(/\.\d+/, '').replace(/[-:T]/g, '')
  return digits < '2050'
    ? encodeDer(DER_TAG.utcTime, encodeUtf8(digits.slice(2)))
    : encodeDer(DER_TAG.generalizedTime, encodeUtf8(digits))
}

function encodeLength(length: number): Uint8Array {
  if (length < 0x80) return Uint8Array.of(length)
  return length < 0x100 ? Uint8Array.of(0x81, length) : concatBytes(Uint8Array.of(0x82), encodeUint(BigInt(length), 2))
}
