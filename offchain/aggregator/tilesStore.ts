/**
 * Logs' nodes on PostgreSQL: what proofs are made of, without a whole log.
 *
 * The tree is cut at every fourth row. Row 0, the leaves, is in the leaf runs; rows 4, 8, 12 and so on are in `log_tiles`, 256 nodes to a
 * database row, and the three rows between are hashed from groups of sixteen. So every second stored row is a row of served tiles, a
 * proof needs one group for each factor of sixteen, and what is stored beside the leaves is a fifteenth of them.
 * @module
 */
import { strict as assert } from 'node:assert'
import { bulkParents } from '#node/bulkParents.ts'
import type { Querier } from '#node/sql.ts'
import { concatBytes, fromHex, type Hex } from '#protocol/bytes.ts'
import { TILE_HEIGHT, TILE_WIDTH } from '#protocol/log/tiles.ts'

/** Rows between two stored ones, and nodes that one node of the upper of them covers in the lower. */
export const GROUP_HEIGHT = 4
export const GROUP_WIDTH = 16

const NODE_BYTES = 32
const GROUP_BYTES = GROUP_WIDTH * NODE_BYTES
const GROUPS_PER_ROW = TILE_WIDTH / GROUP_WIDTH

/** Sixteen nodes of the tree's row `level * 4`, from `index * 16` on. */
export type GroupPlace = { readonly enclave: Hex; readonly level: number; readonly index: number }

/** The nodes of each place, in its order: 32 bytes for each node that is complete and stored, none when there is none. */
export async function readGroups(sql: Querier, places: readonly GroupPlace[]): Promise<Uint8Array[]> {
  const groups: Uint8Array[] = places.map(() => new Uint8Array())
  const leaves = places.flatMap((place, n) => (place.level === 0 ? [{ ...place, n }] : []))
  const nodes = places.flatMap((place, n) => (place.level === 0 ? [] : [{ ...place, n }]))
  const answers = await Promise.all([readLeafGroups(sql, leaves), readNodeGroups(sql, nodes)])
  for (const { n, part } of answers.flat()) groups[n] = part
  return groups
}

type NumberedPlace = GroupPlace & { readonly n: number }
type GroupRow = { n: number; part: Uint8Array }

/** Runs begin anywhere, so a group may lie across several. Each is found by the last run that begins at or before the group. */
async function readLeafGroups(sql: Querier, places: readonly NumberedPlace[]): Promise<readonly GroupRow[]> {
  if (places.length === 0) return []
  return sql<GroupRow[]>`
    select w.n, string_agg(r.part, ''::bytea order by r.start) as part
    from unnest(
      ${places.map(({ n }) => n)}::int[], ${enclaveArray(places)}::bytea[],
      ${places.map(({ index }) => (index * GROUP_WIDTH).toString())}::bigint[]
    ) as w (n, enclave, first)
    cross join lateral (
      select r.start, substring(r.leaves
        from (greatest(w.first - r.start, 0) * 32 + 1)::int
        for (greatest(least(w.first + ${GROUP_WIDTH} - r.start, r.count) - greatest(w.first - r.start, 0), 0) * 32)::int) as part
      from leaf_runs r
      where r.enclave = w.enclave and r.start < w.first + ${GROUP_WIDTH} and r.start >= (
        select max(s.start) from leaf_runs s where s.enclave = w.enclave and s.start <= w.first)
    ) as r
    group by w.n`
}

async function readNodeGroups(sql: Querier, places: readonly NumberedPlace[]): Promise<readonly GroupRow[]> {
  if (places.length === 0) return []
  return sql<GroupRow[]>`
    select w.n, t.part
    from unnest(
      ${places.map(({ n }) => n)}::int[], ${enclaveArray(places)}::bytea[], ${places.map(({ level }) => level)}::int[],
      ${places.map(({ index }) => index.toString())}::bigint[]
    ) as w (n, enclave, level, index)
    cross join lateral (
      select substring(t.nodes from ((w.index % ${GROUPS_PER_ROW}) * ${GROUP_BYTES} + 1)::int for ${GROUP_BYTES}) as part
      from log_tiles t
      where t.enclave = w.enclave and t.level = w.level and t.index = w.index / ${GROUPS_PER_ROW} limit 1
    ) as t`
}

function enclaveArray(places: readonly GroupPlace[]): Uint8Array[] {
  return places.map(({ enclave }) => fromHex(enclave, 20))
}

/**
 * The first `width` nodes of the served tile (level, index), eight rows of the tree to a level; `undefined` while it has fewer. Those of
 * level 0 are leaves.
 */
export async function readTile(
  sql: Querier,
  enclave: Hex,
  level: number,
  index: number,
  width: number,
): Promise<Uint8Array | undefined> {
  const id = fromHex(enclave, 20)
  if (level > 0) {
    const stored = level * (TILE_HEIGHT / GROUP_HEIGHT)
    const [row] = await sql<{ nodes: Uint8Array }[]>`
      select substring(nodes from 1 for ${width * NODE_BYTES}::int) as nodes
      from log_tiles where enclave = ${id} and level = ${stored} and index = ${index}`
    return row?.nodes.length === width * NODE_BYTES ? row.nodes : undefined
  }
  const first = index * TILE_WIDTH
  const [log] = await sql<{ size: bigint }[]>`select size from logs where enclave = ${id}`
  if (log === undefined || log.size < first + width) return undefined
  return readLeaves(sql, id, first, first + width)
}

/** Leaves from `from` (inclusive) to `to` (exclusive), all of which must be held. */
export async function readLeaves(sql: Querier, id: Uint8Array, from: number, to: number): Promise<Uint8Array> {
  if (from >= to) return new Uint8Array()
  const runs = await sql<{ part: Uint8Array }[]>`
    select substring(leaves
      from (greatest(${from}::bigint - start, 0) * 32 + 1)::int
      for ((least(${to}::bigint - start, count) - greatest(${from}::bigint - start, 0)) * 32)::int) as part
    from leaf_runs
    where enclave = ${id} and start < ${to} and start + count > ${from} order by start`
  const leaves = concatBytes(...runs.map(({ part }) => part))
  assert(leaves.length === (to - from) * NODE_BYTES, 'the runs of a log cover it without gaps')
  return leaves
}

/**
 * Stores the nodes that `leaves` complete. They begin at leaf `from`, up to which nodes are stored; both are multiples of sixteen leaves.
 * The caller holds the log's row of `log_progress` locked.
 */
export async function appendTiles(query: Querier, id: Uint8Array, from: number, leaves: Uint8Array): Promise<void> {
  assert(from % GROUP_WIDTH === 0 && leaves.length % GROUP_BYTES === 0, 'whole groups of leaves')
  let nodes = leaves
  let first = from
  for (let level = 0; nodes.length > 0; level++) {
    if (level > 0) await appendNodes(query, id, level, first, nodes)
    const waiting = first % GROUP_WIDTH
    if (waiting > 0) nodes = concatBytes(await readWaiting(query, id, level, first, waiting), nodes)
    first = Math.floor(first / GROUP_WIDTH)
    nodes = nodes.subarray(0, nodes.length - (nodes.length % GROUP_BYTES))
    for (let row = 0; row < GROUP_HEIGHT; row++) nodes = bulkParents(nodes)
  }
}

/** The last `count` nodes before `first`, of the group that is not full yet. */
async function readWaiting(
  query: Querier,
  id: Uint8Array,
  level: number,
  first: number,
  count: number,
): Promise<Uint8Array> {
  const [row] = await query<{ part: Uint8Array }[]>`
    select substring(nodes from ${((first - count) % TILE_WIDTH) * NODE_BYTES + 1}::int for ${count * NODE_BYTES}::int) as part
    from log_tiles where enclave = ${id} and level = ${level} and index = ${Math.floor(first / TILE_WIDTH)}`
  assert(row?.part.length === count * NODE_BYTES, 'nodes are stored up to where more are appended')
  return row.part
}

async function appendNodes(
  query: Querier,
  id: Uint8Array,
  level: number,
  first: number,
  nodes: Uint8Array,
): Promise<void> {
  for (let start = first, rest = nodes; rest.length > 0; ) {
    const count = Math.min(rest.length / NODE_BYTES, TILE_WIDTH - (start % TILE_WIDTH))
    await query`
      insert into log_tiles (enclave, level, index, nodes)
      values (${id}, ${level}, ${Math.floor(start / TILE_WIDTH)}, ${rest.subarray(0, count * NODE_BYTES)})
      on conflict (enclave, level, index) do update set nodes = log_tiles.nodes || excluded.nodes`
    start += count
    rest = rest.subarray(count * NODE_BYTES)
  }
}
