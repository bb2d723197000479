import fc from 'fast-check'
import { expect, it } from 'vitest'
import { fromHex, toHex } from '../bytes.ts'
import { encodeVarint, readVarint } from './varint.ts'

it.each([
  ['0x00', 0],
  ['0x25', 37],
  ['0x7bbd', 15_293],
  ['0x9d7f3e7d', 494_878_333],
  ['0xc0000000ffffffff', 4_294_967_295],
  ['0xc01fffffffffffff', Number.MAX_SAFE_INTEGER],
])('%s is %d (RFC 9000 appendix A.1 and the ends of the range)', (hex, value) => {
  const bytes = fromHex(hex)
  expect(toHex(encodeVarint(value))).toBe(hex)
  expect(readVarint(bytes, 0, bytes.length)).toEqual({ value, size: bytes.length })
})

it('reads any of the four lengths of the same value', () => {
  for (const hex of ['0x25', '0x4025', '0x80000025', '0xc000000000000025']) {
    expect(readVarint(fromHex(hex), 0, 8)?.value).toBe(37)
  }
})

it('reads everything above 2^53 - 1 as Infinity', () => {
  expect(readVarint(fromHex('0xc020000000000000'), 0, 8)?.value).toBe(Number.POSITIVE_INFINITY)
  expect(readVarint(fromHex('0xffffffffffffffff'), 0, 8)?.value).toBe(Number.POSITIVE_INFINITY)
})

it('refuses to encode what is not a safe integer from 0', () => {
  for (const value of [-1, 0.5, Number.NaN, 2 ** 53]) expect(() => encodeVarint(value)).toThrow(RangeError)
})

it('reads back what it wrote and nothing from a cut encoding', () => {
  fc.assert(
    fc.property(fc.maxSafeNat(), (value) => {
      const bytes = encodeVarint(value)
      expect(readVarint(bytes, 0, bytes.length)).toEqual({ value, size: bytes.length })
      for (let end = 0; end < bytes.length; end++) expect(readVarint(bytes, 0, end)).toBeUndefined()
    }),
  )
})
