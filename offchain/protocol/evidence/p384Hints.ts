/**
 * Hints for contracts/attestation/p384: everything about an ECDSA signature that is dear to find and cheap to check. The contract trusts
 * none of it; a bad hint costs liveness only. Layout: P384.sol. Plain big integers, not constant-time: all input is public.
 * @module
 */
import { p384 } from '@noble/curves/nist.js'
import { concatBytes, decodeUint, encodeUint } from '#protocol/bytes.ts'
import { buildChain, type Relation } from './p384Chain.ts'
import { invert, isOnCurve, mod, N, type Point, WORD_BYTES } from './p384Model.ts'

/** One signature to prove. `hash`: 48 bytes, SHA-384 of the message. `signature`: r ‖ s, 96 bytes. `publicKey`: 0x04 ‖ x ‖ y, 97 bytes (SEC 1). */
export type P384Input = {
  readonly hash: Uint8Array
  readonly signature: Uint8Array
  readonly publicKey: Uint8Array
}

/** The doublings that the contract allows. */
const DOUBLINGS_MAX = 200
/** Multiples of n tried on top of the scalar of G before giving up. */
const LIFTS = 24n

/**
 * The hint bytes for a valid signature, about 15.4 kB, the same for the same input. Throws `P384Error`: `BAD_INPUT` for wrong lengths,
 * `BAD_KEY` for a key that is no point, `BAD_SIGNATURE` for a signature that does not verify, `NO_CHAIN` if no chain without an exceptional
 * addition was found (not known to happen).
 */
export function makeP384Hints(input: P384Input): Uint8Array<ArrayBuffer> {
  const { e, r, s, q } = parseInput(input)
  if (r === 0n || r >= N || s === 0n || s >= N) throw badSignature()
  const inverseS = invert(s, N)
  const u1 = mod(e * inverseS, N)
  const u2 = mod(r * inverseS, N)
  const sum = verifiedSum(r, u1, u2, q)
  const isLifted = sum.x !== r
  for (const relation of relations(u1, u2)) {
    const chain = buildChain(relation, q, sum, DOUBLINGS_MAX)
    if (chain !== undefined) {
      return concatBytes(Uint8Array.of(isLifted ? 1 : 0), encodeUint(sum.y, WORD_BYTES), chain)
    }
  }
  throw new P384Error('NO_CHAIN', 'expected a chain of additions without an exceptional case')
}

/** What the contract is called with: hash ‖ r ‖ s ‖ x ‖ y ‖ hints. */
export function encodeP384Call({ hash, signature, publicKey }: P384Input, hints: Uint8Array): Uint8Array<ArrayBuffer> {
  return concatBytes(hash, signature, publicKey.subarray(1), hints)
}

function parseInput({ hash, signature, publicKey }: P384Input): { e: bigint; r: bigint; s: bigint; q: Point } {
  if (hash.length !== WORD_BYTES) throw new P384Error('BAD_INPUT', `expected a hash of 48 bytes, got ${hash.length}`)
  if (signature.length !== 2 * WORD_BYTES) {
    throw new P384Error('BAD_INPUT', `expected a signature of 96 bytes, got ${signature.length}`)
  }
  if (publicKey.length !== 1 + 2 * WORD_BYTES || publicKey[0] !== 4) {
    throw new P384Error('BAD_INPUT', 'expected an uncompressed key: 0x04 and 96 bytes')
  }
  const q = { x: decodeUint(publicKey.subarray(1, 49)), y: decodeUint(publicKey.subarray(49)) }
  if (!isOnCurve(q)) throw new P384Error('BAD_KEY', 'expected a point of P-384 with coordinates below p')
  return {
    e: decodeUint(hash),
    r: decodeUint(signature.subarray(0, WORD_BYTES)),
    s: decodeUint(signature.subarray(WORD_BYTES)),
    q,
  }
}

/** u1·G + u2·Q; its x must be r modulo n (FIPS 186-5 section 6.4.2). */
function verifiedSum(r: bigint, u1: bigint, u2: bigint, q: Point): Point {
  const { Point: Curve } = p384
  const sum = Curve.BASE.multiplyUnsafe(u1).add(Curve.fromAffine(q).multiplyUnsafe(u2))
  if (sum.is0()) throw badSignature()
  const point = sum.toAffine()
  if (mod(point.x, N) !== r) throw badSignature()
  return point
}

function badSignature(): P384Error {
  return new P384Error('BAD_SIGNATURE', 'expected a signature that verifies under the key')
}

/**
 * Relations g·G + v1·Q − v2·R = O with v1 ≡ v2·u2 and g ≡ v2·u1 (mod n), best first: short v1, v2 (the half-size lattice vector of
 * Antipa et al., SAC 2005). The later ones are for inputs whose short chain meets an exceptional addition, such as keys that are tiny
 * multiples of G: adding multiples of n to g makes the partial sums leave the neighbourhood of the point at infinity.
 */
function* relations(u1: bigint, u2: bigint): Generator<Relation> {
  for (const [v1, v2] of shortVectors(u2)) {
    const g = mod(v2 * u1, N)
    for (let lift = 0n; lift <= LIFTS; lift++) yield { g: g + lift * N, q: v1, r: -v2 }
  }
}

/** Pairs (v1, v2), v1 ≡ v2·u (mod n), v2 ≠ 0, both below 2^200 in size, shortest first: neighbours of the middle of Euclid's remainders. */
function shortVectors(u: bigint): (readonly [bigint, bigint])[] {
  const vectors: (readonly [bigint, bigint])[] = []
  let [r0, r1] = [N, u]
  let [t0, t1] = [0n, 1n]
  while (r1 !== 0n) {
    if (size(r1) < 2n ** 200n && size(t1) < 2n ** 200n) vectors.push([r1, t1])
    const quotient = r0 / r1
    ;[r0, r1] = [r1, r0 - quotient * r1]
    ;[t0, t1] = [t1, t0 - quotient * t1]
  }
  return vectors.sort((a, b) => (length(a) < length(b) ? -1 : 1))
}

/** Maximum norm. */
function length([a, b]: readonly [bigint, bigint]): bigint {
  const isFirst = size(a) > size(b)
  return isFirst ? size(a) : size(b)
}

function size(value: bigint): bigint {
  return value < 0n ? -value : value
}

export type P384ErrorCode = 'BAD_INPUT' | 'BAD_KEY' | 'BAD_SIGNATURE' | 'NO_CHAIN'

export class P384Error extends Error {
  override readonly name = 'P384Error'
  readonly code: P384ErrorCode
  constructor(code: P384ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}
