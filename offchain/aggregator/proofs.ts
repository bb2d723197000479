/** From a leaf to everything a contract needs to believe that it settled. @module */
import { type Hex, toHex } from '#protocol/bytes.ts'
import type { Keccak256 } from '#protocol/hash.ts'
import { appendLeaves, createRows, type LogRows, pathAt, rootAt, sizeOfRows } from '#protocol/log/rows.ts'
import type { SettledLeaf } from '#protocol/wire/receiptFile.ts'
import { batchPath } from './batchTree.ts'
import type { LeafPlace, LogStore, SettlementStore } from './store.ts'

export type ProofPorts = {
  readonly logs: LogStore
  readonly settlement: SettlementStore
  readonly rows: RowsCache
  readonly hash: Keccak256
}

export type LeafProof = { readonly state: 'settled'; readonly settled: SettledLeaf } | { readonly state: 'pending' }

/** The settled proof of a leaf (32 bytes), `pending` while no settled head covers it, `undefined` for a leaf nobody delivered. */
export async function proveLeaf(ports: ProofPorts, leaf: Uint8Array): Promise<LeafProof | undefined> {
  const places = await ports.logs.findLeaf(leaf)
  if (places.length === 0) return undefined
  for (const place of places) {
    const settled = await provePlace(ports, place)
    if (settled !== undefined) return { state: 'settled', settled }
  }
  return { state: 'pending' }
}

async function provePlace(ports: ProofPorts, { enclave, index }: LeafPlace): Promise<SettledLeaf | undefined> {
  const summary = await ports.logs.readEnclave(enclave)
  if (summary === undefined) return undefined
  for (const { size, root, batch } of await ports.settlement.readSettled(enclave, index, summary.head.size)) {
    const rows = await ports.rows.read(enclave, Number(size))
    // An enclave that forked may have settled a root over other leaves than those delivered here.
    if (toHex(rootAt(rows, Number(size), ports.hash)) !== root) continue
    const entry = await ports.settlement.readBatch(batch)
    const batchIndex =
      entry?.heads.findIndex((head) => head.enclave === enclave && head.size === size && head.root === root) ?? -1
    // Reorganised away between two reads.
    if (entry === undefined || batchIndex === -1) continue
    return {
      enclave,
      index: BigInt(index),
      size,
      logPath: pathAt(rows, index, Number(size), ports.hash).map(toHex),
      batch,
      batchIndex: BigInt(batchIndex),
      batchSize: BigInt(entry.heads.length),
      batchPath: batchPath(entry.heads, batchIndex),
      transaction: entry.transaction,
      block: entry.block,
    }
  }
  return undefined
}

/**
 * Rows of logs in memory, rebuilt from the stored leaves when they are asked for. A log only grows, so what is here is never wrong,
 * at most short. The logs asked for longest ago go first once there are more than `leavesMax` leaves.
 */
export class RowsCache {
  readonly #store: LogStore
  readonly #hash: Keccak256
  readonly #leavesMax: number
  readonly #entries = new Map<Hex, CachedLog>()

  constructor(store: LogStore, hash: Keccak256, leavesMax: number) {
    this.#store = store
    this.#hash = hash
    this.#leavesMax = leavesMax
  }

  /** Rows of at least the first `size` leaves, which must be stored. */
  async read(enclave: Hex, size: number): Promise<LogRows> {
    const entry = this.#entries.get(enclave) ?? { rows: createRows(), turn: Promise.resolve() }
    // Last in the map is asked for last.
    this.#entries.delete(enclave)
    this.#entries.set(enclave, entry)
    // Each reader waits for the one before: two must not append the same leaves.
    const turn = entry.turn.then(() => this.#fill(enclave, entry.rows, size))
    entry.turn = turn.catch(() => {
      // This reader's failure; the next one reads for itself.
    })
    await turn
    this.#evict(enclave)
    return entry.rows
  }

  async #fill(enclave: Hex, rows: LogRows, size: number): Promise<void> {
    const held = sizeOfRows(rows)
    if (held < size) appendLeaves(rows, await this.#store.readLeaves(enclave, held, size), this.#hash)
  }

  #evict(kept: Hex): void {
    let total = 0
    for (const [enclave, { rows }] of [...this.#entries].reverse()) {
      total += sizeOfRows(rows)
      if (total > this.#leavesMax && enclave !== kept) this.#entries.delete(enclave)
    }
  }
}

type CachedLog = { readonly rows: LogRows; turn: Promise<void> }
