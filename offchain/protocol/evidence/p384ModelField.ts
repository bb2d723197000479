/**
 * The verifier's field arithmetic over exact integers. Every claim of the proofs in P384Verifier.yul (sizes, uniqueness, both directions of
 * the test for zero) is asserted on the way, so that running the model on many inputs is a test of the proofs.
 * @module
 */
import { invert, P } from './p384Model.ts'

const W = 2n ** 256n
const M = W - 1n
const C = 2n ** 384n - P
const E = C - 2n ** 128n
const INVERSE_C = invert(C, W)
const LIFT = 2n ** 127n * P
/** |v| of every element. */
export const ELEMENT_BOUND: bigint = 2n ** 383n + 2n ** 257n

/** (a·b + q·p) / 2^256 for the q that makes it whole: congruent to a·b / 2^256. */
export function montgomeryProduct(a: bigint, b: bigint): bigint {
  const product = a * b
  const q = mod(mod(product, W) * INVERSE_C, W)
  const total = product + q * P
  claim(total % W === 0n, 'the product is divisible by 2^256')
  return total / W
}

/** The balanced representative of `t`, by the contract's rule: the quotient is guessed from residues only. */
export function fold(t: bigint): bigint {
  const lifted = t + LIFT
  claim(lifted > 0n && lifted < 2n ** 512n - W, 'the lifted number is within the residues’ range')
  const top = lifted >> 256n
  const difference = mod((lifted % M) - (lifted % W), W)
  claim(difference === top || difference === top + 1n, 'the residues’ difference is the top word, or one more')
  const h = (difference + 2n ** 127n) >> 128n
  claim(h < 2n ** 128n, 'the quotient has 128 bits')
  const folded = lifted - h * P
  claim(isElement(folded), 'a folded number is an element')
  return folded
}

/** Whether the contract takes `v` for a multiple of p; the estimate is of v / p. `low` ≤ J − estimate < `low` + 2^`widthBits`. */
export function isZero(v: bigint, estimate: bigint, low: bigint, widthBits: bigint): boolean {
  const raw = mod(-mod(v, W) * INVERSE_C, W)
  const j = raw < 2n ** 255n ? raw : raw - W
  const offset = j - estimate - low
  const isNear = offset >= 0n && offset < 1n << widthBits
  const isAccepted = isNear && mod(mod(v, M) + j * E, M) === 0n
  claim(isAccepted === (v % P === 0n), 'the test for zero is right')
  return isAccepted
}

export function isElement(v: bigint): boolean {
  return v >= -ELEMENT_BOUND && v <= ELEMENT_BOUND
}

/** The signed high word. */
export function high(v: bigint): bigint {
  return v >> 256n
}

/** 48 bytes of two's complement. */
export function signed384(word: bigint): bigint {
  return word < 2n ** 383n ? word : word - 2n ** 384n
}

function mod(value: bigint, modulus: bigint): bigint {
  const rest = value % modulus
  return rest < 0n ? rest + modulus : rest
}

function claim(isTrue: boolean, what: string): void {
  if (!isTrue) throw new P384ModelError(`expected that ${what}`)
}

/** A proof obligation does not hold: a bug of the contract's method, never of an input. */
export class P384ModelError extends Error {
  override readonly name = 'P384ModelError'
}
