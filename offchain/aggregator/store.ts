/**
 * What an aggregator keeps. Three ports: the logs and the clearings it takes in, and what it does about them on chain. All are implemented
 * on PostgreSQL (postgresLogs.ts, postgresClearings.ts, postgresSettlement.ts); any number of processes may share one database.
 * @module
 */
import type { Hex } from '#protocol/bytes.ts'
import type { BatchedHead } from '#protocol/log/batch.ts'
import type { LogEdge } from '#protocol/log/edge.ts'
import type { EarningsHeadMessage, SignedClearing } from '#protocol/wire/agentApi.ts'
import type { LogRole } from './standing.ts'
import type { TransactionState } from './step.ts'

// Logs

export type LogStore = {
  /**
   * Runs `work` with the log of `enclave` locked: no two ingests of one enclave interleave, in whichever processes. Commits what it wrote.
   * A new log is noted as one of `role`.
   */
  withLog<T>(enclave: Hex, role: LogRole, work: (log: LockedLog) => Promise<T>): Promise<T>
  /** Leaves from `from` (inclusive) to `to` (exclusive), all of which must be held. */
  readLeaves(enclave: Hex, from: number, to: number): Promise<Uint8Array>
  /** Merges small runs of `enclave`, as far as there is anything to merge. */
  mergeRuns(enclave: Hex): Promise<void>
  readEnclave(enclave: Hex): Promise<EnclaveSummary | undefined>
  readTotals(): Promise<LogTotals>
}

/** One enclave's log while it is locked. */
export type LockedLog = {
  readonly edge: LogEdge
  /** Whether its enclave was caught contradicting itself. */
  readonly isEnded: boolean
  readHead(size: bigint): Promise<EarningsHeadMessage | undefined>
  /** The largest known head below `size`, and the smallest above it. */
  readNeighbours(size: bigint): Promise<HeadNeighbours>
  readLeaves(from: number, to: number): Promise<Uint8Array>
  /** Appends leaves and the head over them. `edge` is the edge after them. */
  append(leaves: Uint8Array, edge: LogEdge, head: EarningsHeadMessage): Promise<void>
  /** Notes a head whose leaves are all known. */
  noteHead(head: EarningsHeadMessage): Promise<void>
  /** Keeps for ever what proves that the enclave contradicted itself. A repeat changes nothing. */
  noteEvidence(evidence: Evidence): Promise<void>
}

export type HeadNeighbours = {
  readonly below: EarningsHeadMessage | undefined
  readonly above: EarningsHeadMessage | undefined
}

/** Two signed heads that cannot both be true, and the call that shows it to the contract. */
export type Evidence = {
  readonly enclave: Hex
  readonly kind: 'contradiction' | 'fork'
  readonly heads: readonly [EarningsHeadMessage, EarningsHeadMessage]
  readonly calldata: Hex
}

export type LeafPlace = { readonly enclave: Hex; readonly index: number }

export type EnclaveSummary = {
  readonly role: LogRole
  readonly settledSize: bigint
  readonly head: EarningsHeadMessage
}

export type LogTotals = { readonly enclaves: number; readonly leaves: bigint }

// Clearings

export type ClearingStore = {
  /**
   * Keeps a clearing whose signature was checked, `id` being its digest, until each of its totals is settled or a newer clearing of the
   * keyset says as much. Durable when it returns; a repeat changes nothing. `full` while too many of the keyset wait: nothing was kept.
   */
  accept(id: Hex, clearing: SignedClearing): Promise<'accepted' | 'full'>
}

export type StoredClearing = { readonly id: Hex; readonly clearing: SignedClearing }

// Settlement

/** The right to send for one account. `epoch` grows whenever it changes hands; writes of an older epoch are refused. */
export type Lease = { readonly account: Hex; readonly epoch: bigint }

export type SettlementStore = {
  /** Binds the database to one chain and contract for good. Answers `false` when it is bound to others. */
  bindChain(identity: string): Promise<boolean>

  /** Takes or renews the lease; `undefined` while another holder has it. */
  takeLease(account: Hex, holder: string, seconds: number): Promise<Lease | undefined>
  releaseLease(lease: Lease): Promise<void>

  /** Notes that somebody asked to settle now; whoever holds the lease sees it. */
  askSettle(account: Hex): Promise<void>

  /** Transactions of the account that are not final or failed, oldest first. */
  readLive(account: Hex): Promise<readonly StoredTransaction[]>
  /** The nonce after the highest of the account's transactions that have not failed; 0 when there are none. */
  nextNonce(account: Hex): Promise<number>
  /** How often transactions of the account have failed within the last ten minutes, and how long ago the last one did. */
  recentFailures(account: Hex): Promise<{ readonly count: number; readonly secondsAgo: number }>

  /** Clearings and newest heads that should be settled, oldest first, and whether they should be now. An issuer's heads never are. */
  readDue(account: Hex, headsMax: number): Promise<Due>
  /** Evidence that is not on chain yet and in nobody's transaction. */
  readPendingEvidence(): Promise<readonly PendingEvidence[]>
  markEvidence(id: Hex, outcome: 'reported' | 'refused'): Promise<void>

  /** Stores a transaction in state `sealed` and assigns to it what it is for, unless any of that is assigned already: then `false`. */
  seal(lease: Lease, sealed: SealedTransaction): Promise<boolean>
  /** Stores a transaction's new state with what belongs to it, all or nothing. Throws `LeaseLostError` for an older epoch. */
  advance(lease: Lease, id: bigint, state: TransactionState, change: TransactionChange): Promise<void>
  readRaw(hash: Hex): Promise<Hex | undefined>

  readCursor(): Promise<ChainCursor | undefined>
  /** Replaces everything recorded from block `from` on by `events` and moves the cursor, if it is still `expected`. Answers whether it was. */
  record(expected: ChainCursor | undefined, next: ChainCursor, from: bigint, events: ChainEvents): Promise<boolean>

  readBatch(batch: bigint): Promise<SettledBatch | undefined>
  readSettlementTotals(): Promise<SettlementTotals>
}

export type SettlementTotals = {
  readonly batches: number
  readonly unsettledHeads: number
  readonly pendingClearings: number
  readonly settledClearings: number
}

export type TransactionChange = {
  /** Raw bytes of the newest attempt: stored in the same commit as the state that names it. */
  readonly raw?: Hex
  readonly skipped?: readonly SkippedHead[]
  readonly refused?: readonly RefusedClearing[]
}

/** A clearing that the contract refused as a whole, by its position in the call. `isRetried`: it may be taken later. */
export type RefusedClearing = { readonly position: number; readonly reason: string; readonly isRetried: boolean }

export type SkippedHead = {
  readonly enclave: Hex
  readonly size: bigint
  readonly reason: string
  /** When to try again, in seconds since the epoch; without it never. */
  readonly retryAt?: bigint
}

export type StoredTransaction = {
  readonly id: bigint
  readonly kind: 'settle' | 'report'
  readonly calldata: Hex
  readonly gas: bigint
  readonly state: TransactionState
}

export type SealedTransaction = {
  readonly calldata: Hex
  readonly gas: bigint
} /** `clearings` are ids, in the order of the call. */ & (
  | { readonly kind: 'settle'; readonly heads: readonly EarningsHeadMessage[]; readonly clearings: readonly Hex[] }
  | { readonly kind: 'report'; readonly evidence: Hex }
)

export type Due = {
  readonly heads: readonly EarningsHeadMessage[]
  readonly clearings: readonly StoredClearing[]
  /** How long the one that waits longest has waited, in seconds. */
  readonly waitedSeconds: number
  /** Leaves above what is settled. */
  readonly leaves: bigint
  /** Fees above what is booked on chain, in units. */
  readonly value: bigint
  readonly isAsked: boolean
}

export type PendingEvidence = { readonly id: Hex; readonly enclave: Hex; readonly calldata: Hex }

/** How far the chain was read: everything up to `block`, whose hash was `hash`. At `finalBlock` and before nothing will change. */
export type ChainCursor = {
  readonly block: bigint
  readonly hash: Hex
  readonly finalBlock: bigint
  readonly finalHash: Hex
}

/** What anybody settled in some blocks. */
export type ChainEvents = { readonly batches: readonly SettledBatch[]; readonly clearings: readonly SettledClearing[] }

/** A clearing as the chain's events tell it, whoever sent it. */
export type SettledClearing = { readonly id: Hex; readonly transaction: Hex; readonly block: bigint }

/** A batch as the chain's events tell it, whoever sent it. Heads in the order of the tree. */
export type SettledBatch = {
  readonly batch: bigint
  readonly root: Hex
  readonly transaction: Hex
  readonly block: bigint
  readonly gasUsed: bigint
  readonly heads: readonly SettledHead[]
}

/** `earned`: fees up to which money has moved with this head, 0 for a client's; absent when another settler's exclusive time kept it. */
export type SettledHead = BatchedHead & { readonly earned?: bigint }

/** Another process has taken over the sending account: whatever was about to be stored must not be done. */
export class LeaseLostError extends Error {
  override readonly name = 'LeaseLostError'
  readonly code = 'LEASE_LOST'
}
