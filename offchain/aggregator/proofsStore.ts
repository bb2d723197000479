/** What proofs are read from, on PostgreSQL: where leaves are, nodes of logs, and which heads settled in which batches. @module */
import { bulkHex } from '#node/bulkHex.ts'
import type { Sql } from '#node/sql.ts'
import { fromHex, type Hex } from '#protocol/bytes.ts'
import type { BatchedHead } from '#protocol/log/batch.ts'
import { type EnclaveNumbers, findCandidates } from './proofsIndex.ts'
import type { LeafPlace } from './store.ts'
import type { GroupStore } from './tiles.ts'
import { catchUp } from './tilesCatchUp.ts'
import { readGroups, readTile } from './tilesStore.ts'

/** Settled heads looked at for one leaf: of more than one only if its enclave forked. */
const HEADS_MAX = 4

export type ProofStore = GroupStore & {
  /** Where each leaf (32 bytes) may be: the caller compares the leaf at each place. */
  findCandidates(leaves: readonly Uint8Array[]): Promise<LeafPlace[][]>
  /**
   * For each place, settled heads that cover it, smallest first: of exactly `size` leaves when that is given, and never of more than are
   * held here.
   */
  readCovering(places: readonly LeafPlace[], size?: bigint): Promise<CoveringHead[][]>
  /** Heads of batches in the order of their trees. */
  readHeads(batches: readonly bigint[]): Promise<Map<bigint, BatchedHead[]>>
  /** The first `width` nodes of a served tile; `undefined` while it has fewer. */
  readTile(enclave: Hex, level: number, index: number, width: number): Promise<Uint8Array | undefined>
}

/** A head and the batch it settled in, as one snapshot had them. `isFinal`: no reorganisation will take it back. */
export type CoveringHead = {
  readonly size: bigint
  readonly root: Hex
  readonly batch: bigint
  readonly batchIndex: number
  readonly batchRoot: Hex
  readonly transaction: Hex
  readonly block: bigint
  readonly isFinal: boolean
}

/** The port on a migrated database. */
export function createProofStore(sql: Sql): ProofStore {
  const enclaves: EnclaveNumbers = new Map()
  return {
    findCandidates: (leaves) => findCandidates(sql, leaves, enclaves),
    readGroups: (places) => readGroups(sql, places),
    catchUp: (enclave) => catchUp(sql, fromHex(enclave, 20)),
    readCovering: (places, size) => readCovering(sql, places, size),
    readHeads: (batches) => readHeads(sql, batches),
    async readTile(enclave, level, index, width) {
      const nodes = await readTile(sql, enclave, level, index, width)
      if (nodes !== undefined || level === 0) return nodes
      // What is missing may be stored in a moment: its leaves are held already.
      await catchUp(sql, fromHex(enclave, 20))
      return readTile(sql, enclave, level, index, width)
    },
  }
}

type CoveringRow = {
  n: number
  size: bigint
  root: Uint8Array
  batch: bigint
  position: number
  batch_root: Uint8Array
  transaction: Uint8Array
  block: bigint
  is_final: boolean
}

async function readCovering(sql: Sql, places: readonly LeafPlace[], size?: bigint): Promise<CoveringHead[][]> {
  const heads: CoveringHead[][] = places.map(() => [])
  if (places.length === 0) return heads
  const rows = await sql<CoveringRow[]>`
    select w.n, h.size, h.root, h.batch, h.position, b.root as batch_root, b.transaction, b.block,
      coalesce(b.block <= (select final_block from chain where id = 1), false) as is_final
    from unnest(
      ${places.map((_, n) => n)}::int[], ${places.map(({ enclave }) => fromHex(enclave, 20))}::bytea[],
      ${places.map(({ index }) => index.toString())}::bigint[]
    ) as w (n, enclave, index)
    join logs l on l.enclave = w.enclave
    cross join lateral (
      select size, root, batch, position from batch_heads
      where enclave = w.enclave and size > w.index and size >= ${size ?? 0n}::bigint
        and size <= least(l.size, ${size ?? null}::bigint)
      order by size, batch limit ${HEADS_MAX}
    ) as h
    join batches b on b.batch = h.batch
    order by w.n, h.size, h.batch`
  for (const row of rows) {
    heads[row.n]?.push({
      size: row.size,
      root: bulkHex(row.root),
      batch: row.batch,
      batchIndex: row.position,
      batchRoot: bulkHex(row.batch_root),
      transaction: bulkHex(row.transaction),
      block: row.block,
      isFinal: row.is_final,
    })
  }
  return heads
}

async function readHeads(sql: Sql, batches: readonly bigint[]): Promise<Map<bigint, BatchedHead[]>> {
  const heads = new Map<bigint, BatchedHead[]>()
  if (batches.length === 0) return heads
  const rows = await sql<{ batch: bigint; enclave: Uint8Array; size: bigint; root: Uint8Array }[]>`
    select batch, enclave, size, root from batch_heads
    where batch = any(${batches.map(String)}::bigint[]) order by batch, position`
  for (const { batch, enclave, size, root } of rows) {
    const known = heads.get(batch) ?? []
    known.push({ enclave: bulkHex(enclave), size, root: bulkHex(root) })
    heads.set(batch, known)
  }
  return heads
}
