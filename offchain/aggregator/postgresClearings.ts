/**
 * Clearings on PostgreSQL. Totals are cumulative, so a clearing that waits is needed only while it states the newest total of some enclave,
 * or of all; what newer ones of its keyset say in full is dropped. The contract takes whole clearings only, so the rest stay whole.
 * @module
 */
import { strict as assert } from 'node:assert'
import type { Sql, Transaction } from '#node/sql.ts'
import { fromHex, type Hex, toHex } from '#protocol/bytes.ts'
import type { SignedClearing } from '#protocol/wire/agentApi.ts'
import type { ClearingStore, RefusedClearing, SettledClearing, StoredClearing } from './store.ts'

/** Clearings in one call: `CLEARINGS_MAX` of ReceiptSettlement. */
const CALL_CLEARINGS_MAX = 16
/** Clearings of one keyset that wait: an honest issuer has at most one for each enclave that it pays. */
const PENDING_MAX = 4_096n
/** Refusals after which a clearing is not tried again, at pauses of 1, 2, 4 ... 60 minutes: about a day. */
const TRIES_MAX = 30

/** The port on a migrated database. */
export function createClearingStore(sql: Sql): ClearingStore {
  return { accept: (id, clearing) => sql.begin((query) => accept(query, id, clearing)) }
}

async function accept(query: Transaction, id: Hex, clearing: SignedClearing): Promise<'accepted' | 'full'> {
  const keyset = fromHex(clearing.keyset, 32)
  await query`insert into keysets (keyset) values (${keyset}) on conflict do nothing`
  await query`select 1 from keysets where keyset = ${keyset} for update`
  const held = await query`select 1 from clearings where id = ${fromHex(id, 32)}`
  if (held.length > 0 || (await isCovered(query, keyset, clearing))) return 'accepted'
  const [waiting] = await query<{ count: bigint }[]>`
    select count(*) as count from clearings where keyset = ${keyset} and not is_done and assigned is null`
  if ((waiting?.count ?? 0n) >= PENDING_MAX) return 'full'
  const [row] = await query<{ seq: bigint }[]>`
    insert into clearings (id, keyset, issued, captured, r, vs)
    values (${fromHex(id, 32)}, ${keyset}, ${clearing.issued.toString()}::numeric, ${clearing.captured.toString()}::numeric,
      ${fromHex(clearing.r, 32)}, ${fromHex(clearing.vs, 32)})
    returning seq`
  assert(row !== undefined, 'an inserted row is returned')
  if (clearing.enclaves.length > 0) {
    await query`
      insert into clearing_lines (clearing, position, keyset, enclave, captured)
      select ${row.seq}, position - 1, ${keyset}, enclave, captured::numeric
      from unnest(${enclavesOf(clearing)}::bytea[], ${totalsOf(clearing)}::text[])
        with ordinality as l (enclave, captured, position)`
  }
  await dropSuperseded(query, keyset, row.seq)
  return 'accepted'
}

/** Whether clearings held already, and not refused for good, say all that this one does. */
async function isCovered(query: Transaction, keyset: Uint8Array, clearing: SignedClearing): Promise<boolean> {
  const [row] = await query<{ covers: boolean | null }[]>`
    select max(issued) >= ${clearing.issued.toString()}::numeric and max(captured) >= ${clearing.captured.toString()}::numeric
      and not exists (
        select 1 from unnest(${enclavesOf(clearing)}::bytea[], ${totalsOf(clearing)}::text[]) as l (enclave, captured)
        where not exists (
          select 1 from clearing_lines n join clearings k on k.seq = n.clearing
          where n.keyset = ${keyset} and n.enclave = l.enclave and n.captured >= l.captured::numeric
            and (k.skipped is null or k.retry_at is not null)
        )
      ) as covers
    from clearings where keyset = ${keyset} and (skipped is null or retry_at is not null)`
  return row?.covers === true
}

/** Drops what `newest` made superfluous: clearings that wait in no transaction, and lines of those that are done. */
async function dropSuperseded(query: Transaction, keyset: Uint8Array, newest: bigint): Promise<void> {
  await query`
    delete from clearings c
    where c.keyset = ${keyset} and c.seq < ${newest} and c.assigned is null and not c.is_done
      and (
        select max(n.issued) >= c.issued and max(n.captured) >= c.captured from clearings n
        where n.keyset = ${keyset} and n.seq > c.seq and (n.skipped is null or n.retry_at is not null)
      )
      and not exists (
        select 1 from clearing_lines l where l.clearing = c.seq and not exists (
          select 1 from clearing_lines n join clearings k on k.seq = n.clearing
          where n.keyset = ${keyset} and n.enclave = l.enclave and n.clearing > c.seq and n.captured >= l.captured
            and (k.skipped is null or k.retry_at is not null)
        )
      )`
  await query`
    delete from clearing_lines l using clearings c, clearing_lines n
    where c.seq = l.clearing and c.is_done and l.keyset = ${keyset} and l.clearing < ${newest}
      and n.clearing = ${newest} and n.enclave = l.enclave and n.captured >= l.captured`
}

/** Clearings that wait, oldest first, and how long the one that waits longest has waited, in seconds. */
export async function readDueClearings(
  sql: Sql,
): Promise<{ readonly clearings: readonly StoredClearing[]; readonly waitedSeconds: number }> {
  const rows = await sql<ClearingRow[]>`
    select c.seq, c.id, c.keyset, c.issued::text, c.captured::text, c.r, c.vs,
      extract(epoch from now() - coalesce(c.retry_at, c.received_at))::float8 as waited
    from clearings c
    where c.assigned is null and not c.is_done and (c.skipped is null or c.retry_at <= now())
      and not exists (select 1 from settled_clearings s where s.id = c.id)
    order by c.seq limit ${CALL_CLEARINGS_MAX}`
  if (rows.length === 0) return { clearings: [], waitedSeconds: 0 }
  const lines = await sql<{ clearing: bigint; enclave: Uint8Array; captured: string }[]>`
    select clearing, enclave, captured::text from clearing_lines
    where clearing = any(${rows.map(({ seq }) => seq.toString())}::bigint[]) order by clearing, position`
  const clearings = rows.map((row) => ({
    id: toHex(row.id),
    clearing: {
      keyset: toHex(row.keyset),
      issued: BigInt(row.issued),
      captured: BigInt(row.captured),
      enclaves: lines
        .filter(({ clearing }) => clearing === row.seq)
        .map(({ enclave, captured }) => ({ enclave: toHex(enclave), captured: BigInt(captured) })),
      r: toHex(row.r),
      vs: toHex(row.vs),
    },
  }))
  return { clearings, waitedSeconds: Math.max(...rows.map(({ waited }) => waited)) }
}

type ClearingRow = {
  seq: bigint
  id: Uint8Array
  keyset: Uint8Array
  issued: string
  captured: string
  r: Uint8Array
  vs: Uint8Array
  waited: number
}

/** Assigns clearings to a transaction in the order of its call. Answers whether each was still free. */
export async function assignClearings(query: Transaction, transaction: bigint, ids: readonly Hex[]): Promise<boolean> {
  if (ids.length === 0) return true
  const taken = await query`
    update clearings c set assigned = ${transaction}, position = l.position - 1, skipped = null, retry_at = null
    from unnest(
      ${ids.map((id) => fromHex(id, 32))}::bytea[]
    ) with ordinality as l (id, position)
    where c.id = l.id and c.assigned is null`
  return taken.count === ids.length
}

/** What a failed transaction was for waits for the next one. */
export async function releaseClearings(query: Transaction, transaction: bigint): Promise<void> {
  await query`
    update clearings set assigned = null, position = null, skipped = null, retry_at = null where assigned = ${transaction}`
}

/** Forgets refusals that a reorganised block told. */
export async function forgetRefusals(query: Transaction, transaction: bigint): Promise<void> {
  await query`update clearings set skipped = null where assigned = ${transaction} and skipped is not null`
}

/** Keeps what the contract refused with its reason: for good, or until a later try. */
export async function noteRefusals(
  query: Transaction,
  transaction: bigint,
  refused: readonly RefusedClearing[],
): Promise<void> {
  for (const { position, reason, isRetried } of refused) {
    await query`
      update clearings set skipped = ${reason}, tries = tries + 1,
        assigned = case when ${isRetried} and tries < ${TRIES_MAX} then null else assigned end,
        retry_at = case when ${isRetried} and tries < ${TRIES_MAX}
          then now() + least(interval '1 hour', interval '1 minute' * power(2, least(tries, 6))) end
      where assigned = ${transaction} and position = ${position}`
  }
}

/** Replaces what the chain said from block `from` on. What settled in a final block is done. */
export async function recordClearings(
  query: Transaction,
  from: bigint,
  finalBlock: bigint,
  clearings: readonly SettledClearing[],
): Promise<void> {
  await query`delete from settled_clearings where block >= ${from}`
  for (const { id, transaction, block } of clearings) {
    await query`
      insert into settled_clearings (id, transaction, block) values (${fromHex(id, 32)}, ${fromHex(transaction, 32)}, ${block})
      on conflict do nothing`
  }
  await query`
    update clearings c set is_done = true from settled_clearings s
    where not c.is_done and s.id = c.id and s.block <= ${finalBlock}`
}

export async function countClearings(
  sql: Sql,
): Promise<{ readonly pendingClearings: number; readonly settledClearings: number }> {
  const [row] = await sql<{ pending: bigint; settled: bigint }[]>`
    select (select count(*) from settled_clearings) as settled,
      (select count(*) from clearings c where not c.is_done and (c.skipped is null or c.retry_at is not null)
        and not exists (select 1 from settled_clearings s where s.id = c.id)) as pending`
  return { pendingClearings: Number(row?.pending ?? 0n), settledClearings: Number(row?.settled ?? 0n) }
}

function enclavesOf({ enclaves }: SignedClearing): Uint8Array[] {
  return enclaves.map(({ enclave }) => fromHex(enclave, 20))
}

function totalsOf({ enclaves }: SignedClearing): string[] {
  return enclaves.map(({ captured }) => captured.toString())
}
