/** Bytes and hex: the few helpers every codec here needs. Bytes are `Uint8Array`; hex exists at the JSON and chain edges only. @module */

/** Lower-case hexadecimal with a `0x` prefix and an even number of digits. */
export type Hex = `0x${string}`

/** One new array holding the parts in order. For lists that grow with their input use `joinBytes`: engines bound the number of arguments. */
export function concatBytes(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  return joinBytes(parts)
}

/** One new array holding the parts in order. */
export function joinBytes(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  let length = 0
  for (const part of parts) length += part.length
  const joined = new Uint8Array(length)
  let offset = 0
  for (const part of parts) {
    joined.set(part, offset)
    offset += part.length
  }
  return joined
}

/** True when both arrays hold the same bytes. Not constant-time: use `equalSecret` for anything secret. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false
  return true
}

/** True when both secrets hold the same bytes; the time taken depends on the lengths only. */
export function equalSecret(a: Uint8Array, b: Uint8Array): boolean {
  let difference = a.length ^ b.length
  for (let i = 0; i < a.length; i++) difference |= (a[i] ?? 0) ^ (b[i] ?? 0)
  return difference === 0
}

const HEX_OF_BYTE = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))

/** `bytes` as lower-case hex with a `0x` prefix. */
export function toHex(bytes: Uint8Array): Hex {
  let text = ''
  for (const byte of bytes) text += HEX_OF_BYTE[byte]
  return `0x${text}`
}

/** Parses hex with a `0x` prefix, either case. Throws `BytesError` (`BAD_HEX`) on anything else, or on a length other than `lengthBytes`. */
export function fromHex(hex: string, lengthBytes?: number): Uint8Array<ArrayBuffer> {
  if (!/^0x(?:[0-9a-fA-F]{2})*$/.test(hex))
    throw new BytesError('BAD_HEX', 'expected 0x and an even number of hex digits')
  const bytes = new Uint8Array((hex.length - 2) / 2)
  if (lengthBytes !== undefined && bytes.length !== lengthBytes) {
    throw new BytesError('BAD_HEX', `expected ${lengthBytes} bytes of hex, got ${bytes.length}`)
  }
  for (let i = 0; i < bytes.length; i++) {
    bytes[i] = (hexDigit(hex.charCodeAt(2 + 2 * i)) << 4) | hexDigit(hex.charCodeAt(3 + 2 * i))
  }
  return bytes
}

/** The same hex in lower case: libraries write addresses in mixed case (EIP-55), and what is compared as text must have one spelling. */
export function lowerHex(hex: Hex): Hex {
  return hex.toLowerCase() as Hex
}

/** The value of a hex digit, given as its character code: letters of either case have it, less nine, in their low four bits. */
function hexDigit(charCode: number): number {
  return (charCode & 0xf) + (charCode > 0x39 ? 9 : 0)
}

const utf8 = new TextEncoder()
const utf8Strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** `text` as UTF-8. */
export function encodeUtf8(text: string): Uint8Array<ArrayBuffer> {
  return utf8.encode(text)
}

/** UTF-8 to text. Throws `BytesError` (`BAD_UTF8`) on malformed input. */
export function decodeUtf8(bytes: Uint8Array): string {
  try {
    return utf8Strict.decode(bytes)
  } catch (cause) {
    throw new BytesError('BAD_UTF8', 'expected well-formed UTF-8', { cause })
  }
}

/** `bytes` as base64 (RFC 4648 section 4, padded). */
export function toBase64(bytes: Uint8Array): string {
  let binary = ''
  const blockBytes = 0x2000
  for (let i = 0; i < bytes.length; i += blockBytes) binary += String.fromCharCode(...bytes.subarray(i, i + blockBytes))
  return btoa(binary)
}

/** Parses padded base64. Throws `BytesError` (`BAD_BASE64`) on malformed or non-canonical input. */
export function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0
  // What `atob` forgives: white space, missing padding, and bits of the last character that are no part of a byte.
  const isCanonical =
    text.length % 4 === 0 && (padding === 0 || endsOnByte(text.charCodeAt(text.length - padding - 1), padding))
  let binary: string
  try {
    binary = atob(text)
  } catch (cause) {
    throw new BytesError('BAD_BASE64', 'expected base64', { cause })
  }
  const length = (text.length / 4) * 3 - padding
  if (!isCanonical || binary.length !== length) {
    throw new BytesError('BAD_BASE64', 'expected canonical, padded base64')
  }
  const bytes = new Uint8Array(length)
  for (let i = 0; i < length; i++) bytes[i] = binary.charCodeAt(i)
  return bytes
}

/** Whether the last character before one or two `=` has zeros in the two or four bits that belong to no byte. */
function endsOnByte(charCode: number, padding: number): boolean {
  const value = BASE64_ALPHABET.indexOf(String.fromCharCode(charCode))
  return (value & (padding === 1 ? 0b11 : 0b1111)) === 0
}

const BASE64_ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'

/** `value` as `lengthBytes` big-endian bytes. Throws `BytesError` (`OUT_OF_RANGE`) when it does not fit. */
export function encodeUint(value: bigint, lengthBytes: number): Uint8Array<ArrayBuffer> {
  if (value < 0n || value >> BigInt(8 * lengthBytes) !== 0n) {
    throw new BytesError('OUT_OF_RANGE', `expected an unsigned integer of at most ${lengthBytes} bytes`)
  }
  const bytes = new Uint8Array(lengthBytes)
  let rest = value
  for (let i = lengthBytes - 1; i >= 0; i--) {
    bytes[i] = Number(rest & 0xffn)
    rest >>= 8n
  }
  return bytes
}

/** Big-endian bytes as an unsigned integer. */
export function decodeUint(bytes: Uint8Array): bigint {
  let value = 0n
  for (const byte of bytes) value = (value << 8n) | BigInt(byte)
  return value
}

export type BytesErrorCode = 'BAD_HEX' | 'BAD_UTF8' | 'BAD_BASE64' | 'OUT_OF_RANGE'

export class BytesError extends Error {
  override readonly name = 'BytesError'
  readonly code: BytesErrorCode
  constructor(code: BytesErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}
