/**
 * Signing digests and telling who signed them, by libsecp256k1 in WebAssembly: several times as fast as the plain implementation (`signDigest` and
 * `recoverSigner` of protocol/receipt/head.ts), which stays the oracle of the tests.
 * @module
 */
import { recover, signRecoverable } from 'tiny-secp256k1'
import { fromHex, type Hex, toHex } from '#protocol/bytes.ts'
import { keccak256 } from '#protocol/hash.ts'
import type { CompactSignature } from '#protocol/receipt/head.ts'

/** The very signature that `signDigest` of protocol/receipt/head.ts makes (RFC 6979, low s, EIP-2098). Throws for what is no private key. */
export function signDigest(digest: Hex, privateKey: Uint8Array): CompactSignature {
  const { signature, recoveryId } = signRecoverable(fromHex(digest, 32), privateKey)
  // Low s leaves its top bit free for the parity. R's x exceeds the order, which the higher bit would say, once in 2^127 times.
  signature[32] = (signature[32] ?? 0) | ((recoveryId & 1) << 7)
  return { r: toHex(signature.subarray(0, 32)), vs: toHex(signature.subarray(32)) }
}

/** Whether the key of `signer` (an address, in lower case) signed the 32-byte digest: exactly what `recoverSigner` says. */
export function isSigner(digest: Hex, { r, vs }: CompactSignature, signer: Hex): boolean {
  const bytes = fromHex(digest, 32)
  const signature = new Uint8Array(64)
  signature.set(fromHex(r, 32))
  signature.set(fromHex(vs, 32), 32)
  // EIP-2098: the top bit of s is the parity of R's y.
  const parity = (signature[32] ?? 0) >> 7 === 1 ? 1 : 0
  signature[32] = (signature[32] ?? 0) & 0x7f
  const publicKey = recoverPublicKey(bytes, signature, parity)
  return publicKey !== undefined && toHex(keccak256(publicKey.subarray(1)).subarray(12)) === signer
}

function recoverPublicKey(digest: Uint8Array, signature: Uint8Array, parity: 0 | 1): Uint8Array | undefined {
  try {
    return recover(digest, signature, parity) ?? undefined
  } catch {
    // It throws for what is no signature at all (r or s zero or too large, r on no point): nobody signed this.
    return undefined
  }
}
