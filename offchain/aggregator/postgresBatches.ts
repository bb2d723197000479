/** What the chain says, kept on PostgreSQL: batches by whomever, and how far the chain was read. @module */
import type { Sql, Transaction } from '#node/sql.ts'
import { fromHex, toHex } from '#protocol/bytes.ts'
import { countClearings, recordClearings } from './postgresClearings.ts'
import type { ChainCursor, SettledBatch, SettledHead, SettlementStore } from './store.ts'

type BatchStore = Pick<SettlementStore, 'readCursor' | 'record' | 'readBatch' | 'readSettlementTotals'>

type CursorRow = {
  block: bigint | null
  hash: Uint8Array | null
  final_block: bigint | null
  final_hash: Uint8Array | null
}

/** This part of the settlement port. */
export function createBatchStore(sql: Sql): BatchStore {
  return {
    async readCursor() {
      const [row] = await sql<CursorRow[]>`select block, hash, final_block, final_hash from chain where id = 1`
      return row && cursorOfRow(row)
    },
    async record(expected, next, from, { batches, clearings }) {
      return sql.begin(async (query) => {
        const [row] = await query<CursorRow[]>`
          select block, hash, final_block, final_hash from chain where id = 1 for update`
        const current = row && cursorOfRow(row)
        if (current?.block !== expected?.block || current?.hash !== expected?.hash) return false
        await query`delete from batches where block >= ${from}`
        for (const batch of batches) await insertBatch(query, batch)
        await recordClearings(query, from, next.finalBlock, clearings)
        await query`
          update chain set block = ${next.block}, hash = ${fromHex(next.hash, 32)},
            final_block = ${next.finalBlock}, final_hash = ${fromHex(next.finalHash, 32)} where id = 1`
        return true
      })
    },
    async readBatch(batch) {
      const [row] = await sql<{ root: Uint8Array; transaction: Uint8Array; block: bigint; gas_used: bigint }[]>`
        select root, transaction, block, gas_used from batches where batch = ${batch}`
      if (row === undefined) return undefined
      const heads = await sql<{ enclave: Uint8Array; size: bigint; root: Uint8Array; earned: string | null }[]>`
        select enclave, size, root, earned::text from batch_heads where batch = ${batch} order by position`
      return {
        batch,
        root: toHex(row.root),
        transaction: toHex(row.transaction),
        block: row.block,
        gasUsed: row.gas_used,
        heads: heads.map(
          ({ enclave, size, root, earned }): SettledHead => ({
            enclave: toHex(enclave),
            size,
            root: toHex(root),
            ...(earned === null ? {} : { earned: BigInt(earned) }),
          }),
        ),
      }
    },
    async readSettlementTotals() {
      const [row] = await sql<{ batches: bigint; unsettled: bigint }[]>`
        select (select count(*) from batches) as batches,
          (select count(*) from logs l where l.size > 0 and l.role = 'gateway' and not exists (
            select 1 from batch_heads b where b.enclave = l.enclave and b.size >= l.size
          )) as unsettled`
      return {
        batches: Number(row?.batches ?? 0n),
        unsettledHeads: Number(row?.unsettled ?? 0n),
        ...(await countClearings(sql)),
      }
    },
  }
}

async function insertBatch(query: Transaction, entry: SettledBatch): Promise<void> {
  const { batch, heads } = entry
  await query`
    insert into batches (batch, root, transaction, block, gas_used)
    values (${batch}, ${fromHex(entry.root, 32)}, ${fromHex(entry.transaction, 32)}, ${entry.block}, ${entry.gasUsed})`
  await query`
    insert into batch_heads (batch, position, enclave, size, root, earned)
    select ${batch}, position - 1, enclave, size, root, earned::numeric
    from unnest(
      ${heads.map(({ enclave }) => fromHex(enclave, 20))}::bytea[],
      ${heads.map(({ size }) => size.toString())}::bigint[],
      ${heads.map(({ root }) => fromHex(root, 32))}::bytea[],
      ${heads.map(({ earned }) => earned?.toString() ?? null)}::text[]
    ) with ordinality as h (enclave, size, root, earned, position)`
}

function cursorOfRow({ block, hash, final_block, final_hash }: CursorRow): ChainCursor | undefined {
  if (block === null || hash === null || final_block === null || final_hash === null) return undefined
  return { block, hash: toHex(hash), finalBlock: final_block, finalHash: toHex(final_hash) }
}
