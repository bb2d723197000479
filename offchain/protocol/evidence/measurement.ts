/** The one hash that names what runs in an enclave. Twin of the Solidity verifier's measurement. @module */
import { encodeUint, encodeUtf8, fromHex, type Hex, joinBytes, toHex } from '#protocol/bytes.ts'
import { keccak256 } from '#protocol/hash.ts'

/** Which root signed: AWS's, or the one of a development attester. */
export type EvidenceKind = 'nitro' | 'development'

/**
 * `keccak256(abi.encode(bytes32 teeType, bytes pcr0, bytes pcr1, bytes pcr2))`, 32 bytes; each PCR has 48 bytes.
 * `teeType` names the format. Development documents have the same one: the root tells them apart, never the measurement.
 */
export function measurementOf(kind: EvidenceKind, pcr0: Uint8Array, pcr1: Uint8Array, pcr2: Uint8Array): Hex {
  const pcrs = [pcr0, pcr1, pcr2]
  const offsets: Uint8Array[] = []
  const tails: Uint8Array[] = []
  // Head: the format's name and where each PCR stands. Tail: their lengths and bytes, in full words.
  let offset = 32 * (1 + pcrs.length)
  for (const pcr of pcrs) {
    const padding = new Uint8Array((32 - (pcr.length % 32)) % 32)
    offsets.push(encodeUint(BigInt(offset), 32))
    tails.push(encodeUint(BigInt(pcr.length), 32), pcr, padding)
    offset += 32 + pcr.length + padding.length
  }
  return toHex(keccak256(joinBytes([fromHex(TEE_TYPES[kind]), ...offsets, ...tails])))
}

/** keccak256("aws-nitro"): documents of the Nitro format, PCRs of SHA-384. */
export const TEE_TYPE_NITRO: Hex = toHex(keccak256(encodeUtf8('aws-nitro')))

const TEE_TYPES: Readonly<Record<EvidenceKind, Hex>> = { nitro: TEE_TYPE_NITRO, development: TEE_TYPE_NITRO }
