/** keccak-256 as an issuer uses it: a payment is a hundred of its permutations, which the plain implementation takes many times as long for. @module */
import { createBulkKeccak } from '#node/bulkKeccak.ts'
import type { Keccak256 } from '#protocol/hash.ts'

/** Agrees with `keccak256` of protocol/hash.ts. */
export const issuerKeccak: Keccak256 = await createBulkKeccak()
