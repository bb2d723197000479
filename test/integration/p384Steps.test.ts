import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { encodeUint, fromHex, type Hex, joinBytes, toHex } from '#protocol/bytes.ts'
import { invert, mod, P, type Point, RADIX } from '#protocol/evidence/p384Model.ts'
import { ELEMENT_BOUND, fold, montgomeryProduct } from '#protocol/evidence/p384ModelField.ts'
import { type P384Step, runP384Step } from '#protocol/evidence/p384ModelVerify.ts'
import { P384_REASONS } from '#protocol/evidence/p384Reasons.ts'
import { compileYul } from '../../scripts/attestation/compileYul.ts'
import { type AttestationChain, deployAttestation, deployCode } from '../../scripts/attestation/measure.ts'
import { seededNumbers } from '../../scripts/attestation/p384Cases.ts'
import { generateP384Steps } from '../../scripts/attestation/p384Yul.ts'

const W = 2n ** 256n
const NUMBERS: { readonly [step in P384Step | 'finish' | 'finishMinus']: number } = {
  double: 0,
  add: 1,
  subtract: 2,
  doubleAndAdd: 3,
  doubleAndSubtract: 4,
  finish: 5,
  finishMinus: 6,
}
const CASES = 60

let chain: AttestationChain
let steps: Hex
beforeAll(async () => {
  chain = await deployAttestation()
  steps = await deployCode(chain.connection, fromHex(compileYul(generateP384Steps(), 'P384Steps')))
})
afterAll(async () => {
  await chain.close()
})

/** hi, lo and the residue, a word each: the only triple of an element. */
function encodeTriple(value: bigint): Uint8Array {
  const words = [mod(value >> 256n, W), mod(value, W), mod(value, W - 1n)]
  return joinBytes(words.map((word) => encodeUint(word, 32)))
}

function encodeSlope(value: bigint): Uint8Array {
  return encodeUint(value < 0n ? value + 2n ** 384n : value, 48)
}

function calldata(step: keyof typeof NUMBERS, a: Point, t: Point, slopes: readonly bigint[]): Uint8Array {
  const triples = [a.x, a.y, t.x, t.y].map(encodeTriple)
  return joinBytes([Uint8Array.of(NUMBERS[step]), ...triples, ...slopes.map(encodeSlope)])
}

/** The triples of the new x and y as hex, or the reason. */
async function onChain(step: keyof typeof NUMBERS, a: Point, t: Point, slopes: readonly bigint[]): Promise<string> {
  const { data } = await chain.call(steps, calldata(step, a, t, slopes))
  return toHex(data)
}

function byModel(step: P384Step, a: Point, t: Point, slopes: readonly bigint[]): string {
  const result = runP384Step(step, a, t, slopes)
  if (typeof result === 'object') return toHex(joinBytes([encodeTriple(result.x), encodeTriple(result.y)]))
  return refusal(P384_REASONS[result])
}

function refusal(reason: number): string {
  return `0xff90688e${reason.toString(16).padStart(64, '0')}`
}

const EXTREMES = [
  0n,
  1n,
  -1n,
  ELEMENT_BOUND,
  -ELEMENT_BOUND,
  2n ** 383n - 1n,
  -(2n ** 383n),
  (P - 1n) / 2n,
  -(P - 1n) / 2n,
  P - ELEMENT_BOUND,
  ELEMENT_BOUND - P,
  W - 1n,
  -W,
  RADIX,
]

/** Elements, every other one extreme. Slopes have 384 bits and are kept within them. */
function numbers(seed: string): { element(): bigint; slope(): bigint; balanced(residue: bigint): bigint } {
  const next = seededNumbers(seed)
  const element = (): bigint => {
    const number = next()
    return number % 2n === 0n ? (EXTREMES[Number((number >> 1n) % BigInt(EXTREMES.length))] ?? 0n) : number - 2n ** 383n
  }
  const isSlope = (value: bigint): boolean => value >= -(2n ** 383n) && value < 2n ** 383n
  const slope = (): bigint => {
    for (;;) {
      const value = element()
      if (isSlope(value) && value % P !== 0n) return value
    }
  }
  const balanced = (residue: bigint): bigint => (residue < 2n ** 383n ? residue : residue - P)
  return { element, slope, balanced }
}

const radixInverse = invert(RADIX, P)
/** a·b in Montgomery form. */
const times = (a: bigint, b: bigint): bigint => mod(a * b * radixInverse, P)
const divide = (a: bigint, b: bigint): bigint => mod(a * RADIX * invert(b, P), P)

describe('steps on extreme numbers agree word by word with the model', () => {
  it('doubling: 2·slope·y = 3x² − 3', async () => {
    const { element, slope, balanced } = numbers('double')
    for (let i = 0; i < CASES; i++) {
      const [x, l] = [element(), slope()]
      const y = balanced(divide(mod(3n * times(x, x) - 3n * RADIX, P), mod(2n * l, P)))
      const t = { x: 0n, y: 0n }
      const expected = byModel('double', { x, y }, t, [l])
      expect(expected.length).toBe(2 + 2 * 192)
      expect(await onChain('double', { x, y }, t, [l])).toBe(expected)
      const wrong = balanced(mod(y + 1n, P))
      expect(await onChain('double', { x, y: wrong }, t, [l])).toBe(refusal(P384_REASONS.SLOPE))
    }
  })

  it.each(['add', 'subtract'] as const)('%s: slope·(x − x_T) = y ∓ y_T', async (step) => {
    const { element, slope, balanced } = numbers(step)
    for (let i = 0; i < CASES; i++) {
      const [x, y, xT, l] = [element(), element(), element(), slope()]
      const plus = mod(y - times(l, x - xT), P)
      const t = { x: xT, y: balanced(step === 'add' ? plus : mod(-plus, P)) }
      const expected = byModel(step, { x, y }, t, [l])
      expect(await onChain(step, { x, y }, t, [l])).toBe(expected)
      if (mod(x - xT, P) === 0n) expect(expected).toBe(refusal(P384_REASONS.EXCEPTIONAL))
      else {
        expect(expected.length).toBe(2 + 2 * 192)
        const wrong = { x, y: balanced(mod(y + 1n, P)) }
        expect(await onChain(step, wrong, t, [l])).toBe(refusal(P384_REASONS.SLOPE))
      }
    }
  })

  it.each(['doubleAndAdd', 'doubleAndSubtract'] as const)('%s: and (g − slope)·D = 2y', async (step) => {
    const { element, slope, balanced } = numbers(step)
    for (let i = 0; i < CASES; i++) {
      const [x, y, xT, l] = [element(), element(), element(), slope()]
      const plus = mod(y - times(l, x - xT), P)
      const t = { x: xT, y: balanced(step === 'doubleAndAdd' ? plus : mod(-plus, P)) }
      const d = fold(montgomeryProduct(l, l) - 2n * x - xT)
      if (d % P === 0n) continue
      const g = balanced(mod(l + divide(mod(2n * y, P), d), P))
      const expected = byModel(step, { x, y }, t, [l, g])
      expect(await onChain(step, { x, y }, t, [l, g])).toBe(expected)
      if (mod(x - xT, P) === 0n) continue
      expect(expected.length).toBe(2 + 2 * 192)
      expect(await onChain(step, { x, y }, t, [l, balanced(mod(g + 1n, P))])).toBe(refusal(P384_REASONS.SLOPE))
    }
  })

  it('equal x is refused in each of its representations, p apart', async () => {
    const t = { x: P - ELEMENT_BOUND, y: 5n }
    for (const x of [t.x, t.x - P]) {
      for (const [one, other] of [
        [{ x, y: 5n }, t],
        [
          { x: t.x, y: 5n },
          { x, y: 5n },
        ],
      ] as const) {
        expect(await onChain('add', one, other, [7n])).toBe(refusal(P384_REASONS.EXCEPTIONAL))
        expect(await onChain('doubleAndAdd', one, other, [7n, 7n])).toBe(refusal(P384_REASONS.EXCEPTIONAL))
      }
    }
    expect(await onChain('add', { x: t.x + 1n, y: 5n }, t, [7n])).toBe(refusal(P384_REASONS.SLOPE))
  })

  it('the end takes equal points in each representation and no others', async () => {
    const x = P - ELEMENT_BOUND
    for (const [xA, yA] of [
      [x, x],
      [x - P, x],
      [x, x - P],
      [x - P, x - P],
    ] as const) {
      const a = { x: xA, y: yA }
      const same = toHex(joinBytes([encodeTriple(xA), encodeTriple(yA)]))
      expect(await onChain('finish', a, { x, y: -x }, [])).toBe(same)
      expect(await onChain('finishMinus', a, { x, y: x }, [])).toBe(same)
      expect(await onChain('finish', a, { x, y: x }, [])).toBe(refusal(P384_REASONS.SUM))
      for (const off of [1n, -1n, W, W - 1n, -W]) {
        expect(await onChain('finishMinus', { x: xA + off, y: yA }, { x, y: x }, [])).toBe(refusal(P384_REASONS.SUM))
        expect(await onChain('finishMinus', { x: xA, y: yA + off }, { x, y: x }, [])).toBe(refusal(P384_REASONS.SUM))
      }
    }
  })
})
