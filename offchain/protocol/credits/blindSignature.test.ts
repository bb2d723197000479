/** Hashing, blinding, signing and both kinds of checking, one signature or many. @module */
import { bls12_381 } from '@noble/curves/bls12-381.js'
import fc from 'fast-check'
import { encodeAbiParameters, keccak256 as viemKeccak256 } from 'viem'
import { describe, expect, it } from 'vitest'
import { concatBytes, decodeUint, encodeUint, encodeUtf8, toHex } from '../bytes.ts'
import { keccak256 } from '../hash.ts'
import { type SignedBlank, type SignedMessage, verifyBlindSignatures, verifySignatures } from './batchVerification.ts'
import {
  blindMessage,
  isPairingOne,
  publicKeyOf,
  signBlinded,
  unblindSignature,
  verifySignature,
  verifyWithSecretKey,
} from './blindSignature.ts'
import type { CreditErrorCode } from './creditError.ts'
import { creditMessage, hashToG1 } from './message.ts'
import { decodeG1, encodeG1, GROUP_ORDER } from './points.ts'
import { decodeScalar, encodeScalar, reduceWide } from './scalar.ts'

const secretKey = scalarOf('key')
const publicKey = publicKeyOf(secretKey)
const message = keccak256(encodeUtf8('message'))
const signature = hashToG1(message).multiply(secretKey)

describe('the message', () => {
  const domain = {
    chainId: 31_337,
    vault: '0x00000000000000000000000000000000000000aa',
    keyset: toHex(keccak256(encodeUtf8('keyset'))),
  } as const
  const exitKey = '0x00000000000000000000000000000000000000bb'
  const secret = keccak256(encodeUtf8('secret'))

  it('is what abi.encode and keccak256 make of its parts', () => {
    const types = ['bytes32', 'uint256', 'address', 'bytes32', 'address', 'bytes32'].map((type) => ({ type }))
    const tag = viemKeccak256(encodeUtf8('Sealpath credit v1'))
    const values = [tag, 31_337n, domain.vault, domain.keyset, exitKey, viemKeccak256(secret)]
    expect(toHex(creditMessage(domain, exitKey, secret))).toBe(viemKeccak256(encodeAbiParameters(types, values)))
  })

  it('differs when any part differs', () => {
    const other = `0x${'cc'.repeat(20)}` as const
    const messages = [
      creditMessage(domain, exitKey, secret),
      creditMessage({ ...domain, chainId: 1 }, exitKey, secret),
      creditMessage({ ...domain, vault: other }, exitKey, secret),
      creditMessage({ ...domain, keyset: `0x${'cc'.repeat(32)}` }, exitKey, secret),
      creditMessage(domain, other, secret),
      creditMessage(domain, exitKey, keccak256(secret)),
    ]
    expect(new Set(messages.map(toHex)).size).toBe(messages.length)
  })

  it('takes a secret and a message of 32 bytes only', () => {
    expect(() => creditMessage(domain, exitKey, secret.subarray(1))).toThrow(RangeError)
    expect(() => hashToG1(concatBytes(message, Uint8Array.of(0)))).toThrow(RangeError)
  })
})

/** RFC 9380 appendix J.9.1, with the tag given there. */
const RFC_9380_J_9_1 = [
  {
    text: '',
    x: '052926add2207b76ca4fa57a8734416c8dc95e24501772c814278700eed6d1e4e8cf62d9c09db0fac349612b759e79a1',
    y: '08ba738453bfed09cb546dbb0783dbb3a5f1f566ed67bb6be0e8c67e2e81a4cc68ee29813bb7994998f3eae0c9c6a265',
  },
  {
    text: 'abc',
    x: '03567bc5ef9c690c2ab2ecdf6a96ef1c139cc0b2f284dca0a9a7943388a49a3aee664ba5379a7655d3c68900be2f6903',
    y: '0b9c15f3fe6e5cf4211f346271d7b01c8f3b28be689c8429c85b67af215533311f0b8dfaaa154fa6b88176c229f2885d',
  },
]

describe('hashing to G1', () => {
  it.each(RFC_9380_J_9_1)('finds the point of RFC 9380 J.9.1 for "$text"', ({ text, x, y }) => {
    const DST = encodeUtf8('QUUX-V01-CS02-with-BLS12381G1_XMD:SHA-256_SSWU_RO_')
    const point = bls12_381.G1.hashToCurve(encodeUtf8(text), { DST }).toAffine()
    expect(toHex(encodeUint(point.x, 48))).toBe(`0x${x}`)
    expect(toHex(encodeUint(point.y, 48))).toBe(`0x${y}`)
  })

  it('separates our domain from that of others', () => {
    const ours = hashToG1(message)
    expect(ours.equals(bls12_381.G1.hashToCurve(message))).toBe(false)
    expect(ours.equals(bls12_381.shortSignatures.hash(message))).toBe(false)
  })
})

describe('a blind signature', () => {
  it('becomes the one signature of the message, whatever the blinding', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 1n, max: GROUP_ORDER - 1n }), (blinding) => {
        const blinded = blindMessage(message, blinding)
        const unblinded = unblindSignature(signBlinded(blinded, secretKey), blinding)
        expect(unblinded.equals(signature)).toBe(true)
      }),
      { numRuns: 5, seed: 3, examples: [[1n], [2n], [GROUP_ORDER - 1n]] },
    )
    expect(verifySignature(message, signature, publicKey)).toBe(true)
    expect(verifyWithSecretKey(message, encodeG1(signature), secretKey)).toBe(true)
  })

  it('is the signature that the library for plain BLS makes', () => {
    const plain = bls12_381.shortSignatures.sign(hashToG1(message), encodeScalar(secretKey))
    expect(plain.equals(signature)).toBe(true)
  })

  it('is refused for another message, key or point', () => {
    const other = keccak256(message)
    expect(verifySignature(other, signature, publicKey)).toBe(false)
    expect(verifySignature(message, signature, publicKeyOf(secretKey + 1n))).toBe(false)
    expect(verifySignature(message, signature.negate(), publicKey)).toBe(false)
    expect(verifyWithSecretKey(other, encodeG1(signature), secretKey)).toBe(false)
    expect(verifyWithSecretKey(message, encodeG1(signature), secretKey + 1n)).toBe(false)
    expect(verifyWithSecretKey(message, encodeG1(signature.negate()), secretKey)).toBe(false)
    expect(verifyWithSecretKey(message, new Uint8Array(48), secretKey)).toBe(false)
    expect(verifyWithSecretKey(message, encodeG1(signature).subarray(1), secretKey)).toBe(false)
  })

  it('is not made of a point outside the subgroup, nor of the identity', () => {
    const threefold = bls12_381.G1.Point.fromAffine({ x: 0n, y: 2n })
    refuses(() => signBlinded(threefold, secretKey), 'POINT_NOT_IN_SUBGROUP')
    refuses(() => signBlinded(hashToG1(message).add(threefold), secretKey), 'POINT_NOT_IN_SUBGROUP')
    refuses(() => unblindSignature(signature.add(threefold), 2n), 'POINT_NOT_IN_SUBGROUP')
    refuses(() => verifySignature(message, signature.add(threefold), publicKey), 'POINT_NOT_IN_SUBGROUP')
    refuses(() => signBlinded(bls12_381.G1.Point.ZERO, secretKey), 'POINT_IDENTITY')
  })
})

describe('a scalar', () => {
  it('is from 1 below the order, in 32 bytes', () => {
    for (const scalar of [1n, GROUP_ORDER - 1n]) expect(decodeScalar(encodeScalar(scalar))).toBe(scalar)
    for (const bad of [0n, GROUP_ORDER, GROUP_ORDER + 1n, 2n ** 256n - 1n]) {
      refuses(() => decodeScalar(encodeUint(bad, 32)), 'SCALAR_OUT_OF_RANGE')
      refuses(() => publicKeyOf(bad), 'SCALAR_OUT_OF_RANGE')
      refuses(() => blindMessage(message, bad), 'SCALAR_OUT_OF_RANGE')
      refuses(() => signBlinded(signature, bad), 'SCALAR_OUT_OF_RANGE')
      refuses(() => unblindSignature(signature, bad), 'SCALAR_OUT_OF_RANGE')
      refuses(() => verifyWithSecretKey(message, encodeG1(signature), bad), 'SCALAR_OUT_OF_RANGE')
    }
    refuses(() => decodeScalar(new Uint8Array(31).fill(1)), 'SCALAR_OUT_OF_RANGE')
    refuses(() => decodeScalar(new Uint8Array(33).fill(1)), 'SCALAR_OUT_OF_RANGE')
    refuses(() => encodeScalar(-1n), 'SCALAR_OUT_OF_RANGE')
  })

  it('reduced from wide bytes is never zero and never the order', () => {
    for (const [wide, scalar] of [
      [0n, 1n],
      [GROUP_ORDER - 2n, GROUP_ORDER - 1n],
      [GROUP_ORDER - 1n, 1n],
      [GROUP_ORDER, 2n],
    ] as const) {
      expect(reduceWide(encodeUint(wide, 64), GROUP_ORDER)).toBe(scalar)
    }
  })
})

describe('a batch', () => {
  const secretKeys = [secretKey, scalarOf('second key'), scalarOf('third key')]
  const publicKeys = secretKeys.map(publicKeyOf)
  const items: SignedMessage[] = [0, 1, 0, 2, 1].map((i, n) => {
    const text = keccak256(encodeUint(BigInt(n), 4))
    const [k = 1n, key = publicKey] = [secretKeys[i], publicKeys[i]]
    return { message: text, signature: hashToG1(text).multiply(k), publicKey: key }
  })

  it('of good signatures passes, and so does none at all', () => {
    expect(verifySignatures(items, randomOf('good'))).toBe(true)
    expect(verifySignatures(items.slice(0, 1), randomOf('one'))).toBe(true)
    expect(verifySignatures([], randomOf('none'))).toBe(true)
  })

  it('with one wrong signature, message or key fails, wherever it stands', () => {
    for (const i of items.keys()) {
      const wrong = (part: Partial<SignedMessage>): SignedMessage[] =>
        items.map((item, j) => (i === j ? { ...item, ...part } : item))
      expect(verifySignatures(wrong({ signature }), randomOf(`signature ${i}`))).toBe(false)
      expect(verifySignatures(wrong({ message }), randomOf(`message ${i}`))).toBe(false)
      expect(verifySignatures(wrong({ publicKey: publicKeyOf(5n) }), randomOf(`key ${i}`))).toBe(false)
    }
  })

  it('refuses two credits split from one blind signature, which a plain sum accepts', () => {
    const [m1, m2] = [keccak256(encodeUtf8('one')), keccak256(encodeUtf8('two'))]
    // One signature on the sum of both points: each half is arbitrary, but they add up.
    const sum = hashToG1(m1).add(hashToG1(m2)).multiply(secretKey)
    const half = hashToG1(message).multiply(3n)
    const forged = [
      { message: m1, signature: half, publicKey },
      { message: m2, signature: sum.subtract(half), publicKey },
    ]
    const plain = isPairingOne([
      { g1: half.add(sum.subtract(half)), g2: bls12_381.G2.Point.BASE.negate() },
      { g1: hashToG1(m1).add(hashToG1(m2)), g2: publicKey },
    ])
    expect(plain).toBe(true)
    for (let i = 0; i < 4; i++) expect(verifySignatures(forged, randomOf(`forged ${i}`))).toBe(false)
    // Equal weights are the plain sum: the randomness is what refuses it, so a broken source is not survived.
    expect(verifySignatures(forged, () => new Uint8Array(16).fill(7))).toBe(true)
  })

  it('refuses two signatures swapped under one key', () => {
    const [a, b] = [items[0], items[2]]
    if (a === undefined || b === undefined) throw new Error('expected items')
    const swapped = [
      { ...a, signature: b.signature },
      { ...b, signature: a.signature },
    ]
    expect(verifySignatures(swapped, randomOf('swapped'))).toBe(false)
  })

  it('leaves no signature unchecked when the source yields zeros', () => {
    const wrong = items.map((item) => ({ ...item, signature }))
    expect(verifySignatures(wrong, (length) => new Uint8Array(length))).toBe(false)
    expect(() => verifySignatures(items, () => new Uint8Array(15))).toThrow(RangeError)
  })

  it('refuses a signature with a part outside the subgroup', () => {
    const threefold = bls12_381.G1.Point.fromAffine({ x: 0n, y: 2n })
    const tainted = items.map((item, i) => (i === 1 ? { ...item, signature: item.signature.add(threefold) } : item))
    refuses(() => verifySignatures(tainted, randomOf('tainted')), 'POINT_NOT_IN_SUBGROUP')
  })

  it('of blind signatures tells the issuer’s good answer from a bad one', () => {
    const blanks: SignedBlank[] = [0, 1, 2, 0].map((i, n) => {
      const blinded = blindMessage(keccak256(encodeUint(BigInt(n), 4)), scalarOf(`blinding ${n}`))
      const [k = 1n, key = publicKey] = [secretKeys[i], publicKeys[i]]
      return { blinded: decodeG1(encodeG1(blinded)), blindSignature: signBlinded(blinded, k), publicKey: key }
    })
    expect(verifyBlindSignatures(blanks, randomOf('blanks'))).toBe(true)
    for (const i of blanks.keys()) {
      const wrong = blanks.map((blank, j) => (i === j ? { ...blank, blindSignature: signature } : blank))
      expect(verifyBlindSignatures(wrong, randomOf(`wrong ${i}`))).toBe(false)
      const cheaper = blanks.map((blank, j) => (i === j ? { ...blank, publicKey: publicKeyOf(7n) } : blank))
      expect(verifyBlindSignatures(cheaper, randomOf(`cheaper ${i}`))).toBe(false)
    }
  })
})

function scalarOf(label: string): bigint {
  return (decodeUint(keccak256(encodeUtf8(label))) % (GROUP_ORDER - 1n)) + 1n
}

/** Bytes that follow from a label: the tests are the same every time. */
function randomOf(label: string): (length: number) => Uint8Array {
  let state = keccak256(encodeUtf8(label))
  return (length) => {
    state = keccak256(state)
    return state.slice(0, length)
  }
}

function refuses(call: () => unknown, code: CreditErrorCode): void {
  expect(call).toThrow(expect.objectContaining({ name: 'CreditError', code }))
}
