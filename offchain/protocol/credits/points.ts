/**
 * Points of BLS12-381 as bytes, in two forms: compressed on the wire (48 bytes in G1, 96 in G2; the encoding of
 * draft-irtf-cfrg-pairing-friendly-curves-11 appendix C) and as EIP-2537 takes them on chain (128 and 256 bytes).
 *
 * Every decoder refuses what is not canonical, not on the curve, not in the subgroup of prime order, and the identity: signing a
 * point outside the subgroup would give away bits of the key, and a second encoding of one point would be a second credit.
 * @module
 */

import type { WeierstrassPoint } from '@noble/curves/abstract/weierstrass.js'
import { bls12_381 } from '@noble/curves/bls12-381.js'
import { concatBytes, decodeUint, encodeUint } from '../bytes.ts'
import { CreditError } from './creditError.ts'

export type G1Point = WeierstrassPoint<bigint>
export type G2Point = WeierstrassPoint<Fp2Value>
type Fp2Value = { readonly c0: bigint; readonly c1: bigint }

/** Order r of the groups. */
export const GROUP_ORDER: bigint = bls12_381.fields.Fr.ORDER
export const G1_BYTES = 48
export const G2_BYTES = 96
export const EIP2537_G1_BYTES = 128
export const EIP2537_G2_BYTES = 256

const FIELD_BYTES = 48
const EIP2537_FIELD_BYTES = 64
const { Fp, Fp2 } = bls12_381.fields
const G1 = bls12_381.G1.Point
const G2 = bls12_381.G2.Point
const IS_COMPRESSED = 0x80
const IS_INFINITY = 0x40
const IS_LARGER_Y = 0x20
/** What of the first byte belongs to x. */
const X_MASK = 0x1f
const PRIME = encodeUint(Fp.ORDER, FIELD_BYTES)

/** 48 bytes to a point of G1. Throws `CreditError` (`POINT_…`). */
export function decodeG1(bytes: Uint8Array): G1Point {
  const { x: parts, isLargerY } = readCompressed(bytes, G1_BYTES)
  const [x = 0n] = parts
  const y = rootOf(() => Fp.sqrt(curveG1(x)))
  return checkG1(G1.fromAffine({ x, y: isLarger([y]) === isLargerY ? y : Fp.neg(y) }))
}

/** 96 bytes, `x.c1` first, to a point of G2. Throws `CreditError` (`POINT_…`). */
export function decodeG2(bytes: Uint8Array): G2Point {
  const { x: parts, isLargerY } = readCompressed(bytes, G2_BYTES)
  const [c1 = 0n, c0 = 0n] = parts
  const x = { c0, c1 }
  const y = rootOf(() => Fp2.sqrt(curveG2(x)))
  return checkG2(G2.fromAffine({ x, y: isLarger([y.c1, y.c0]) === isLargerY ? y : Fp2.neg(y) }))
}

/** The point's compressed form, 48 bytes. */
export function encodeG1(point: G1Point): Uint8Array<ArrayBuffer> {
  return new Uint8Array(checkG1(point).toBytes(true))
}

/**
 * The same of a point that is a multiple of a checked one by a scalar of 1 … r - 1, and so needs no check of its own, which takes as long as making
 * it: what the library encodes it checks.
 */
export function encodeMultipleG1(point: G1Point): Uint8Array<ArrayBuffer> {
  const { x, y } = point.toAffine()
  const bytes = new Uint8Array(encodeUint(x, FIELD_BYTES))
  bytes[0] = (bytes[0] ?? 0) | IS_COMPRESSED | (isLarger([y]) ? IS_LARGER_Y : 0)
  return bytes
}

/** The point's compressed form, 96 bytes. */
export function encodeG2(point: G2Point): Uint8Array<ArrayBuffer> {
  return new Uint8Array(checkG2(point).toBytes(true))
}

/**
 * Checks length, flags and range of a compressed point of G1 without any curve arithmetic: whether there can be a point with this
 * encoding, and only this one. Whoever uses the point still decodes it. Throws `CreditError` (`POINT_…`).
 */
export function checkG1Encoding(bytes: Uint8Array): void {
  checkCompressed(bytes, G1_BYTES)
}

/** `x` and `y`, each 16 zero bytes and 48 of its value, to a point of G1. Throws `CreditError` (`POINT_…`). */
export function decodeEip2537G1(bytes: Uint8Array): G1Point {
  const [x = 0n, y = 0n] = readFields(bytes, EIP2537_G1_BYTES)
  if (!Fp.eql(Fp.sqr(y), curveG1(x))) throw notOnCurve()
  return checkG1(G1.fromAffine({ x, y }))
}

/** `x.c0`, `x.c1`, `y.c0`, `y.c1`, each 16 zero bytes and 48 of its value, to a point of G2. Throws `CreditError` (`POINT_…`). */
export function decodeEip2537G2(bytes: Uint8Array): G2Point {
  const [xc0 = 0n, xc1 = 0n, yc0 = 0n, yc1 = 0n] = readFields(bytes, EIP2537_G2_BYTES)
  const x = { c0: xc0, c1: xc1 }
  const y = { c0: yc0, c1: yc1 }
  if (!Fp2.eql(Fp2.sqr(y), curveG2(x))) throw notOnCurve()
  return checkG2(G2.fromAffine({ x, y }))
}

/** The form of EIP-2537, 128 bytes. */
export function encodeEip2537G1(point: G1Point): Uint8Array<ArrayBuffer> {
  const { x, y } = checkG1(point).toAffine()
  return concatBytes(...[x, y].map(encodeField))
}

/** The form of EIP-2537, 256 bytes. */
export function encodeEip2537G2(point: G2Point): Uint8Array<ArrayBuffer> {
  const { x, y } = checkG2(point).toAffine()
  return concatBytes(...[x.c0, x.c1, y.c0, y.c1].map(encodeField))
}

/** The point itself if it is neither the identity nor outside curve or subgroup. Remembered per point, so a second call costs nothing. */
export function checkG1(point: G1Point): G1Point {
  return checkPoint(point)
}

/** As `checkG1`, for G2. */
export function checkG2(point: G2Point): G2Point {
  return checkPoint(point)
}

/** Everything handed in is on the curve already, so that the subgroup is what `assertValidity` may still find wrong. */
function checkPoint<Point extends { is0(): boolean; assertValidity(): void }>(point: Point): Point {
  if (point.is0()) throw new CreditError('POINT_IDENTITY', 'expected a point other than the identity')
  try {
    point.assertValidity()
  } catch (cause) {
    throw new CreditError('POINT_NOT_IN_SUBGROUP', 'expected a point in the subgroup of prime order', { cause })
  }
  return point
}

/** Length, flags and range of a compressed encoding. */
function checkCompressed(bytes: Uint8Array, lengthBytes: number): void {
  checkLength(bytes, lengthBytes)
  const flags = bytes[0] ?? 0
  if ((flags & IS_COMPRESSED) === 0) throw new CreditError('POINT_FLAGS', 'expected the compressed form of a point')
  if ((flags & IS_INFINITY) !== 0) {
    throw new CreditError('POINT_IDENTITY', 'expected a finite point: the flag for infinity is set')
  }
  for (let offset = 0; offset < lengthBytes; offset += FIELD_BYTES) {
    if (!isBelowPrime(bytes, offset, offset === 0 ? X_MASK : 0xff)) throw notCanonical()
  }
}

/** Byte by byte, the first of them under `mask`: an issuer looks at forty points a payment. */
function isBelowPrime(bytes: Uint8Array, offset: number, mask: number): boolean {
  for (let i = 0; i < FIELD_BYTES; i++) {
    const byte = (bytes[offset + i] ?? 0) & (i === 0 ? mask : 0xff)
    const bound = PRIME[i] ?? 0
    if (byte !== bound) return byte < bound
  }
  return false
}

/** The coordinates of a compressed encoding, as they are written, and the sign of y. */
function readCompressed(bytes: Uint8Array, lengthBytes: number): { x: bigint[]; isLargerY: boolean } {
  checkCompressed(bytes, lengthBytes)
  const flags = bytes[0] ?? 0
  const unmasked = bytes.slice()
  unmasked[0] = flags & X_MASK
  return { x: readIntegers(unmasked, FIELD_BYTES), isLargerY: (flags & IS_LARGER_Y) !== 0 }
}

/** Coordinates in the form of EIP-2537. All zero is the identity there. */
function readFields(bytes: Uint8Array, lengthBytes: number): bigint[] {
  checkLength(bytes, lengthBytes)
  const fields = readIntegers(bytes, EIP2537_FIELD_BYTES)
  if (fields.every((field) => field === 0n)) {
    throw new CreditError('POINT_IDENTITY', 'expected a finite point: all coordinates are zero')
  }
  return fields
}

function checkLength(bytes: Uint8Array, lengthBytes: number): void {
  if (bytes.length !== lengthBytes) {
    throw new CreditError('POINT_LENGTH', `expected a point of ${lengthBytes} bytes, got ${bytes.length}`)
  }
}

/** Integers of `width` bytes each, all below p: with the 16 bytes of EIP-2537's padding this refuses padding that is not zero too. */
function readIntegers(bytes: Uint8Array, width: number): bigint[] {
  const count = bytes.length / width
  const integers = Array.from({ length: count }, (_, i) => decodeUint(bytes.subarray(i * width, (i + 1) * width)))
  if (integers.some((integer) => integer >= Fp.ORDER)) throw notCanonical()
  return integers
}

function encodeField(value: bigint): Uint8Array {
  return encodeUint(value, EIP2537_FIELD_BYTES)
}

/** x^3 + 4. */
function curveG1(x: bigint): bigint {
  return Fp.add(Fp.mul(Fp.sqr(x), x), G1.CURVE().b)
}

/** x^3 + 4(u + 1). */
function curveG2(x: Fp2Value): Fp2Value {
  return Fp2.add(Fp2.mul(Fp2.sqr(x), x), G2.CURVE().b)
}

function rootOf<Field>(squareRoot: () => Field): Field {
  try {
    return squareRoot()
  } catch (cause) {
    throw notOnCurve(cause)
  }
}

function notCanonical(): CreditError {
  return new CreditError('POINT_NOT_CANONICAL', 'expected coordinates below the prime of the field')
}

function notOnCurve(cause?: unknown): CreditError {
  return new CreditError('POINT_NOT_ON_CURVE', 'expected a point on the curve', { cause })
}

/** Whether y is above its negative, comparing the highest part that is not zero. */
function isLarger(parts: readonly bigint[]): boolean {
  const part = parts.find((value) => value !== 0n) ?? 0n
  return 2n * part > Fp.ORDER
}
