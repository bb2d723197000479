/** Valid signatures for tests and measurements: random ones from a seed, and the edge cases that break verifiers. @module */
import { p384 } from '@noble/curves/nist.js'
import { sha384 } from '@noble/hashes/sha2.js'
import { concatBytes, decodeUint, encodeUint, encodeUtf8 } from '#protocol/bytes.ts'
import type { P384Input } from '#protocol/evidence/p384Hints.ts'
import { B, GENERATOR, invert, mod, N, P, type Point, WORD_BYTES } from '#protocol/evidence/p384Model.ts'

export type P384Case = { readonly name: string; readonly input: P384Input }

/** Numbers below 2^384 that follow from `seed` alone. */
export function seededNumbers(seed: string): () => bigint {
  let count = 0
  return () => decodeUint(sha384(encodeUtf8(`${seed} ${count++}`)))
}

/** `count` signatures as a signer makes them; s is low or high by chance. */
export function randomCases(seed: string, count: number): P384Case[] {
  const next = seededNumbers(seed)
  return Array.from({ length: count }, (_, index) => {
    const secret = encodeUint(mod(next(), N - 1n) + 1n, WORD_BYTES)
    const hash = encodeUint(next(), WORD_BYTES)
    const signature = p384.sign(hash, secret, { prehash: false, lowS: false })
    return { name: `random ${index}`, input: { hash, signature, publicKey: p384.getPublicKey(secret, false) } }
  })
}

/** The classes of Wycheproof's ecdsa_secp384r1_sha384 and of our own arithmetic, each built from its parameters. All are valid. */
export function edgeCases(): P384Case[] {
  return [...chosenPoints(), ...chosenScalars(), ...knownKeys()]
}

/** SHA-384 of the message of most Wycheproof cases. */
const WYCHEPROOF_HASH = decodeUint(sha384(encodeUtf8('123400')))

/** r tiny, x_R = r + n, x_R next to p, for tiny, middle and huge s. */
function chosenPoints(): P384Case[] {
  const next = seededNumbers('chosen points')
  const tiny = [
    ...liftable(1n, 1n, 6),
    ...liftable(N + 1n, 1n, 6),
    ...liftable(P - 1n, -1n, 6),
    ...liftable(N - 1n, -1n, 3),
  ]
  const scalars = [1n, 2n, 3n, N - 1n, N - 2n, N >> 1n, (N >> 1n) + 1n]
  return tiny.flatMap((point, index) => {
    const signs = [point, { x: point.x, y: P - point.y }]
    return scalars.flatMap((s) =>
      signs.slice(0, 2 - (index % 2)).flatMap((r) => {
        const name = `x_R ${short(r.x)} s ${short(s)}`
        return fromPoint(name, r, s, s <= 3n ? WYCHEPROOF_HASH : next())
      }),
    )
  })
}

/** u1 and u2 in 0, ±1, tiny, powers of two, equal, opposite; hashes of all bits, of n, of zero. */
function chosenScalars(): P384Case[] {
  const next = seededNumbers('chosen scalars')
  const cases: P384Case[] = []
  const special = [1n, 2n, 3n, 1n << 64n, 1n << 192n, 1n << 383n, N - 1n, N - 2n, (N - 1n) / 2n, (N + 1n) / 2n]
  for (const u of [0n, ...special]) {
    const point = times(mod(next(), N), GENERATOR)
    const s = mod(next(), N)
    cases.push(...fromPoint(`u1 ${short(u)}`, point, s, mod(u * s, N)))
    if (u === 0n) continue
    const hash = next()
    cases.push(...fromPoint(`u2 ${short(u)}`, point, mod(mod(point.x, N) * invert(u, N), N), hash))
    cases.push(...fromPoint(`u1 = u2 = ${short(u)}`, point, mod(mod(point.x, N) * invert(u, N), N), mod(point.x, N)))
    cases.push(...fromPoint(`u1 0, u2 ${short(u)}`, point, mod(mod(point.x, N) * invert(u, N), N), 0n))
  }
  for (const e of [0n, 1n, N - 1n, N, N + 1n, P, 2n ** 384n - 1n, 1n << 383n, 2n ** 192n - 1n]) {
    cases.push(...fromPoint(`hash ${short(e)}`, times(mod(next(), N), GENERATOR), mod(next(), N), e))
  }
  return cases
}

/** Keys and nonces that are tiny multiples of G: partial sums meet each other and the point at infinity. */
function knownKeys(): P384Case[] {
  const next = seededNumbers('known keys')
  const cases: P384Case[] = []
  for (const d of [1n, 2n, 3n, 5n, 15n, 17n, 255n, N - 1n, N - 2n, N - 3n, mod(1n << 192n, N), (N + 1n) / 2n]) {
    for (const k of [1n, 2n, 3n, N - 1n, 1n << 192n]) {
      cases.push(...fromNonce(`key ${short(d)}·G, nonce ${short(k)}, hash 0`, d, k, 0n))
      cases.push(...fromNonce(`key ${short(d)}·G, nonce ${short(k)}, hash 1`, d, k, 1n))
      cases.push(...fromNonce(`key ${short(d)}·G, nonce ${short(k)}`, d, k, next()))
      // s = 1 and s = 2: u1, u2 equal or half the hash and r.
      const r = mod(times(k, GENERATOR).x, N)
      cases.push(...fromNonce(`key ${short(d)}·G, nonce ${short(k)}, s 1`, d, k, mod(k - r * d, N)))
    }
  }
  return cases
}

/** The key that makes (x_R mod n, s) a signature over e; none where r or the key would be zero. */
function fromPoint(name: string, point: Point, s: bigint, e: bigint): P384Case[] {
  const r = mod(point.x, N)
  if (r === 0n || s === 0n) return []
  const { Point: Curve } = p384
  const sR = Curve.fromAffine(point).multiplyUnsafe(s)
  const key = sR.add(Curve.BASE.multiplyUnsafe(mod(-e, N))).multiplyUnsafe(invert(r, N))
  return key.is0() ? [] : [{ name, input: encodeInput(e, r, s, key.toAffine()) }]
}

function fromNonce(name: string, d: bigint, k: bigint, e: bigint): P384Case[] {
  const r = mod(times(k, GENERATOR).x, N)
  const s = mod(invert(k, N) * (e + r * d), N)
  return s === 0n ? [] : [{ name, input: encodeInput(e, r, s, times(d, GENERATOR)) }]
}

function encodeInput(e: bigint, r: bigint, s: bigint, key: Point): P384Input {
  return {
    hash: encodeUint(e, WORD_BYTES),
    signature: concatBytes(encodeUint(r, WORD_BYTES), encodeUint(s, WORD_BYTES)),
    publicKey: concatBytes(Uint8Array.of(4), encodeUint(key.x, WORD_BYTES), encodeUint(key.y, WORD_BYTES)),
  }
}

/** The first `count` points with x = start, start + step, … */
function liftable(start: bigint, step: bigint, count: number): Point[] {
  const points: Point[] = []
  for (let x = start; points.length < count && x > 0n && x < P; x += step) {
    const square = mod(x * x * x - 3n * x + B, P)
    const y = power(square, (P + 1n) / 4n)
    if ((y * y) % P === square) points.push({ x, y })
  }
  return points
}

function power(base: bigint, exponent: bigint): bigint {
  let result = 1n
  for (let [square, rest] = [base, exponent]; rest !== 0n; rest >>= 1n, square = (square * square) % P) {
    if ((rest & 1n) === 1n) result = (result * square) % P
  }
  return result
}

function times(k: bigint, point: Point): Point {
  return p384.Point.fromAffine(point).multiplyUnsafe(mod(k, N)).toAffine()
}

function short(value: bigint): string {
  if (value < 2n ** 32n) return String(value)
  for (const [name, base] of [
    ['n', N],
    ['p', P],
  ] as const) {
    const distance = value - base
    if (distance === 0n) return name
    if (distance > -(2n ** 32n) && distance < 2n ** 32n) return `${name}${distance < 0n ? '' : '+'}${distance}`
  }
  return `0x${value.toString(16).slice(0, 8)}…`
}
