/** What the aggregator does on chain, on PostgreSQL: leases, transactions, and what is due. @module */
import { strict as assert } from 'node:assert'
import type { Sql, Transaction } from '#node/sql.ts'
import { fromHex, type Hex, toHex } from '#protocol/bytes.ts'
import type { EarningsHeadMessage } from '#protocol/wire/agentApi.ts'
import { createBatchStore } from './postgresBatches.ts'
import {
  assignClearings,
  forgetRefusals,
  noteRefusals,
  readDueClearings,
  releaseClearings,
} from './postgresClearings.ts'
import { type HeadRow, headOfRow } from './postgresLogs.ts'
import type { Attempt, TransactionState } from './step.ts'
import {
  type Due,
  type Lease,
  LeaseLostError,
  type SealedTransaction,
  type SettlementStore,
  type StoredTransaction,
  type TransactionChange,
} from './store.ts'

/** A request to settle now that found nothing due is forgotten after this. */
const REQUEST_LIFETIME = '10 seconds'

/** Without money to move, a head is settled for its proofs' sake only after another aggregator had this long to do better. */
const SUPERSEDED_GRACE = '60 seconds'

/** The port on a migrated database. */
export function createSettlementStore(sql: Sql): SettlementStore {
  return {
    ...createBatchStore(sql),
    async bindChain(identity) {
      await sql`insert into chain (id, identity) values (1, ${identity}) on conflict do nothing`
      const [row] = await sql<{ identity: string }[]>`select identity from chain where id = 1`
      return row?.identity === identity
    },
    async takeLease(account, holder, seconds) {
      const [row] = await sql<{ epoch: bigint }[]>`
        insert into leases (account, holder, epoch, ends_at)
        values (${fromHex(account, 20)}, ${holder}, 1, now() + make_interval(secs => ${seconds}))
        on conflict (account) do update set
          epoch = case when leases.holder = excluded.holder then leases.epoch else leases.epoch + 1 end,
          holder = excluded.holder,
          ends_at = excluded.ends_at
        where leases.holder = excluded.holder or leases.ends_at < now()
        returning epoch`
      return row && { account, epoch: row.epoch }
    },
    async releaseLease({ account, epoch }) {
      await sql`update leases set ends_at = '-infinity' where account = ${fromHex(account, 20)} and epoch = ${epoch}`
    },
    async askSettle(account) {
      await sql`
        insert into settle_requests (account) values (${fromHex(account, 20)})
        on conflict (account) do update set asked_at = now()`
    },
    readLive: (account) => readLive(sql, account),
    async nextNonce(account) {
      const [row] = await sql<{ nonce: bigint | null }[]>`
        select max(nonce) + 1 as nonce from transactions where account = ${fromHex(account, 20)} and state <> 'failed'`
      return Number(row?.nonce ?? 0n)
    },
    async recentFailures(account) {
      const [row] = await sql<{ count: bigint; ago: number | null }[]>`
        select count(*) as count, extract(epoch from now() - max(changed_at))::float8 as ago from transactions
        where account = ${fromHex(account, 20)} and state = 'failed' and changed_at > now() - interval '10 minutes'`
      return { count: Number(row?.count ?? 0n), secondsAgo: row?.ago ?? 0 }
    },
    readDue: (account, headsMax) => readDue(sql, account, headsMax),
    async readPendingEvidence() {
      const rows = await sql<{ id: Uint8Array; enclave: Uint8Array; calldata: Uint8Array }[]>`
        select id, enclave, calldata from evidence where state = 'pending' and assigned is null order by noted_at limit 16`
      return rows.map((row) => ({ id: toHex(row.id), enclave: toHex(row.enclave), calldata: toHex(row.calldata) }))
    },
    async markEvidence(id, outcome) {
      await sql`update evidence set state = ${outcome} where id = ${fromHex(id, 32)}`
    },
    seal: (lease, sealed) => fenced(sql, lease, (query) => seal(query, lease, sealed)),
    advance: (lease, id, state, change) => fenced(sql, lease, (query) => advance(query, id, state, change)),
    async readRaw(hash) {
      const [row] = await sql<{ raw: Uint8Array }[]>`select raw from attempts where hash = ${fromHex(hash, 32)}`
      return row && toHex(row.raw)
    },
  }
}

/**
 * Runs `work` only while the lease is still of its epoch: a holder that fell behind stores nothing more. One that hangs in here holds the lease's row, so
 * the database ends its transaction before the lease itself would end.
 */
async function fenced<T>(sql: Sql, { account, epoch }: Lease, work: (query: Transaction) => Promise<T>): Promise<T> {
  const box = await sql.begin(async (query) => {
    await query`set local idle_in_transaction_session_timeout = '2s'`
    const held = await query`
      select 1 from leases where account = ${fromHex(account, 20)} and epoch = ${epoch} and ends_at > now() for share`
    if (held.length === 0) throw new LeaseLostError('another process sends for this account now')
    return { result: await work(query) }
  })
  return box.result as T
}

async function seal(query: Transaction, { account }: Lease, sealed: SealedTransaction): Promise<boolean> {
  const [row] = await query<{ id: bigint }[]>`
    insert into transactions (account, kind, calldata, gas, state)
    values (${fromHex(account, 20)}, ${sealed.kind}, ${fromHex(sealed.calldata)}, ${sealed.gas}, 'sealed') returning id`
  const id = row?.id ?? 0n
  if (sealed.kind === 'report') {
    const taken = await query`
      update evidence set assigned = ${id} where id = ${fromHex(sealed.evidence, 32)} and assigned is null`
    return taken.count === 1 || undo(query, id)
  }
  const isFree = (await assignHeads(query, id, sealed.heads)) && (await assignClearings(query, id, sealed.clearings))
  if (!isFree) return undo(query, id)
  await query`delete from settle_requests where account = ${fromHex(account, 20)}`
  return true
}

/** Assigns heads to a transaction. Answers whether each was still free. */
async function assignHeads(query: Transaction, id: bigint, heads: readonly EarningsHeadMessage[]): Promise<boolean> {
  if (heads.length === 0) return true
  const taken = await query`
    update heads set assigned = ${id}
    from unnest(
      ${heads.map(({ enclave }) => fromHex(enclave, 20))}::bytea[],
      ${heads.map(({ size }) => size.toString())}::bigint[]
    ) as h (enclave, size)
    where heads.enclave = h.enclave and heads.size = h.size and heads.assigned is null`
  return taken.count === heads.length
}

/** Another account's process was faster: leaves everything as it was. */
async function undo(query: Transaction, id: bigint): Promise<false> {
  await query`update heads set assigned = null where assigned = ${id}`
  await query`update evidence set assigned = null where assigned = ${id}`
  await releaseClearings(query, id)
  await query`delete from transactions where id = ${id}`
  return false
}

async function advance(
  query: Transaction,
  id: bigint,
  state: TransactionState,
  change: TransactionChange,
): Promise<void> {
  const sent = 'nonce' in state ? state : undefined
  const inclusion = 'inclusion' in state ? state.inclusion : undefined
  await query`
    update transactions set
      state = ${state.name},
      nonce = ${sent?.nonce ?? null},
      sent_at = ${state.name === 'submitted' ? state.sentAt : null},
      foreign_sightings = ${state.name === 'submitted' ? state.foreignSightings : null},
      included_hash = ${inclusion ? fromHex(inclusion.hash, 32) : null},
      included_block = ${inclusion?.block ?? null},
      included_block_hash = ${inclusion ? fromHex(inclusion.blockHash, 32) : null},
      gas_used = ${inclusion?.gasUsed ?? null},
      failure = ${state.name === 'failed' ? state.reason : null},
      changed_at = now()
    where id = ${id}`
  const newest = sent?.attempts.at(-1)
  if (change.raw !== undefined && newest !== undefined) await insertAttempt(query, id, sent?.attempts ?? [], change.raw)
  if (state.name === 'failed') await release(query, id)
  // Skips that a reorganised block told are not true any more.
  if (state.name === 'signed') {
    await query`update heads set skipped = null where assigned = ${id} and skipped is not null`
    await forgetRefusals(query, id)
  }
  if (state.name === 'included') await query`update evidence set state = 'reported' where assigned = ${id}`
  for (const { enclave, size, reason, retryAt } of change.skipped ?? []) {
    const isRetried = retryAt !== undefined
    await query`
      update heads set
        skipped = ${isRetried ? null : reason},
        assigned = ${isRetried ? null : id},
        retry_at = ${isRetried ? new Date(Number(retryAt) * 1_000) : null}
      where enclave = ${fromHex(enclave, 20)} and size = ${size} and assigned = ${id}`
  }
  await noteRefusals(query, id, change.refused ?? [])
}

async function insertAttempt(query: Transaction, id: bigint, attempts: readonly Attempt[], raw: Hex): Promise<void> {
  const newest = attempts.at(-1)
  if (newest === undefined) return
  await query`
    insert into attempts (hash, transaction, position, raw, fee, tip)
    values (${fromHex(newest.hash, 32)}, ${id}, ${attempts.length - 1}, ${fromHex(raw)},
      ${newest.maxFeePerGas.toString()}::numeric, ${newest.maxPriorityFeePerGas.toString()}::numeric)`
}

/** What a failed transaction was for waits for the next one. */
async function release(query: Transaction, id: bigint): Promise<void> {
  await query`update heads set assigned = null, skipped = null where assigned = ${id}`
  await query`update evidence set assigned = null where assigned = ${id}`
  await releaseClearings(query, id)
}

type TransactionRow = {
  id: bigint
  kind: 'settle' | 'report'
  calldata: Uint8Array
  gas: bigint
  state: TransactionState['name']
  nonce: bigint | null
  sent_at: bigint | null
  foreign_sightings: number | null
  included_hash: Uint8Array | null
  included_block: bigint | null
  included_block_hash: Uint8Array | null
  gas_used: bigint | null
}

async function readLive(sql: Sql, account: Hex): Promise<StoredTransaction[]> {
  const rows = await sql<TransactionRow[]>`
    select id, kind, calldata, gas, state, nonce, sent_at, foreign_sightings,
      included_hash, included_block, included_block_hash, gas_used
    from transactions where account = ${fromHex(account, 20)} and state not in ('final', 'failed') order by id`
  const attempts = await sql<{ transaction: bigint; hash: Uint8Array; fee: string; tip: string }[]>`
    select transaction, hash, fee::text, tip::text from attempts
    where transaction = any(${rows.map(({ id }) => id.toString())}::bigint[]) order by transaction, position`
  return rows.map((row) => ({
    id: row.id,
    kind: row.kind,
    calldata: toHex(row.calldata),
    gas: row.gas,
    state: stateOfRow(
      row,
      attempts
        .filter(({ transaction }) => transaction === row.id)
        .map(({ hash, fee, tip }) => ({
          hash: toHex(hash),
          maxFeePerGas: BigInt(fee),
          maxPriorityFeePerGas: BigInt(tip),
        })),
    ),
  }))
}

function stateOfRow(row: TransactionRow, attempts: readonly Attempt[]): TransactionState {
  const sent = { nonce: Number(row.nonce), attempts }
  switch (row.state) {
    case 'signed':
      return { name: 'signed', ...sent }
    case 'submitted':
      return {
        name: 'submitted',
        ...sent,
        sentAt: Number(row.sent_at),
        foreignSightings: row.foreign_sightings ?? 0,
      }
    case 'included':
    case 'safe':
    case 'final': {
      const { included_hash: hash, included_block_hash: blockHash } = row
      assert(hash !== null && blockHash !== null, 'an included transaction has its inclusion')
      const inclusion = {
        hash: toHex(hash),
        block: row.included_block ?? 0n,
        blockHash: toHex(blockHash),
        gasUsed: row.gas_used ?? 0n,
      }
      return { name: row.state, ...sent, inclusion }
    }
    default:
      return { name: 'sealed' }
  }
}

/**
 * Clearings that wait, and the newest head of each gateway that would move money, or that nothing on chain proves, unless it is in a transaction already, was
 * skipped for good, or its enclave contradicted itself. Fees only grow, so what has moved is the largest that was booked.
 */
async function readDue(sql: Sql, account: Hex, headsMax: number): Promise<Due> {
  const rows = await sql<(HeadRow & { waited: number; leaves: bigint; value: string })[]>`
    select h.enclave, h.size, h.root, h.fees::text, h.r, h.vs,
      extract(epoch from now() - coalesce(first.received_at, h.received_at))::float8 as waited,
      greatest(h.size - settled.size, 0) as leaves,
      greatest(h.fees - moved.fees, 0)::text as value
    from logs l
    join heads h on h.enclave = l.enclave and h.size = l.size
    cross join lateral (select coalesce(max(size), 0) as size from batch_heads b where b.enclave = l.enclave) settled
    cross join lateral (
      select coalesce(max(earned), 0) as fees from batch_heads b where b.enclave = l.enclave and b.earned is not null
    ) moved
    left join lateral (
      select received_at from heads w
      where w.enclave = l.enclave and w.size > settled.size and w.assigned is null order by size limit 1
    ) first on true
    where l.role = 'gateway' and not l.is_ended and h.assigned is null and h.skipped is null and (h.retry_at is null or h.retry_at <= now())
      and (
        h.fees > moved.fees
        or h.size > settled.size
        or (h.received_at < now() - ${SUPERSEDED_GRACE}::interval and not exists (
          select 1 from batch_heads b where b.enclave = h.enclave and b.size = h.size
        ))
      )
    order by waited desc limit ${headsMax}`
  const asked = await sql`
    select 1 from settle_requests
    where account = ${fromHex(account, 20)} and asked_at > now() - ${REQUEST_LIFETIME}::interval`
  const { clearings, waitedSeconds } = await readDueClearings(sql)
  return {
    heads: rows.map(headOfRow),
    clearings,
    waitedSeconds: Math.max(rows[0]?.waited ?? 0, waitedSeconds),
    leaves: rows.reduce((sum, { leaves }) => sum + leaves, 0n),
    value: rows.reduce((sum, { value }) => sum + BigInt(value), 0n),
    isAsked: asked.length > 0,
  }
}
