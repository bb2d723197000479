/** The verifier of contracts/attestation/p384, step by step over exact integers: same calldata, same answers. For tests. @module */
import { decodeUint, encodeUint, joinBytes } from '#protocol/bytes.ts'
import { generatorTable } from './p384Chain.ts'
import { B, mod, N, P, type Point, RADIX, toBalanced } from './p384Model.ts'
import { fold, high, isElement, isZero, montgomeryProduct, P384ModelError, signed384 } from './p384ModelField.ts'
import type { P384Reason } from './p384Reasons.ts'

/** 'ACCEPTED', or why not. Throws `P384ModelError` if a claim of the proofs fails. */
export function verifyP384Model(calldata: Uint8Array): 'ACCEPTED' | P384Reason {
  try {
    return run(new Reader(calldata))
  } catch (error) {
    if (error instanceof Refusal) return error.reason
    throw error
  }
}

export type P384Step = 'double' | 'add' | 'subtract' | 'doubleAndAdd' | 'doubleAndSubtract'

/** One step on elements of our choice, which need not be points. Slopes are signed numbers of 384 bits. */
export function runP384Step(step: P384Step, a: Point, t: Point, slopes: readonly bigint[]): Point | P384Reason {
  const bytes = joinBytes(slopes.map((slope) => encodeUint(slope < 0n ? slope + 2n ** 384n : slope, 48)))
  const stream = new Stream(new Reader(bytes), 0)
  const minus = { x: t.x, y: -t.y }
  try {
    if (step === 'double') return double(a, stream)
    if (step === 'add' || step === 'subtract') return add(a, step === 'add' ? t : minus, stream)
    return doubleAndAdd(a, step === 'doubleAndAdd' ? t : minus, stream)
  } catch (error) {
    if (error instanceof Refusal) return error.reason
    throw error
  }
}

const SLOPES_AT = 289
const DOUBLINGS_MAX = 200n
const STEPS_MAX = 100_000
const SMALL = { low: -16n, widthBits: 5n }

function run(input: Reader): 'ACCEPTED' {
  const [e, r, s] = [input.plain(0), input.plain(48), input.plain(96)]
  if (r === 0n || r >= N || s === 0n || s >= N) throw new Refusal('SIGNATURE_RANGE')
  const key = { x: input.plain(144), y: input.plain(192) }
  if (key.x >= P || key.y >= P) throw new Refusal('KEY_RANGE')
  const flag = decodeUint(input.bytes(240, 1))
  const point = { x: flag === 1n ? r + N : r, y: input.plain(241) }
  if (flag > 1n || point.x >= P || point.y >= P) throw new Refusal('POINT_RANGE')

  const stream = new Stream(input, SLOPES_AT)
  const q = buildTable(toCurve(key, 'KEY_NOT_ON_CURVE'), stream)
  const rTable = buildTable(toCurve(point, 'POINT_NOT_ON_CURVE'), stream)
  const alpha = [0n, 0n, 0n, 0n]
  const doublings = stream.uint(1)
  if (doublings > DOUBLINGS_MAX) throw new Refusal('STREAM')
  let weight = 2n ** doublings

  const take = (op: number): Point => {
    const { slot, digit, taken } = pointOf(op, q, rTable)
    alpha[slot] = (alpha[slot] ?? 0n) + (op & 0x200 ? -digit : digit) * weight
    return taken
  }

  const first = Number(stream.uint(2))
  if (first & 0xf300) throw new Refusal('STREAM')
  let a = take(first)
  for (let step = 0; ; step++) {
    if (step > STEPS_MAX) throw new P384ModelError('expected an end of the stream')
    const op = Number(stream.uint(2))
    const count = op >> 12
    if (op >> 10 === 1) {
      if (op & 0x300) throw new Refusal('STREAM')
      for (let i = op & 0xff; i > 0; i--) [a, weight] = [double(a, stream), weight / -2n]
      continue
    }
    const isLast = (op & 0x100) !== 0
    const isFused = !isLast && count > 0
    for (let i = isFused ? 1 : 0; i < count; i++) [a, weight] = [double(a, stream), weight / -2n]
    if (isFused) weight /= 2n
    const t = take(op)
    const addend = op & 0x200 ? { x: t.x, y: -t.y } : t
    if (isLast) {
      requireZero(a.x - t.x, 0n, SMALL, 'SUM')
      requireZero(a.y + addend.y, 0n, SMALL, 'SUM')
      break
    }
    if (isFused) a = doubleAndAdd(a, addend, stream)
    else [a, weight] = [add(a, addend, stream), -weight]
  }
  if (stream.at !== input.length) throw new Refusal('LENGTH')
  if (weight * weight !== 1n) throw new Refusal('STREAM')
  const [a0 = 0n, a1 = 0n, aQ = 0n, aR = 0n] = alpha
  if (aR === 0n) throw new Refusal('WEIGHT')
  if (mod(s * aQ + r * aR, N) !== 0n) throw new Refusal('SCALAR_Q')
  if (mod(s * (a0 + 2n ** 192n * a1) + e * aR, N) !== 0n) throw new Refusal('SCALAR_G')
  return 'ACCEPTED'
}

function toCurve(plain: Point, reason: P384Reason): Point {
  const radixSquared = RADIX ** 2n % P
  const x = fold(montgomeryProduct(plain.x, radixSquared))
  const y = fold(montgomeryProduct(plain.y, radixSquared))
  const cube = fold(montgomeryProduct(fold(montgomeryProduct(x, x)), x))
  const square = fold(montgomeryProduct(y, y))
  requireZero(cube - square - 3n * x + ((B * RADIX) % P), 0n, SMALL, reason)
  return { x, y }
}

function double({ x, y }: Point, stream: Stream): Point {
  const slope = stream.slope()
  const v = 2n * montgomeryProduct(slope, y) - 3n * montgomeryProduct(x, x) + 3n * RADIX
  requireZero(v, (high(slope) * high(y)) >> 127n, { low: -7n * 2n ** 125n, widthBits: 128n }, 'SLOPE')
  const next = fold(montgomeryProduct(slope, slope) - 2n * x)
  return { x: next, y: fold(montgomeryProduct(slope, moveOf(next, x)) + y) }
}

/** The slope of the chord through a and t, tested. */
function chordSlope(a: Point, t: Point, stream: Stream): bigint {
  const slope = stream.slope()
  const d = a.x - t.x
  if (d % P === 0n) throw new Refusal('EXCEPTIONAL')
  const v = montgomeryProduct(slope, d) - a.y + t.y
  requireZero(v, (high(slope) * (high(d) >> 2n)) >> 126n, SMALL, 'SLOPE')
  return slope
}

function add(a: Point, t: Point, stream: Stream): Point {
  const slope = chordSlope(a, t, stream)
  const next = fold(montgomeryProduct(slope, slope) - a.x - t.x)
  return { x: next, y: fold(montgomeryProduct(slope, moveOf(next, a.x)) + a.y) }
}

function doubleAndAdd(a: Point, t: Point, stream: Stream): Point {
  const first = chordSlope(a, t, stream)
  const d = fold(montgomeryProduct(first, first) - 2n * a.x - t.x)
  const second = stream.slope()
  const f = second - first
  requireZero(montgomeryProduct(f, d) - 2n * a.y, ((high(f) >> 2n) * high(d)) >> 126n, SMALL, 'SLOPE')
  const next = fold(montgomeryProduct(second, second) - 2n * a.x - d)
  return { x: next, y: fold(montgomeryProduct(second, moveOf(next, a.x)) - a.y) }
}

/** next − old, by at most one p nearer to zero if it is large. */
function moveOf(next: bigint, old: bigint): bigint {
  const d = next - old
  const limit = 7n * 2n ** 125n
  if (high(d) > limit) return d - P
  return high(d) < -limit ? d + P : d
}

function buildTable(point: Point, stream: Stream): Point[] {
  const minusTwice = double(point, stream)
  const table = [point]
  let last = point
  for (let k = 1; k < 8; k++) {
    last = add(last, k % 2 === 1 ? { x: minusTwice.x, y: -minusTwice.y } : minusTwice, stream)
    table.push(last)
  }
  return table
}

type Taken = { readonly slot: number; readonly digit: bigint; readonly taken: Point }

function pointOf(op: number, q: readonly Point[], r: readonly Point[]): Taken {
  const index = op & 0xff
  const kind = (op >> 10) & 3
  if (kind === 0) {
    const isHigh = index >= 128
    const { G, GHIGH } = generatorTable()
    const plain = isHigh ? GHIGH[index - 128] : G[index]
    if (plain === undefined) throw new Refusal('STREAM')
    const taken = { x: signed384(toBalanced(plain.x)), y: signed384(toBalanced(plain.y)) }
    return { slot: isHigh ? 1 : 0, digit: BigInt(2 * (index & 0x7f) + 1), taken }
  }
  const taken = kind === 1 ? undefined : (kind === 2 ? q : r)[index]
  if (taken === undefined) throw new Refusal('STREAM')
  return { slot: kind, digit: BigInt(2 * index + 1) * (index % 2 === 1 ? -1n : 1n), taken }
}

function requireZero(
  v: bigint,
  estimate: bigint,
  { low, widthBits }: { readonly low: bigint; readonly widthBits: bigint },
  reason: P384Reason,
): void {
  if (!isZero(v, estimate, low, widthBits)) throw new Refusal(reason)
}

/** Calldata reads zeros past its end. */
class Reader {
  readonly length: number
  private readonly data: Uint8Array
  constructor(data: Uint8Array) {
    this.data = data
    this.length = data.length
  }
  bytes(offset: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length)
    bytes.set(this.data.subarray(offset, offset + length))
    return bytes
  }
  plain(offset: number): bigint {
    return decodeUint(this.bytes(offset, 48))
  }
}

class Stream {
  at: number
  private readonly input: Reader
  constructor(input: Reader, at: number) {
    this.input = input
    this.at = at
  }
  uint(length: number): bigint {
    const value = decodeUint(this.input.bytes(this.at, length))
    this.at += length
    return value
  }
  slope(): bigint {
    const slope = signed384(this.uint(48))
    if (!isElement(slope)) throw new P384ModelError('expected a slope to be an element')
    return slope
  }
}

class Refusal extends Error {
  readonly reason: P384Reason
  constructor(reason: P384Reason) {
    super(reason)
    this.reason = reason
  }
}
