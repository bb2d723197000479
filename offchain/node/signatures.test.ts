/** libsecp256k1 against the plain implementation: the same answer to every signature, good or bad. @module */
import { secp256k1 } from '@noble/curves/secp256k1.js'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { encodeUint, encodeUtf8, type Hex, toHex } from '#protocol/bytes.ts'
import { keccak256 } from '#protocol/hash.ts'
import { type CompactSignature, enclaveOfKey, recoverSigner, signDigest } from '#protocol/receipt/head.ts'
import { isSigner, signDigest as signFast } from './signatures.ts'

const { Fn, BASE } = secp256k1.Point
const ORDER = Fn.ORDER
const privateKey = keccak256(encodeUtf8('gateway'))
const signer = enclaveOfKey(privateKey).toLowerCase() as Hex
const other = keccak256(encodeUtf8('another gateway'))

describe('a signature', () => {
  it('is the one that the plain implementation makes', () => {
    const scalars = fc.bigInt({ min: 1n, max: ORDER - 1n })
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), scalars, (bytes, scalar) => {
        const key = encodeUint(scalar, 32)
        expect(signFast(toHex(bytes), key)).toEqual(signDigest(toHex(bytes), key))
      }),
      { seed: 22, numRuns: 100 },
    )
    for (const edge of [0n, ORDER]) expect(() => signFast(digestOf('message'), encodeUint(edge, 32))).toThrow()
  })

  it('of the signer is taken, and of anybody else is not', () => {
    const digest = digestOf('message')
    expect(isSigner(digest, signDigest(digest, privateKey), signer)).toBe(true)
    expect(isSigner(digest, signDigest(digest, other), signer)).toBe(false)
    expect(isSigner(digestOf('other message'), signDigest(digest, privateKey), signer)).toBe(false)
  })

  it('is judged as recovery judges it, with any bit of it changed', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), fc.nat({ max: 511 }), (bytes, bit) => {
        const digest = toHex(bytes)
        const signature = signDigest(digest, privateKey)
        for (const candidate of [signature, flip(signature, bit), flip(signature, 256)]) {
          const expected = recoverSigner(digest, candidate)?.toLowerCase() === signer
          expect(isSigner(digest, candidate, signer)).toBe(expected)
        }
      }),
      { seed: 21, numRuns: 60 },
    )
  })

  it('is judged as recovery judges it at the edges of its range', () => {
    const edges = [0n, 1n, 2n, ORDER - 1n, ORDER, ORDER + 1n, (1n << 255n) - 1n, (1n << 256n) - 1n]
    for (const digest of [digestOf('message'), toHex(new Uint8Array(32)), toHex(encodeUint(ORDER, 32))]) {
      const { r, vs } = signDigest(digest, privateKey)
      expect(isSigner(digest, { r, vs }, signer)).toBe(true)
      for (const edge of edges) {
        for (const candidate of [
          { r: toHex(encodeUint(edge, 32)), vs },
          { r, vs: toHex(encodeUint(edge, 32)) },
        ]) {
          const expected = recoverSigner(digest, candidate)?.toLowerCase() === signer
          expect(isSigner(digest, candidate, signer)).toBe(expected)
        }
      }
    }
  })

  it('may have an s above half the order, as recovery lets it', () => {
    // With the nonce 1: r = x of the generator, and the digest is chosen so that s comes out just above half the order.
    const s = (ORDER >> 1n) + 5n
    const r = BASE.toAffine().x
    const key = BigInt(toHex(privateKey))
    const digest = toHex(encodeUint(Fn.create(s - Fn.mul(r, key)), 32))
    const parity = BASE.toAffine().y & 1n
    const signature = { r: toHex(encodeUint(r, 32)), vs: toHex(encodeUint((parity << 255n) | s, 32)) }
    expect(recoverSigner(digest, signature)?.toLowerCase()).toBe(signer)
    expect(isSigner(digest, signature, signer)).toBe(true)
  })
})

function digestOf(text: string): Hex {
  return toHex(keccak256(encodeUtf8(text)))
}

function flip({ r, vs }: CompactSignature, bit: number): CompactSignature {
  const value = (BigInt(r) << 256n) | BigInt(vs)
  const flipped = encodeUint(value ^ (1n << BigInt(511 - bit)), 64)
  return { r: toHex(flipped.subarray(0, 32)), vs: toHex(flipped.subarray(32)) }
}
