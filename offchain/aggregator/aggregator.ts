/** An aggregator, put together: database, chain, intake, loop, server. main.ts starts one; tests start several. @module */
import { randomUUID } from 'node:crypto'
import { AppError } from '#node/appError.ts'
import { createBulkKeccak } from '#node/bulkKeccak.ts'
import { migrate, openDatabase } from '#node/database.ts'
import type { Logger } from '#node/log.ts'
import { DRAIN_MS } from '#node/role.ts'
import { startServer } from '#node/server.ts'
import type { Hex } from '#protocol/bytes.ts'
import { createAggregatorApp } from './app.ts'
import { connectSettlement, type SettlementChain } from './chainAccess.ts'
import type { AggregatorConfig } from './config.ts'
import { Intake } from './intake.ts'
import { MIGRATIONS } from './migrations.ts'
import { createClearingStore } from './postgresClearings.ts'
import { createLogStore } from './postgresLogs.ts'
import { createSettlementStore } from './postgresSettlement.ts'
import { RowsCache } from './proofs.ts'
import { remember } from './remembered.ts'
import { SettleLoop } from './settleLoop.ts'
import { rememberStanding } from './standing.ts'

export type RunningAggregator = { readonly url: string; close(): Promise<void> }

/**
 * Starts an aggregator. Throws `AppError`: `DATABASE_FAILED`, `RPC_FAILED`, `PORT_TAKEN`, and `BAD_CONFIG` when the database belongs to
 * another chain or contract.
 */
export async function startAggregator(
  config: AggregatorConfig,
  accountKey: Hex,
  log: Logger,
): Promise<RunningAggregator> {
  const chain = await connectSettlement(config.rpcUrl, config.deployment, accountKey)
  const database = await openDatabase(config.database, log)
  try {
    await migrate(database.sql, MIGRATIONS)
    const logs = createLogStore(database.sql)
    const settlement = createSettlementStore(database.sql)
    await requireSameChain(chain, (identity) => settlement.bindChain(identity))

    const now = () => Date.now()
    const hash = await createBulkKeccak()
    const { fromBlock } = config.deployment
    const { domain } = chain
    const standingOf = rememberStanding((enclave) => chain.standingOf(enclave), now)
    const writerOf = remember(
      (keyset) => chain.writerOf(keyset),
      (writer) => writer !== undefined,
      now,
    )
    const intake = new Intake({ store: logs, standingOf, domain, hash }, config.limits.openDeliveriesMax, log)
    const { depth } = config.settle
    const loop = new SettleLoop(
      { chain, store: settlement, policy: config.settle, fromBlock, depth, log, now },
      randomUUID(),
    )
    const app = createAggregatorApp({
      intake,
      clearings: { store: createClearingStore(database.sql), writerOf, standingOf, domain },
      proofs: { logs, settlement, rows: new RowsCache(logs, hash, config.limits.cachedLeavesMax), hash },
      account: chain.account,
      health: loop.health,
      limits: config.limits,
      log,
      wake: () => loop.wake(),
      now,
    })
    const server = await startServer(app, config.listen)
    loop.start()
    return {
      url: server.url,
      async close() {
        await Promise.all([server.close(DRAIN_MS), intake.close(), loop.close()])
        await database.close()
      },
    }
  } catch (error) {
    await database.close()
    throw error
  }
}

async function requireSameChain(chain: SettlementChain, bind: (identity: string) => Promise<boolean>): Promise<void> {
  if (await bind(await chain.identity())) return
  throw new AppError('BAD_CONFIG', 'the database belongs to another chain or contract: use an empty one')
}
