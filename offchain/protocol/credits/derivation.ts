/**
 * Everything secret about a credit, from the wallet's seed: so that a wallet is restored from its seed by counting.
 *
 *   prk  = HKDF-Extract(salt = "sealpath credits v1", seed)                                      RFC 5869, SHA-256
 *   wide = HKDF-Expand(prk, label || 0x00 || path || 0x00 || keyset (32) || counter (8), length)
 *
 *   "secret"    32 bytes                                 t, revealed at spending
 *   "exit key"  64 bytes -> 1 … n - 1, secp256k1          signs for an exit
 *   "blinding"  64 bytes -> 1 … r - 1                     hides the message from the issuer
 *
 * Purchases and change count on paths of their own: restoring change asks public tiles, restoring purchases asks the issuer, and
 * neither may give the other's counters away. The denomination takes no part: a blank is blinded before anyone knows its worth.
 * A keyset's id names chain and vault too. Spec: docs/spec.md section 9.
 * @module
 */
import { secp256k1 } from '@noble/curves/secp256k1.js'
import { expand, extract } from '@noble/hashes/hkdf.js'
import { sha256 } from '@noble/hashes/sha2.js'
import { concatBytes, encodeUint, encodeUtf8, fromHex, type Hex } from '../bytes.ts'
import { enclaveOfKey } from '../receipt/head.ts'
import { CreditError } from './creditError.ts'
import { GROUP_ORDER } from './points.ts'
import { reduceWide } from './scalar.ts'

export const SEED_BYTES = 32
const SALT = encodeUtf8('sealpath credits v1')
const WIDE_BYTES = 64

export type DerivationPath = 'purchase' | 'change'

/** `secret` is t (32 bytes), `exitPrivateKey` 32 bytes of secp256k1, `exitKey` its address, `blinding` a scalar of the group. */
export type CreditSecrets = {
  readonly secret: Uint8Array
  readonly exitPrivateKey: Uint8Array
  readonly exitKey: Hex
  readonly blinding: bigint
}

/** The secrets of output `counter` (from 0) on this path. `seed` is 32 bytes; the same arguments give the same secrets, always. */
export function deriveCredit(seed: Uint8Array, path: DerivationPath, keyset: Hex, counter: number): CreditSecrets {
  if (!Number.isSafeInteger(counter) || counter < 0) {
    throw new CreditError('BAD_COUNTER', 'expected a counter that is a whole number from 0')
  }
  const prk = extractSeed(seed)
  const place = concatBytes(encodeUtf8(path), Uint8Array.of(0), fromHex(keyset, 32), encodeUint(BigInt(counter), 8))
  const derive = (label: string, lengthBytes: number): Uint8Array =>
    expand(sha256, prk, concatBytes(encodeUtf8(label), Uint8Array.of(0), place), lengthBytes)
  const exitPrivateKey = encodeUint(reduceWide(derive('exit key', WIDE_BYTES), secp256k1.Point.Fn.ORDER), 32)
  return {
    secret: derive('secret', 32),
    exitPrivateKey,
    exitKey: enclaveOfKey(exitPrivateKey),
    blinding: reduceWide(derive('blinding', WIDE_BYTES), GROUP_ORDER),
  }
}

/** The key that everything of a wallet is expanded from. Throws `RangeError` for a seed that is not 32 bytes. */
export function extractSeed(seed: Uint8Array): Uint8Array {
  if (seed.length !== SEED_BYTES) throw new RangeError(`expected a seed of ${SEED_BYTES} bytes`)
  return extract(sha256, seed, SALT)
}
