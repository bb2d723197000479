/** `LogStore` in memory: one delivery of an enclave at a time, and what a delivery wrote is there at once or not at all. @module */
import { strict as assert } from 'node:assert'
import { larger } from '#protocol/bigints.ts'
import { concatBytes, equalBytes, fromHex, type Hex, toHex } from '#protocol/bytes.ts'
import { keccak256 } from '#protocol/hash.ts'
import { EMPTY_EDGE } from '#protocol/log/edge.ts'
import type { EarningsHeadMessage } from '#protocol/wire/agentApi.ts'
import type { LogRole } from '../../offchain/aggregator/standing.ts'
import type { LeafPlace, LockedLog, LogStore } from '../../offchain/aggregator/store.ts'
import type { LogRow, Tables } from './memoryTables.ts'

const LEAF_BYTES = 32

/** A log locked for one delivery. Reads what was committed before; to be ended by one of both. */
export type LogTransaction = { readonly log: LockedLog; commit(): void; abort(): void }

export class MemoryLogs implements LogStore {
  readonly #tables: Tables
  /** Who waits for an enclave's lock, behind who has it. */
  readonly #queues = new Map<Hex, (() => void)[]>()

  constructor(tables: Tables) {
    this.#tables = tables
  }

  async withLog<T>(enclave: Hex, role: LogRole, work: (log: LockedLog) => Promise<T>): Promise<T> {
    const transaction = await this.begin(enclave, role)
    try {
      const result = await work(transaction.log)
      transaction.commit()
      return result
    } catch (error) {
      transaction.abort()
      throw error
    }
  }

  /** Waits for the enclave's lock. `isWanted` is asked when it is free: who is dead by then does not get it. */
  async begin(enclave: Hex, role: LogRole, isWanted: () => boolean = () => true): Promise<LogTransaction> {
    const queue = this.#queues.get(enclave)
    if (queue === undefined) this.#queues.set(enclave, [])
    else await new Promise<void>((resolve) => queue.push(resolve))
    if (!isWanted()) {
      this.#passOn(enclave)
      throw new Error('nobody waits for this lock any more')
    }
    return this.#lock(enclave, role)
  }

  async readLeaves(enclave: Hex, from: number, to: number): Promise<Uint8Array> {
    return leavesOf(this.#tables.logs.get(enclave), from, to)
  }

  findLeaf(leaf: Uint8Array): LeafPlace[] {
    return [...this.#tables.logs].flatMap(([enclave, { leaves }]) =>
      Array.from({ length: leaves.length / LEAF_BYTES }, (_, index) => ({ enclave, index })).filter(({ index }) =>
        equalBytes(leaves.subarray(index * LEAF_BYTES, (index + 1) * LEAF_BYTES), leaf),
      ),
    )
  }

  async mergeRuns(): Promise<void> {
    // Leaves are in one piece here.
  }

  async readEnclave(enclave: Hex): ReturnType<LogStore['readEnclave']> {
    const row = this.#tables.logs.get(enclave)
    const head = row?.heads.get(BigInt(row.edge.size))?.head
    if (row === undefined || head === undefined) return undefined
    const settled = this.#tables.settledHeads(enclave).filter(({ size }) => size <= head.size)
    return { role: row.role, settledSize: settled.reduce((max, { size }) => larger(max, size), 0n), head }
  }

  async readTotals(): ReturnType<LogStore['readTotals']> {
    const rows = [...this.#tables.logs.values()].filter(({ edge }) => edge.size > 0)
    return { enclaves: rows.length, leaves: BigInt(rows.reduce((sum, { edge }) => sum + edge.size, 0)) }
  }

  #lock(enclave: Hex, role: LogRole): LogTransaction {
    const tables = this.#tables
    const row: LogRow = tables.logs.get(enclave) ?? {
      role,
      edge: EMPTY_EDGE,
      isEnded: false,
      leaves: new Uint8Array(),
      heads: new Map(),
    }
    const writes: (() => void)[] = []
    const insertHead = (head: EarningsHeadMessage) => {
      if (row.heads.has(head.size)) throw new Error('duplicate key: a head of this size is stored')
      writes.push(() => row.heads.set(head.size, { head, receivedAt: tables.now(), order: tables.next() }))
    }
    const heads = () => [...row.heads.values()].map(({ head }) => head).sort((a, b) => (a.size < b.size ? -1 : 1))
    const log: LockedLog = {
      edge: row.edge,
      isEnded: row.isEnded,
      readHead: async (size) => row.heads.get(size)?.head,
      readNeighbours: async (size) => ({
        below: heads().findLast((head) => head.size < size),
        above: heads().find((head) => head.size > size),
      }),
      readLeaves: async (from, to) => leavesOf(row, from, to),
      async append(leaves, edge, head) {
        insertHead(head)
        writes.push(() => {
          row.leaves = concatBytes(row.leaves, leaves)
          row.edge = edge
        })
      },
      noteHead: async (head) => insertHead(head),
      async noteEvidence(evidence) {
        const id = toHex(keccak256(fromHex(evidence.calldata)))
        writes.push(() => {
          const noted = { id, evidence, notedAt: tables.now(), order: tables.next(), state: 'pending' } as const
          if (!tables.evidence.has(id)) tables.evidence.set(id, noted)
          row.isEnded = true
        })
      },
    }
    let isOpen = true
    const end = (isCommitted: boolean) => {
      if (!isOpen) return
      isOpen = false
      if (isCommitted) {
        tables.logs.set(enclave, row)
        for (const write of writes) write()
      }
      this.#passOn(enclave)
    }
    return { log, commit: () => end(true), abort: () => end(false) }
  }

  #passOn(enclave: Hex): void {
    const next = this.#queues.get(enclave)?.shift()
    if (next === undefined) this.#queues.delete(enclave)
    else next()
  }
}

function leavesOf(row: LogRow | undefined, from: number, to: number): Uint8Array {
  if (from >= to) return new Uint8Array()
  const leaves = row?.leaves.slice(from * LEAF_BYTES, to * LEAF_BYTES) ?? new Uint8Array()
  assert(leaves.length === (to - from) * LEAF_BYTES, 'expected leaves that are held')
  return leaves
}
