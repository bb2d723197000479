/** The aggregator's logs on PostgreSQL. @module */
import { strict as assert } from 'node:assert'
import type { Querier, Sql, Transaction } from '#node/sql.ts'
import { concatBytes, fromHex, type Hex, toHex } from '#protocol/bytes.ts'
import { keccak256 } from '#protocol/hash.ts'
import type { LogEdge } from '#protocol/log/edge.ts'
import type { EarningsHeadMessage } from '#protocol/wire/agentApi.ts'
import { toJson } from '#protocol/wire/json.ts'
import { buildLeafIndex, planMerge, RUN_LEAVES_MAX } from './leafRuns.ts'
import type { LogRole } from './standing.ts'
import type { Evidence, LockedLog, LogStore } from './store.ts'
import { catchUp } from './tilesCatchUp.ts'
import { readLeaves } from './tilesStore.ts'

const NODE_BYTES = 32
const RUN_BYTES_MAX = RUN_LEAVES_MAX * NODE_BYTES

export type HeadRow = {
  enclave: Uint8Array
  size: bigint
  root: Uint8Array
  fees: string
  r: Uint8Array
  vs: Uint8Array
}

/** The port on a migrated database. Once `signal` is aborted, what is written behind the deliveries stops at the next step. */
export function createLogStore(sql: Sql, signal?: AbortSignal): LogStore {
  return {
    withLog: (enclave, role, work) => withLog(sql, enclave, role, work),
    readLeaves: (enclave, from, to) => readLeaves(sql, fromHex(enclave, 20), from, to),
    async mergeRuns(enclave) {
      const id = fromHex(enclave, 20)
      // First, so that merged runs need no index of their own.
      await catchUp(sql, id, signal)
      while (signal?.aborted !== true && (await mergeOnce(sql, id)));
    },
    async readEnclave(enclave) {
      const id = fromHex(enclave, 20)
      const [row] = await sql<(HeadRow & { role: LogRole; settled: bigint | null })[]>`
        select l.role, h.enclave, h.size, h.root, h.fees::text, h.r, h.vs,
          (select max(b.size) from batch_heads b where b.enclave = l.enclave and b.size <= l.size) as settled
        from logs l join heads h on h.enclave = l.enclave and h.size = l.size
        where l.enclave = ${id}`
      if (row === undefined) return undefined
      return { role: row.role, settledSize: row.settled ?? 0n, head: headOfRow(row) }
    },
    async readTotals() {
      const [row] = await sql<{ enclaves: bigint; leaves: string }[]>`
        select count(*) as enclaves, coalesce(sum(size), 0)::text as leaves from logs where size > 0`
      return { enclaves: Number(row?.enclaves ?? 0n), leaves: BigInt(row?.leaves ?? '0') }
    },
  }
}

/** A head as the wire knows it. */
export function headOfRow(row: HeadRow): EarningsHeadMessage {
  return {
    enclave: toHex(row.enclave),
    size: row.size,
    root: toHex(row.root),
    fees: BigInt(row.fees),
    signature: { r: toHex(row.r), vs: toHex(row.vs) },
  }
}

async function withLog<T>(sql: Sql, enclave: Hex, role: LogRole, work: (log: LockedLog) => Promise<T>): Promise<T> {
  const id = fromHex(enclave, 20)
  const box = await sql.begin(async (query) => {
    // A process that hangs here must not keep others from this log.
    await query`set local idle_in_transaction_session_timeout = '30s'`
    await query`insert into logs (enclave, role) values (${id}, ${role}) on conflict do nothing`
    const [row] = await query<{ size: bigint; edge: Uint8Array; is_ended: boolean }[]>`
      select size, edge, is_ended from logs where enclave = ${id} for update`
    assert(row !== undefined, 'the log was inserted above')
    return { result: await work(lockedLog(query, id, { ...row, size: Number(row.size) })) }
  })
  return box.result as T
}

function lockedLog(
  query: Transaction,
  id: Uint8Array,
  row: { size: number; edge: Uint8Array; is_ended: boolean },
): LockedLog {
  return {
    edge: { size: row.size, nodes: splitNodes(row.edge) },
    isEnded: row.is_ended,
    async readHead(size) {
      const [head] = await query<HeadRow[]>`
        select enclave, size, root, fees::text, r, vs from heads where enclave = ${id} and size = ${size}`
      return head && headOfRow(head)
    },
    async readNeighbours(size) {
      const [below] = await query<HeadRow[]>`
        select enclave, size, root, fees::text, r, vs from heads
        where enclave = ${id} and size < ${size} order by size desc limit 1`
      const [above] = await query<HeadRow[]>`
        select enclave, size, root, fees::text, r, vs from heads
        where enclave = ${id} and size > ${size} order by size limit 1`
      return { below: below && headOfRow(below), above: above && headOfRow(above) }
    },
    readLeaves: (from, to) => readLeaves(query, id, from, to),
    async append(leaves, edge, head) {
      for (let from = 0; from < leaves.length; from += RUN_BYTES_MAX) {
        const run = leaves.subarray(from, from + RUN_BYTES_MAX)
        const start = row.size + from / NODE_BYTES
        await query`
          insert into leaf_runs (enclave, start, count, leaves, leaf_index)
          values (${id}, ${start}, ${run.length / NODE_BYTES}, ${run}, ${buildLeafIndex(run)})`
      }
      await query`update logs set size = ${edge.size}, edge = ${joinNodes(edge)} where enclave = ${id}`
      await insertHead(query, id, head)
    },
    noteHead: (head) => insertHead(query, id, head),
    async noteEvidence(evidence) {
      await insertEvidence(query, id, evidence)
      await query`update logs set is_ended = true where enclave = ${id}`
    },
  }
}

async function insertHead(query: Querier, id: Uint8Array, head: EarningsHeadMessage): Promise<void> {
  const { r, vs } = head.signature
  await query`
    insert into heads (enclave, size, root, fees, r, vs)
    values (${id}, ${head.size}, ${fromHex(head.root, 32)}, ${head.fees.toString()}::numeric, ${fromHex(r, 32)}, ${fromHex(vs, 32)})`
}

async function insertEvidence(query: Querier, id: Uint8Array, evidence: Evidence): Promise<void> {
  const calldata = fromHex(evidence.calldata)
  await query`
    insert into evidence (id, enclave, kind, heads, calldata)
    values (${keccak256(calldata)}, ${id}, ${evidence.kind}, ${toJson(evidence.heads)}, ${calldata})
    on conflict do nothing`
}

/** Merges one group of neighbours. Appends to the log wait meanwhile: they lock the same row. */
async function mergeOnce(sql: Sql, id: Uint8Array): Promise<boolean> {
  return sql.begin(async (query) => {
    await query`select 1 from logs where enclave = ${id} for update`
    const runs = await query<{ start: bigint; count: number }[]>`
      select start, count from leaf_runs where enclave = ${id} order by start`
    const plan = planMerge(runs.map(({ count }) => count))
    if (plan === undefined) return false
    const group = runs.slice(plan.first, plan.first + plan.length)
    const start = group[0]?.start ?? 0n
    const count = group.reduce((sum, run) => sum + run.count, 0)
    const end = Number(start) + count
    const leaves = await readLeaves(query, id, Number(start), end)
    const [progress] = await query<{ indexed: bigint }[]>`select indexed from log_progress where enclave = ${id}`
    const leafIndex = end <= (progress?.indexed ?? 0n) ? new Uint8Array() : buildLeafIndex(leaves)
    await query`delete from leaf_runs where enclave = ${id} and start >= ${start} and start < ${start + BigInt(count)}`
    await query`
      insert into leaf_runs (enclave, start, count, leaves, leaf_index)
      values (${id}, ${start}, ${count}, ${leaves}, ${leafIndex})`
    return true
  })
}

function splitNodes(bytes: Uint8Array): Uint8Array[] {
  const nodes: Uint8Array[] = []
  for (let offset = 0; offset < bytes.length; offset += NODE_BYTES) {
    nodes.push(new Uint8Array(bytes.subarray(offset, offset + NODE_BYTES)))
  }
  return nodes
}

function joinNodes(edge: LogEdge): Uint8Array {
  return concatBytes(...edge.nodes)
}
