/**
 * Key configurations (RFC 9458 section 3): what a client needs to seal for a gateway.
 *
 * ```
 * KeyConfig { keyId(8), kemId(16), publicKey(Npk*8), suitesLength(16) = 4n, n * { kdfId(16), aeadId(16) } }
 * application/ohttp-keys = n * { length(16), KeyConfig }
 * ``` @module
 */
import { concatBytes, encodeUint } from '../bytes.ts'
import { PUBLIC_KEY_BYTES } from './suite.ts'

export interface KeyConfig {
  /** 0 to 255. */
  readonly keyId: number
  readonly kemId: number
  readonly publicKey: Uint8Array
  /** KDF and AEAD pairs that the gateway accepts, its preferred one first; at least one. */
  readonly suites: readonly SymmetricSuite[]
}

export interface SymmetricSuite {
  readonly kdfId: number
  readonly aeadId: number
}

const SUITE_BYTES = 4

/** Throws `KeyConfigError` (`MALFORMED`) for a configuration that `parseKeyConfig` would refuse. */
export function encodeKeyConfig(config: KeyConfig): Uint8Array<ArrayBuffer> {
  const { keyId, kemId, publicKey, suites } = config
  const isFit = Number.isInteger(keyId) && keyId >= 0 && keyId <= 0xff && suites.length > 0 && suites.length < 0x4000
  if (!isFit || publicKey.length !== PUBLIC_KEY_BYTES.get(kemId)) {
    throw new KeyConfigError('MALFORMED', 'expected a key id of one byte, a key of its length and at least one suite')
  }
  return concatBytes(
    Uint8Array.of(keyId),
    uint16(kemId),
    publicKey,
    uint16(suites.length * SUITE_BYTES),
    ...suites.flatMap((suite) => [uint16(suite.kdfId), uint16(suite.aeadId)]),
  )
}

/** Throws `KeyConfigError`: `UNKNOWN_KEM` when the KEM, and so the length of the key, is not known here, else `MALFORMED`. */
export function parseKeyConfig(bytes: Uint8Array): KeyConfig {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (bytes.length < 3) throw malformed()
  const kemId = view.getUint16(1)
  const keyBytes = PUBLIC_KEY_BYTES.get(kemId)
  if (keyBytes === undefined) throw new KeyConfigError('UNKNOWN_KEM', 'the KEM of the key configuration is not known')
  const suitesOffset = 3 + keyBytes + 2
  if (bytes.length < suitesOffset) throw malformed()
  const suitesBytes = view.getUint16(suitesOffset - 2)
  if (suitesBytes === 0 || suitesBytes % SUITE_BYTES !== 0 || bytes.length !== suitesOffset + suitesBytes) {
    throw malformed()
  }
  const suites: SymmetricSuite[] = []
  for (let offset = suitesOffset; offset < bytes.length; offset += SUITE_BYTES) {
    suites.push({ kdfId: view.getUint16(offset), aeadId: view.getUint16(offset + 2) })
  }
  return { keyId: view.getUint8(0), kemId, publicKey: bytes.slice(3, 3 + keyBytes), suites }
}

/** The body of type `application/ohttp-keys` that offers these configurations, in order of preference. */
export function encodeKeyConfigList(configs: readonly KeyConfig[]): Uint8Array<ArrayBuffer> {
  const parts = configs.map(encodeKeyConfig)
  return concatBytes(...parts.flatMap((part) => [uint16(part.length), part]))
}

/** Skips configurations of an unknown KEM; throws `KeyConfigError` (`MALFORMED`) when the list or any other entry is malformed. */
export function parseKeyConfigList(bytes: Uint8Array): KeyConfig[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const configs: KeyConfig[] = []
  let offset = 0
  while (offset < bytes.length) {
    if (offset + 2 > bytes.length) throw malformed()
    const end = offset + 2 + view.getUint16(offset)
    if (end > bytes.length) throw malformed()
    try {
      configs.push(parseKeyConfig(bytes.subarray(offset + 2, end)))
    } catch (error) {
      if (!(error instanceof KeyConfigError && error.code === 'UNKNOWN_KEM')) throw error
    }
    offset = end
  }
  return configs
}

function uint16(value: number): Uint8Array {
  return encodeUint(BigInt(value), 2)
}

function malformed(): KeyConfigError {
  return new KeyConfigError('MALFORMED', 'the key configuration ends too early, too late or within a part')
}

export type KeyConfigErrorCode = 'UNKNOWN_KEM' | 'MALFORMED'

export class KeyConfigError extends Error {
  override readonly name = 'KeyConfigError'
  readonly code: KeyConfigErrorCode
  constructor(code: KeyConfigErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}
