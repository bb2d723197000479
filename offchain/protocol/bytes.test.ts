import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  BytesError,
  concatBytes,
  decodeUint,
  decodeUtf8,
  encodeUint,
  encodeUtf8,
  equalBytes,
  equalSecret,
  fromBase64,
  fromHex,
  joinBytes,
  toBase64,
  toHex,
} from './bytes.ts'

const SEEDED = { seed: 20_261_121 }
const bytes = fc.uint8Array({ maxLength: 200 })

test('reads back what it wrote as hex and base64, as Node does', () => {
  fc.assert(
    fc.property(bytes, (value) => {
      expect(toHex(value)).toBe(`0x${Buffer.from(value).toString('hex')}`)
      expect(toBase64(value)).toBe(Buffer.from(value).toString('base64'))
      expect(fromHex(toHex(value))).toEqual(new Uint8Array(value))
      expect(fromHex(`0x${toHex(value).slice(2).toUpperCase()}`)).toEqual(new Uint8Array(value))
      expect(fromBase64(toBase64(value))).toEqual(new Uint8Array(value))
    }),
    SEEDED,
  )
})

test('reads base64 across its own block size', () => {
  for (const length of [8_191, 8_192, 8_193, 24_577]) {
    const value = Uint8Array.from({ length }, (_, i) => i * 7)
    expect(fromBase64(toBase64(value))).toEqual(value)
  }
})

test('takes exactly the base64 that is written the same again', () => {
  const character = fc.constantFrom(...'ABQgwZaz019+/=-_ \n')
  fc.assert(
    fc.property(fc.array(character, { maxLength: 9 }), (characters) => {
      const text = characters.join('')
      const bytes = Buffer.from(text, 'base64')
      if (bytes.toString('base64') === text) expect(fromBase64(text)).toEqual(new Uint8Array(bytes))
      else expect(() => fromBase64(text)).toThrow(BytesError)
    }),
    { ...SEEDED, numRuns: 5_000 },
  )
})

test('reads back an unsigned integer of any length that holds it', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: 2n ** 80n - 1n }), (value) => {
      expect(decodeUint(encodeUint(value, 10))).toBe(value)
    }),
    SEEDED,
  )
  expect(decodeUint(new Uint8Array())).toBe(0n)
})

test('joins more parts than a call may have arguments', () => {
  const parts = Array.from({ length: 300_000 }, (_, i) => Uint8Array.of(i))
  expect(joinBytes(parts)).toHaveLength(300_000)
  expect(concatBytes(Uint8Array.of(1), new Uint8Array(), Uint8Array.of(2, 3))).toEqual(Uint8Array.of(1, 2, 3))
})

describe.each([
  ['equalBytes', equalBytes],
  ['equalSecret', equalSecret],
])('%s', (_name, equal) => {
  test('tells every single flipped bit and every length apart', () => {
    const value = Uint8Array.of(0, 1, 128, 255)
    expect(equal(value, value.slice())).toBe(true)
    expect(equal(new Uint8Array(), new Uint8Array())).toBe(true)
    for (let bit = 0; bit < 32; bit++) {
      const other = value.slice()
      other[bit >> 3] = (other[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      expect(equal(value, other)).toBe(false)
    }
    expect(equal(value, value.subarray(0, 3))).toBe(false)
    expect(equal(Uint8Array.of(1), Uint8Array.of(1, 0))).toBe(false)
    expect(equal(Uint8Array.of(1, 0), Uint8Array.of(1))).toBe(false)
  })
})

test.each(['', '0', '0x0', '00', '0X00', '0x0g', ' 0x00', '0x00\n', '0x00 '])('refuses %j as hex', (text) => {
  expect(() => fromHex(text)).toThrow(expect.objectContaining({ name: 'BytesError', code: 'BAD_HEX' }))
})

test('refuses hex of another length than asked for', () => {
  expect(fromHex('0x0102', 2)).toEqual(Uint8Array.of(1, 2))
  for (const length of [0, 1, 3]) expect(() => fromHex('0x0102', length)).toThrow(BytesError)
})

test.each(['A', 'AA', 'AA=', 'AB==', 'AAA', 'AA==\n', ' AA==', 'AA-_', 'A===', 'AA==AA=='])(
  'refuses %j as base64',
  (text) => {
    expect(() => fromBase64(text)).toThrow(expect.objectContaining({ code: 'BAD_BASE64' }))
  },
)

test('refuses malformed UTF-8 and keeps a byte order mark', () => {
  for (const bad of [[0xff], [0xc3], [0xed, 0xa0, 0x80], [0xc0, 0x80]]) {
    expect(() => decodeUtf8(Uint8Array.from(bad))).toThrow(expect.objectContaining({ code: 'BAD_UTF8' }))
  }
  expect(decodeUtf8(encodeUtf8('\ufeffé'))).toBe('\ufeffé')
})

test.each([
  [-1n, 8],
  [256n, 1],
  [1n, 0],
  [2n ** 64n, 8],
])('refuses %s in %s bytes', (value, length) => {
  expect(() => encodeUint(value, length)).toThrow(expect.objectContaining({ code: 'OUT_OF_RANGE' }))
})
