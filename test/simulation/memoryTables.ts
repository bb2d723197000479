/** The aggregator's tables in memory, as migrations.ts has them, without what only makes PostgreSQL fast. @module */
import type { Hex } from '#protocol/bytes.ts'
import type { LogEdge } from '#protocol/log/edge.ts'
import type { EarningsHeadMessage, SignedClearing } from '#protocol/wire/agentApi.ts'
import type { LogRole } from '../../offchain/aggregator/standing.ts'
import type { TransactionState } from '../../offchain/aggregator/step.ts'
import type { ChainCursor, Evidence, SettledBatch, SettledClearing } from '../../offchain/aggregator/store.ts'

/** Times in milliseconds since the epoch; an `order` tells apart what happened at one time. */
export type HeadRow = {
  readonly head: EarningsHeadMessage
  readonly receivedAt: number
  readonly order: number
  assigned?: bigint | undefined
  skipped?: string | undefined
  retryAt?: number | undefined
}

export type LogRow = {
  readonly role: LogRole
  edge: LogEdge
  isEnded: boolean
  leaves: Uint8Array
  readonly heads: Map<bigint, HeadRow>
}

export type EvidenceRow = {
  readonly id: Hex
  readonly evidence: Evidence
  readonly notedAt: number
  readonly order: number
  state: 'pending' | 'reported' | 'refused'
  assigned?: bigint | undefined
}

export type ClearingRow = {
  readonly seq: number
  readonly id: Hex
  readonly clearing: SignedClearing
  /** Those that are still needed. */
  lines: SignedClearing['enclaves']
  readonly receivedAt: number
  assigned?: bigint | undefined
  position?: number | undefined
  skipped?: string | undefined
  retryAt?: number | undefined
  tries: number
  isDone: boolean
}

export type TransactionRow = {
  readonly id: bigint
  readonly account: Hex
  readonly kind: 'settle' | 'report'
  readonly calldata: Hex
  readonly gas: bigint
  state: TransactionState
  changedAt: number
}

export type LeaseRow = { readonly holder: string; readonly epoch: bigint; readonly endsAt: number }

export class Tables {
  /** The database's clock. */
  readonly now: () => number
  readonly logs: Map<Hex, LogRow> = new Map()
  readonly evidence: Map<Hex, EvidenceRow> = new Map()
  readonly clearings: Map<number, ClearingRow> = new Map()
  readonly transactions: Map<bigint, TransactionRow> = new Map()
  /** Raw bytes by hash. */
  readonly attempts: Map<Hex, Hex> = new Map()
  readonly leases: Map<Hex, LeaseRow> = new Map()
  /** When somebody asked to settle, by account. */
  readonly requests: Map<Hex, number> = new Map()
  readonly batches: Map<bigint, SettledBatch> = new Map()
  readonly settledClearings: Map<Hex, SettledClearing> = new Map()
  identity: string | undefined
  cursor: ChainCursor | undefined
  #order = 0

  constructor(now: () => number) {
    this.now = now
  }

  /** Grows with each call, as a sequence does. */
  next(): number {
    return ++this.#order
  }

  /** All heads of `enclave` on chain. */
  settledHeads(enclave: Hex): readonly (SettledBatch['heads'][number] & { readonly batch: bigint })[] {
    return [...this.batches.values()].flatMap(({ batch, heads }) =>
      heads.filter((head) => head.enclave === enclave).map((head) => ({ ...head, batch })),
    )
  }

  headsAssigned(transaction: bigint): HeadRow[] {
    return [...this.logs.values()].flatMap(({ heads }) =>
      [...heads.values()].filter(({ assigned }) => assigned === transaction),
    )
  }

  clearingsAssigned(transaction: bigint): ClearingRow[] {
    return [...this.clearings.values()].filter(({ assigned }) => assigned === transaction)
  }

  evidenceAssigned(transaction: bigint): EvidenceRow[] {
    return [...this.evidence.values()].filter(({ assigned }) => assigned === transaction)
  }
}
