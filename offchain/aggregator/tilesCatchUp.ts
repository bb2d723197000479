/**
 * Brings what follows from a log's leaves up to where the leaves are: stored nodes (tilesStore.ts) and the index (proofsIndex.ts).
 *
 * It runs behind the deliveries, in steps of one transaction each, so it never holds up an acknowledgement, may be stopped anywhere and
 * goes on where it was; logs from before there were tiles are caught up in the same way. Two processes at the same log wait for each other.
 * @module
 */
import type { Sql, Transaction } from '#node/sql.ts'
import { joinBytes } from '#protocol/bytes.ts'
import { buildEntries, insertSegment, mergeSegments } from './proofsIndex.ts'
import { appendTiles, GROUP_WIDTH, readLeaves } from './tilesStore.ts'

/** Leaves in one transaction, and hashed at a time: one stored row of nodes, about 3 ms. */
const STEP_LEAVES = 262_144
const TURN_LEAVES = 4_096
const LEAF_BYTES = 32

/**
 * Stores all nodes that are complete in the log of `id` and indexes all its leaves, then tidies the index. Once `signal` is aborted it
 * returns without having done all of it.
 */
export async function catchUp(sql: Sql, id: Uint8Array, signal?: AbortSignal): Promise<void> {
  let isBehind = true
  while (isBehind && signal?.aborted !== true) {
    const step = await sql.begin((query) => catchUpStep(query, id))
    if (step === 'nothing') return
    isBehind = step === 'more'
  }
  try {
    while (signal?.aborted !== true && (await mergeSegments(sql, signal)));
  } catch (error) {
    // A merge that was told to stop is rolled back; the next process begins it anew.
    if (signal?.aborted !== true) throw error
  }
}

type Progress = { number: number; tiled: bigint; indexed: bigint; size: bigint }

async function catchUpStep(query: Transaction, id: Uint8Array): Promise<'more' | 'done' | 'nothing'> {
  const progress = await lockProgress(query, id)
  if (progress === undefined || progress.indexed >= progress.size) return 'nothing'
  const [size, indexed] = [Number(progress.size), Number(progress.indexed)]
  const to = Math.min(size, indexed - (indexed % STEP_LEAVES) + STEP_LEAVES)
  const entries: Uint8Array[] = []
  // Never ahead of the index, and behind it by less than a group.
  let tiled = Number(progress.tiled)
  for (let from = tiled; from < to; ) {
    const end = Math.min(to, from - (from % TURN_LEAVES) + TURN_LEAVES)
    const leaves = await readLeaves(query, id, from, end)
    const known = Math.max(0, indexed - from)
    entries.push(buildEntries(leaves.subarray(known * LEAF_BYTES), progress.number, from + known))
    const whole = end - (end % GROUP_WIDTH)
    if (whole > from) await appendTiles(query, id, from, leaves.subarray(0, (whole - from) * LEAF_BYTES))
    tiled = Math.max(tiled, whole)
    from = end
  }
  await insertSegment(query, joinBytes(entries))
  await query`update log_progress set tiled = ${tiled}, indexed = ${to} where enclave = ${id}`
  return to < size ? 'more' : 'done'
}

async function lockProgress(query: Transaction, id: Uint8Array): Promise<Progress | undefined> {
  const read = () => query<Progress[]>`
    select p.number, p.tiled, p.indexed, l.size
    from log_progress p join logs l on l.enclave = p.enclave where p.enclave = ${id} for update of p`
  const [known] = await read()
  if (known !== undefined) return known
  await query`
    insert into log_progress (enclave) select enclave from logs where enclave = ${id} on conflict do nothing`
  return (await read())[0]
}
