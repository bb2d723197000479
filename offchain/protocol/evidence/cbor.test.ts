import { describe, expect, it } from 'vitest'
import { concatBytes, fromHex } from '#protocol/bytes.ts'
import type { CborCursor } from './cbor.ts'
import {
  closeCbor,
  openCbor,
  readCborArray,
  readCborBytes,
  readCborMap,
  readCborNull,
  readCborTag,
  readCborText,
  readCborUint,
  skipCborItem,
} from './cbor.ts'
import { EvidenceError, type EvidenceFormatCode } from './evidenceError.ts'

// RFC 8949 Appendix A, without strings of indefinite length.
const WELL_FORMED = [
  '00',
  '17',
  '1818',
  '1903e8',
  '1a000f4240',
  '1b000000e8d4a51000',
  '1bffffffffffffffff',
  '20',
  '3863',
  '3903e7',
  '3bffffffffffffffff',
  'f93c00',
  'fa47c35000',
  'fb7e37e43c8800759c',
  'f4',
  'f5',
  'f6',
  'f7',
  'f0',
  'f8ff',
  'c11a514b67b0',
  'd74401020304',
  'd818456449455446',
  'c249010000000000000000',
  '40',
  '4401020304',
  '60',
  '6449455446',
  '626162',
  '80',
  '83010203',
  '8301820203820405',
  '98190102030405060708090a0b0c0d0e0f101112131415161718181819',
  'a0',
  'a201020304',
  'a26161016162820203',
  '826161a161626163',
  '9fff',
  '9f018202039f0405ffff',
  '83018202039f0405ff',
  'bf61610161629f0203ffff',
  '826161bf61626163ff',
  'bf6346756ef563416d7421ff',
]

describe('stepping over items', () => {
  it.each(WELL_FORMED)('takes %s whole, and no prefix of it', (hex) => {
    const bytes = fromHex(`0x${hex}`)
    expect(attempt(bytes, skipCborItem)).toBe('ok')
    for (let length = 0; length < bytes.length; length++) {
      expect(attempt(bytes.subarray(0, length), skipCborItem)).toBe('CBOR_TRUNCATED')
    }
    expect(attempt(concatBytes(bytes, Uint8Array.of(0)), skipCborItem)).toBe('CBOR_TRAILING_BYTES')
  })

  it.each([
    ['1800', 'CBOR_NOT_MINIMAL'],
    ['1817', 'CBOR_NOT_MINIMAL'],
    ['1900ff', 'CBOR_NOT_MINIMAL'],
    ['1a0000ffff', 'CBOR_NOT_MINIMAL'],
    ['1b00000000ffffffff', 'CBOR_NOT_MINIMAL'],
    ['5801ff', 'CBOR_NOT_MINIMAL'],
    ['780161', 'CBOR_NOT_MINIMAL'],
    ['980100', 'CBOR_NOT_MINIMAL'],
    ['b8010000', 'CBOR_NOT_MINIMAL'],
    ['d81200', 'CBOR_NOT_MINIMAL'],
    ['f818', 'CBOR_NOT_MINIMAL'],
    ['f81f', 'CBOR_NOT_MINIMAL'],
    ['1c', 'CBOR_TYPE'],
    ['3d', 'CBOR_TYPE'],
    ['5e', 'CBOR_TYPE'],
    ['1f', 'CBOR_TYPE'],
    ['5f42010243030405ff', 'CBOR_TYPE'],
    ['7f6161ff', 'CBOR_TYPE'],
    ['df00', 'CBOR_TYPE'],
    ['ff', 'CBOR_TYPE'],
    ['82ff00', 'CBOR_TYPE'],
    ['c1ff', 'CBOR_TYPE'],
    ['9fc1ffff', 'CBOR_TYPE'],
    ['bf00ff', 'CBOR_TYPE'],
    ['bf000000ff', 'CBOR_TYPE'],
    ['5bffffffffffffffff00', 'CBOR_TRUNCATED'],
    ['9bffffffffffffffff00', 'CBOR_TRUNCATED'],
    ['bbffffffffffffffff0000', 'CBOR_TRUNCATED'],
  ])('refuses %s', (hex, code) => {
    expect(attempt(fromHex(`0x${hex}`), skipCborItem)).toBe(code)
  })

  it('takes eight levels, and refuses the ninth, without recursion', () => {
    const nested = (levels: number): Uint8Array => concatBytes(new Uint8Array(levels).fill(0x81), Uint8Array.of(0))
    expect(attempt(nested(8), skipCborItem)).toBe('ok')
    expect(attempt(nested(9), skipCborItem)).toBe('CBOR_DEPTH')
    expect(attempt(nested(200_000), skipCborItem)).toBe('CBOR_DEPTH')
  })
})

describe('reading maps', () => {
  it.each([
    ['definite', 'a201020304'],
    ['indefinite', 'bf01020304ff'],
    ['text beside a number', 'a201006131f6'],
  ])('takes different keys: %s', (_, hex) => {
    expect(attempt(fromHex(`0x${hex}`), (cursor) => readCborMap(cursor, () => skipCborItem(cursor)))).toBe('ok')
  })

  it.each(['a201020104', 'bf01020104ff', 'a2616100616101', 'a220002001', 'a3010002000103'])(
    'refuses a repeated key: %s',
    (hex) => {
      expect(attempt(fromHex(`0x${hex}`), (cursor) => readCborMap(cursor, () => skipCborItem(cursor)))).toBe(
        'CBOR_DUPLICATE_KEY',
      )
    },
  )

  it.each([
    ['a14100f6', 'CBOR_TYPE'],
    ['a1f6f6', 'CBOR_TYPE'],
    ['a161fff6', 'CBOR_TEXT'],
    ['a11b0020000000000000f6', 'CBOR_INTEGER_RANGE'],
    ['a13b0020000000000000f6', 'CBOR_INTEGER_RANGE'],
    ['bf01ff', 'CBOR_TYPE'],
    ['8100', 'CBOR_TYPE'],
  ])('refuses %s', (hex, code) => {
    expect(attempt(fromHex(`0x${hex}`), (cursor) => readCborMap(cursor, () => skipCborItem(cursor)))).toBe(code)
  })

  it('takes 64 keys, and refuses one more', () => {
    const mapOf = (count: number) => {
      const pairs = Array.from({ length: count }, (_, key) => Uint8Array.of(0x18, key + 24, 0xf6))
      return concatBytes(Uint8Array.of(0xb8, count), ...pairs)
    }
    const read = (cursor: CborCursor) => readCborMap(cursor, () => skipCborItem(cursor))
    expect(attempt(mapOf(64), read)).toBe('ok')
    expect(attempt(mapOf(65), read)).toBe('CBOR_ENTRIES')
  })

  it('gives keys in order and counts them', () => {
    const cursor = openCbor(fromHex('0xbf6161012202ff'))
    const keys: unknown[] = []
    expect(readCborMap(cursor, (key) => keys.push([key, readCborUint(cursor)]))).toBe(2)
    expect(keys).toEqual([
      ['a', 1],
      [-3, 2],
    ])
  })
})

describe('reading values', () => {
  it('gives the offsets of a byte string, inside a span too', () => {
    const bytes = fromHex('0xffff4401020304ff')
    const cursor = openCbor(bytes, { start: 2, end: 7 })
    expect(readCborBytes(cursor)).toEqual({ start: 3, end: 7 })
    expect(() => closeCbor(cursor)).not.toThrow()
    expect(attemptOpen(openCbor(bytes, { start: 2, end: 6 }), readCborBytes)).toBe('CBOR_TRUNCATED')
  })

  it('reads integers below 2^53 and no others', () => {
    expect(readCborUint(openCbor(fromHex('0x1b001fffffffffffff')))).toBe(Number.MAX_SAFE_INTEGER)
    expect(attempt(fromHex('0x1b0020000000000000'), readCborUint)).toBe('CBOR_INTEGER_RANGE')
    expect(attempt(fromHex('0x20'), readCborUint)).toBe('CBOR_TYPE')
  })

  it('reads text as ASCII only', () => {
    expect(readCborText(openCbor(fromHex('0x626162')))).toBe('ab')
    expect(attempt(fromHex('0x62c3bc'), readCborText)).toBe('CBOR_TEXT')
    expect(attempt(fromHex('0x62c328'), readCborText)).toBe('CBOR_TEXT')
    expect(attempt(fromHex('0x42c3bc'), readCborText)).toBe('CBOR_TYPE')
  })

  it('counts the items of arrays of both kinds', () => {
    for (const hex of ['0x83010203', '0x9f010203ff'] as const) {
      const cursor = openCbor(fromHex(hex))
      expect(readCborArray(cursor, () => readCborUint(cursor))).toBe(3)
      expect(() => closeCbor(cursor)).not.toThrow()
    }
  })

  it('consumes a null or a tag only where it stands', () => {
    const cursor = openCbor(fromHex('0xd2f600'))
    expect(readCborNull(cursor)).toBe(false)
    expect(readCborTag(cursor, 17)).toBe(false)
    expect(readCborTag(cursor, 18)).toBe(true)
    expect(readCborNull(cursor)).toBe(true)
    expect(cursor.offset).toBe(2)
  })
})

function attempt(bytes: Uint8Array, read: (cursor: CborCursor) => unknown): EvidenceFormatCode | 'ok' {
  return attemptOpen(openCbor(bytes), read)
}

function attemptOpen(cursor: CborCursor, read: (cursor: CborCursor) => unknown): EvidenceFormatCode | 'ok' {
  try {
    read(cursor)
    closeCbor(cursor)
    return 'ok'
  } catch (error) {
    if (error instanceof EvidenceError) return error.code
    throw error
  }
}
