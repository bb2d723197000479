/**
 * Where a leaf is, in all logs at once: an index by the leaf's first bits, whose cost grows with the logarithm of the leaves.
 *
 * A segment spreads some leaves over 2^bits buckets, about 64 to a bucket, by the first bits of the leaf: leaves are hashes, hence even.
 * Segments of one size class are merged four at a time, so there are few of them, and a lookup reads one bucket of each. PostgreSQL
 * itself looks whether the leaf's first bytes occur in a bucket; only buckets where they do are sent.
 *
 *   entry = first 4 bytes of the leaf || number of the log (4 bytes) || index in the log (6 bytes), big-endian, in any order
 * @module
 */
import type { Querier, Sql, Transaction } from '#node/sql.ts'
import { joinBytes, toHex } from '#protocol/bytes.ts'
import { expectedWindow, offsetsInWindow, prefixOfLeaf } from './leafRuns.ts'
import type { LeafPlace } from './store.ts'

const LEAF_BYTES = 32
const PREFIX_BYTES = 4
const PREFIX_BITS = 32
const ENTRY_BYTES = 14
const BUCKET_LEAVES = 64
/** Segments of one size class, from 4^k leaves to below 4^(k+1), that are merged into one. */
const MERGE_WIDTH = 4
/** Buckets written at once while segments are merged: keeps memory and each turn short. */
const SLICE_BUCKETS = 256
/** Runs may be merged away between two reads. */
const TRIES_MAX = 5
/** Lock of whoever merges segments. */
const MERGE_LOCK = 727_270

/**
 * Where each of `leaves` (32 bytes) may be, judged by its first four bytes: the caller compares the leaf at each place. Leaves taken in a
 * moment ago are not in the index yet; their runs are asked. `enclaves` remembers for the next call which log has which number.
 */
export async function findCandidates(
  sql: Querier,
  leaves: readonly Uint8Array[],
  enclaves: EnclaveNumbers = new Map(),
): Promise<LeafPlace[][]> {
  for (let tries = 0; ; tries++) {
    const { places, fresh } = await lookUp(sql, leaves, enclaves)
    if (fresh.length === 0) return places
    const complete = await searchRuns(sql, leaves, fresh, places)
    if (complete || tries === TRIES_MAX) return places
  }
}

/** Enclaves by their logs' numbers in one database: neither ever changes. */
export type EnclaveNumbers = Map<number, LeafPlace['enclave']>

type RunPlace = { readonly enclave: Uint8Array; readonly start: bigint; readonly count: number }
type LookUpRow =
  | { n: number; entries: Uint8Array; enclave: null; start: null; count: null }
  | ({ n: null; entries: null } & RunPlace)

/**
 * One statement, hence one snapshot: every leaf is in a segment or in a run that is listed. Of a bucket in which the prefix occurs once, and
 * where an entry begins, only that entry is sent.
 */
async function lookUp(
  sql: Querier,
  leaves: readonly Uint8Array[],
  enclaves: EnclaveNumbers,
): Promise<{ readonly places: LeafPlace[][]; readonly fresh: readonly RunPlace[] }> {
  const prefixes = leaves.map((leaf) => leaf.subarray(0, PREFIX_BYTES))
  const rows = await sql<LookUpRow[]>`
    select w.n,
      case when (m.at - 1) % ${ENTRY_BYTES} = 0 and position(w.prefix in substring(b.entries from m.at + 1)) = 0
        then substring(b.entries from m.at for ${ENTRY_BYTES}) else b.entries end as entries,
      null::bytea as enclave, null::bigint as start, null::int as count
    from unnest(
      ${leaves.map((_, n) => n)}::int[], ${prefixes}::bytea[],
      ${leaves.map((leaf) => prefixOfLeaf(leaf).toString())}::bigint[]
    ) as w (n, prefix, value)
    cross join leaf_segments s
    cross join lateral (
      select entries from leaf_buckets where segment = s.id and bucket = (w.value >> (${PREFIX_BITS} - s.bits))::int limit 1
    ) as b
    cross join lateral (select position(w.prefix in b.entries) as at) as m
    where m.at > 0
    union all
    select null, null, r.enclave, r.start, r.count
    from logs l left join log_progress p on p.enclave = l.enclave
    join leaf_runs r on r.enclave = l.enclave and r.start + r.count > coalesce(p.indexed, 0)
    where l.size > coalesce(p.indexed, 0)`
  const found = rows.flatMap((row) => (row.n === null ? [] : placesInBucket(row.entries, row.n, leaves[row.n])))
  const places: LeafPlace[][] = leaves.map(() => [])
  const unknown = new Set(found.flatMap(({ log }) => (enclaves.has(log) ? [] : [log])))
  if (unknown.size > 0) await readEnclaves(sql, unknown, enclaves)
  for (const { n, log, index } of found) {
    const enclave = enclaves.get(log)
    if (enclave !== undefined) places[n]?.push({ enclave, index })
  }
  return { places, fresh: rows.flatMap((row) => (row.n === null ? [row] : [])) }
}

type Found = { readonly n: number; readonly log: number; readonly index: number }

function placesInBucket(entries: Uint8Array, n: number, leaf: Uint8Array | undefined): Found[] {
  if (leaf === undefined) return []
  const found: Found[] = []
  const view = new DataView(entries.buffer, entries.byteOffset, entries.byteLength)
  const prefix = prefixOfLeaf(leaf)
  for (let at = 0; at < entries.length; at += ENTRY_BYTES) {
    if (view.getUint32(at) !== prefix) continue
    found.push({ n, log: view.getUint32(at + 4), index: view.getUint16(at + 8) * 2 ** 32 + view.getUint32(at + 10) })
  }
  return found
}

async function readEnclaves(sql: Querier, numbers: ReadonlySet<number>, enclaves: EnclaveNumbers): Promise<void> {
  const rows = await sql<{ number: number; enclave: Uint8Array }[]>`
    select number, enclave from log_progress where number = any(${[...numbers]}::int[])`
  for (const { number, enclave } of rows) enclaves.set(number, toHex(enclave))
}

/**
 * Adds the places that `runs` have, whether or not the segments have others: the same leaf may be in two logs, and a place in a segment may be of
 * another leaf that begins alike. Each run answers with the few entries of its own index where the leaf would be. Answers `false` when a run is gone
 * or has lost its index, which means that its leaves have come into the segments since.
 */
async function searchRuns(
  sql: Querier,
  leaves: readonly Uint8Array[],
  runs: readonly RunPlace[],
  places: LeafPlace[][],
): Promise<boolean> {
  const asked = leaves.flatMap((leaf, n) => {
    const prefix = prefixOfLeaf(leaf)
    return runs.map((run) => ({ n, prefix, run, window: expectedWindow(prefix, run.count) }))
  })
  const rows = await sql<{ at: number; entries: Uint8Array }[]>`
    select w.at, substring(r.leaf_index from w.first * 8 + 1 for (w.past - w.first) * 8) as entries
    from unnest(
      ${asked.map((_, at) => at)}::int[], ${asked.map(({ run }) => run.enclave)}::bytea[],
      ${asked.map(({ run }) => run.start.toString())}::bigint[], ${asked.map(({ run }) => run.count)}::int[],
      ${asked.map(({ window }) => window.from)}::int[], ${asked.map(({ window }) => window.to)}::int[]
    ) as w (at, enclave, start, count, first, past)
    join leaf_runs r on r.enclave = w.enclave and r.start = w.start and r.count = w.count and r.leaf_index <> ''`
  if (rows.length < asked.length) return false
  for (const { at, entries } of rows) {
    const { n, prefix, run, window } = asked[at] ?? {}
    if (n === undefined || run === undefined || window === undefined || prefix === undefined) continue
    const bounds = { isStart: window.from === 0, isEnd: window.to === run.count }
    const offsets = offsetsInWindow(entries, prefix, bounds) ?? (await offsetsInWhole(sql, run, prefix))
    if (offsets === undefined) return false
    for (const offset of offsets)
      addPlace(places[n], { enclave: toHex(run.enclave), index: Number(run.start) + offset })
  }
  return true
}

/** A run whose beginning is in the segments already has places that they have told. */
function addPlace(known: LeafPlace[] | undefined, place: LeafPlace): void {
  if (known?.some(({ enclave, index }) => enclave === place.enclave && index === place.index)) return
  known?.push(place)
}

async function offsetsInWhole(sql: Querier, run: RunPlace, prefix: number): Promise<number[] | undefined> {
  const [row] = await sql<{ leaf_index: Uint8Array }[]>`
    select leaf_index from leaf_runs where enclave = ${run.enclave} and start = ${run.start} and leaf_index <> ''`
  return row && offsetsInWindow(row.leaf_index, prefix, { isStart: true, isEnd: true })
}

/** The index's entries for `leaves`, which stand from `first` on in the log with this number. */
export function buildEntries(leaves: Uint8Array, log: number, first: number): Uint8Array {
  const count = leaves.length / LEAF_BYTES
  const source = new DataView(leaves.buffer, leaves.byteOffset, leaves.byteLength)
  const entries = new Uint8Array(count * ENTRY_BYTES)
  const view = new DataView(entries.buffer)
  for (let i = 0; i < count; i++) {
    const at = i * ENTRY_BYTES
    view.setUint32(at, source.getUint32(i * LEAF_BYTES))
    view.setUint32(at + 4, log)
    view.setUint16(at + 8, Math.floor((first + i) / 2 ** 32))
    view.setUint32(at + 10, (first + i) % 2 ** 32)
  }
  return entries
}

/** Adds a segment of these entries, at least one. */
export async function insertSegment(query: Transaction, entries: Uint8Array): Promise<void> {
  const count = entries.length / ENTRY_BYTES
  const bits = bitsFor(count)
  const id = await createSegment(query, bits, count)
  await insertBuckets(query, id, 0, spreadEntries(entries, bits, 0, 2 ** bits))
}

/** Merges one group of segments of a size class. Answers whether there was one to merge; another process may be at it. */
export async function mergeSegments(sql: Sql, signal?: AbortSignal): Promise<boolean> {
  return sql.begin(async (query) => {
    const [lock] = await query<{ is_ours: boolean }[]>`select pg_try_advisory_xact_lock(${MERGE_LOCK}) as is_ours`
    if (lock?.is_ours !== true) return false
    const segments = await query<SegmentRow[]>`select id, bits, count from leaf_segments order by count, id`
    const group = planSegmentMerge(segments)
    if (group === undefined) return false
    const count = group.reduce((sum, segment) => sum + Number(segment.count), 0)
    const bits = bitsFor(count)
    const id = await createSegment(query, bits, count)
    const step = Math.min(SLICE_BUCKETS, 2 ** bits)
    for (let first = 0; first < 2 ** bits; first += step) {
      signal?.throwIfAborted()
      const entries = joinBytes(await readSlice(query, group, first / 2 ** bits, (first + step) / 2 ** bits))
      await insertBuckets(query, id, first, spreadEntries(entries, bits, first, step))
    }
    const ids = group.map((segment) => segment.id.toString())
    await query`delete from leaf_segments where id = any(${ids}::bigint[])`
    await query`delete from leaf_buckets where segment = any(${ids}::bigint[])`
    return true
  })
}

type SegmentRow = { readonly id: bigint; readonly bits: number; readonly count: bigint }

/**
 * What to merge, of segments with the smallest first: up to the last size class that has too many, and all that is smaller with it, which
 * costs little and leaves fewer. So there are at most three of a class, and an entry is rewritten about once a class.
 */
export function planSegmentMerge<S extends { readonly count: bigint }>(
  segments: readonly S[],
): readonly S[] | undefined {
  const classOf = ({ count }: S) => Math.floor(Math.log2(Number(count)) / Math.log2(MERGE_WIDTH))
  for (let past = segments.length; past >= MERGE_WIDTH; past--) {
    const [first, last] = [segments[past - MERGE_WIDTH], segments[past - 1]]
    if (first !== undefined && last !== undefined && classOf(first) === classOf(last)) return segments.slice(0, past)
  }
  return undefined
}

/** Entries of the buckets that cover a part of all prefixes, `from` to `to` in 0 to 1; a small segment's reach beyond it. */
async function readSlice(
  query: Transaction,
  group: readonly SegmentRow[],
  from: number,
  to: number,
): Promise<Uint8Array[]> {
  const rows = await query<{ entries: Uint8Array }[]>`
    select b.entries
    from unnest(
      ${group.map(({ id }) => id.toString())}::bigint[], ${group.map(({ bits }) => Math.floor(from * 2 ** bits))}::int[],
      ${group.map(({ bits }) => Math.ceil(to * 2 ** bits))}::int[]
    ) as w (segment, first, past)
    cross join lateral (
      select entries from leaf_buckets where segment = w.segment and bucket >= w.first and bucket < w.past
      -- Nothing is skipped: it keeps this apart from the rest. Joined to many segments, the planner reads the whole table once it is large.
      offset 0
    ) b`
  return rows.map(({ entries }) => entries)
}

/** The entries that belong to `count` buckets from `first` on, bucket by bucket; others are left out. */
export function spreadEntries(entries: Uint8Array, bits: number, first: number, count: number): Uint8Array[] {
  const view = new DataView(entries.buffer, entries.byteOffset, entries.byteLength)
  const width = 2 ** (PREFIX_BITS - bits)
  const bucketOf = (at: number) => Math.floor(view.getUint32(at) / width) - first
  const lengths = new Uint32Array(count)
  for (let at = 0; at < entries.length; at += ENTRY_BYTES) {
    const bucket = bucketOf(at)
    if (bucket >= 0 && bucket < count) lengths[bucket] = (lengths[bucket] ?? 0) + ENTRY_BYTES
  }
  const buckets = Array.from(lengths, (length) => new Uint8Array(length))
  // Filled from their ends, so that what is left to fill says where.
  for (let at = entries.length - ENTRY_BYTES; at >= 0; at -= ENTRY_BYTES) {
    const bucket = bucketOf(at)
    const own = buckets[bucket]
    if (own === undefined) continue
    const to = (lengths[bucket] ?? 0) - ENTRY_BYTES
    lengths[bucket] = to
    for (let i = 0; i < ENTRY_BYTES; i++) own[to + i] = entries[at + i] ?? 0
  }
  return buckets
}

function bitsFor(count: number): number {
  return Math.max(0, Math.ceil(Math.log2(count / BUCKET_LEAVES)))
}

async function createSegment(query: Transaction, bits: number, count: number): Promise<bigint> {
  const [row] = await query<{ id: bigint }[]>`
    insert into leaf_segments (bits, count) values (${bits}, ${count}) returning id`
  return row?.id ?? 0n
}

async function insertBuckets(
  query: Transaction,
  segment: bigint,
  first: number,
  buckets: readonly Uint8Array[],
): Promise<void> {
  await query`
    insert into leaf_buckets (segment, bucket, entries)
    select ${segment}, ${first} + n - 1, entries
    from unnest(${buckets}::bytea[]) with ordinality as b (entries, n)
    where entries <> ''`
}
