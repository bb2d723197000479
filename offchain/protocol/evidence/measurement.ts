/** The one hash that names what runs in an enclave. Twin of the Solidity verifier's measurement. @module */
import { encodeAbiParameters, keccak256, stringToHex } from 'viem/utils'
import { type Hex, toHex } from '#protocol/bytes.ts'

/** Which root signed: AWS's, or the one of a development attester. */
export type EvidenceKind = 'nitro' | 'development'

/**
 * `keccak256(abi.encode(bytes32 teeType, bytes pcr0, bytes pcr1, bytes pcr2))`, 32 bytes; each PCR has 48 bytes.
 * `teeType` names the format. Development documents have the same one: the root tells them apart, never the measurement.
 */
export function measurementOf(kind: EvidenceKind, pcr0: Uint8Array, pcr1: Uint8Array, pcr2: Uint8Array): Hex {
  return keccak256(encodeAbiParameters(MEASUREMENT_FIELDS, [TEE_TYPES[kind], toHex(pcr0), toHex(pcr1), toHex(pcr2)]))
}

/** keccak256("aws-nitro"): documents of the Nitro format, PCRs of SHA-384. */
export const TEE_TYPE_NITRO: Hex = keccak256(stringToHex('aws-nitro'))

const TEE_TYPES: Readonly<Record<EvidenceKind, Hex>> = { nitro: TEE_TYPE_NITRO, development: TEE_TYPE_NITRO }

const MEASUREMENT_FIELDS = [{ type: 'bytes32' }, { type: 'bytes' }, { type: 'bytes' }, { type: 'bytes' }] as const
