/** The field arithmetic of the P-384 verifier as Yul text, with its proofs: product, fold and the test for zero. @module */
import { invert, P } from '#protocol/evidence/p384Model.ts'

const W = 2n ** 256n
const M = W - 1n
/** p = 2^384 − C. */
const C = 2n ** 384n - P
/** C = 2^128 + E, so p ≡ −E modulo M. */
const E = C - 2n ** 128n
/** Products are lifted by BIAS·p, so that the number to fold is positive. */
const BIAS = 2n ** 127n

/** Constants of the arithmetic. `bias0` is subtracted modulo 2^256, `biasM` is added modulo M. */
export const FIELD: {
  readonly [name in 'M' | 'C' | 'E' | 'inverseC' | 'negInverseC' | 'bias0' | 'biasM']: bigint
} = {
  M,
  C,
  E,
  inverseC: invert(C, W),
  negInverseC: W - invert(C, W),
  bias0: (BIAS * C) % W,
  biasM: M - ((BIAS * E) % M),
}

/** Yul expressions for the words of a triple. */
export type Operand = { readonly hi: string; readonly lo: string; readonly m: string }

/** The triple at a memory address. */
export function words(at: number): Operand {
  return { hi: `mload(${at})`, lo: `mload(${at + 32})`, m: `mload(${at + 64})` }
}

export function hex(value: bigint): string {
  return `0x${value.toString(16)}`
}

/** Declares `${name}0`, `${name}M`: the Montgomery product of two triples, as residues modulo 2^256 and M. Needs `M` in scope. */
export function product(name: string, a: Operand, b: Operand): string {
  const isSquare = a === b
  const b0 = isSquare ? 'a0' : 'b0'
  const cross = isSquare ? `shl(1, mul(a0, ${a.hi}))` : `add(mul(${b.hi}, a0), mul(b0, ${a.hi}))`
  return `let ${name}0
            let ${name}M
            {
              let a0 := ${a.lo}
              ${isSquare ? '' : `let b0 := ${b.lo}`}
              let l := mul(a0, ${b0})
              let q := mul(l, ${hex(FIELD.inverseC)})
              let lM := mulmod(${b0}, a0, M)
              let qM := mulmod(q, ${hex(FIELD.C)}, M)
              ${name}0 := add(add(shl(128, q), ${cross}), sub(add(lM, lt(qM, l)), add(qM, lt(lM, l))))
              ${name}M := addmod(mulmod(${a.m}, ${b.m}, M), mulmod(${hex(FIELD.M - FIELD.E)}, q, M), M)
            }`
}

/** Stores the balanced representative of the lifted number (`${name}0`, `${name}M`) as a triple at `at`. */
export function fold(name: string, at: number): string {
  return `{
            let h := shr(128, add(${hex(2n ** 127n)}, sub(${name}M, ${name}0)))
            let r0 := add(${name}0, mul(h, ${hex(FIELD.C)}))
            let rM := addmod(mul(h, ${hex(FIELD.E)}), ${name}M, M)
            let r1 := addmod(rM, not(r0), M)
            mstore(${at}, add(r1, shr(255, r1)))
            mstore(${at + 32}, r0)
            mstore(${at + 64}, rM)
          }`
}

/** What `zeroTest` needs to know about V. */
export type ZeroTest = {
  /** Yul: the estimate of V/p, a signed word. */
  readonly estimate: string
  /** Accepted: low ≤ J − estimate < low + 2^widthBits. */
  readonly low: bigint
  readonly widthBits: number
  /** A constant that V has beside the residue in `VM`. */
  readonly plusResidue: bigint
  /** Yul statement for V ≢ 0. */
  readonly otherwise: string
}

/** Tests V ≡ 0 modulo p for the integer with the residues `V0` and `VM`. */
export function zeroTest({ estimate, low, widthBits, plusResidue, otherwise }: ZeroTest): string {
  const lift = 2n ** 129n
  const expected = (((lift * FIELD.E - plusResidue) % FIELD.M) + FIELD.M) % FIELD.M
  const shifted = estimate === '0' ? 'j' : `sub(j, ${estimate})`
  return `{
            let j := add(${hex(lift)}, mul(V0, ${hex(FIELD.negInverseC)}))
            if or(shr(${widthBits}, sub(${shifted}, ${hex(lift + low)})), xor(addmod(VM, mul(j, ${hex(FIELD.E)}), M), ${hex(expected)})) { ${otherwise} }
          }`
}

/** The explanation and the proofs, as comments of the Yul file. */
export function arithmetic(): string {
  return `
// 1. Numbers. W = 2^256, M = W − 1, p = 2^384 − C, C = 2^128 + E, E = 2^96 − 2^32 + 1; so p ≡ −C (mod W) and p ≡ −E (mod M).
//    An element v is a triple: lo = v mod W; hi = floor(v / W) as a signed word; m = v mod M. Elements are balanced:
//      |v| ≤ 2^383 + 2^257,                                                                                             (bound)
//    slopes and table entries even −2^383 ≤ v < 2^383. A residue x modulo p is held as any such v ≡ x·W (mod p).
//    W and M are coprime, so an integer is known by its residues (v0, vM) once an interval shorter than W·M is known.
//
// 2. Product. For factors a, b let l = a.lo·b.lo mod W and q = l·C⁻¹ mod W. Then a·b + q·p ≡ l − q·C ≡ 0 (mod W), and
//      T = (a·b + q·p) / W  ≡  a·b / W (mod p).
//    T mod M: as W ≡ 1, it is a.m·b.m − q·E.
//    T mod W: (a.lo·b.lo − q·C)/W + a.lo·b.hi + b.lo·a.hi + q·2^128. Both a.lo·b.lo and q·C have the low word l. For a product with low
//    word l and residue x modulo M, the high word is x − l − [x < l] (mod W), since high + l is x or x + M. The l cancel.
//    Size: 0 ≤ q·p/W < p. For two elements |a·b|/W ≤ 2^510 + 2^386. In a product that is folded, one factor may be a difference of
//    at most 1.75·2^383 + W beside a slope: |a·b|/W ≤ 7·2^508 + 2^386.
//
// 3. Fold. Steps add small linear terms (at most 4 elements) to T and lift it by 2^127·p: T' lies in 2^511 ± (7·2^508 + 2^388), inside
//    0 < T' < 2^512 − W. With t = floor(T'/W) < 2^256 − 2^251: (T' mod M) − (T' mod W) is t or t + 1 modulo W, as t + lo is below 2M.
//    h = floor((that + 2^127) / 2^128) < 2^128. r = T' − h·p = (T' − h·2^384) + h·C, where
//    −2^383 − W ≤ T' − h·2^384 < 2^383 and 0 ≤ h·C < 2^257: r satisfies (bound). No range is checked at run time: it cannot fail.
//    r mod W = T'0 + h·C; r mod M = T'M + h·E, with h·E < 2^224. The signed hi is ≡ r.m − r.lo (mod M) and |hi| ≤ 2^127 + 2, so that
//    the residue x in 0 … M−1 means hi = x if x < 2^255, and else hi = x − M, which is the word x + 1. not(y) stands for −y modulo M.
//    addmod returns 0, never M, for zero: stored residues are canonical; M as an input of addmod or mulmod is harmless.
//
// 4. Test for zero. If V ≡ 0 (mod p), V = J·p with J ≡ −V0·C⁻¹ (mod W), and V ≡ −J·E (mod M). Conversely, if the J so computed satisfies
//    VM + J·E ≡ 0 (mod M), then V − J·p is divisible by W·M; it is 0 if |V − J·p| < W·M = 2^512 − W. The size of V/p is estimated from the
//    high words of the factors; J must be near the estimate. Completeness: the error bound stated at each use. Soundness: the width of the
//    accepted interval plus that error is less than W·M/p ≈ 2^128. J is lifted by 2^129 to keep J·E positive: 0 < J + 2^129 < 2^131,
//    (J + 2^129)·E < 2^228. The sum is compared with the canonical residue of the constant.
`
}
