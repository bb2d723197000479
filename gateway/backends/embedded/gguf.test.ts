import { describe, expect, it } from 'vitest'
import { concatBytes, encodeUint, encodeUtf8 } from '#protocol/bytes.ts'
import { GgufError, numberField, numbersField, parseGguf, stringsField } from './gguf.ts'

const u32 = (value: number): Uint8Array => encodeUint(BigInt(value), 4).reverse()
const u64 = (value: number | bigint): Uint8Array => encodeUint(BigInt.asUintN(64, BigInt(value)), 8).reverse()
const text = (value: string): Uint8Array => concatBytes(u64(encodeUtf8(value).length), encodeUtf8(value))
const floats = (...values: number[]): Uint8Array => new Uint8Array(Float32Array.from(values).buffer)
const field = (key: string, type: number, ...value: Uint8Array[]): Uint8Array =>
  concatBytes(text(key), u32(type), ...value)

const fields = [
  field('u8', 0, Uint8Array.of(255)),
  field('i8', 1, Uint8Array.of(255)),
  field('u16', 2, Uint8Array.of(255, 255)),
  field('i16', 3, Uint8Array.of(254, 255)),
  field('u32', 4, u32(0xffff_ffff)),
  field('i32', 5, u32(0xffff_ffff)),
  field('f32', 6, floats(0.5)),
  field('bool', 7, Uint8Array.of(1)),
  field('string', 8, text('Grüße')),
  field('strings', 9, u32(8), u64(2), text('a'), text('')),
  field('numbers', 9, u32(5), u64(2), u32(7), u32(0xffff_fff9)),
  field('u64', 10, u64(2 ** 40)),
  field('i64', 11, u64(-3n)),
  field('f64', 12, new Uint8Array(Float64Array.of(0.1).buffer)),
]

const infos = [
  concatBytes(text('plain'), u32(2), u64(2), u64(3), u32(0), u64(0)),
  concatBytes(text('half'), u32(1), u64(8), u32(1), u64(32)),
]

/** 1, -2, the largest, the smallest normal and subnormal, minus zero, infinity, not a number (IEEE 754 binary16). */
const halves = [0x3c00, 0xc000, 0x7bff, 0x0400, 0x0001, 0x8000, 0x7c00, 0x7e00]

function build(parts: { fields?: Uint8Array[]; infos?: Uint8Array[]; version?: number } = {}): Uint8Array {
  const chosen = parts.fields ?? fields
  const tensors = parts.infos ?? infos
  const head = concatBytes(
    encodeUtf8('GGUF'),
    u32(parts.version ?? 3),
    u64(tensors.length),
    u64(chosen.length),
    ...chosen,
    ...tensors,
  )
  const padding = new Uint8Array(-head.length & 31)
  const half = halves.flatMap((bits) => [bits & 255, bits >> 8])
  return concatBytes(head, padding, floats(1, 2, 3, 4, 5, 6), new Uint8Array(8), Uint8Array.from(half))
}

function codeOf(bytes: Uint8Array): string {
  try {
    parseGguf(bytes)
    return 'none'
  } catch (error) {
    return error instanceof GgufError ? error.code : `${error}`
  }
}

describe('parseGguf', () => {
  it('reads every kind of value', () => {
    expect(Object.fromEntries(parseGguf(build()).fields)).toEqual({
      u8: 255,
      i8: -1,
      u16: 65_535,
      i16: -2,
      u32: 0xffff_ffff,
      i32: -1,
      f32: 0.5,
      bool: true,
      string: 'Grüße',
      strings: ['a', ''],
      numbers: [7, -7],
      u64: 2 ** 40,
      i64: -3n,
      f64: 0.1,
    })
  })

  it('reads F32 and F16 tensors, from any alignment of the file in memory', () => {
    const shifted = concatBytes(Uint8Array.of(0), build()).subarray(1)
    for (const bytes of [build(), shifted]) {
      const { tensors } = parseGguf(bytes)
      expect(tensors.get('plain')).toEqual({ shape: [2, 3], data: Float32Array.of(1, 2, 3, 4, 5, 6) })
      const half = Float32Array.of(1, -2, 65_504, 2 ** -14, 2 ** -24, -0, Number.POSITIVE_INFINITY, Number.NaN)
      expect(tensors.get('half')?.data).toEqual(half)
    }
  })

  it('refuses a file cut at any length', () => {
    const bytes = build()
    for (let length = 0; length < bytes.length; length++) expect(codeOf(bytes.subarray(0, length))).toBe('MALFORMED')
  })

  it('refuses counts and sizes beyond the file before it makes room for them', () => {
    expect(codeOf(build({ fields: [field('x', 9, u32(4), u64(2 ** 40))] }))).toBe('MALFORMED')
    expect(codeOf(build({ fields: [field('x', 8, u64(2 ** 40))] }))).toBe('MALFORMED')
    expect(codeOf(build({ fields: [field('x', 10, u64(-1n))] }))).toBe('MALFORMED')
    const huge = concatBytes(text('x'), u32(2), u64(2 ** 30), u64(2 ** 30), u32(0), u64(0))
    expect(codeOf(build({ infos: [huge] }))).toBe('MALFORMED')
    const far = concatBytes(text('x'), u32(1), u64(1), u32(0), u64(2 ** 40))
    expect(codeOf(build({ infos: [far] }))).toBe('MALFORMED')
  })

  it('refuses what is said twice, and alignments that are none', () => {
    const one = field('x', 4, u32(1))
    expect(codeOf(build({ fields: [one, one] }))).toBe('MALFORMED')
    expect(codeOf(build({ infos: [...infos, ...infos.slice(0, 1)] }))).toBe('MALFORMED')
    expect(codeOf(build({ fields: [field('general.alignment', 4, u32(0))] }))).toBe('MALFORMED')
    expect(codeOf(build({ fields: [field('x', 13)] }))).toBe('MALFORMED')
  })

  it('says what it does not support', () => {
    expect(codeOf(build({ version: 2 }))).toBe('UNSUPPORTED')
    const quantized = concatBytes(text('x'), u32(1), u64(32), u32(8), u64(0))
    expect(codeOf(build({ infos: [quantized] }))).toBe('UNSUPPORTED')
  })

  it('reads arrays in arrays, and none in those', () => {
    const ofOneArray = concatBytes(u32(9), u64(1))
    const ofOneByte = concatBytes(u32(0), u64(1), Uint8Array.of(7))
    const nested = build({ fields: [field('x', 9, ofOneArray, ofOneByte)] })
    expect(parseGguf(nested).fields.get('x')).toEqual([[7]])
    expect(codeOf(build({ fields: [field('x', 9, ofOneArray, ofOneArray, ofOneByte)] }))).toBe('UNSUPPORTED')
  })
})

describe('the fields of a file', () => {
  it('are taken by kind, or refused', () => {
    const gguf = parseGguf(build())
    expect(numberField(gguf, 'u32')).toBe(0xffff_ffff)
    expect(numberField(gguf, 'absent', 5)).toBe(5)
    expect(stringsField(gguf, 'strings')).toEqual(['a', ''])
    expect(numbersField(gguf, 'numbers')).toEqual([7, -7])
    const unsupported = expect.objectContaining({ code: 'UNSUPPORTED' })
    expect(() => numberField(gguf, 'string')).toThrow(unsupported)
    expect(() => numberField(gguf, 'absent')).toThrow(unsupported)
    expect(() => stringsField(gguf, 'numbers')).toThrow(unsupported)
    expect(() => numbersField(gguf, 'strings')).toThrow(unsupported)
  })
})
