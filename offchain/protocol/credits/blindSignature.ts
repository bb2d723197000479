/**
 * Blind BLS signatures: the issuer signs a point that tells it nothing, the client takes the blinding off.
 *
 *   client  B  = b * H(m)           b random, 1 … r - 1: B is uniform, whatever m is
 *   issuer  C' = k * B
 *   client  C  = b^-1 * C' = k * H(m)
 *   anyone  e(C, G2) == e(H(m), k * G2)
 *
 * A signature is unique: there is one C per message and key, so it can carry no mark. Boneh, Lynn, Shacham (2001) with the blinding
 * of Boldyreva (2003), multiplicative as in Cashu's NUT-00.
 * @module
 */
import { bls12_381 } from '@noble/curves/bls12-381.js'
import { equalBytes } from '../bytes.ts'
import { hashToG1 } from './message.ts'
import { checkG1, encodeMultipleG1, type G1Point, type G2Point } from './points.ts'
import { checkScalar } from './scalar.ts'

const G2_GENERATOR = bls12_381.G2.Point.BASE

/** The public key of a secret one. */
export function publicKeyOf(secretKey: bigint): G2Point {
  return G2_GENERATOR.multiply(checkScalar(secretKey))
}

/** The message's point, blinded. `message` is 32 bytes. */
export function blindMessage(message: Uint8Array, blinding: bigint): G1Point {
  return hashToG1(message).multiply(checkScalar(blinding))
}

/** The issuer's signature of a blinded point. The point is checked again: outside the subgroup it would draw bits of the key. */
export function signBlinded(blinded: G1Point, secretKey: bigint): G1Point {
  return checkG1(blinded).multiply(checkScalar(secretKey))
}

/** Takes the blinding off: what is left is the signature of the message itself. Check it, or the blind one, against the public key. */
export function unblindSignature(blindSignature: G1Point, blinding: bigint): G1Point {
  return checkG1(blindSignature).multiply(bls12_381.fields.Fr.inv(checkScalar(blinding)))
}

/** Whether `signature` is the key's signature of the message (32 bytes). Two pairings. */
export function verifySignature(message: Uint8Array, signature: G1Point, publicKey: G2Point): boolean {
  return isPairingOne([
    { g1: checkG1(signature), g2: G2_GENERATOR.negate() },
    { g1: hashToG1(message), g2: publicKey },
  ])
}

/** The same question from whoever holds the secret key, without a pairing. `signature` is 48 bytes; what encodes no point is no signature. */
export function verifyWithSecretKey(message: Uint8Array, signature: Uint8Array, secretKey: bigint): boolean {
  return equalBytes(encodeMultipleG1(hashToG1(message).multiply(checkScalar(secretKey))), signature)
}

export type PointPair = { readonly g1: G1Point; readonly g2: G2Point }

/** Whether the product of the pairings is one. A pair with the identity contributes one. */
export function isPairingOne(pairs: readonly PointPair[]): boolean {
  const finite = pairs.filter(({ g1, g2 }) => !g1.is0() && !g2.is0())
  const { Fp12 } = bls12_381.fields
  return Fp12.eql(bls12_381.pairingBatch(finite.map(({ g1, g2 }) => ({ g1, g2 }))), Fp12.ONE)
}
