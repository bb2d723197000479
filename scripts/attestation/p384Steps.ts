/** The steps of the P-384 verifier as Yul text: doublings, addition, doubling with addition, the tests at both ends. @module */
import { B, mod, P, RADIX } from '#protocol/evidence/p384Model.ts'
import { P384_REASONS as REASONS } from '#protocol/evidence/p384Reasons.ts'
import { FIELD, fold, hex, type Operand, product, words, zeroTest } from './p384Field.ts'
import { AT, D, DIFFERENCE, F, loOf, SLOPE, TX, TY, X, Y } from './p384Layout.ts'

export function doublings(): string {
  return `
      // ${'`count`'} times A ← −2A, 48 bytes of hint each: the tangent's slope l, tested as 2·l·y = 3x² − 3; then x' = l² − 2x and
      // y' = l·(x' − x) + y, which is the negative of the sum's y. y ≠ 0 as the order is odd, so the slope is unique and 2A is not O.
      function double(ptr, weight, count) -> end, reduced {
        let M := not(0)
        for {} count { count := sub(count, 1) } {
          ${loadSlope()}
          {
            ${product('T', SLOPE, Y)}
            ${product('U', X, X)}
            // V = 2T − 3U + 3·2^256. With a = l_hi·y_hi/2^127 rounded down, J − a lies in −3·2^126 − 20 … 20, because
            // 2·l·y/2^640 = 2·l_hi·y_hi/2^128 ± 3 and 0 ≤ 3x²/2^640 ≤ 3·2^126 + 8. Accepted: −3.5·2^126 ≤ J − a < 0.5·2^126, hence
            // |V − J·p| < 3.5·2^510 + 2^391 < 2^512 − 2^256 also for a false slope.
            let V0 := sub(shl(1, T0), mul(3, U0))
            let VM := addmod(addmod(TM, TM, M), mulmod(UM, ${hex(FIELD.M - 3n)}, M), M)
            ${zeroTest({
              estimate: `sar(127, mul(${SLOPE.hi}, ${Y.hi}))`,
              low: -7n * 2n ** 125n,
              widthBits: 128,
              plusResidue: 3n,
              otherwise: refuseSlope(),
            })}
          }
          {
            let x1 := ${X.hi}
            let x0 := ${X.lo}
            let nx := not(${X.m})
            {
              ${product('T', SLOPE, SLOPE)}
              T0 := sub(T0, add(shl(1, x0), ${hex(FIELD.bias0)}))
              TM := addmod(TM, addmod(addmod(nx, nx, M), ${hex(FIELD.biasM)}, M), M)
              ${fold('T', AT.x)}
            }
            ${moveOfX()}
            ${nextY(`add(T0, sub(${Y.lo}, ${hex(FIELD.bias0)}))`, `addmod(TM, addmod(${Y.m}, ${hex(FIELD.biasM)}, M), M)`)}
          }
          ptr := add(ptr, 48)
          weight := sdiv(weight, not(1))
        }
        end := ptr
        reduced := weight
      }
`
}

/** D = x − x_T, which must not be 0, and the test that the slope at `ptr` joins A and ±T. */
function chordTest(): string {
  return `
        ${loadSlope()}
        {
          // D = x − x_T, not reduced: |D| ≤ 2·(2^383 + 2^257). If D ≡ 0, then D is −p, 0 or p, and any slope would pass: refused exactly.
          let d0 := sub(${X.lo}, ${TX.lo})
          let d1 := sub(sub(${X.hi}, ${TX.hi}), lt(${X.lo}, ${TX.lo}))
          let dM := addmod(${X.m}, not(${TX.m}), M)
          {
            let j := add(mul(d0, ${hex(FIELD.negInverseC)}), 1)
            if lt(j, 3) { if eq(addmod(dM, mul(j, ${hex(FIELD.E)}), M), ${hex(FIELD.E)}) { refuse(${REASONS.EXCEPTIONAL}) } }
          }
          ${product('T', SLOPE, DIFFERENCE)}
          // V = l·D − y ± y_T. l·D/2^640 = l_hi·D_hi/2^128 ± 3, and rounding D_hi/4 costs 2: |J − estimate| ≤ 8 for a true slope.
          let V0 := add(sub(T0, ${Y.lo}), sub(xor(${TY.lo}, sign), sign))
          let VM := addmod(addmod(TM, not(${Y.m}), M), xor(${TY.m}, sign), M)
          ${zeroTest({
            estimate: `sar(126, mul(${SLOPE.hi}, sar(2, d1)))`,
            low: -16n,
            widthBits: 5,
            plusResidue: 0n,
            otherwise: refuseSlope(),
          })}
        }`
}

export function addition(): string {
  return `
      // A ← −(A + T), or −(A − T) when sign is all ones; one slope of hint.
      // For a residue m and sign s of 0 or all ones, m xor s is ±m modulo M, and (v xor s) − s is ±v modulo 2^256.
      function addPoint(ptr, sign) -> end {
        let M := not(0)
        ${chordTest()}
        {
          let x1 := ${X.hi}
          let x0 := ${X.lo}
          let nx := not(${X.m})
          {
            ${product('T', SLOPE, SLOPE)}
            T0 := sub(T0, add(add(x0, ${TX.lo}), ${hex(FIELD.bias0)}))
            TM := addmod(TM, addmod(addmod(nx, not(${TX.m}), M), ${hex(FIELD.biasM)}, M), M)
            ${fold('T', AT.x)}
          }
          ${moveOfX()}
          ${nextY(`add(T0, sub(${Y.lo}, ${hex(FIELD.bias0)}))`, `addmod(TM, addmod(${Y.m}, ${hex(FIELD.biasM)}, M), M)`)}
        }
        end := add(ptr, 48)
      }
`
}

export function fused(): string {
  return `
      // A ← 2A ± T as (A ± T) + A, without the y of A ± T. Hints: l, the slope of A and ±T, and g, the negative slope of A and A ± T.
      // With D = x_S − x (S = A ± T) the second slope is −l − 2y/D, so g is tested as (g − l)·D = 2y. y ≠ 0, so D ≡ 0 cannot pass.
      function doubleAndAdd(ptr, sign) -> end {
        let M := not(0)
        ${chordTest()}
        {
          ${product('T', SLOPE, SLOPE)}
          let nx := not(${X.m})
          T0 := sub(T0, add(add(shl(1, ${X.lo}), ${TX.lo}), ${hex(FIELD.bias0)}))
          TM := addmod(TM, addmod(addmod(addmod(nx, nx, M), not(${TX.m}), M), ${hex(FIELD.biasM)}, M), M)
          ${fold('T', AT.d)}
        }
        {
          // F = g − l, not reduced: |F| ≤ 2^384.
          let g1 := sar(128, calldataload(add(ptr, 48)))
          let g0 := calldataload(add(ptr, 64))
          let gM := addmod(sub(g1, shr(255, g1)), g0, M)
          let f1 := sub(sub(g1, ${SLOPE.hi}), lt(g0, ${SLOPE.lo}))
          let f0 := sub(g0, ${SLOPE.lo})
          let fM := addmod(gM, not(${SLOPE.m}), M)
          s1 := g1
          s0 := g0
          sM := gM
          ${product('T', F, D)}
          // V = F·D − 2y; the estimate's error is at most 8, as for the chord.
          let ny := not(${Y.m})
          let V0 := sub(T0, shl(1, ${Y.lo}))
          let VM := addmod(TM, addmod(ny, ny, M), M)
          ${zeroTest({
            estimate: `sar(126, mul(sar(2, f1), ${D.hi}))`,
            low: -16n,
            widthBits: 5,
            plusResidue: 0n,
            otherwise: refuseSlope(),
          })}
        }
        {
          // x' = g² − x_S − x = g² − 2x − D.
          let x1 := ${X.hi}
          let x0 := ${X.lo}
          let nx := not(${X.m})
          {
            ${product('T', SLOPE, SLOPE)}
            T0 := sub(T0, add(add(shl(1, x0), ${D.lo}), ${hex(FIELD.bias0)}))
            TM := addmod(TM, addmod(addmod(addmod(nx, nx, M), not(${D.m}), M), ${hex(FIELD.biasM)}, M), M)
            ${fold('T', AT.x)}
          }
          // y' = g·(x' − x) − y.
          ${moveOfX()}
          ${nextY(`sub(T0, add(${Y.lo}, ${hex(FIELD.bias0)}))`, `addmod(TM, addmod(not(${Y.m}), ${hex(FIELD.biasM)}, M), M)`)}
        }
        end := add(ptr, 96)
      }
`
}

export function curve(): string {
  const field = (out: number, a: Operand, b: Operand): string => `
        {
          ${product('T', a, b)}
          T0 := sub(T0, ${hex(FIELD.bias0)})
          TM := addmod(TM, ${hex(FIELD.biasM)}, M)
          ${fold('T', out)}
        }`
  const constant = mod(B * RADIX, P)
  return `
      // Takes the point at X, Y from plain coordinates below p to Montgomery form and tests y² = x³ − 3x + b.
      // The factor 2^512 mod p is below 2^257, so a plain factor up to 2^384 keeps |T| below 2^386.
      function toCurve(reason) {
        let M := not(0)
        ${field(AT.x, X, words(AT.radix))}
        ${field(AT.y, Y, words(AT.radix))}
        ${field(AT.cube, X, X)}
        ${field(AT.cube, words(AT.cube), X)}
        ${field(AT.square, Y, Y)}
        // |V| < 6·2^384: J within −16 … 15.
        let V0 := add(sub(sub(${words(AT.cube).lo}, ${words(AT.square).lo}), mul(3, ${X.lo})), ${hex(loOf(constant))})
        let VM := addmod(addmod(${words(AT.cube).m}, not(${words(AT.square).m}), M), mulmod(${X.m}, ${hex(FIELD.M - 3n)}, M), M)
        ${zeroTest({ estimate: '0', low: -16n, widthBits: 5, plusResidue: constant % FIELD.M, otherwise: 'refuse(reason)' })}
      }

      // A + T = O, or A − T = O when sign is all ones: x − x_T ≡ 0 and y ± y_T ≡ 0. |V| ≤ 2^385 in both.
      function finish(sign) {
        let M := not(0)
        {
          let V0 := sub(${X.lo}, ${TX.lo})
          let VM := addmod(${X.m}, not(${TX.m}), M)
          ${zeroTest({ estimate: '0', low: -16n, widthBits: 5, plusResidue: 0n, otherwise: `refuse(${REASONS.SUM})` })}
        }
        {
          let V0 := add(${Y.lo}, sub(xor(${TY.lo}, sign), sign))
          let VM := addmod(${Y.m}, xor(${TY.m}, sign), M)
          ${zeroTest({ estimate: '0', low: -16n, widthBits: 5, plusResidue: 0n, otherwise: `refuse(${REASONS.SUM})` })}
        }
      }
`
}

/** Declares d1, d0, dM: the new x minus the old one (x1, x0, −nx), within ±(1.75·2^383 + 2^257). */
function moveOfX(): string {
  return `// D = x' − x. If it is beyond ±1.75·2^383, which is rare, p is subtracted or added: |D − ±p| ≤ 2^382.
            let d0 := sub(${X.lo}, x0)
            let d1 := sub(sub(${X.hi}, x1), lt(${X.lo}, x0))
            let dM := addmod(${X.m}, nx, M)
            if gt(add(d1, ${hex(7n * 2n ** 125n)}), ${hex(14n * 2n ** 125n)}) {
              switch slt(d1, 0)
              case 0 {
                d0 := add(d0, ${hex(FIELD.C)})
                d1 := add(sub(d1, ${hex(2n ** 128n)}), lt(d0, ${hex(FIELD.C)}))
                dM := addmod(dM, ${hex(FIELD.E)}, M)
              }
              default {
                d1 := sub(add(d1, ${hex(2n ** 128n)}), lt(d0, ${hex(FIELD.C)}))
                d0 := sub(d0, ${hex(FIELD.C)})
                dM := addmod(dM, ${hex(FIELD.M - FIELD.E)}, M)
              }
            }`
}

/** y' = slope·D ± y, given how the linear term and the bias join. */
function nextY(joined0: string, joinedM: string): string {
  return `{
            ${product('T', SLOPE, DIFFERENCE)}
            T0 := ${joined0}
            TM := ${joinedM}
            ${fold('T', AT.y)}
          }`
}

/** A slope of 48 bytes, two's complement, in s1, s0, sM: every string of bytes is a number in −2^383 … 2^383−1. */
function loadSlope(): string {
  return `let s1 := sar(128, calldataload(ptr))
          let s0 := calldataload(add(ptr, 16))
          let sM := addmod(sub(s1, shr(255, s1)), s0, M)`
}

function refuseSlope(): string {
  return `refuse(${REASONS.SLOPE})`
}
