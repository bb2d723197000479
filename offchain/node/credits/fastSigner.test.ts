/** The fast signer against the plain implementation of protocol/credits: same points, same signatures, same refusals. @module */
import { bls12_381 } from '@noble/curves/bls12-381.js'
import fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import { concatBytes, encodeUint, encodeUtf8, toHex } from '#protocol/bytes.ts'
import { signBlinded, verifyWithSecretKey } from '#protocol/credits/blindSignature.ts'
import { CreditError } from '#protocol/credits/creditError.ts'
import { hashToG1 } from '#protocol/credits/message.ts'
import { decodeG1, encodeG1, GROUP_ORDER } from '#protocol/credits/points.ts'
import { encodeScalar } from '#protocol/credits/scalar.ts'
import { keccak256 } from '#protocol/hash.ts'
import { type CheckedBlank, type CreditSigner, createSigner } from './fastSigner.ts'

/** Edges of the range, a scalar of few bits, the eigenvalue of the curve's endomorphism (its algorithms split scalars by it), and others. */
const LAMBDA = 0xd201000000010000n ** 2n - 1n
const SCALARS = [
  1n,
  2n,
  3n,
  GROUP_ORDER - 1n,
  GROUP_ORDER - 2n,
  1n << 254n,
  (1n << 128n) - 1n,
  LAMBDA,
  LAMBDA + 1n,
  LAMBDA - 1n,
]
const { Fp } = bls12_381.fields
const scalar = fc.bigInt({ min: 1n, max: GROUP_ORDER - 1n })
const bytes32 = fc.uint8Array({ minLength: 32, maxLength: 32 })

let signer: CreditSigner
beforeAll(async () => {
  signer = await createSigner(SCALARS.map(encodeScalar))
})

describe('signing', () => {
  it('gives the plain implementation’s signature under every edge of the range', () => {
    for (const point of [hashToG1(word('a')), bls12_381.G1.Point.BASE, bls12_381.G1.Point.BASE.negate()]) {
      const blinded = encodeG1(point)
      const signatures = signer.signBlanks(SCALARS.map((_, exponent) => ({ exponent, blinded })))
      expect(signatures.map(toHex)).toEqual(SCALARS.map((k) => toHex(encodeG1(signBlinded(point, k)))))
    }
  })

  it('gives the plain implementation’s signature for any key and point', async () => {
    await fc.assert(
      fc.asyncProperty(scalar, scalar, async (k, multiple) => {
        const point = bls12_381.G1.Point.BASE.multiply(multiple)
        const { signBlanks } = await createSigner([encodeScalar(k)])
        const [signature] = signBlanks([{ exponent: 0, blinded: encodeG1(point) }])
        expect(toHex(signature ?? new Uint8Array())).toBe(toHex(encodeG1(signBlinded(point, k))))
      }),
      { numRuns: 40, seed: 12 },
    )
  })

  it('answers with arrays of their own, not with views of its memory', () => {
    const [signature] = signer.signBlanks([{ exponent: 0, blinded: encodeG1(hashToG1(word('a'))) }])
    expect(signature?.buffer.byteLength).toBe(48)
  })

  it('signs nothing when one of the blanks cannot be signed, or has no key', () => {
    const blinded = encodeG1(hashToG1(word('a')))
    expect(() =>
      signer.signBlanks([
        { exponent: 0, blinded },
        { exponent: 0, blinded: new Uint8Array(48) },
      ]),
    ).toThrow(expect.objectContaining({ code: 'POINT_FLAGS' }))
    for (const exponent of [SCALARS.length, -1, 0.5]) {
      expect(() => signer.signBlanks([{ exponent, blinded }])).toThrow(
        expect.objectContaining({ code: 'BAD_EXPONENT' }),
      )
    }
  })
})

describe('checking credits', () => {
  it('agrees with the plain implementation on good and bad signatures of any message', () => {
    fc.assert(
      fc.property(bytes32, fc.nat({ max: SCALARS.length - 1 }), fc.nat({ max: 383 }), (message, exponent, bit) => {
        const k = SCALARS[exponent] ?? 1n
        const signature = encodeG1(hashToG1(message).multiply(k))
        const flipped = signature.slice()
        flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7))
        const credits = [signature, flipped, signature.subarray(1), new Uint8Array(48)].map((candidate) => ({
          exponent,
          message,
          signature: candidate,
        }))
        expect(signer.verifyCredits(credits)).toEqual([true, false, false, false])
        expect(credits.map((credit) => verifyWithSecretKey(message, credit.signature, k))).toEqual([
          true,
          false,
          false,
          false,
        ])
      }),
      { numRuns: 25, seed: 13 },
    )
  })

  it('hashes hundreds of messages to the points of the plain implementation', () => {
    const messages = Array.from({ length: 200 }, (_, i) => keccak256(encodeUint(BigInt(i), 4)))
    // The first key is 1: its signature is the message's point itself.
    const credits = messages.map((message) => ({ exponent: 0, message, signature: encodeG1(hashToG1(message)) }))
    expect(signer.verifyCredits(credits)).toEqual(messages.map(() => true))
  })

  it('takes a credit under a denomination without a key for none', () => {
    const message = word('a')
    const signature = encodeG1(hashToG1(message))
    const exponents = [0, SCALARS.length, -1, 0.5]
    expect(signer.verifyCredits(exponents.map((exponent) => ({ exponent, message, signature })))).toEqual([
      true,
      false,
      false,
      false,
    ])
  })

  it('finds each bad one among eight, and two whose errors cancel out', () => {
    const messages = Array.from({ length: 8 }, (_, i) => word(`credit ${i}`))
    const points = messages.map((message, i) => hashToG1(message).multiply(SCALARS[i] ?? 1n))
    const credits = messages.map((message, i) => {
      const point = points[i] ?? bls12_381.G1.Point.BASE
      return { exponent: i, message, signature: encodeG1(point), point }
    })
    const swap = (changed: ReadonlyMap<number, Uint8Array>) =>
      credits.map((credit, i) => ({ ...credit, signature: changed.get(i) ?? credit.signature }))
    for (let bad = 0; bad < 8; bad++) {
      const others = swap(new Map([[bad, encodeG1(hashToG1(word('another')))]]))
      expect(signer.verifyCredits(others)).toEqual(credits.map((_, i) => i !== bad))
    }
    const [second, sixth] = [points[1] ?? unreachable(), points[5] ?? unreachable()]
    const shift = bls12_381.G1.Point.BASE
    const cancelling = swap(
      new Map([
        [1, encodeG1(second.add(shift))],
        [5, encodeG1(sixth.subtract(shift))],
      ]),
    )
    expect(signer.verifyCredits(cancelling)).toEqual([true, false, true, true, true, false, true, true])
  })

  it('takes no signature that is right but for a part outside the subgroup, and none that is the identity', () => {
    const message = word('a')
    const ofOrderThree = bls12_381.G1.Point.fromAffine({ x: 0n, y: 2n })
    const { x } = hashToG1(message).add(ofOrderThree).toAffine()
    const identity = new Uint8Array(48)
    identity[0] = 0xc0
    const signatures = [withFlags(encodeUint(x, 48), 0x80), withFlags(encodeUint(x, 48), 0xa0), identity]
    const credits = signatures.map((signature) => ({ exponent: 0, message, signature }))
    expect(signer.verifyCredits(credits)).toEqual([false, false, false])
  })

  it('takes messages of 32 bytes only', () => {
    const signature = encodeG1(hashToG1(word('a')))
    const message = word('a').subarray(1)
    expect(() => signer.verifyCredits([{ exponent: 0, message, signature }])).toThrow(RangeError)
  })
})

describe('a blank', () => {
  const good = encodeG1(hashToG1(word('a')))

  it('that was checked is signed as the one it was made of', () => {
    const points = [hashToG1(word('a')), hashToG1(word('b')), bls12_381.G1.Point.BASE.negate()]
    const blanks = points.map(encodeG1)
    const checked = signer.checkBlanks(blanks)
    for (const exponent of SCALARS.keys()) {
      const expected = signer.signBlanks(blanks.map((blinded) => ({ exponent, blinded }))).map(toHex)
      const known = checked.map((blank) => ({ exponent, checked: blank ?? unreachable() }))
      expect(signer.signBlanks(known).map(toHex)).toEqual(expected)
    }
  })

  it('that was checked and changed on the way is not signed', () => {
    const [checked = unreachable()] = signer.checkBlanks([good])
    for (const at of [0, 47, 48, 95]) {
      const changed = Object.assign(checked.slice(), { [at]: (checked[at] ?? 0) ^ 1 }) as Uint8Array as CheckedBlank
      expect(() => signer.signBlanks([{ exponent: 1, checked: changed }])).toThrow()
    }
    const short = checked.slice(1) as Uint8Array as CheckedBlank
    expect(() => signer.signBlanks([{ exponent: 1, checked: short }])).toThrow(RangeError)
  })

  it.each(badPoints(good))('is refused as the plain implementation refuses it: $name', ({ bytes }) => {
    const code = codeOf(() => decodeG1(bytes))
    expect(code).toMatch(/^POINT_/)
    expect(codeOf(() => signer.signBlanks([{ exponent: 1, blinded: bytes }]))).toBe(code)
    expect(signer.checkBlanks([good, bytes, good]).map(Boolean)).toEqual([true, false, true])
  })

  it('with any bytes is refused by both or by neither', () => {
    const near = fc.tuple(fc.nat({ max: 383 }), fc.nat({ max: 383 })).map(([a, b]) => {
      const copy = good.slice()
      for (const bit of [a, b]) copy[bit >> 3] = (copy[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      return copy
    })
    // Random x with the right flags is on the curve half the time, and then outside the subgroup.
    const anyX = fc.uint8Array({ minLength: 48, maxLength: 48 }).map((bytes) => {
      const copy = bytes.slice()
      copy[0] = ((copy[0] ?? 0) & 0x2f) | 0x80
      return copy
    })
    fc.assert(
      fc.property(fc.oneof(near, anyX, fc.uint8Array({ maxLength: 100 })), (bytes) => {
        const code = codeOf(() => decodeG1(bytes))
        expect(codeOf(() => signer.signBlanks([{ exponent: 1, blinded: bytes }]))).toBe(code)
        expect(signer.checkBlanks([bytes]).map(Boolean)).toEqual([code === undefined])
      }),
      { numRuns: 150, seed: 14 },
    )
  })
})

it('takes keys of the range only', async () => {
  for (const bad of [0n, GROUP_ORDER, GROUP_ORDER + 1n]) {
    await expect(createSigner([encodeUint(1n, 32), encodeUint(bad, 32)])).rejects.toMatchObject({
      code: 'SCALAR_OUT_OF_RANGE',
    })
  }
})

function badPoints(good: Uint8Array): { name: string; bytes: Uint8Array }[] {
  const offSubgroup = firstOnCurve()
  const lastOne = new Uint8Array(48)
  lastOne[47] = 1
  return [
    { name: 'empty', bytes: new Uint8Array() },
    { name: 'one byte short', bytes: good.subarray(1) },
    { name: 'one byte long', bytes: concatBytes(good, Uint8Array.of(0)) },
    { name: 'uncompressed', bytes: bls12_381.G1.Point.BASE.toBytes(false) },
    { name: 'zero', bytes: new Uint8Array(48) },
    { name: 'without its flag', bytes: withFlags(good, 0x00) },
    { name: 'identity', bytes: withFlags(new Uint8Array(48), 0xc0) },
    { name: 'identity with a sign', bytes: withFlags(new Uint8Array(48), 0xe0) },
    { name: 'identity with a coordinate', bytes: withFlags(lastOne, 0xc0) },
    { name: 'the prime as coordinate', bytes: withFlags(encodeUint(Fp.ORDER, 48), 0x80) },
    { name: 'a coordinate above the prime', bytes: withFlags(encodeUint(Fp.ORDER + offSubgroup, 48), 0x80) },
    { name: 'all ones', bytes: new Uint8Array(48).fill(0xff) },
    { name: 'off the curve', bytes: withFlags(lastOne, 0x80) },
    { name: 'outside the subgroup', bytes: withFlags(encodeUint(offSubgroup, 48), 0x80) },
    { name: 'of order three', bytes: withFlags(new Uint8Array(48), 0x80) },
    { name: 'of order three, negated', bytes: withFlags(new Uint8Array(48), 0xa0) },
  ]
}

/** A coordinate with these flags of a compressed point. */
function withFlags(bytes: Uint8Array, flags: number): Uint8Array {
  const copy = bytes.slice()
  copy[0] = ((copy[0] ?? 0) & 0x1f) | flags
  return copy
}

/** The smallest x from 1 of a point on the curve: outside the subgroup, as nearly all are. */
function firstOnCurve(): bigint {
  let x = 1n
  while (!Fp.eql(Fp.pow(Fp.add(Fp.pow(x, 3n), 4n), (Fp.ORDER - 1n) / 2n), 1n)) x++
  return x
}

/** The code of the error, or undefined when there is none. */
function codeOf(call: () => unknown): string | undefined {
  try {
    call()
    return undefined
  } catch (error) {
    if (error instanceof CreditError) return error.code
    throw error
  }
}

function unreachable(): never {
  throw new Error('expected a point for each')
}

function word(label: string): Uint8Array {
  return keccak256(encodeUtf8(label))
}
