/** Every way in which bytes can fail to be a point that may be signed, each alone. noble lets some of them pass. @module */
import { bls12_381 } from '@noble/curves/bls12-381.js'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { concatBytes, encodeUint, encodeUtf8, equalBytes } from '../bytes.ts'
import { keccak256 } from '../hash.ts'
import type { CreditErrorCode } from './creditError.ts'
import {
  checkG1,
  checkG1Encoding,
  checkG2,
  decodeEip2537G1,
  decodeEip2537G2,
  decodeG1,
  decodeG2,
  encodeEip2537G1,
  encodeEip2537G2,
  encodeG1,
  encodeG2,
  encodeMultipleG1,
  type G1Point,
  type G2Point,
  GROUP_ORDER,
} from './points.ts'

const { Fp, Fp2 } = bls12_381.fields
const G1 = bls12_381.G1.Point
const G2 = bls12_381.G2.Point
const p = Fp.ORDER
const scalar = fc.bigInt({ min: 1n, max: GROUP_ORDER - 1n })

describe('points of G1', () => {
  const compressed = encodeG1(pointG1('a point'))
  const onChain = encodeEip2537G1(pointG1('a point'))

  it('has the generator of the curve in the form everybody writes', () => {
    expect(encodeG1(G1.BASE)).toEqual(
      fromHexText('97f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb'),
    )
  })

  it('returns what it encoded, in both forms and for both signs of y', () => {
    fc.assert(
      fc.property(scalar, (k) => {
        for (const point of [G1.BASE.multiply(k), G1.BASE.multiply(k).negate()]) {
          expect(decodeG1(encodeG1(point)).equals(point)).toBe(true)
          expect(encodeMultipleG1(point)).toEqual(encodeG1(point))
          expect(decodeEip2537G1(encodeEip2537G1(point)).equals(point)).toBe(true)
        }
      }),
      { numRuns: 8, seed: 1 },
    )
  })

  it('refuses every other length', () => {
    for (let length = 0; length <= 49; length++) {
      if (length !== 48) refuses(() => decodeG1(resized(compressed, length)), 'POINT_LENGTH')
    }
    // noble reads 96 bytes without the flag as a point.
    refuses(() => decodeG1(G1.BASE.toBytes(false)), 'POINT_LENGTH')
    for (const length of [0, 127, 129]) refuses(() => decodeEip2537G1(resized(onChain, length)), 'POINT_LENGTH')
  })

  it('refuses the flags of an uncompressed point', () => {
    refuses(() => decodeG1(withFlags(compressed, 0x00)), 'POINT_FLAGS')
    refuses(() => decodeG1(withFlags(compressed, 0x20)), 'POINT_FLAGS')
    refuses(() => decodeG1(new Uint8Array(48)), 'POINT_FLAGS')
  })

  it('refuses the identity, however it is written', () => {
    refuses(() => decodeG1(G1.ZERO.toBytes(true)), 'POINT_IDENTITY')
    refuses(() => decodeG1(withFlags(compressed, 0xc0)), 'POINT_IDENTITY')
    refuses(() => decodeG1(withFlags(new Uint8Array(48), 0xe0)), 'POINT_IDENTITY')
    refuses(() => decodeEip2537G1(new Uint8Array(128)), 'POINT_IDENTITY')
    refuses(() => encodeG1(G1.ZERO), 'POINT_IDENTITY')
    refuses(() => encodeEip2537G1(G1.ZERO), 'POINT_IDENTITY')
    refuses(() => checkG1(G1.ZERO), 'POINT_IDENTITY')
  })

  it('refuses coordinates from the prime up, whose residue is a point', () => {
    const { x, y } = smallG1()
    expect(x + p < 2n ** 381n).toBe(true)
    const shifted = withFlags(encodeUint(x + p, 48), flagsOf(y))
    refuses(() => decodeG1(shifted), 'POINT_NOT_CANONICAL')
    refuses(() => checkG1Encoding(shifted), 'POINT_NOT_CANONICAL')
    refuses(() => decodeG1(withFlags(encodeUint(p, 48), 0x80)), 'POINT_NOT_CANONICAL')
    refuses(() => decodeEip2537G1(concatBytes(encodeUint(x + p, 64), encodeUint(y, 64))), 'POINT_NOT_CANONICAL')
    refuses(() => decodeEip2537G1(concatBytes(encodeUint(x, 64), encodeUint(y + p, 64))), 'POINT_NOT_CANONICAL')
  })

  it('refuses padding that is not zero', () => {
    for (const at of [0, 15, 64, 79]) refuses(() => decodeEip2537G1(flipped(onChain, 8 * at)), 'POINT_NOT_CANONICAL')
  })

  it('refuses coordinates that are not on the curve', () => {
    let x = 1n
    while (isSquareFp(Fp.add(Fp.pow(x, 3n), 4n))) x++
    refuses(() => decodeG1(withFlags(encodeUint(x, 48), 0x80)), 'POINT_NOT_ON_CURVE')
    refuses(() => decodeEip2537G1(flipped(onChain, 1023)), 'POINT_NOT_ON_CURVE')
  })

  it('refuses points outside the subgroup, of small order too', () => {
    const { x, y } = smallG1()
    refuses(() => decodeG1(withFlags(encodeUint(x, 48), flagsOf(y))), 'POINT_NOT_IN_SUBGROUP')
    refuses(() => decodeEip2537G1(concatBytes(encodeUint(x, 64), encodeUint(y, 64))), 'POINT_NOT_IN_SUBGROUP')
    // (0, 2) has order 3.
    refuses(() => decodeG1(withFlags(new Uint8Array(48), 0x80)), 'POINT_NOT_IN_SUBGROUP')
    // A good point with one of order 3 added is still none.
    const mixed = G1.BASE.add(G1.fromAffine({ x: 0n, y: 2n }))
    refuses(() => checkG1(mixed), 'POINT_NOT_IN_SUBGROUP')
    refuses(() => encodeG1(mixed), 'POINT_NOT_IN_SUBGROUP')
    refuses(() => decodeG1(withFlags(encodeUint(mixed.x, 48), flagsOf(mixed.y))), 'POINT_NOT_IN_SUBGROUP')
  })

  it('never reads two encodings as one point', () => {
    for (let bit = 0; bit < 384; bit += 7) {
      const other = pointOrUndefined(() => decodeG1(flipped(compressed, bit)))
      if (other !== undefined) expect(equalBytes(encodeG1(other), flipped(compressed, bit))).toBe(true)
    }
  })
})

describe('points of G2', () => {
  const compressed = encodeG2(pointG2('a key'))
  const onChain = encodeEip2537G2(pointG2('a key'))

  it('returns what it encoded, in both forms and for both signs of y', () => {
    fc.assert(
      fc.property(scalar, (k) => {
        for (const point of [G2.BASE.multiply(k), G2.BASE.multiply(k).negate()]) {
          expect(decodeG2(encodeG2(point)).equals(point)).toBe(true)
          expect(decodeEip2537G2(encodeEip2537G2(point)).equals(point)).toBe(true)
        }
      }),
      { numRuns: 4, seed: 2 },
    )
  })

  it('writes c1 first when compressed and c0 first on chain', () => {
    const { x } = pointG2('a key').toAffine()
    expect(withFlags(compressed, 0).subarray(0, 48)).toEqual(encodeUint(x.c1, 48))
    expect(compressed.subarray(48)).toEqual(encodeUint(x.c0, 48))
    expect(onChain.subarray(0, 128)).toEqual(concatBytes(encodeUint(x.c0, 64), encodeUint(x.c1, 64)))
  })

  it('refuses every other length', () => {
    for (const length of [0, 1, 48, 95, 97, 192]) refuses(() => decodeG2(resized(compressed, length)), 'POINT_LENGTH')
    for (const length of [0, 255, 257]) refuses(() => decodeEip2537G2(resized(onChain, length)), 'POINT_LENGTH')
  })

  it('refuses flags of an uncompressed point, and the identity', () => {
    refuses(() => decodeG2(withFlags(compressed, 0x20)), 'POINT_FLAGS')
    refuses(() => decodeG2(G2.ZERO.toBytes(true)), 'POINT_IDENTITY')
    refuses(() => decodeEip2537G2(new Uint8Array(256)), 'POINT_IDENTITY')
    refuses(() => encodeG2(G2.ZERO), 'POINT_IDENTITY')
    refuses(() => checkG2(G2.ZERO), 'POINT_IDENTITY')
  })

  it('refuses parts from the prime up, in each place', () => {
    const { x, y } = smallG2()
    refuses(() => decodeG2(compressG2({ ...x, c0: x.c0 + p }, y)), 'POINT_NOT_CANONICAL')
    refuses(() => decodeG2(compressG2({ ...x, c1: x.c1 + p }, y)), 'POINT_NOT_CANONICAL')
    const parts = [x.c0, x.c1, y.c0, y.c1]
    for (const i of parts.keys()) {
      const shifted = parts.map((part, j) => encodeUint(i === j ? part + p : part, 64))
      refuses(() => decodeEip2537G2(concatBytes(...shifted)), 'POINT_NOT_CANONICAL')
    }
    for (const at of [0, 79, 143, 192]) refuses(() => decodeEip2537G2(flipped(onChain, 8 * at)), 'POINT_NOT_CANONICAL')
  })

  it('refuses coordinates that are not on the curve', () => {
    const x = { c0: 0n, c1: 1n }
    while (isSquareFp2(Fp2.add(Fp2.pow(x, 3n), { c0: 4n, c1: 4n }))) x.c0++
    refuses(() => decodeG2(compressG2(x, { c0: 0n, c1: 0n })), 'POINT_NOT_ON_CURVE')
    refuses(() => decodeEip2537G2(flipped(onChain, 2047)), 'POINT_NOT_ON_CURVE')
  })

  it('refuses points outside the subgroup', () => {
    const { x, y } = smallG2()
    refuses(() => decodeG2(compressG2(x, y)), 'POINT_NOT_IN_SUBGROUP')
    const fields = [x.c0, x.c1, y.c0, y.c1].map((part) => encodeUint(part, 64))
    refuses(() => decodeEip2537G2(concatBytes(...fields)), 'POINT_NOT_IN_SUBGROUP')
    refuses(() => checkG2(G2.fromAffine({ x, y })), 'POINT_NOT_IN_SUBGROUP')
  })
})

/** The point of the curve with the smallest x from 1: outside the subgroup, as nearly all are. */
function smallG1(): { x: bigint; y: bigint } {
  let x = 1n
  while (!isSquareFp(Fp.add(Fp.pow(x, 3n), 4n))) x++
  return { x, y: Fp.sqrt(Fp.add(Fp.pow(x, 3n), 4n)) }
}

function smallG2(): { x: { c0: bigint; c1: bigint }; y: { c0: bigint; c1: bigint } } {
  const x = { c0: 0n, c1: 1n }
  while (!isSquareFp2(Fp2.add(Fp2.pow(x, 3n), { c0: 4n, c1: 4n }))) x.c0++
  return { x, y: Fp2.sqrt(Fp2.add(Fp2.pow(x, 3n), { c0: 4n, c1: 4n })) }
}

/** Euler's criterion. */
function isSquareFp(value: bigint): boolean {
  return Fp.eql(Fp.pow(value, (p - 1n) / 2n), 1n)
}

/** A value of Fp2 is a square exactly when its norm is one in Fp. */
function isSquareFp2({ c0, c1 }: { c0: bigint; c1: bigint }): boolean {
  return isSquareFp(Fp.add(Fp.sqr(c0), Fp.sqr(c1)))
}

function compressG2(x: { c0: bigint; c1: bigint }, y: { c0: bigint; c1: bigint }): Uint8Array {
  return withFlags(concatBytes(encodeUint(x.c1, 48), encodeUint(x.c0, 48)), flagsOf(y.c1 === 0n ? y.c0 : y.c1))
}

function flagsOf(y: bigint): number {
  return 2n * y > p ? 0xa0 : 0x80
}

function withFlags(bytes: Uint8Array, flags: number): Uint8Array {
  const copy = bytes.slice()
  copy[0] = ((copy[0] ?? 0) & 0x1f) | flags
  return copy
}

function flipped(bytes: Uint8Array, bit: number): Uint8Array {
  const copy = bytes.slice()
  copy[bit >> 3] = (copy[bit >> 3] ?? 0) ^ (0x80 >> (bit & 7))
  return copy
}

function resized(bytes: Uint8Array, length: number): Uint8Array {
  const copy = new Uint8Array(length)
  copy.set(bytes.subarray(0, length))
  return copy
}

function pointG1(label: string): G1Point {
  return bls12_381.G1.hashToCurve(keccak256(encodeUtf8(label)))
}

function pointG2(label: string): G2Point {
  return bls12_381.G2.hashToCurve(keccak256(encodeUtf8(label)))
}

function pointOrUndefined(decode: () => G1Point): G1Point | undefined {
  try {
    return decode()
  } catch {
    return undefined
  }
}

function fromHexText(hex: string): Uint8Array {
  return Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16))
}

function refuses(call: () => unknown, code: CreditErrorCode): void {
  expect(call).toThrow(expect.objectContaining({ name: 'CreditError', code }))
}
