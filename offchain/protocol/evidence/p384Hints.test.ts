import { createSign, generateKeyPairSync } from 'node:crypto'
import { p384 } from '@noble/curves/nist.js'
import { sha384 } from '@noble/hashes/sha2.js'
import { describe, expect, it } from 'vitest'
import { concatBytes, encodeUint, fromHex } from '#protocol/bytes.ts'
import { encodeGeneratorTable } from './p384Chain.ts'
import { encodeP384Call, makeP384Hints, P384Error, type P384ErrorCode, type P384Input } from './p384Hints.ts'
import { addPoints, B, doublePoint, GENERATOR, invert, isOnCurve, mod, N, negatePoint, P } from './p384Model.ts'
import { ELEMENT_BOUND, fold, isZero, montgomeryProduct } from './p384ModelField.ts'
import { verifyP384Model } from './p384ModelVerify.ts'

const SECRET = encodeUint(0x1234567890abcdefn, 48)
const HASH = sha384(fromHex('0x736561'))
const INPUT: P384Input = {
  hash: HASH,
  signature: p384.sign(HASH, SECRET, { prehash: false, lowS: false }),
  publicKey: p384.getPublicKey(SECRET, false),
}

describe('the big-integer curve', () => {
  it('agrees with @noble/curves on constants, doubling and addition', () => {
    const { Point } = p384
    expect(Point.CURVE()).toMatchObject({ p: P, n: N, b: B, a: P - 3n, Gx: GENERATOR.x, Gy: GENERATOR.y })
    const twice = doublePoint(GENERATOR).sum
    expect(twice).toEqual(Point.BASE.double().toAffine())
    expect(addPoints(twice, GENERATOR).sum).toEqual(Point.BASE.multiply(3n).toAffine())
    expect(addPoints(twice, negatePoint(GENERATOR)).sum).toEqual(GENERATOR)
  })

  it('inverts units only', () => {
    expect(mod(invert(7n, N) * 7n, N)).toBe(1n)
    expect(() => invert(0n, P)).toThrow(RangeError)
    expect(() => addPoints(GENERATOR, GENERATOR)).toThrow(RangeError)
  })

  it('knows points of the curve', () => {
    expect(isOnCurve(GENERATOR)).toBe(true)
    expect(isOnCurve({ x: GENERATOR.x, y: GENERATOR.y + P })).toBe(false)
    expect(isOnCurve({ x: GENERATOR.x, y: GENERATOR.y + 1n })).toBe(false)
  })
})

describe('the model of the field arithmetic', () => {
  const extremes = [
    0n,
    1n,
    -1n,
    ELEMENT_BOUND,
    -ELEMENT_BOUND,
    (P - 1n) / 2n,
    -(P - 1n) / 2n,
    2n ** 383n - 1n,
    -(2n ** 383n),
  ]

  it('keeps products of extreme elements within the bounds and right modulo p', () => {
    const radixInverse = invert(2n ** 256n, P)
    for (const a of extremes) {
      for (const b of extremes) {
        const folded = fold(montgomeryProduct(a, b))
        expect(mod(folded, P)).toBe(mod(a * b * radixInverse, P))
      }
    }
  })

  it('tells multiples of p from their neighbours', () => {
    for (const j of [-16n, -1n, 0n, 1n, 15n]) {
      expect(isZero(j * P, 0n, -16n, 5n)).toBe(true)
      expect(isZero(j * P + 1n, 0n, -16n, 5n)).toBe(false)
      expect(isZero(j * P + 2n ** 256n, 0n, -16n, 5n)).toBe(false)
      expect(isZero(j * P + 2n ** 256n - 1n, 0n, -16n, 5n)).toBe(false)
    }
  })
})

describe('hints', () => {
  it('are the same for the same signature and satisfy the model of the contract', () => {
    const hints = makeP384Hints(INPUT)
    expect(makeP384Hints(INPUT)).toEqual(hints)
    expect(hints.length).toBeLessThanOrEqual(15_800)
    expect(verifyP384Model(encodeP384Call(INPUT, hints))).toBe('ACCEPTED')
  })

  it('are made for a signature by Node’s own cryptography', () => {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'secp384r1' })
    const message = fromHex('0x6d657373616765')
    const signature = createSign('SHA384').update(message).sign({ key: privateKey, dsaEncoding: 'ieee-p1363' })
    const spki = publicKey.export({ type: 'spki', format: 'der' })
    const input = {
      hash: sha384(message),
      signature: new Uint8Array(signature),
      publicKey: new Uint8Array(spki.subarray(-97)),
    }
    expect(verifyP384Model(encodeP384Call(input, makeP384Hints(input)))).toBe('ACCEPTED')
  })

  it('are refused for what is no valid signature, with a code', () => {
    const bytes = (value: bigint) => encodeUint(value, 48)
    const [r, s] = [INPUT.signature.subarray(0, 48), INPUT.signature.subarray(48)]
    const flipped = INPUT.publicKey.slice()
    flipped[96] = (flipped[96] ?? 0) ^ 1
    const cases: readonly (readonly [Partial<P384Input>, P384ErrorCode])[] = [
      [{ hash: HASH.subarray(1) }, 'BAD_INPUT'],
      [{ signature: INPUT.signature.subarray(1) }, 'BAD_INPUT'],
      [{ publicKey: INPUT.publicKey.subarray(1) }, 'BAD_INPUT'],
      [{ publicKey: concatBytes(Uint8Array.of(2), INPUT.publicKey.subarray(1)) }, 'BAD_INPUT'],
      [{ publicKey: flipped }, 'BAD_KEY'],
      [{ publicKey: concatBytes(Uint8Array.of(4), bytes(0n), bytes(0n)) }, 'BAD_KEY'],
      [{ hash: sha384(HASH) }, 'BAD_SIGNATURE'],
      [{ signature: concatBytes(s, r) }, 'BAD_SIGNATURE'],
      ...[0n, N, N + 1n, 2n ** 384n - 1n].flatMap((value) => [
        [{ signature: concatBytes(bytes(value), s) }, 'BAD_SIGNATURE'] as const,
        [{ signature: concatBytes(r, bytes(value)) }, 'BAD_SIGNATURE'] as const,
      ]),
    ]
    for (const [change, code] of cases) {
      expect(() => makeP384Hints({ ...INPUT, ...change })).toThrow(
        expect.objectContaining({ name: P384Error.name, code }),
      )
    }
  })

  it('refuse a signature whose sum is the point at infinity', () => {
    // Q = G and hash = −r: (hash/s)·G + (r/s)·Q = O for every s.
    const r = 5n
    const input = {
      hash: encodeUint(N - r, 48),
      signature: concatBytes(encodeUint(r, 48), encodeUint(7n, 48)),
      publicKey: p384.Point.BASE.toBytes(false),
    }
    expect(() => makeP384Hints(input)).toThrow(expect.objectContaining({ code: 'BAD_SIGNATURE' }))
  })
})

it('the generator table has a STOP and 255 entries, and fits a contract', () => {
  const table = encodeGeneratorTable()
  expect(table.length).toBe(1 + 255 * 96)
  expect(table.length).toBeLessThanOrEqual(24_576)
  expect(table[0]).toBe(0)
})
