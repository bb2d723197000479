/**
 * Heads: an enclave's signature over its whole log so far. One signed head proves everything before it.
 * EIP-712 with the domain of ReceiptSettlement; signatures in the compact form of EIP-2098. Spec: docs/spec.md section 4.
 * @module
 */
import { secp256k1 } from '@noble/curves/secp256k1.js'
import { checksumAddress } from '../address.ts'
import { fromHex, type Hex, toHex } from '../bytes.ts'
import { keccak256 } from '../hash.ts'
import { hashTypedData } from '../typedData.ts'

/** Where heads settle: it names chain and contract, so that no head means anything elsewhere. */
export type SettlementDomain = { readonly chainId: number; readonly settlement: Hex }

/** The head a client gets with its receipt. `size` counts leaves; `root` is 32 bytes. */
export type LogHead = { readonly kind: 'log'; readonly enclave: Hex; readonly size: bigint; readonly root: Hex }

/** The head an operator settles. `fees` is cumulative since boot, in units of 10^12 base units. */
export type EarningsHead = {
  readonly kind: 'earnings'
  readonly enclave: Hex
  readonly size: bigint
  readonly root: Hex
  readonly fees: bigint
}

export type Head = LogHead | EarningsHead

/** EIP-2098: `r` and `vs`, 32 bytes each. */
export type CompactSignature = { readonly r: Hex; readonly vs: Hex }

export type SignedHead<H extends Head = Head> = { readonly head: H; readonly signature: CompactSignature }

export const HEAD_TYPES = {
  LogHead: [
    { name: 'enclave', type: 'address' },
    { name: 'size', type: 'uint64' },
    { name: 'root', type: 'bytes32' },
  ],
  EarningsHead: [
    { name: 'enclave', type: 'address' },
    { name: 'size', type: 'uint64' },
    { name: 'root', type: 'bytes32' },
    { name: 'fees', type: 'uint64' },
  ],
} as const

/** EIP-712 domain of ReceiptSettlement. */
export function settlementDomain({ chainId, settlement }: SettlementDomain): {
  name: string
  version: string
  chainId: number
  verifyingContract: Hex
} {
  return { name: 'Sealpath', version: '1', chainId, verifyingContract: settlement }
}

/** EIP-712 digest of the head, 32 bytes. */
export function hashHead(head: Head, domain: SettlementDomain): Hex {
  const { kind, ...message } = head
  return kind === 'log'
    ? hashTypedData({ domain: settlementDomain(domain), types: HEAD_TYPES, primaryType: 'LogHead', message })
    : hashTypedData({
        domain: settlementDomain(domain),
        types: HEAD_TYPES,
        primaryType: 'EarningsHead',
        message: { ...message, fees: (head as EarningsHead).fees },
      })
}

/** Signs the head with the enclave's secp256k1 key (32 bytes). */
export function signHead<H extends Head>(head: H, domain: SettlementDomain, privateKey: Uint8Array): SignedHead<H> {
  return { head, signature: signDigest(hashHead(head, domain), privateKey) }
}

/** Compact signature (EIP-2098) of a 32-byte digest, deterministic (RFC 6979), low s. */
export function signDigest(digest: Hex, privateKey: Uint8Array): CompactSignature {
  const signature = secp256k1.sign(fromHex(digest, 32), privateKey, { prehash: false, format: 'recovered' })
  // Recovered format: recovery bit (1) || r (32) || s (32). Low s leaves the top bit of s free for the parity.
  const vs = signature.slice(33)
  vs[0] = (vs[0] ?? 0) | ((signature[0] ?? 0) << 7)
  return { r: toHex(signature.subarray(1, 33)), vs: toHex(vs) }
}

/** The same signature in the 65-byte form r || s || v, v being 27 or 28. */
export function expandSignature({ r, vs }: CompactSignature): Hex {
  const bytes = fromHex(vs, 32)
  const parity = (bytes[0] ?? 0) >> 7
  bytes[0] = (bytes[0] ?? 0) & 0x7f
  return `${r}${toHex(bytes).slice(2)}${parity === 1 ? '1c' : '1b'}`
}

/** The compact form of a 65-byte signature; `undefined` for what has none: v other than 27 or 28, or a high s. */
export function collapseSignature(expanded: Hex): CompactSignature | undefined {
  const bytes = fromHex(expanded, 65)
  const v = bytes[64]
  const s = bytes.subarray(32, 64)
  if ((v !== 27 && v !== 28) || (s[0] ?? 0) >> 7 === 1) return undefined
  s[0] = (s[0] ?? 0) | ((v - 27) << 7)
  return { r: toHex(bytes.subarray(0, 32)), vs: toHex(s) }
}

/** Address of the key that signed the digest, checksummed; `undefined` when the signature is none. */
export function recoverSigner(digest: Hex, signature: CompactSignature): Hex | undefined {
  const publicKey = recoverPublicKey(digest, signature)
  return publicKey && addressOfKey(publicKey)
}

/** The public key that signed the digest, uncompressed (65 bytes); `undefined` when the signature is none. */
export function recoverPublicKey(digest: Hex, signature: CompactSignature): Uint8Array | undefined {
  try {
    const vs = fromHex(signature.vs, 32)
    const parity = (vs[0] ?? 0) >> 7
    vs[0] = (vs[0] ?? 0) & 0x7f
    const recovered = new Uint8Array(65)
    recovered[0] = parity
    recovered.set(fromHex(signature.r, 32), 1)
    recovered.set(vs, 33)
    const point = secp256k1.recoverPublicKey(recovered, fromHex(digest, 32), { prehash: false })
    return secp256k1.Point.fromBytes(point).toBytes(false)
  } catch {
    // Any malformed signature is one answer: nobody signed this.
    return undefined
  }
}

/** Whether the head's own enclave signed it. */
export function isSignedByEnclave({ head, signature }: SignedHead, domain: SettlementDomain): boolean {
  const signer = recoverSigner(hashHead(head, domain), signature)
  return signer !== undefined && signer.toLowerCase() === head.enclave.toLowerCase()
}

/** The enclave identifier of a secp256k1 private key (32 bytes): its Ethereum address, checksummed. */
export function enclaveOfKey(privateKey: Uint8Array): Hex {
  return addressOfKey(secp256k1.getPublicKey(privateKey, false))
}

/** Address of a secp256k1 public key (65 bytes, uncompressed), checksummed. */
export function addressOfKey(uncompressed: Uint8Array): Hex {
  return checksumAddress(toHex(keccak256(uncompressed.subarray(1)).subarray(12)))
}
