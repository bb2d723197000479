/** One process of an aggregator without its server, for tests: on a real chain and database, and it can be stopped after any step. @module */
import { createBulkKeccak } from '#node/bulkKeccak.ts'
import { type Database, migrate, openDatabase } from '#node/database.ts'
import type { SignedClearing } from '#protocol/wire/agentApi.ts'
import type { HeadDelivery } from '#protocol/wire/aggregatorApi.ts'
import type { SettledLeaf } from '#protocol/wire/receiptFile.ts'
import { connectEndpoints, createSettlementChain, type SettlementChain } from '../../offchain/aggregator/chainAccess.ts'
import { type ClearingPorts, type ClearingTaken, takeClearing } from '../../offchain/aggregator/clearings.ts'
import { SETTLE_POLICY, type SettlePolicy } from '../../offchain/aggregator/config.ts'
import { Economics } from '../../offchain/aggregator/economics.ts'
import { type Ingested, type IngestPorts, ingest } from '../../offchain/aggregator/ingest.ts'
import { MIGRATIONS } from '../../offchain/aggregator/migrations.ts'
import { createClearingStore } from '../../offchain/aggregator/postgresClearings.ts'
import { createLogStore } from '../../offchain/aggregator/postgresLogs.ts'
import { createSettlementStore } from '../../offchain/aggregator/postgresSettlement.ts'
import { createPriceSource } from '../../offchain/aggregator/price.ts'
import { Prover, settledLeafOf } from '../../offchain/aggregator/proofs.ts'
import { createProofStore } from '../../offchain/aggregator/proofsStore.ts'
import { type LoopHealth, SettleLoop } from '../../offchain/aggregator/settleLoop.ts'
import type { SettlementStore } from '../../offchain/aggregator/store.ts'
import type { LocalChain, TestAccount } from './chain.ts'
import { SILENT } from './postgres.ts'
import type { TestLog } from './testLog.ts'

export type ProcessOptions = {
  readonly policy?: Partial<SettlePolicy>
  readonly wrap?: (chain: SettlementChain) => SettlementChain
  readonly now?: () => number
  readonly holder?: string
  readonly stepsMax?: number
  /** The account that it sends from. */
  readonly account?: TestAccount
  readonly rpcUrls?: readonly string[]
  readonly fromBlock?: bigint
}

export class Process {
  readonly database: Database
  readonly settlement: SettlementStore
  readonly ports: IngestPorts
  readonly #clearingPorts: ClearingPorts
  readonly #loop: SettleLoop
  readonly #prover: Prover

  private constructor(
    database: Database,
    settlement: SettlementStore,
    ports: IngestPorts,
    clearingPorts: ClearingPorts,
    loop: SettleLoop,
  ) {
    this.database = database
    this.settlement = settlement
    this.ports = ports
    this.#clearingPorts = clearingPorts
    this.#loop = loop
    this.#prover = new Prover(createProofStore(database.sql), ports.hash, 1_000)
  }

  static async start(chain: LocalChain, databaseUrl: string, options: ProcessOptions = {}): Promise<Process> {
    const network = { deployment: chain.addresses, rpcUrls: options.rpcUrls ?? [chain.rpcUrl] }
    const endpoints = await connectEndpoints(network)
    const connected = createSettlementChain(endpoints, network, chain.keyOf(options.account ?? 'settler'))
    const database = await openDatabase({ url: databaseUrl }, SILENT)
    await migrate(database.sql, MIGRATIONS)
    const settlement = createSettlementStore(database.sql)
    await settlement.bindChain(await connected.identity())
    const policy = { ...SETTLE_POLICY, everySeconds: 0, leaseSeconds: 1, ...options.policy }
    const now = options.now ?? (() => Date.now())
    const { economics } = policy
    const price = economics && createPriceSource(economics.opgPerCoin, SILENT, now)
    const loop = new SettleLoop(
      {
        chain: options.wrap?.(connected) ?? connected,
        store: settlement,
        policy,
        economics: economics && price && new Economics(economics, price, SILENT, now),
        fromBlock: options.fromBlock ?? 0n,
        depth: policy.depth,
        log: SILENT,
        now,
      },
      { holder: options.holder ?? 'test', follows: true, stepsMax: options.stepsMax },
    )
    const { domain, standingOf, writerOf } = connected
    const logPorts = { store: createLogStore(database.sql), standingOf, domain, hash: await createBulkKeccak() }
    const clearingPorts = { store: createClearingStore(database.sql), standingOf, writerOf, domain }
    return new Process(database, settlement, logPorts, clearingPorts, loop)
  }

  get health(): LoopHealth {
    return this.#loop.health
  }

  /** One round as leader; waits for the lease of a process that was killed. */
  round(): Promise<boolean> {
    return until(() => this.#loop.round())
  }

  deliver(delivery: HeadDelivery): Promise<Ingested> {
    return ingest(this.ports, delivery)
  }

  clear(clearing: SignedClearing): Promise<ClearingTaken> {
    return takeClearing(this.#clearingPorts, clearing)
  }

  async proof(log: TestLog, index: number): Promise<SettledLeaf | undefined> {
    const [proof] = await this.#prover.prove([log.leaf(index)])
    return proof?.state === 'settled' ? settledLeafOf(proof) : undefined
  }

  async states(): Promise<string[]> {
    const rows = await this.database.sql<{ state: string }[]>`select state from transactions order by id`
    return rows.map(({ state }) => state)
  }

  /** How many clearings wait. */
  async pendingClearings(): Promise<number> {
    return (await this.settlement.readSettlementTotals()).pendingClearings
  }

  /** Ends without handing anything back, as a killed process does. */
  kill(): Promise<void> {
    return this.database.close()
  }
}

/** Asks again and again until there is something; the loops under test poll the same way. */
export async function until<T>(read: () => Promise<T | undefined | false>): Promise<T> {
  for (let i = 0; i < 1_600; i++) {
    const value = await read()
    if (value !== undefined && value !== false) return value
    await new Promise((resolve) => setTimeout(resolve, 25))
  }
  throw new Error('it did not happen')
}
