/** Hex by Node's own encoder: several times as fast as `toHex` of protocol/bytes.ts, whose text is built digit by digit. @module */
import type { Hex } from '#protocol/bytes.ts'

/** What `toHex` answers. */
export function bulkHex(bytes: Uint8Array): Hex {
  return `0x${Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex')}`
}
