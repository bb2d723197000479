/** `SettlementStore` in memory: what postgresSettlement.ts and postgresBatches.ts do in SQL. Each method happens at one moment. @module */
import { larger } from '#protocol/bigints.ts'
import type { Hex } from '#protocol/bytes.ts'
import type { EarningsHeadMessage } from '#protocol/wire/agentApi.ts'
import type { TransactionState } from '../../offchain/aggregator/step.ts'
import {
  type ChainCursor,
  type ChainEvents,
  type Due,
  type Lease,
  LeaseLostError,
  type PendingEvidence,
  type SealedTransaction,
  type SettledBatch,
  type SettlementStore,
  type SettlementTotals,
  type StoredTransaction,
  type TransactionChange,
} from '../../offchain/aggregator/store.ts'
import { MemoryClearings } from './memoryClearings.ts'
import type { HeadRow, LogRow, Tables, TransactionRow } from './memoryTables.ts'

const REQUEST_LIFETIME_MS = 10_000
const FAILURES_MS = 600_000
const SUPERSEDED_GRACE_MS = 60_000
const EVIDENCE_MAX = 16

export class MemorySettlement implements SettlementStore {
  readonly #tables: Tables
  readonly #clearings: MemoryClearings

  constructor(tables: Tables) {
    this.#tables = tables
    this.#clearings = new MemoryClearings(tables)
  }

  async bindChain(identity: string): Promise<boolean> {
    this.#tables.identity ??= identity
    return this.#tables.identity === identity
  }

  // Leases

  async takeLease(account: Hex, holder: string, seconds: number): Promise<Lease | undefined> {
    const { leases, now } = this.#tables
    const held = leases.get(account)
    if (held !== undefined && held.holder !== holder && held.endsAt >= now()) return undefined
    const epoch = held === undefined ? 1n : held.holder === holder ? held.epoch : held.epoch + 1n
    leases.set(account, { holder, epoch, endsAt: now() + seconds * 1_000 })
    return { account, epoch }
  }

  async releaseLease({ account, epoch }: Lease): Promise<void> {
    const held = this.#tables.leases.get(account)
    if (held?.epoch === epoch) this.#tables.leases.set(account, { ...held, endsAt: Number.NEGATIVE_INFINITY })
  }

  #requireLease({ account, epoch }: Lease): void {
    const held = this.#tables.leases.get(account)
    if (held?.epoch === epoch && held.endsAt > this.#tables.now()) return
    throw new LeaseLostError('another process sends for this account now')
  }

  // Transactions

  async askSettle(account: Hex): Promise<void> {
    this.#tables.requests.set(account, this.#tables.now())
  }

  async readLive(account: Hex): Promise<readonly StoredTransaction[]> {
    return this.#ofAccount(account)
      .filter(({ state }) => state.name !== 'final' && state.name !== 'failed')
      .map(({ id, kind, calldata, gas, state }) => ({ id, kind, calldata, gas, state }))
  }

  async nextNonce(account: Hex): Promise<number> {
    const standing = this.#ofAccount(account).filter(({ state }) => state.name !== 'failed')
    return Math.max(0, ...standing.map(({ state }) => ('nonce' in state ? state.nonce + 1 : 0)))
  }

  async recentFailures(account: Hex): ReturnType<SettlementStore['recentFailures']> {
    const now = this.#tables.now()
    const times = this.#ofAccount(account)
      .filter(({ state, changedAt }) => state.name === 'failed' && changedAt > now - FAILURES_MS)
      .map(({ changedAt }) => changedAt)
    return { count: times.length, secondsAgo: times.length === 0 ? 0 : (now - Math.max(...times)) / 1_000 }
  }

  async seal(lease: Lease, sealed: SealedTransaction): Promise<boolean> {
    this.#requireLease(lease)
    const { transactions, requests, now } = this.#tables
    const id = BigInt(this.#tables.next())
    if (!this.#assign(id, sealed)) return false
    const { kind, calldata, gas } = sealed
    const row = {
      id,
      account: lease.account,
      kind,
      calldata,
      gas,
      state: { name: 'sealed' } as const,
      changedAt: now(),
    }
    transactions.set(id, row)
    if (kind === 'settle') requests.delete(lease.account)
    return true
  }

  async advance(lease: Lease, id: bigint, state: TransactionState, change: TransactionChange): Promise<void> {
    this.#requireLease(lease)
    const { transactions, attempts, now } = this.#tables
    const row = transactions.get(id)
    if (row === undefined) return
    const newest = 'attempts' in state ? state.attempts.at(-1) : undefined
    if (change.raw !== undefined && newest !== undefined) {
      if (attempts.has(newest.hash)) throw new Error('duplicate key: this attempt is stored')
      attempts.set(newest.hash, change.raw)
    }
    row.state = state
    row.changedAt = now()
    if (state.name === 'failed') this.#release(id)
    if (state.name === 'signed') {
      for (const head of this.#tables.headsAssigned(id)) head.skipped = undefined
      this.#clearings.forgetRefusals(id)
    }
    if (state.name === 'included') {
      for (const evidence of this.#tables.evidenceAssigned(id)) evidence.state = 'reported'
    }
    this.#noteSkips(id, change)
    this.#clearings.noteRefusals(id, change.refused ?? [])
  }

  async readRaw(hash: Hex): Promise<Hex | undefined> {
    return this.#tables.attempts.get(hash)
  }

  #assign(id: bigint, sealed: SealedTransaction): boolean {
    if (sealed.kind === 'report') {
      const row = this.#tables.evidence.get(sealed.evidence)
      if (row === undefined || row.assigned !== undefined) return false
      row.assigned = id
      return true
    }
    const heads = sealed.heads.map(({ enclave, size }) => this.#tables.logs.get(enclave)?.heads.get(size))
    const isFree = heads.every((head) => head !== undefined && head.assigned === undefined)
    if (!isFree || !this.#clearings.assign(id, sealed.clearings)) return false
    for (const head of heads) if (head !== undefined) head.assigned = id
    return true
  }

  /** What a failed transaction was for waits for the next one. */
  #release(id: bigint): void {
    for (const head of this.#tables.headsAssigned(id)) Object.assign(head, { assigned: undefined, skipped: undefined })
    for (const evidence of this.#tables.evidenceAssigned(id)) evidence.assigned = undefined
    this.#clearings.release(id)
  }

  #noteSkips(id: bigint, { skipped = [] }: TransactionChange): void {
    for (const { enclave, size, reason, retryAt } of skipped) {
      const row = this.#tables.logs.get(enclave)?.heads.get(size)
      if (row?.assigned !== id) continue
      row.skipped = retryAt === undefined ? reason : undefined
      row.assigned = retryAt === undefined ? id : undefined
      row.retryAt = retryAt === undefined ? undefined : Number(retryAt) * 1_000
    }
  }

  #ofAccount(account: Hex): TransactionRow[] {
    return [...this.#tables.transactions.values()].filter((row) => row.account === account)
  }

  // What is due

  async readDue(account: Hex, headsMax: number): Promise<Due> {
    const { logs, requests, now } = this.#tables
    const due = [...logs]
      .flatMap(([enclave, log]) => this.#dueOf(enclave, log) ?? [])
      .sort((a, b) => b.waited - a.waited || a.order - b.order)
      .slice(0, headsMax)
    const { clearings, waitedSeconds } = this.#clearings.readDue()
    const askedAt = requests.get(account)
    return {
      heads: due.map(({ head }) => head),
      clearings,
      waitedSeconds: Math.max((due[0]?.waited ?? 0) / 1_000, waitedSeconds),
      leaves: due.reduce((sum, { leaves }) => sum + leaves, 0n),
      value: due.reduce((sum, { value }) => sum + value, 0n),
      isAsked: askedAt !== undefined && askedAt > now() - REQUEST_LIFETIME_MS,
    }
  }

  #dueOf(enclave: Hex, log: LogRow): DueHead | undefined {
    const now = this.#tables.now()
    const newest = log.heads.get(BigInt(log.edge.size))
    if (log.role !== 'gateway' || log.isEnded || newest === undefined) return undefined
    if (newest.assigned !== undefined || newest.skipped !== undefined || (newest.retryAt ?? now) > now) return undefined
    const { head, receivedAt } = newest
    const onChain = this.#tables.settledHeads(enclave)
    const settled = onChain.reduce((max, { size }) => larger(max, size), 0n)
    const moved = onChain.reduce((max, { earned = 0n }) => larger(max, earned), 0n)
    const isOldAndUnproven = receivedAt < now - SUPERSEDED_GRACE_MS && !onChain.some(({ size }) => size === head.size)
    if (head.fees <= moved && head.size <= settled && !isOldAndUnproven) return undefined
    const first = [...log.heads.values()]
      .filter((row) => row.head.size > settled && row.assigned === undefined)
      .sort((a, b) => (a.head.size < b.head.size ? -1 : 1))[0]
    const since: HeadRow = first ?? newest
    return {
      head,
      waited: now - since.receivedAt,
      order: since.order,
      leaves: larger(head.size - settled, 0n),
      value: larger(head.fees - moved, 0n),
    }
  }

  async readPendingEvidence(): Promise<readonly PendingEvidence[]> {
    return [...this.#tables.evidence.values()]
      .filter(({ state, assigned }) => state === 'pending' && assigned === undefined)
      .sort((a, b) => a.notedAt - b.notedAt || a.order - b.order)
      .slice(0, EVIDENCE_MAX)
      .map(({ id, evidence: { enclave, calldata } }) => ({ id, enclave, calldata }))
  }

  async markEvidence(id: Hex, outcome: 'reported' | 'refused'): Promise<void> {
    const row = this.#tables.evidence.get(id)
    if (row !== undefined) row.state = outcome
  }

  // What the chain says

  async readCursor(): Promise<ChainCursor | undefined> {
    return this.#tables.cursor
  }

  async record(
    expected: ChainCursor | undefined,
    next: ChainCursor,
    from: bigint,
    events: ChainEvents,
  ): Promise<boolean> {
    const { cursor, batches } = this.#tables
    if (cursor?.block !== expected?.block || cursor?.hash !== expected?.hash) return false
    const kept = [...batches.values()].filter(({ block }) => block < from)
    const numbers = [...kept, ...events.batches].map(({ batch }) => batch)
    if (new Set(numbers).size < numbers.length) throw new Error('duplicate key: this batch is stored')
    batches.clear()
    for (const batch of [...kept, ...events.batches]) batches.set(batch.batch, batch)
    this.#clearings.record(from, next.finalBlock, events.clearings)
    this.#tables.cursor = next
    return true
  }

  async readBatch(batch: bigint): Promise<SettledBatch | undefined> {
    return this.#tables.batches.get(batch)
  }

  async readSettlementTotals(): Promise<SettlementTotals> {
    const unsettled = [...this.#tables.logs].filter(([enclave, { role, edge }]) => {
      const isSettled = this.#tables.settledHeads(enclave).some(({ size }) => size >= edge.size)
      return role === 'gateway' && edge.size > 0 && !isSettled
    })
    return { batches: this.#tables.batches.size, unsettledHeads: unsettled.length, ...this.#clearings.count() }
  }
}

type DueHead = {
  readonly head: EarningsHeadMessage
  /** In milliseconds. */
  readonly waited: number
  readonly order: number
  readonly leaves: bigint
  readonly value: bigint
}
