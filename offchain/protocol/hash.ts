/** keccak-256 as a value, so that a caller with many hashes to make can bring a faster one. @module */
import { keccak_256 } from '@noble/hashes/sha3.js'

/** keccak-256 of `data`, 32 bytes. Implementations must agree with `keccak256`; the tests compare them. */
export type Keccak256 = (data: Uint8Array) => Uint8Array

/** The plain implementation: audited TypeScript, runs everywhere. */
export const keccak256: Keccak256 = (data) => keccak_256(data)
