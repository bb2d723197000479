import { expect, it } from 'vitest'
import { concatBytes } from '../bytes.ts'
import {
  encodeKeyConfig,
  encodeKeyConfigList,
  type KeyConfig,
  KeyConfigError,
  parseKeyConfig,
  parseKeyConfigList,
} from './keyConfig.ts'
import { KEM_X_WING, KEM_X25519 } from './suite.ts'

const X25519: KeyConfig = {
  keyId: 255,
  kemId: KEM_X25519,
  publicKey: new Uint8Array(32).fill(9),
  suites: [
    { kdfId: 1, aeadId: 1 },
    { kdfId: 1, aeadId: 3 },
  ],
}
const X_WING: KeyConfig = { ...X25519, keyId: 0, kemId: KEM_X_WING, publicKey: new Uint8Array(1216).fill(8) }
/** P-256: a KEM of the registry that is not implemented here. */
const UNKNOWN = concatBytes(Uint8Array.of(3, 0, 0x10), new Uint8Array(65), Uint8Array.of(0, 4, 0, 1, 0, 1))

function codeOf(run: () => unknown): string | undefined {
  try {
    run()
    return undefined
  } catch (error) {
    if (error instanceof KeyConfigError) return error.code
    throw error
  }
}

function withLength(bytes: Uint8Array): Uint8Array {
  return concatBytes(Uint8Array.of(bytes.length >> 8, bytes.length & 255), bytes)
}

it.each([X25519, X_WING])('reads back the configuration that it wrote, KEM $kemId', (config) => {
  expect(parseKeyConfig(encodeKeyConfig(config))).toEqual(config)
})

it('reads back a list of several live keys in order', () => {
  expect(parseKeyConfigList(encodeKeyConfigList([X_WING, X25519]))).toEqual([X_WING, X25519])
  expect(parseKeyConfigList(new Uint8Array())).toEqual([])
})

it('skips configurations of an unknown KEM in a list', () => {
  expect(codeOf(() => parseKeyConfig(UNKNOWN))).toBe('UNKNOWN_KEM')
  const list = concatBytes(withLength(UNKNOWN), encodeKeyConfigList([X25519]), withLength(UNKNOWN))
  expect(parseKeyConfigList(list)).toEqual([X25519])
})

it('refuses a configuration that is cut at any length or has a byte more', () => {
  const bytes = encodeKeyConfig(X25519)
  for (let end = 0; end < bytes.length; end++) {
    expect(codeOf(() => parseKeyConfig(bytes.subarray(0, end)))).toBe('MALFORMED')
    expect(codeOf(() => parseKeyConfigList(withLength(bytes.subarray(0, end))))).toBe('MALFORMED')
  }
  expect(codeOf(() => parseKeyConfig(concatBytes(bytes, Uint8Array.of(0))))).toBe('MALFORMED')
})

it('refuses a list that is cut at any length or has a byte more', () => {
  const bytes = encodeKeyConfigList([X25519, X25519])
  const whole = bytes.length / 2
  for (let end = 1; end < bytes.length; end++) {
    if (end !== whole) expect(codeOf(() => parseKeyConfigList(bytes.subarray(0, end)))).toBe('MALFORMED')
  }
  expect(codeOf(() => parseKeyConfigList(concatBytes(bytes, Uint8Array.of(0))))).toBe('MALFORMED')
})

it('refuses a suites length of zero or not a multiple of four', () => {
  const bytes = encodeKeyConfig(X25519)
  for (const length of [0, 2, 4, 6]) {
    const changed = bytes.slice()
    changed[36] = length
    expect(codeOf(() => parseKeyConfig(changed))).toBe('MALFORMED')
  }
  const none = bytes.slice(0, 37)
  none[36] = 0
  expect(codeOf(() => parseKeyConfig(none))).toBe('MALFORMED')
})

it.each([
  { ...X25519, keyId: 256 },
  { ...X25519, keyId: -1 },
  { ...X25519, suites: [] },
  { ...X25519, publicKey: new Uint8Array(31) },
  { ...X25519, kemId: 0x10 },
])('does not write what it would refuse to read', (config) => {
  expect(codeOf(() => encodeKeyConfig(config))).toBe('MALFORMED')
})
