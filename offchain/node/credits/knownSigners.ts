/**
 * Signatures of those who sign often. Recovering a public key takes a millisecond; checking a signature against a key that is known, with its multiples
 * tabled, takes less than half of that and says exactly the same.
 * @module
 */
import type { WeierstrassPoint } from '@noble/curves/abstract/weierstrass.js'
import { secp256k1 } from '@noble/curves/secp256k1.js'
import { decodeUint, fromHex, type Hex } from '#protocol/bytes.ts'
import { addressOfKey, type CompactSignature, recoverPublicKey } from '#protocol/receipt/head.ts'

const { BASE, Fn } = secp256k1.Point
/** Bits of a digit: the table has 52 rows of 16 points, and takes some 8 ms to make. */
const WINDOW_BITS = 5
const KEYS_MAX = 256

export class KnownSigners {
  readonly #keysMax: number
  readonly #points = new Map<Hex, WeierstrassPoint<bigint>>()

  constructor(keysMax: number = KEYS_MAX) {
    this.#keysMax = keysMax
  }

  /** Whether the key of `signer` (an address, in lower case) signed the digest: what `recoverSigner` would say. */
  isSigner(digest: Hex, signature: CompactSignature, signer: Hex): boolean {
    const known = this.#points.get(signer)
    if (known !== undefined) return isSignedBy(known, fromHex(digest, 32), signature)
    const publicKey = recoverPublicKey(digest, signature)
    return publicKey !== undefined && addressOfKey(publicKey).toLowerCase() === signer
  }

  /**
   * Keeps the key of whoever signed this digest, as long as there is room: the signatures of all others are judged by recovery. Only for those who may
   * sign: a stranger's key would take the room and be tabled for nothing.
   */
  remember(digest: Hex, signature: CompactSignature, signer: Hex): void {
    if (this.#points.has(signer) || this.#points.size >= this.#keysMax) return
    const publicKey = recoverPublicKey(digest, signature)
    if (publicKey === undefined || addressOfKey(publicKey).toLowerCase() !== signer) return
    this.#points.set(signer, secp256k1.Point.fromBytes(publicKey).precompute(WINDOW_BITS))
  }
}

/**
 * SEC 1 section 4.1.4: R = (h/s) G + (r/s) Q. R is the very point that recovery starts from, so that its parity is asked for too, and its x has to be r
 * itself and not only modulo n: EIP-2098 has no room for the other case.
 */
function isSignedBy(key: WeierstrassPoint<bigint>, digest: Uint8Array, signature: CompactSignature): boolean {
  const [r, parityAndS] = [decodeUint(fromHex(signature.r, 32)), decodeUint(fromHex(signature.vs, 32))]
  const [parity, s] = [parityAndS >> 255n, BigInt.asUintN(255, parityAndS)]
  if (!Fn.isValidNot0(r) || !Fn.isValidNot0(s)) return false
  const inverse = Fn.inv(s)
  const u = Fn.mul(Fn.create(decodeUint(digest)), inverse)
  const point = BASE.multiplyUnsafe(u).add(key.multiplyUnsafe(Fn.mul(r, inverse)))
  if (point.is0()) return false
  const { x, y } = point.toAffine()
  return x === r && (y & 1n) === parity
}
