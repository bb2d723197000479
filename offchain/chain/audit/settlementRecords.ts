/** What the settlement contract's events make (settlementReplay.ts), as plain data. Units; addresses in lower case. @module */
import type { Address } from 'viem'
import type { Hex } from '#protocol/bytes.ts'

/**
 * `size` is that of the newest head with fees. `freeSize` is the largest of heads without: until the enclave earned anything, events do not tell whether such a
 * head was an earnings head, which moves the account's size, or a log head, which does not.
 */
export type AccountRecord = {
  size: bigint
  freeSize: bigint
  earned: bigint
  cleared: bigint
  credited: bigint
  swept: bigint
  drawn: bigint
  thawing: bigint
  readyAt: number
}

export type KeysetRecord = { issued: bigint; claimed: bigint; cleared: bigint; exited: bigint }

/** `earnedAtLeast`: fees of its batches. What it earned by `credit`, `thaw` and `sweepUnmatched` no event says. */
export type SettlerRecord = { earnedAtLeast: bigint; drawn: bigint; thawing: bigint; readyAt: number }

export type SettlementRecords = {
  /** Number of the newest batch. */
  batches: bigint
  accounts: Record<Hex, AccountRecord>
  keysets: Record<Hex, KeysetRecord>
  /** By `keyset/enclave`. */
  cleared: Record<string, bigint>
  settlers: Record<Hex, SettlerRecord>
  /** Settlers' part of what was credited outside of batches. */
  settlersUnnamed: bigint
  /** What was drawn, by who was paid. */
  withdrawn: Record<Hex, bigint>
  insured: bigint
  /** Unmatched and forfeited. */
  swept: bigint
}

export function emptySettlementRecords(): SettlementRecords {
  const sums = { settlersUnnamed: 0n, withdrawn: {}, insured: 0n, swept: 0n }
  return { batches: 0n, accounts: {}, keysets: {}, cleared: {}, settlers: {}, ...sums }
}

/** The record of an enclave, a new one if there is none yet. */
export function accountOf({ accounts }: SettlementRecords, enclave: Hex): AccountRecord {
  const nothing = { earned: 0n, cleared: 0n, credited: 0n, swept: 0n, drawn: 0n, thawing: 0n, readyAt: 0 }
  accounts[enclave] ??= { size: 0n, freeSize: 0n, ...nothing }
  return accounts[enclave]
}

/** The record of a keyset, likewise. */
export function keysetOf({ keysets }: SettlementRecords, keyset: Hex): KeysetRecord {
  keysets[keyset] ??= { issued: 0n, claimed: 0n, cleared: 0n, exited: 0n }
  return keysets[keyset]
}

/** The record of a settler, likewise. */
export function settlerOf({ settlers }: SettlementRecords, settler: Address): SettlerRecord {
  const key = settler.toLowerCase() as Hex
  settlers[key] ??= { earnedAtLeast: 0n, drawn: 0n, thawing: 0n, readyAt: 0 }
  return settlers[key]
}
