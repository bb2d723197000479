/** Clearings in memory: what postgresClearings.ts does in SQL, said in loops. @module */
import type { Hex } from '#protocol/bytes.ts'
import type { SignedClearing } from '#protocol/wire/agentApi.ts'
import type {
  ClearingStore,
  RefusedClearing,
  SettledClearing,
  StoredClearing,
} from '../../offchain/aggregator/store.ts'
import type { ClearingRow, Tables } from './memoryTables.ts'

const CALL_CLEARINGS_MAX = 16
const PENDING_MAX = 4_096
const TRIES_MAX = 30
const MINUTE_MS = 60_000

export class MemoryClearings implements ClearingStore {
  readonly #tables: Tables

  constructor(tables: Tables) {
    this.#tables = tables
  }

  async accept(id: Hex, clearing: SignedClearing): Promise<'accepted' | 'full'> {
    const rows = this.#ofKeyset(clearing.keyset)
    if (rows.some((row) => row.id === id) || isCovered(rows, clearing)) return 'accepted'
    if (rows.filter(({ isDone, assigned }) => !isDone && assigned === undefined).length >= PENDING_MAX) return 'full'
    const { clearings, now } = this.#tables
    const row: ClearingRow = {
      seq: this.#tables.next(),
      id,
      clearing,
      lines: clearing.enclaves,
      receivedAt: now(),
      tries: 0,
      isDone: false,
    }
    clearings.set(row.seq, row)
    this.#dropSuperseded(row)
    return 'accepted'
  }

  /** What waits, oldest first, and for how many seconds the one has that waits longest. */
  readDue(): { readonly clearings: readonly StoredClearing[]; readonly waitedSeconds: number } {
    const { clearings, settledClearings, now } = this.#tables
    const due = [...clearings.values()]
      .filter(({ assigned, isDone }) => assigned === undefined && !isDone)
      .filter(({ skipped, retryAt }) => skipped === undefined || (retryAt !== undefined && retryAt <= now()))
      .filter(({ id }) => !settledClearings.has(id))
      .sort((a, b) => a.seq - b.seq)
      .slice(0, CALL_CLEARINGS_MAX)
    const waited = due.map(({ retryAt, receivedAt }) => (now() - (retryAt ?? receivedAt)) / 1_000)
    return {
      clearings: due.map(({ id, clearing, lines }) => ({ id, clearing: { ...clearing, enclaves: lines } })),
      waitedSeconds: due.length === 0 ? 0 : Math.max(...waited),
    }
  }

  /** Assigns clearings to a transaction, if each is free; answers whether. */
  assign(transaction: bigint, ids: readonly Hex[]): boolean {
    const rows = ids.map((id) => [...this.#tables.clearings.values()].find((row) => row.id === id))
    const isFree = rows.every((row) => row !== undefined && row.assigned === undefined)
    if (!isFree) return false
    for (const [position, row] of rows.entries()) {
      if (row !== undefined)
        Object.assign(row, { assigned: transaction, position, skipped: undefined, retryAt: undefined })
    }
    return true
  }

  release(transaction: bigint): void {
    for (const row of this.#tables.clearingsAssigned(transaction)) {
      Object.assign(row, { assigned: undefined, position: undefined, skipped: undefined, retryAt: undefined })
    }
  }

  forgetRefusals(transaction: bigint): void {
    for (const row of this.#tables.clearingsAssigned(transaction)) row.skipped = undefined
  }

  noteRefusals(transaction: bigint, refused: readonly RefusedClearing[]): void {
    for (const { position, reason, isRetried } of refused) {
      for (const row of this.#tables.clearingsAssigned(transaction)) {
        if (row.position !== position) continue
        const isTriedAgain = isRetried && row.tries < TRIES_MAX
        row.skipped = reason
        row.retryAt = isTriedAgain
          ? this.#tables.now() + Math.min(60, 2 ** Math.min(row.tries, 6)) * MINUTE_MS
          : undefined
        if (isTriedAgain) row.assigned = undefined
        row.tries++
      }
    }
  }

  record(from: bigint, finalBlock: bigint, settled: readonly SettledClearing[]): void {
    const { settledClearings, clearings } = this.#tables
    for (const [id, { block }] of settledClearings) if (block >= from) settledClearings.delete(id)
    for (const entry of settled) if (!settledClearings.has(entry.id)) settledClearings.set(entry.id, entry)
    for (const row of clearings.values()) {
      const block = settledClearings.get(row.id)?.block
      if (block !== undefined && block <= finalBlock) row.isDone = true
    }
  }

  count(): { readonly pendingClearings: number; readonly settledClearings: number } {
    const { clearings, settledClearings } = this.#tables
    const pending = [...clearings.values()].filter((row) => !row.isDone && counts(row) && !settledClearings.has(row.id))
    return { pendingClearings: pending.length, settledClearings: settledClearings.size }
  }

  #ofKeyset(keyset: Hex): ClearingRow[] {
    return [...this.#tables.clearings.values()].filter((row) => row.clearing.keyset === keyset)
  }

  /** Drops what `newest` made superfluous: clearings that wait in no transaction, and lines of those that are done. */
  #dropSuperseded(newest: ClearingRow): void {
    const rows = this.#ofKeyset(newest.clearing.keyset)
    for (const row of rows) {
      const isFree = row.seq < newest.seq && row.assigned === undefined && !row.isDone
      const newer = rows.filter(({ seq }) => seq > row.seq)
      if (isFree && isCovered(newer, { ...row.clearing, enclaves: row.lines })) this.#tables.clearings.delete(row.seq)
    }
    for (const row of rows) {
      if (!row.isDone || row.seq === newest.seq) continue
      row.lines = row.lines.filter(
        (line) => !newest.lines.some(({ enclave, captured }) => enclave === line.enclave && captured >= line.captured),
      )
    }
  }
}

/** Not refused for good. */
function counts({ skipped, retryAt }: ClearingRow): boolean {
  return skipped === undefined || retryAt !== undefined
}

/** Whether `rows` say all that `clearing` does. */
function isCovered(rows: readonly ClearingRow[], clearing: SignedClearing): boolean {
  const counting = rows.filter(counts)
  return (
    counting.some((row) => row.clearing.issued >= clearing.issued) &&
    counting.some((row) => row.clearing.captured >= clearing.captured) &&
    clearing.enclaves.every((line) =>
      counting.some(({ lines }) =>
        lines.some(({ enclave, captured }) => enclave === line.enclave && captured >= line.captured),
      ),
    )
  )
}
