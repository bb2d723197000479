/** Which batches there are by now, on PostgreSQL, and when that changes. @module */
import type { Sql } from '#node/sql.ts'
import { toHex } from '#protocol/bytes.ts'

/** Written by the trigger on `batches` (migrations.ts), whichever process changed them. */
const CHANNEL = 'sealpath_batches'
/** Batches that a reorganisation may still take back and that are watched for it, newest first. */
const OPEN_MAX = 4_096

/** `open`: what may still be withdrawn, by number, with what tells it from another batch of that number. */
export type BatchSnapshot = { readonly last: bigint | undefined; readonly open: ReadonlyMap<bigint, string> }

export type BatchWatch = {
  readSnapshot(): Promise<BatchSnapshot>
  /** The next numbers from `from` on, in order. */
  readNext(from: bigint, countMax: number): Promise<readonly bigint[]>
  /** Calls `onChange` after every change, and once when a lost connection is back. */
  listen(onChange: () => void): Promise<{ unlisten(): Promise<void> }>
}

/** The port on a migrated database. */
export function createBatchWatch(sql: Sql): BatchWatch {
  return {
    async readSnapshot() {
      const rows = await sql<{ last: bigint; batch: bigint | null; transaction: Uint8Array; block: bigint }[]>`
        select m.last, o.batch, o.transaction, o.block
        from (select max(batch) as last from batches) as m
        left join lateral (
          select batch, transaction, block from batches
          where block > coalesce((select final_block from chain where id = 1), -1) order by batch desc limit ${OPEN_MAX}
        ) as o on true`
      const open = new Map<bigint, string>()
      for (const row of rows) if (row.batch !== null) open.set(row.batch, identityOf(row))
      return { last: rows[0]?.last ?? undefined, open }
    },
    async readNext(from, countMax) {
      const rows = await sql<{ batch: bigint }[]>`
        select batch from batches where batch >= ${from} order by batch limit ${countMax}`
      return rows.map(({ batch }) => batch)
    },
    listen: (onChange) => sql.listen(CHANNEL, onChange, onChange),
  }
}

function identityOf({ transaction, block }: { transaction: Uint8Array; block: bigint }): string {
  return batchIdentity({ transaction: toHex(transaction), block })
}

/** Differs between two batches of one number: they are of different blocks or transactions. */
export function batchIdentity({
  transaction,
  block,
}: {
  readonly transaction: string
  readonly block: bigint
}): string {
  return `${transaction}/${block}`
}
