/**
 * Many signatures checked at once: one pairing for all of them and one per public key.
 *
 *   e(sum w_i C_i, G2) == product over keys of e(sum over its i of w_i P_i, key)
 *
 * P_i is H(m_i) for credits, and the blinded point when a client checks the issuer's answer. The weights w_i are random, 128 bits and
 * not zero. Without them the check is forgeable: a blind signature on H(m1) + H(m2) splits into two that add up right, and neither
 * is a signature. With them a wrong batch passes with probability 2^-128 (Bellare, Garay, Rabin 1998, small exponents test, which
 * needs every point in the subgroup of prime order).
 * @module
 */
import { bls12_381 } from '@noble/curves/bls12-381.js'
import { decodeUint } from '../bytes.ts'
import type { RandomBytes } from '../sealing/suite.ts'
import { isPairingOne, type PointPair } from './blindSignature.ts'
import { hashToG1 } from './message.ts'
import { checkG1, checkG2, type G1Point, type G2Point } from './points.ts'

const WEIGHT_BYTES = 16

export type SignedMessage = {
  readonly message: Uint8Array
  readonly signature: G1Point
  readonly publicKey: G2Point
}

export type SignedBlank = {
  readonly blinded: G1Point
  readonly blindSignature: G1Point
  readonly publicKey: G2Point
}

/** Whether every signature is its key's signature of its message (32 bytes). `random` is a CSPRNG. True for none at all. */
export function verifySignatures(items: readonly SignedMessage[], random: RandomBytes): boolean {
  return verifyBatch(
    items.map(({ message, signature, publicKey }) => ({ point: hashToG1(message), signature, publicKey })),
    random,
  )
}

/** Whether every blind signature is its key's multiple of its blinded point: what a client asks of the issuer's answer. */
export function verifyBlindSignatures(items: readonly SignedBlank[], random: RandomBytes): boolean {
  return verifyBatch(
    items.map(({ blinded, blindSignature, publicKey }) => ({ point: blinded, signature: blindSignature, publicKey })),
    random,
  )
}

type Item = { readonly point: G1Point; readonly signature: G1Point; readonly publicKey: G2Point }

function verifyBatch(items: readonly Item[], random: RandomBytes): boolean {
  let signatures = bls12_381.G1.Point.ZERO
  const groups = new Map<string, PointPair>()
  for (const { point, signature, publicKey } of items) {
    const weight = drawWeight(random)
    signatures = signatures.add(checkG1(signature).multiplyUnsafe(weight))
    const weighted = checkG1(point).multiplyUnsafe(weight)
    const key = checkG2(publicKey).toHex(true)
    groups.set(key, { g1: groups.get(key)?.g1.add(weighted) ?? weighted, g2: publicKey })
  }
  return isPairingOne([{ g1: signatures, g2: bls12_381.G2.Point.BASE.negate() }, ...groups.values()])
}

/** Not zero: a weight of zero would leave its signature unchecked. */
function drawWeight(random: RandomBytes): bigint {
  const bytes = random(WEIGHT_BYTES)
  if (bytes.length !== WEIGHT_BYTES) throw new RangeError(`expected ${WEIGHT_BYTES} random bytes`)
  return decodeUint(bytes) || 1n
}
