/** An aggregator, put together: database, chain, intake, loop, server. main.ts starts one; tests start several. @module */
import { randomUUID } from 'node:crypto'
import type { Registry } from 'prom-client'
import { AppError } from '#node/appError.ts'
import { createBulkKeccak } from '#node/bulkKeccak.ts'
import { migrate, openDatabase } from '#node/database.ts'
import type { Logger } from '#node/log.ts'
import { createMetrics } from '#node/metrics.ts'
import { DRAIN_MS } from '#node/role.ts'
import { SERVER_LIMITS, startServer } from '#node/server.ts'
import type { Hex } from '#protocol/bytes.ts'
import { createAggregatorApp } from './app.ts'
import { connectEndpoints, createSettlementChain, type SettlementChain } from './chainAccess.ts'
import type { AggregatorConfig } from './config.ts'
import { Economics } from './economics.ts'
import { SettlementFeed } from './events.ts'
import { createBatchWatch } from './eventsStore.ts'
import { Intake } from './intake.ts'
import { countAggregator, gaugeAggregator } from './metrics.ts'
import { MIGRATIONS } from './migrations.ts'
import { createClearingStore } from './postgresClearings.ts'
import { createLogStore } from './postgresLogs.ts'
import { createSettlementStore } from './postgresSettlement.ts'
import { createPriceSource } from './price.ts'
import { Prover } from './proofs.ts'
import { createProofStore } from './proofsStore.ts'
import { remember } from './remembered.ts'
import { type LoopHealth, SettleLoop } from './settleLoop.ts'
import { rememberStanding } from './standing.ts'

export type RunningAggregator = { readonly url: string; close(): Promise<void> }

/**
 * Starts an aggregator that sends from the accounts of `accountKeys`, at least one. Throws `AppError`: `DATABASE_FAILED`, `RPC_FAILED`, `PORT_TAKEN`, and `BAD_CONFIG` when the database belongs to
 * another chain or contract.
 */
export async function startAggregator(
  config: AggregatorConfig,
  accountKeys: readonly Hex[],
  log: Logger,
  registry: Registry = createMetrics('aggregator'),
): Promise<RunningAggregator> {
  const { economics } = config.settle
  const chainOptions = { ...config, dataFeeOracle: economics?.dataFeeOracle }
  const endpoints = await connectEndpoints(chainOptions)
  const chains = accountKeys.map((key) => createSettlementChain(endpoints, chainOptions, key))
  const [chain] = chains
  if (chain === undefined) throw new AppError('BAD_CONFIG', 'expected an account to send from')
  const database = await openDatabase(config.database, log)
  try {
    await migrate(database.sql, MIGRATIONS)
    const hash = await createBulkKeccak()
    const stopping = new AbortController()
    const logs = createLogStore(database.sql, stopping.signal)
    const proofs = createProofStore(database.sql)
    const settlement = createSettlementStore(database.sql)
    const feed = new SettlementFeed({ watch: createBatchWatch(database.sql), settlement, log })
    await requireSameChain(chain, (identity) => settlement.bindChain(identity))

    const now = () => Date.now()
    const { fromBlock } = config.deployment
    const { domain } = chain
    const standingOf = rememberStanding((enclave) => chain.standingOf(enclave), now)
    const writerOf = remember(
      (keyset) => chain.writerOf(keyset),
      (writer) => writer !== undefined,
      now,
    )
    const intake = new Intake({ store: logs, standingOf, domain, hash }, config.limits.openBytesMax, log)
    const { depth } = config.settle
    const price = economics && createPriceSource(economics.opgPerCoin, log, now)
    const holder = randomUUID()
    const metrics = countAggregator(registry)
    const loops = chains.map((own, i) => {
      const worth = economics && price && new Economics(economics, price, log, now)
      const ports = {
        chain: own,
        store: settlement,
        policy: config.settle,
        economics: worth,
        observer: metrics.settling,
        fromBlock,
        depth,
        log,
        now,
      }
      return new SettleLoop(ports, { holder, follows: i === 0 })
    })
    gaugeAggregator(registry, { intake, loops, logs, settlement })
    const app = createAggregatorApp({
      taken: metrics.taken,
      intake,
      clearings: { store: createClearingStore(database.sql), writerOf, standingOf, domain },
      logs,
      settlement,
      prover: new Prover(proofs, hash, config.limits.cachedLeavesMax),
      tiles: proofs,
      feed,
      account: chain.account,
      health: healthOf(loops),
      limits: config.limits,
      log,
      wake() {
        for (const loop of loops) loop.wake()
      },
      now,
    })
    const server = await startServer(app, config.listen, SERVER_LIMITS, { log })
    for (const loop of loops) loop.start()
    return {
      url: server.url,
      async close() {
        stopping.abort()
        await Promise.all([feed.close(), server.close(DRAIN_MS), intake.close(), ...loops.map((loop) => loop.close())])
        await database.close()
      },
    }
  } catch (error) {
    await database.close()
    throw error
  }
}

/** Of all accounts together: leader of any, and the first thing that is wrong with any. */
function healthOf(loops: readonly SettleLoop[]): LoopHealth {
  return {
    get isLeader() {
      return loops.some(({ health }) => health.isLeader)
    },
    get failure() {
      return loops.find(({ health }) => health.failure !== undefined)?.health.failure
    },
    get trouble() {
      return loops.find(({ health }) => health.trouble !== undefined)?.health.trouble
    },
  }
}

async function requireSameChain(chain: SettlementChain, bind: (identity: string) => Promise<boolean>): Promise<void> {
  if (await bind(await chain.identity())) return
  throw new AppError('BAD_CONFIG', 'the database belongs to another chain or contract: use an empty one')
}
