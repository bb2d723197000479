/** The issuer's store on PostgreSQL. @module */
import { strict as assert } from 'node:assert'
import type { Sql, Transaction } from '#node/sql.ts'
import { fromHex, type Hex, joinBytes, toHex } from '#protocol/bytes.ts'
import { G1_BYTES } from '#protocol/credits/points.ts'
import type { EarningsHeadMessage } from '#protocol/wire/agentApi.ts'
import type { LocatedPayment, SignedBlank } from '#protocol/wire/issuerApi.ts'
import {
  type EntryDetail,
  type IssueDetail,
  type IssuerStore,
  type ReserveDetail,
  type Round,
  type SpentCredit,
  type StoredLog,
  StoreError,
  type TakenStore,
} from './store.ts'

/** Names the lock of the one process that writes. */
const WRITER_LOCK = 727_270
/**
 * Settings of the server for the session that holds the lock: a machine that lost its power says nothing, and is gone after ten seconds and three
 * questions. Without them the server would keep its lock for hours.
 */
const KEEPALIVE_SECONDS = { tcp_keepalives_idle: 10, tcp_keepalives_interval: 3, tcp_keepalives_count: 3 }

/** The port on a migrated database. */
export function createIssuerStore(sql: Sql): IssuerStore {
  return {
    readLogs: () => readLogs(sql),
    async readEntries(log, from, count) {
      const rows = await sql<{ encoded: Uint8Array }[]>`
        select encoded from entries where log = ${log} and position >= ${from} order by position limit ${count}`
      return rows.map(({ encoded }) => encoded)
    },
    readHead: (log, sizeMax) => readHead(sql, log, sizeMax),
    async readOpenReserves() {
      const rows = await sql<{ payment: Uint8Array; blanks: Uint8Array }[]>`select payment, blanks from open_reserves`
      return rows.map(({ payment, blanks }) => ({ payment: toHex(payment), blanks }))
    },
    readPayments: (keyset, prefix, rowsMax) => readPayments(sql, keyset, prefix, rowsMax),
    readIssue: (keyset, claimKey) => readIssue(sql, keyset, claimKey),
    readSpent: (credit) => readSpent(sql, credit),
    readSpentIds: (keyset, from, count, idBytes) => readSpentIds(sql, keyset, from, count, idBytes),
    take: () => take(sql),
  }
}

async function readLogs(sql: Sql | Transaction): Promise<StoredLog[]> {
  type Row = { log: number; enclave: Uint8Array; size: bigint } & (HeadRow | { [Key in keyof HeadRow]: null })
  const rows = await sql<Row[]>`
    select l.log, l.enclave, l.size, h.root, h.fees::text, h.r, h.vs
    from logs l left join heads h on h.log = l.log and h.size = l.size
    order by l.log`
  return rows.map(({ log, size, ...row }) => {
    const enclave = toHex(row.enclave)
    const stored = { log, enclave, size: Number(size) }
    return row.root === null ? stored : { ...stored, head: headOf(enclave, size, row) }
  })
}

async function readHead(sql: Sql, log: number, sizeMax: number): Promise<EarningsHeadMessage | undefined> {
  type Row = { enclave: Uint8Array; size: bigint } & HeadRow
  const [row] = await sql<Row[]>`
    select l.enclave, h.size, h.root, h.fees::text, h.r, h.vs
    from heads h join logs l on l.log = h.log
    where h.log = ${log} and h.size <= ${sizeMax}
    order by h.size desc limit 1`
  return row && headOf(toHex(row.enclave), row.size, row)
}

type HeadRow = { root: Uint8Array; fees: string; r: Uint8Array; vs: Uint8Array }

function headOf(enclave: Hex, size: bigint, row: HeadRow): EarningsHeadMessage {
  const signature = { r: toHex(row.r), vs: toHex(row.vs) }
  return { enclave, size, root: toHex(row.root), fees: BigInt(row.fees), signature }
}

async function readPayments(
  sql: Sql,
  keyset: Hex,
  prefix: string,
  rowsMax: number,
): Promise<LocatedPayment[] | undefined> {
  const first = fromHex(`0x${prefix.padEnd(64, '0')}`, 32)
  const last = fromHex(`0x${prefix.padEnd(64, 'f')}`, 32)
  // One payment more than may be: with it there are too many rows whatever change it has.
  const tile = sql`
    select locator, payment from payments
    where keyset = ${fromHex(keyset, 32)} and locator between ${first} and ${last}
    order by locator, payment limit ${rowsMax + 1}`
  // Weighed before it is read, so that a question for far too much costs little.
  const [weight] = await sql<{ rows: number }[]>`
    select (count(*) + coalesce(sum(length(c.exponents)), 0))::int as rows
    from (${tile}) t left join change c using (payment)`
  if ((weight?.rows ?? 0) > rowsMax) return undefined
  type Row = { locator: Uint8Array } & (ChangeRow | { [Key in keyof ChangeRow]: null })
  const rows = await sql<Row[]>`
    select t.locator, c.exponents, c.signatures from (${tile}) t left join change c using (payment)
    order by t.locator, t.payment`
  return rows.map(({ locator, ...row }) => {
    const located = { locator: toHex(locator) }
    return row.exponents === null ? located : { ...located, change: changeOf(row) }
  })
}

type ChangeRow = { exponents: Uint8Array; signatures: Uint8Array }

function changeOf({ exponents, signatures }: ChangeRow): SignedBlank[] {
  return Array.from(exponents, (exponent, i) => ({
    exponent,
    signature: signatures.slice(i * G1_BYTES, (i + 1) * G1_BYTES),
  }))
}

async function readIssue(sql: Sql, keyset: Hex, claimKey: Hex): Promise<IssueDetail | undefined> {
  const [row] = await sql<{ exponents: Uint8Array; blinded: Uint8Array; r: Uint8Array; vs: Uint8Array }[]>`
    select exponents, blinded, r, vs from issues
    where keyset = ${fromHex(keyset, 32)} and claim_key = ${fromHex(claimKey, 20)}`
  if (row === undefined) return undefined
  const { exponents, blinded, r, vs } = row
  return { keyset, claimKey, exponents, blinded, signature: { r: toHex(r), vs: toHex(vs) } }
}

async function readSpentIds(sql: Sql, keyset: Hex, from: number, count: number, idBytes: number): Promise<Uint8Array> {
  const [row] = await sql<{ ids: Uint8Array | null }[]>`
    select string_agg(substr(credit, 1, ${idBytes}::int), ''::bytea order by number) as ids
    from (
      select credit, number from spent
      where keyset = ${fromHex(keyset, 32)} and number >= ${from} order by number limit ${count}) page`
  return row?.ids ?? new Uint8Array()
}

async function readSpent(sql: Sql, credit: Hex): Promise<SpentCredit | undefined> {
  const [row] = await sql<{ exit_key: Uint8Array; secret: Uint8Array }[]>`
    select exit_key, secret from spent where credit = ${fromHex(credit, 32)}`
  return row && { credit, exitKey: toHex(row.exit_key), secret: row.secret }
}

async function take(sql: Sql): Promise<TakenStore> {
  // A connection of its own: the lock lasts as long as its session, and a process that died holds nothing.
  const session = await sql.openSession(KEEPALIVE_SECONDS)
  try {
    const [row] = await session.query<{ taken: boolean }[]>`select pg_try_advisory_lock(${WRITER_LOCK}) as taken`
    if (row?.taken !== true) throw new StoreError('TAKEN', 'another issuer writes this database')
  } catch (error) {
    await session.end()
    throw error
  }
  return {
    async beginLog(enclave, expected) {
      const log = await sql.begin((query) => beginLog(query, enclave, expected))
      return { log, commit: (round) => commit(sql, log, round) }
    },
    release: () => session.end(),
  }
}

/** The lock alone would not do: a session can end while its process goes on. From here on no earlier writer can commit. */
async function beginLog(query: Transaction, enclave: Hex, expected: StoredLog | undefined): Promise<number> {
  await query`lock table writer in exclusive mode`
  const newest = (await readLogs(query)).at(-1)
  if (newest?.log !== expected?.log || newest?.size !== expected?.size) {
    throw new StoreError('CHANGED', 'the log grew after it was read')
  }
  const log = (newest?.log ?? 0) + 1
  await query`insert into logs (log, enclave) values (${log}, ${fromHex(enclave, 20)})`
  await query`insert into writer (id, log) values (1, ${log}) on conflict (id) do update set log = excluded.log`
  return log
}

async function commit(sql: Sql, log: number, { from, entries, head }: Round): Promise<void> {
  let isKnown = false
  const done = sql.begin(async (query) => {
    // Sent together and carried out in this order: one round trip. Whatever the first finds undoes the others.
    const [writing, ...written] = await Promise.allSettled([
      query<{ log: number; size: bigint }[]>`
        select w.log, l.size from writer w join logs l on l.log = w.log where w.id = 1 for share of w`,
      query`update logs set size = ${head.size} where log = ${log}`,
      query`
        insert into entries (log, position, encoded)
        select ${log}, ${from} + place - 1, encoded
        from unnest(${entries.map(({ encoded }) => encoded)}::bytea[]) with ordinality as rows (encoded, place)`,
      query`insert into heads (log, size, root, fees, r, vs) values (
        ${log}, ${head.size}, ${fromHex(head.root, 32)}, ${head.fees.toString()}::numeric,
        ${fromHex(head.signature.r, 32)}, ${fromHex(head.signature.vs, 32)})`,
      ...insertDetails(
        query,
        entries.flatMap(({ detail }) => (detail === undefined ? [] : [detail])),
      ),
    ])
    if (writing.status === 'rejected') throw writing.reason
    const [writer] = writing.value
    if (writer?.log !== log) throw new StoreError('FENCED', 'another issuer has begun to write this database')
    isKnown = writer.size === head.size
    assert(isKnown || writer.size === BigInt(from), 'rounds follow one another')
    const failed = written.find((result) => result.status === 'rejected')
    if (failed !== undefined) throw failed.reason
  })
  await done.catch((error: unknown) => {
    // An earlier try was committed, and only the answer to it was lost: the rows stand in the way of themselves.
    if (!isKnown) throw error
  })
}

/** Each table's rows as one array a column: however many they are, the statement is the same, and PostgreSQL plans it once. */
function insertDetails(query: Transaction, details: readonly EntryDetail[]): PromiseLike<unknown>[] {
  const issues = details.filter((detail) => detail.kind === 'issue')
  const reserves = details.filter((detail) => detail.kind === 'reserve')
  const captures = details.filter((detail) => detail.kind === 'capture')
  const queries: PromiseLike<unknown>[] = issues.map(
    ({ keyset, claimKey, exponents, blinded, signature }) => query`
      insert into issues (keyset, claim_key, exponents, blinded, r, vs) values (
        ${fromHex(keyset, 32)}, ${fromHex(claimKey, 20)}, ${exponents}, ${blinded},
        ${fromHex(signature.r, 32)}, ${fromHex(signature.vs, 32)})`,
  )
  if (reserves.length > 0) queries.push(...insertReserves(query, reserves))
  if (captures.length > 0) queries.push(...insertCaptures(query, captures))
  return queries
}

function insertReserves(query: Transaction, reserves: readonly ReserveDetail[]): PromiseLike<unknown>[] {
  const keysets = reserves.map(({ keyset }) => fromHex(keyset, 32))
  const locators = reserves.map(({ locator }) => fromHex(locator, 32))
  const payments = reserves.map(({ payment }) => fromHex(payment, 32))
  const blanks = reserves.map((reserve) => reserve.blanks)
  const spent = reserves.flatMap(({ keyset, credits }) => credits.map((credit) => ({ ...credit, keyset })))
  const spentIn = spent.map(({ keyset }) => fromHex(keyset, 32))
  const credits = spent.map(({ credit }) => fromHex(credit, 32))
  const exitKeys = spent.map(({ exitKey }) => fromHex(exitKey, 20))
  const secrets = spent.map(({ secret }) => secret)
  return [
    query`
      insert into payments (keyset, locator, payment)
      select * from unnest(${keysets}::bytea[], ${locators}::bytea[], ${payments}::bytea[])`,
    query`
      insert into open_reserves (payment, blanks) select * from unnest(${payments}::bytea[], ${blanks}::bytea[])`,
    query`
      with fresh as materialized (
        select * from unnest(${spentIn}::bytea[], ${credits}::bytea[], ${exitKeys}::bytea[], ${secrets}::bytea[])
          with ordinality as rows (keyset, credit, exit_key, secret, place)),
      counted as materialized (
        select keyset, coalesce((select max(s.number) + 1 from spent s where s.keyset = k.keyset), 0) as size
        from (select distinct keyset from fresh) k)
      insert into spent (keyset, number, credit, exit_key, secret)
      select keyset, size + row_number() over (partition by keyset order by place) - 1, credit, exit_key, secret
      from fresh join counted using (keyset)`,
  ]
}

function insertCaptures(
  query: Transaction,
  captures: readonly Extract<EntryDetail, { kind: 'capture' }>[],
): PromiseLike<unknown>[] {
  const payments = captures.map(({ payment }) => fromHex(payment, 32))
  const exponents = captures.map(({ change }) => Uint8Array.from(change, ({ exponent }) => exponent))
  const signatures = captures.map(({ change }) => joinBytes(change.map(({ signature }) => signature)))
  return [
    query`
      insert into change (payment, exponents, signatures)
      select * from unnest(${payments}::bytea[], ${exponents}::bytea[], ${signatures}::bytea[])`,
    query`delete from open_reserves where payment = any(${payments}::bytea[])`,
  ]
}
