/** From a relation between G, Q and R to the stream of operations and slopes that shows it. @module */
import { concatBytes, encodeUint, joinBytes } from '#protocol/bytes.ts'
import {
  addPoints,
  doubleOften,
  doublePoint,
  GENERATOR,
  negatePoint,
  oddMultiples,
  type Point,
  toBalanced,
  WORD_BYTES,
} from './p384Model.ts'

/** g·G + q·Q + r·R = O, over the integers modulo n. g ≥ 0; q and r may be negative. */
export type Relation = { readonly g: bigint; readonly q: bigint; readonly r: bigint }

/** Points that operations name. `G` and `GHIGH` (2^192·G) share one table. */
type Base = 'G' | 'GHIGH' | 'Q' | 'R'
/** digit·2^position·base. */
type Term = { readonly position: number; readonly base: Base; readonly digit: number }

/** Bits 11–10 of an operation. */
const KIND = { G: 0, DOUBLINGS: 1, Q: 2, R: 3 } as const
const SIGN_BIT = 0x200
const LAST_BIT = 0x100
const HALF_BITS = 192
const RUN_MAX = 15
const G_ENTRIES = 128
/** 2^192·G has one entry less, so that the table stays within EIP-170: its digit 255 is written as 253 + 2. */
const GHIGH_ENTRIES = 127
const QR_ENTRIES = 8
/** Non-adjacent forms: odd digits below 2^(w−1) in size. */
const WIDTH = { G: 9, GHIGH: 9, Q: 5, R: 5 } as const

/**
 * Slopes of both tables, number of doublings, operations with their slopes. `undefined` when an addition would be exceptional (equal x) or
 * more than `doublingsMax` doublings were needed: another relation must be tried.
 */
export function buildChain(
  relation: Relation,
  q: Point,
  r: Point,
  doublingsMax: number,
): Uint8Array<ArrayBuffer> | undefined {
  const terms = termsOf(relation)
  const [first, ...rest] = terms
  const last = rest.at(-1)
  if (first === undefined || last === undefined || first.position > doublingsMax) return undefined
  const tableQ = signedTable(q)
  const tableR = signedTable(r)
  const tables = { Q: tableQ.points, R: tableR.points, G: generatorTable().G, GHIGH: generatorTable().GHIGH }
  const out: Uint8Array[] = [...tableQ.slopes, ...tableR.slopes, encodeUint(BigInt(first.position), 1)]

  // The contract sees parity·globalSign times the partial sum; the first operation cannot subtract, which fixes the global sign.
  let parity: 1 | -1 = pick(tables, first).sign
  const start = pick(tables, first)
  out.push(encodeOp(0, start.kind, 1, false, start.index))
  let current = start.point
  let position = first.position

  const doubleOnce = (): void => {
    const { slope, sum } = doublePoint(current)
    out.push(encodeSlope(slope))
    current = negatePoint(sum)
    parity = parity === 1 ? -1 : 1
  }

  for (const term of rest) {
    let gap = position - term.position
    position = term.position
    if (gap > RUN_MAX) {
      const run = gap - RUN_MAX
      out.push(encodeOp(0, KIND.DOUBLINGS, 1, false, run))
      for (let i = 0; i < run; i++) doubleOnce()
      gap = RUN_MAX
    }
    const isLast = term === last
    const isFused = gap > 0 && !isLast
    const opAt = out.length
    for (let i = isFused ? 1 : 0; i < gap; i++) doubleOnce()
    const { kind, index, point, sign } = pick(tables, term)
    const applied = sign * parity === 1 ? 1 : -1
    out.splice(opAt, 0, encodeOp(gap, kind, applied, isLast, index))
    if (isLast) break
    const addend = applied === 1 ? point : negatePoint(point)
    if (current.x === addend.x) return undefined
    const { slope, sum } = addPoints(current, addend)
    out.push(encodeSlope(slope))
    if (isFused) {
      if (sum.x === current.x) return undefined
      const second = addPoints(sum, current)
      // The contract works with the negative slope.
      out.push(encodeSlope(-second.slope))
      current = second.sum
    } else {
      current = negatePoint(sum)
      parity = parity === 1 ? -1 : 1
    }
  }
  return joinBytes(out)
}

/** The relation as signed digits, highest position first, lowest position 0. */
function termsOf({ g, q, r }: Relation): Term[] {
  const half = 1n << BigInt(HALF_BITS)
  const scalars: readonly (readonly [Base, bigint])[] = [
    ['G', g % half],
    ['GHIGH', g / half],
    ['Q', q],
    ['R', r],
  ]
  const terms: Term[] = []
  for (const [base, scalar] of scalars) {
    const digits = nonAdjacentForm(scalar, WIDTH[base])
    if (base === 'GHIGH') splitTopDigits(digits)
    for (const [position, digit] of digits.entries()) if (digit !== 0) terms.push({ position, base, digit })
  }
  // The group has odd order: a common factor of two can go.
  const lowest = Math.min(...terms.map(({ position }) => position))
  return terms
    .map((term) => ({ ...term, position: term.position - lowest }))
    .sort((a, b) => b.position - a.position || order(a.base) - order(b.base))
}

function order(base: Base): number {
  return ['G', 'GHIGH', 'Q', 'R'].indexOf(base)
}

/** Digits of `scalar`, lowest first: each 0 or odd, smaller than 2^(width−1) in size. */
function nonAdjacentForm(scalar: bigint, width: number): number[] {
  const sign = scalar < 0n ? -1 : 1
  const modulus = 1n << BigInt(width)
  const digits: number[] = []
  for (let rest = scalar < 0n ? -scalar : scalar; rest !== 0n; rest >>= 1n) {
    let digit = 0n
    if ((rest & 1n) === 1n) {
      digit = rest % modulus
      if (digit >= modulus >> 1n) digit -= modulus
      rest -= digit
    }
    digits.push(Number(digit) * sign)
  }
  return digits
}

function splitTopDigits(digits: number[]): void {
  const missing = 2 * GHIGH_ENTRIES + 1
  for (let i = 0; i < digits.length; i++) {
    const digit = digits[i] ?? 0
    if (Math.abs(digit) !== missing) continue
    digits[i] = digit - 2 * Math.sign(digit)
    digits[i + 1] = (digits[i + 1] ?? 0) + Math.sign(digit)
  }
}

type Tables = { readonly [base in Base]: readonly Point[] }
type Picked = { readonly kind: number; readonly index: number; readonly point: Point; readonly sign: 1 | -1 }

/** The table entry of a term; `sign` is what the entry must be multiplied with to be the term. */
function pick(tables: Tables, { base, digit }: Term): Picked {
  const entry = (Math.abs(digit) - 1) / 2
  const point = tables[base][entry]
  if (point === undefined) throw new RangeError(`expected a digit within the table of ${base}, got ${digit}`)
  const isStoredNegative = (base === 'Q' || base === 'R') && entry % 2 === 1
  return {
    kind: base === 'G' || base === 'GHIGH' ? KIND.G : KIND[base],
    index: base === 'GHIGH' ? G_ENTRIES + entry : entry,
    point,
    sign: digit > 0 === isStoredNegative ? -1 : 1,
  }
}

/** The contract's table of a point: entry k is (−1)^k·(2k+1)·point, because each of its additions negates. */
function signedTable(point: Point): { points: Point[]; slopes: Uint8Array[] } {
  const twice = doublePoint(point)
  const slopes = [encodeSlope(twice.slope)]
  const points = [point]
  let last = point
  for (let k = 1; k < QR_ENTRIES; k++) {
    const addend = k % 2 === 1 ? twice.sum : negatePoint(twice.sum)
    const { slope, sum } = addPoints(last, addend)
    slopes.push(encodeSlope(slope))
    last = negatePoint(sum)
    points.push(last)
  }
  return { points, slopes }
}

let generatorMultiples: { readonly G: readonly Point[]; readonly GHIGH: readonly Point[] } | undefined

/** Odd multiples of G and of 2^192·G, as the table contract has them. Computed at first use. */
export function generatorTable(): { readonly G: readonly Point[]; readonly GHIGH: readonly Point[] } {
  generatorMultiples ??= {
    G: oddMultiples(GENERATOR, G_ENTRIES),
    GHIGH: oddMultiples(doubleOften(GENERATOR, HALF_BITS), GHIGH_ENTRIES),
  }
  return generatorMultiples
}

/** The table contract's data: a zero byte (STOP), then x ‖ y of each entry in the contract's number format. 24,481 bytes. */
export function encodeGeneratorTable(): Uint8Array<ArrayBuffer> {
  const { G, GHIGH } = generatorTable()
  const entries = [...G, ...GHIGH].map(({ x, y }) => concatBytes(encodeSlope(x), encodeSlope(y)))
  return joinBytes([Uint8Array.of(0), ...entries])
}

function encodeSlope(slope: bigint): Uint8Array {
  return encodeUint(toBalanced(slope), WORD_BYTES)
}

/** An operation: bits 15–12 doublings, 11–10 kind, 9 sign, 8 last, 7–0 table entry (or number of doublings). */
function encodeOp(gap: number, kind: number, sign: 1 | -1, isLast: boolean, index: number): Uint8Array {
  return encodeUint(
    BigInt((gap << 12) | (kind << 10) | (sign === -1 ? SIGN_BIT : 0) | (isLast ? LAST_BIT : 0) | index),
    2,
  )
}
