/** CBOR encoding (RFC 8949), as much as attestation documents need: shortest heads, and maps of indefinite length. @module */
import { concatBytes, encodeUint, encodeUtf8 } from '#protocol/bytes.ts'

/** An unsigned integer, at most 2^53. */
export function encodeCborUint(value: number): Uint8Array {
  return encodeHead(0, value)
}

/** A byte string, or null. */
export function encodeCborBytes(bytes: Uint8Array | undefined): Uint8Array {
  return bytes === undefined ? Uint8Array.of(0xf6) : concatBytes(encodeHead(2, bytes.length), bytes)
}

/** A text string. */
export function encodeCborText(text: string): Uint8Array {
  const bytes = encodeUtf8(text)
  return concatBytes(encodeHead(3, bytes.length), bytes)
}

/** An array of definite length, of encoded items. */
export function encodeCborArray(items: readonly Uint8Array[]): Uint8Array {
  return concatBytes(encodeHead(4, items.length), ...items)
}

/** A map of definite length, of encoded keys and values in the order given. */
export function encodeCborMap(entries: readonly (readonly [Uint8Array, Uint8Array])[]): Uint8Array {
  return concatBytes(encodeHead(5, entries.length), ...entries.flat())
}

/** A map of indefinite length, closed by a break. */
export function encodeCborOpenMap(entries: readonly (readonly [Uint8Array, Uint8Array])[]): Uint8Array {
  return concatBytes(Uint8Array.of(0xbf), ...entries.flat(), Uint8Array.of(0xff))
}

/** Major type and the shortest form of the argument, at most 2^53. */
function encodeHead(major: number, argument: number): Uint8Array {
  const top = major << 5
  if (argument < 24) return Uint8Array.of(top | argument)
  const [info, lengthBytes] = ARGUMENT_FORMS.find(([, length]) => argument < 256 ** length) ?? [27, 8]
  return concatBytes(Uint8Array.of(top | info), encodeUint(BigInt(argument), lengthBytes))
}

const ARGUMENT_FORMS: readonly (readonly [info: number, lengthBytes: number])[] = [
  [24, 1],
  [25, 2],
  [26, 4],
  [27, 8],
]
