/** Variable-length integers of QUIC (RFC 9000 section 16), the length prefix of Binary HTTP and chunked OHTTP. @module */

/** `value` in its shortest encoding: 1, 2, 4 or 8 bytes. `value` is a safe integer from 0. */
export function encodeVarint(value: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(varintBytes(value))
  writeVarint(bytes, 0, value)
  return bytes
}

/** Bytes that the shortest encoding of `value` takes. Throws `RangeError` for anything but a safe integer from 0. */
export function varintBytes(value: number): 1 | 2 | 4 | 8 {
  if (!Number.isSafeInteger(value) || value < 0) throw new RangeError('expected a safe integer from 0')
  if (value < 0x40) return 1
  if (value < 0x4000) return 2
  return value < 0x4000_0000 ? 4 : 8
}

/** Writes the shortest encoding of `value` at `offset` and returns the offset behind it. */
export function writeVarint(out: Uint8Array, offset: number, value: number): number {
  const size = varintBytes(value)
  let rest = value
  for (let i = offset + size - 1; i >= offset; i--) {
    out[i] = rest & 0xff
    rest = Math.floor(rest / 256)
  }
  out[offset] = (out[offset] ?? 0) | LENGTH_BITS[size]
  return offset + size
}

/** The two high bits that say how many bytes the encoding has. */
const LENGTH_BITS = { 1: 0, 2: 0x40, 4: 0x80, 8: 0xc0 } as const

export interface Varint {
  /** The integer; `Infinity` above 2^53 - 1, so that every bound refuses it. */
  readonly value: number
  /** Bytes the encoding took, of any of the four lengths. */
  readonly size: number
}

/** Reads the integer at `offset` of the live bytes [0, end) of `bytes`; undefined when more bytes are needed. */
export function readVarint(bytes: Uint8Array, offset: number, end: number): Varint | undefined {
  const first = bytes[offset]
  if (first === undefined || offset >= end) return undefined
  const size = 1 << (first >> 6)
  if (offset + size > end) return undefined
  let value = first & 0x3f
  for (let i = 1; i < size; i++) value = value * 256 + (bytes[offset + i] ?? 0)
  // The sum is exact up to 2^53 - 1 and can only round to 2^53 or more above it.
  return { value: Number.isSafeInteger(value) ? value : Number.POSITIVE_INFINITY, size }
}
