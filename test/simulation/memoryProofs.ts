/** `ProofStore` in memory: nodes are made from the leaves when they are asked for. @module */
import type { Hex } from '#protocol/bytes.ts'
import type { BatchedHead } from '#protocol/log/batch.ts'
import { appendLeaves, createRows } from '#protocol/log/rows.ts'
import type { CoveringHead, ProofStore } from '../../offchain/aggregator/proofsStore.ts'
import type { LeafPlace, SettledBatch } from '../../offchain/aggregator/store.ts'
import type { GroupPlace } from '../../offchain/aggregator/tilesStore.ts'
import type { MemoryLogs } from './memoryLogs.ts'
import type { Tables } from './memoryTables.ts'

const NODE_BYTES = 32
const GROUP_WIDTH = 16
const HEADS_MAX = 4
/** Rows from one stored row to the next. */
const GROUP_HEIGHT = 4
/** Of tiles as they are served. */
const TILE_WIDTH = 256
const TILE_HEIGHT = 8

export class MemoryProofs implements ProofStore {
  readonly #tables: Tables
  readonly #logs: MemoryLogs

  constructor(tables: Tables, logs: MemoryLogs) {
    this.#tables = tables
    this.#logs = logs
  }

  async findCandidates(leaves: readonly Uint8Array[]): Promise<LeafPlace[][]> {
    return leaves.map((leaf) => this.#logs.findLeaf(leaf))
  }

  async readGroups(places: readonly GroupPlace[]): Promise<Uint8Array[]> {
    return places.map(({ enclave, level, index }) => {
      const nodes = this.#nodesOf(enclave, level * GROUP_HEIGHT)
      return nodes.slice(index * GROUP_WIDTH * NODE_BYTES, (index + 1) * GROUP_WIDTH * NODE_BYTES)
    })
  }

  async readTile(enclave: Hex, level: number, index: number, width: number): Promise<Uint8Array | undefined> {
    const start = index * TILE_WIDTH * NODE_BYTES
    const nodes = this.#nodesOf(enclave, level * TILE_HEIGHT).slice(start, start + width * NODE_BYTES)
    return nodes.length === width * NODE_BYTES ? nodes : undefined
  }

  /** All complete nodes of a row. */
  #nodesOf(enclave: Hex, level: number): Uint8Array {
    const rows = createRows()
    appendLeaves(rows, this.#tables.logs.get(enclave)?.leaves ?? new Uint8Array())
    const row = rows.rows[level]
    return row?.bytes.subarray(0, row.count * NODE_BYTES) ?? new Uint8Array()
  }

  async catchUp(): Promise<void> {
    // Nothing is behind here.
  }

  async readCovering(places: readonly LeafPlace[], wanted?: bigint): Promise<CoveringHead[][]> {
    const { logs, batches, cursor } = this.#tables
    return places.map(({ enclave, index }) => {
      const held = BigInt(logs.get(enclave)?.edge.size ?? 0)
      return [...batches.values()]
        .flatMap((entry) => coveringHeads(entry, enclave, cursor?.finalBlock))
        .filter(({ size }) => size > index && size <= held && (wanted === undefined || size === wanted))
        .sort((a, b) => Number(a.size - b.size) || Number(a.batch - b.batch))
        .slice(0, HEADS_MAX)
    })
  }

  async readHeads(wanted: readonly bigint[]): Promise<Map<bigint, BatchedHead[]>> {
    const entries = wanted.flatMap((batch): [bigint, BatchedHead[]][] => {
      const heads = this.#tables.batches.get(batch)?.heads
      return heads === undefined ? [] : [[batch, heads.map(({ enclave, size, root }) => ({ enclave, size, root }))]]
    })
    return new Map(entries)
  }
}

function coveringHeads(entry: SettledBatch, enclave: Hex, finalBlock: bigint | undefined): CoveringHead[] {
  const { batch, root: batchRoot, transaction, block } = entry
  return entry.heads.flatMap((head, batchIndex) => {
    const { size, root } = head
    const isFinal = finalBlock !== undefined && block <= finalBlock
    return head.enclave === enclave ? [{ size, root, batch, batchIndex, batchRoot, transaction, block, isFinal }] : []
  })
}
