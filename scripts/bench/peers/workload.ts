/** Whom all models of others' settlement serve: 200 payers, each with one of 10 enclaves, with 10,000 receipts between them. @module */
import { encodeUint, type Hex } from '#protocol/bytes.ts'
import { keccak256 } from '#protocol/hash.ts'
import { enclaveOfKey, expandSignature, signDigest } from '#protocol/receipt/head.ts'

export const RECEIPTS = 10_000
export const ENCLAVES = 10
export const PAIRS = 200
/** What a payer owes after each round, in base units of a token with six decimals: five cents. */
export const OWED = 50_000n

export type Key = { readonly address: Hex; readonly privateKey: Uint8Array }

/** Keys that are the same in every run. */
export function keyOf(label: string, number: number): Key {
  const privateKey = keccak256(new Uint8Array([...new TextEncoder().encode(label), ...encodeUint(BigInt(number), 4)]))
  return { address: enclaveOfKey(privateKey), privateKey }
}

/** An address that nobody has a key of. */
export function addressOf(label: string, number: number): Hex {
  return keyOf(label, number).address
}

/** 65 bytes over a digest. */
export function signWith({ privateKey }: Key, digest: unknown): Hex {
  return expandSignature(signDigest(digest as Hex, privateKey))
}

/** `count` numbers from 0. */
export function numbers(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i)
}

/** `values` in groups of at most `size`. */
export function inGroups<T>(values: readonly T[], size: number): T[][] {
  return numbers(Math.ceil(values.length / size)).map((i) => values.slice(i * size, (i + 1) * size))
}

export function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}
