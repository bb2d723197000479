/**
 * P-384 in plain big integers, and the number format of contracts/attestation/p384: what hint maker, code generator and tests share.
 * Constants: FIPS 186-5 / SP 800-186 section 3.2.1.4. Readable, not constant-time: only public data comes here.
 * @module
 */

/** The field's prime, 2^384 − 2^128 − 2^96 + 2^32 − 1. */
export const P: bigint = 2n ** 384n - 2n ** 128n - 2n ** 96n + 2n ** 32n - 1n
/** The group's order, a prime; the cofactor is 1. */
export const N: bigint =
  0xffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973n
/** The curve is y² = x³ − 3x + B. */
export const B: bigint =
  0xb3312fa7e23ee7e4988e056be3f82d19181d9c6efe8141120314088f5013875ac656398d8a2ed19d2a85c8edd3ec2aefn
export const GENERATOR: Point = {
  x: 0xaa87ca22be8b05378eb1c71ef320ad746e1d3b628ba79b9859f741e082542a385502f25dbf55296c3a545e3872760ab7n,
  y: 0x3617de4a96262c6f5d9e98bf9292dc29f8f41dbd289a147ce9da3113b5f0b8c00a60b1ce1d7e819d7a431d7c90ea0e5fn,
}
/** The Montgomery radix of the contract: a residue x is held as x·2^256 mod p. */
export const RADIX: bigint = 2n ** 256n
/** Bytes of a coordinate, a scalar or a slope. */
export const WORD_BYTES = 48

/** An affine point; never the point at infinity, which is `undefined` here. */
export type Point = { readonly x: bigint; readonly y: bigint }
/** The slope of the line used, beside the point it leads to. */
export type Step = { readonly slope: bigint; readonly sum: Point }

/** The residue of `value` in 0…modulus−1. */
export function mod(value: bigint, modulus: bigint): bigint {
  const rest = value % modulus
  return rest < 0n ? rest + modulus : rest
}

/** The inverse of `value` modulo a prime (or of a unit); 0 has none: throws `RangeError`. */
export function invert(value: bigint, modulus: bigint): bigint {
  let [r0, r1] = [modulus, mod(value, modulus)]
  let [s0, s1] = [0n, 1n]
  while (r1 !== 0n) {
    const quotient = r0 / r1
    ;[r0, r1] = [r1, r0 - quotient * r1]
    ;[s0, s1] = [s1, s0 - quotient * s1]
  }
  if (r0 !== 1n) throw new RangeError('expected a unit of the ring')
  return mod(s0, modulus)
}

/** 2·a and the tangent's slope. No point of a curve of odd prime order doubles to infinity. */
export function doublePoint(a: Point): Step {
  const slope = mod(3n * (a.x * a.x - 1n) * invert(2n * a.y, P), P)
  return { slope, sum: chord(a, a.x, slope) }
}

/** a + b and the chord's slope, for points with different x. Throws `RangeError` on equal x. */
export function addPoints(a: Point, b: Point): Step {
  const slope = mod((a.y - b.y) * invert(a.x - b.x, P), P)
  return { slope, sum: chord(a, b.x, slope) }
}

/** −a. */
export function negatePoint(a: Point): Point {
  return { x: a.x, y: mod(-a.y, P) }
}

/** True for canonical coordinates of a point of the curve. */
export function isOnCurve({ x, y }: Point): boolean {
  return x >= 0n && x < P && y >= 0n && y < P && mod(y * y - (x * x * x - 3n * x + B), P) === 0n
}

/** `value` in the contract's form: Montgomery, then the representative in −2^383…2^383−1 as 48 bytes of two's complement. */
export function toBalanced(value: bigint): bigint {
  const residue = mod(value * RADIX, P)
  return residue < 2n ** 383n ? residue : residue - P + 2n ** 384n
}

/** `count` odd multiples a, 3a, 5a, … */
export function oddMultiples(a: Point, count: number): Point[] {
  const twice = doublePoint(a).sum
  const multiples = [a]
  for (let last = a; multiples.length < count; multiples.push(last)) last = addPoints(last, twice).sum
  return multiples
}

/** 2^exponent · a. */
export function doubleOften(a: Point, exponent: number): Point {
  let point = a
  for (let i = 0; i < exponent; i++) point = doublePoint(point).sum
  return point
}

function chord(a: Point, bx: bigint, slope: bigint): Point {
  const x = mod(slope * slope - a.x - bx, P)
  return { x, y: mod(slope * (a.x - x) - a.y, P) }
}
