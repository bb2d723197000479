import { describe, expect, it } from 'vitest'
import { concatBytes, fromHex, toHex } from '#protocol/bytes.ts'
import { closeCbor, openCbor, readCborUint, skipCborItem } from '#protocol/evidence/cbor.ts'
import { readDerTime } from '#protocol/evidence/certificateTime.ts'
import { closeDer, openDer, readDer, readDerUint } from '#protocol/evidence/der.ts'
import {
  encodeCborArray,
  encodeCborBytes,
  encodeCborMap,
  encodeCborOpenMap,
  encodeCborText,
  encodeCborUint,
} from './cborEncode.ts'
import { encodeDer, encodeDerBits, encodeDerSequence, encodeDerTime, encodeDerUint } from './derEncode.ts'

describe('CBOR encoding', () => {
  // RFC 8949 Appendix A.
  it.each([
    [0, '0x00'],
    [23, '0x17'],
    [24, '0x1818'],
    [255, '0x18ff'],
    [256, '0x190100'],
    [65_535, '0x19ffff'],
    [65_536, '0x1a00010000'],
    [1_000_000, '0x1a000f4240'],
    [1_000_000_000_000, '0x1b000000e8d4a51000'],
    [Number.MAX_SAFE_INTEGER, '0x1b001fffffffffffff'],
  ])('writes %d in its shortest form', (value, hex) => {
    expect(toHex(encodeCborUint(value))).toBe(hex)
    expect(readCborUint(openCbor(encodeCborUint(value)))).toBe(value)
  })

  it('writes strings, null, arrays and both kinds of map', () => {
    expect(toHex(encodeCborText('IETF'))).toBe('0x6449455446')
    expect(toHex(encodeCborBytes(fromHex('0x01020304')))).toBe('0x4401020304')
    expect(toHex(encodeCborBytes(undefined))).toBe('0xf6')
    expect(toHex(encodeCborArray([1, 2, 3].map(encodeCborUint)))).toBe('0x83010203')
    const entries = [[encodeCborText('a'), encodeCborUint(1)]] as const
    expect(toHex(encodeCborMap(entries))).toBe('0xa1616101')
    expect(toHex(encodeCborOpenMap(entries))).toBe('0xbf616101ff')
    const cursor = openCbor(encodeCborOpenMap([[encodeCborText('a'), encodeCborBytes(new Uint8Array(300))]]))
    skipCborItem(cursor)
    expect(() => closeCbor(cursor)).not.toThrow()
  })
})

describe('DER encoding', () => {
  it.each([0, 1, 127, 128, 255, 256, 65_535])('writes a length of %d in its shortest form', (length) => {
    const cursor = openDer(encodeDer(0x04, new Uint8Array(length)))
    const { content, end } = readDer(cursor)
    expect(end - content).toBe(length)
    expect(() => closeDer(cursor)).not.toThrow()
  })

  it('writes integers without leading zeros and never negative', () => {
    expect(toHex(encodeDerUint(new Uint8Array(3)))).toBe('0x020100')
    expect(toHex(encodeDerUint(fromHex('0x00007f')))).toBe('0x02017f')
    expect(toHex(encodeDerUint(fromHex('0x80')))).toBe('0x02020080')
    for (const hex of ['0x01', '0xff', '0x00ff', '0x7fffffff']) {
      expect(readDerUint(openDer(encodeDerUint(fromHex(hex))), 4)).toBe(BigInt(hex))
    }
  })

  it('writes dates that read back as the same second, on both sides of 2050', () => {
    for (const text of [
      '1970-01-01T00:00:00Z',
      '2049-12-31T23:59:59Z',
      '2050-01-01T00:00:00Z',
      '2028-02-29T12:34:56Z',
    ]) {
      const seconds = Date.parse(text) / 1000
      expect(readDerTime(openDer(encodeDerTime(seconds)))).toBe(BigInt(seconds))
    }
    expect(encodeDerTime(Date.parse('2049-12-31T23:59:59Z') / 1000)[0]).toBe(0x17)
    expect(encodeDerTime(Date.parse('2050-01-01T00:00:00Z') / 1000)[0]).toBe(0x18)
  })

  it('writes bit strings with their unused bits, inside sequences', () => {
    expect(toHex(encodeDerSequence(encodeDerBits(fromHex('0x86'), 1)))).toBe('0x300403020186')
    expect(toHex(encodeDerSequence(concatBytes()))).toBe('0x3000')
  })
})
