/** What can be read in a sealed request without its key: the header, and the size class that it was padded to. RFC 9458 section 4.3. @module */
import { AEAD_AES_128_GCM, AEAD_CHACHA20_POLY1305, KEM_X_WING, KEM_X25519 } from '#protocol/sealing/suite.ts'

export type ClearHeader = {
  /** Number of the key configuration: the same for everybody. */
  readonly keyId: number
  /** Names of KEM and AEAD, as far as this client seals with them. */
  readonly kem: string
  readonly aead: string
  /** The length that the request inside was padded to, in bytes, and the next smaller class. */
  readonly classBytes: number
  readonly smallerClassBytes: number
}

/** Key identifier, KEM, KDF and AEAD: uint8, uint16 three times. */
const HEADER_BYTES = 7
const ENC_BYTES: ReadonlyMap<number, number> = new Map([
  [KEM_X25519, 32],
  [KEM_X_WING, 1_120],
])
const KEMS: ReadonlyMap<number, string> = new Map([
  [KEM_X25519, 'X25519'],
  [KEM_X_WING, 'X-Wing (X25519 and ML-KEM-768)'],
])
const AEADS: ReadonlyMap<number, string> = new Map([
  [AEAD_AES_128_GCM, 'AES-128-GCM'],
  [AEAD_CHACHA20_POLY1305, 'ChaCha20-Poly1305'],
])
/** As `requestSizeClass` makes them. */
const CLASS_BYTES_MIN = 1_024
const DOUBLING_BYTES_MAX = 65_536

/** Undefined for bytes that are no encapsulated request of a suite that this client knows. */
export function readClearHeader(sealed: Uint8Array): ClearHeader | undefined {
  if (sealed.length < HEADER_BYTES) return undefined
  const view = new DataView(sealed.buffer, sealed.byteOffset, HEADER_BYTES)
  const [keyId, kemId, aeadId] = [view.getUint8(0), view.getUint16(1), view.getUint16(5)]
  const encBytes = ENC_BYTES.get(kemId)
  const [kem, aead] = [KEMS.get(kemId), AEADS.get(aeadId)]
  if (encBytes === undefined || kem === undefined || aead === undefined) return undefined
  const rest = sealed.length - HEADER_BYTES - encBytes
  if (rest < CLASS_BYTES_MIN) return undefined
  return { keyId, kem, aead, ...largestClass(rest) }
}

/** The largest class that fits: what the chunks add is less than the smallest of them. */
function largestClass(bytes: number): { classBytes: number; smallerClassBytes: number } {
  if (bytes >= 2 * DOUBLING_BYTES_MAX) {
    const classBytes = Math.floor(bytes / DOUBLING_BYTES_MAX) * DOUBLING_BYTES_MAX
    return { classBytes, smallerClassBytes: classBytes - DOUBLING_BYTES_MAX }
  }
  let classBytes = CLASS_BYTES_MIN
  while (2 * classBytes <= bytes) classBytes *= 2
  return { classBytes, smallerClassBytes: classBytes === CLASS_BYTES_MIN ? 0 : classBytes / 2 }
}

/** Whether `needle` occurs in `bytes`. */
export function occursIn(needle: Uint8Array, bytes: Uint8Array): boolean {
  const first = needle[0]
  if (first === undefined) return false
  for (let at = bytes.indexOf(first); at >= 0; at = bytes.indexOf(first, at + 1)) {
    if (needle.every((byte, i) => bytes[at + i] === byte)) return true
  }
  return false
}
