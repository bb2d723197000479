/**
 * What a credit's signature covers, and the point of G1 it is hashed to. Spec: docs/spec.md section 9.
 *
 *   message = keccak256(abi.encode(keccak256("Sealpath credit v1"), uint256 chainId, address vault, bytes32 keyset,
 *                                  address exitKey, keccak256(t)))
 *   point   = hash_to_curve(message), suite BLS12381G1_XMD:SHA-256_SSWU_RO_ of RFC 9380 section 8.8.1, with our own tag
 *
 * The denomination is not part of it: it is which of the keyset's keys signed. So one message signed under two keys is two
 * credits with one t, and only the first of them can be spent.
 * @module
 */
import { bls12_381 } from '@noble/curves/bls12-381.js'
import { concatBytes, encodeUint, encodeUtf8, fromHex, type Hex } from '../bytes.ts'
import { type Keccak256, keccak256 } from '../hash.ts'
import type { G1Point } from './points.ts'

/** The domain separation tag of RFC 9380 section 3.1. The contract that checks credits uses the same. */
export const CREDIT_DST = 'SEALPATH-CREDIT-V01-with-BLS12381G1_XMD:SHA-256_SSWU_RO_'
export const MESSAGE_BYTES = 32
export const SECRET_BYTES = 32

const CREDIT_TYPE = keccak256(encodeUtf8('Sealpath credit v1'))
const DST = encodeUtf8(CREDIT_DST)

/** Where a credit counts: one keyset (`hashKeyset`) of one vault on one chain. */
export type CreditDomain = { readonly chainId: number; readonly vault: Hex; readonly keyset: Hex }

/** The message, 32 bytes. `exitKey` is an address, `secret` the 32 bytes t that spending reveals. */
export function creditMessage(
  domain: CreditDomain,
  exitKey: Hex,
  secret: Uint8Array,
  hash: Keccak256 = keccak256,
): Uint8Array {
  if (secret.length !== SECRET_BYTES) throw new RangeError(`expected a secret of ${SECRET_BYTES} bytes`)
  return hash(
    concatBytes(
      CREDIT_TYPE,
      encodeUint(BigInt(domain.chainId), 32),
      addressWord(domain.vault),
      fromHex(domain.keyset, 32),
      addressWord(exitKey),
      hash(secret),
    ),
  )
}

/** The point of G1 that stands for a message of 32 bytes. */
export function hashToG1(message: Uint8Array): G1Point {
  if (message.length !== MESSAGE_BYTES) throw new RangeError(`expected a message of ${MESSAGE_BYTES} bytes`)
  return bls12_381.G1.hashToCurve(message, { DST })
}

/** An address as `abi.encode` writes it: 32 bytes. */
export function addressWord(address: Hex): Uint8Array {
  return concatBytes(new Uint8Array(12), fromHex(address, 20))
}
