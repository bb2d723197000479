/** Proofs of settled leaves from a real PostgreSQL: how many, how fast, and how their cost grows with the log. @module */
import { Hono } from 'hono'
import { createBulkKeccak } from '#node/bulkKeccak.ts'
import { type Database, migrate, openDatabase } from '#node/database.ts'
import { fromHex, toHex } from '#protocol/bytes.ts'
import type { Keccak256 } from '#protocol/hash.ts'
import { EMPTY_EDGE, type LogEdge } from '#protocol/log/edge.ts'
import { enclaveOfKey } from '#protocol/receipt/head.ts'
import { AGGREGATOR_LIMITS } from '../../offchain/aggregator/config.ts'
import { extendEdge } from '../../offchain/aggregator/extendEdge.ts'
import { MIGRATIONS } from '../../offchain/aggregator/migrations.ts'
import { createLogStore } from '../../offchain/aggregator/postgresLogs.ts'
import { createSettlementStore } from '../../offchain/aggregator/postgresSettlement.ts'
import { Prover } from '../../offchain/aggregator/proofs.ts'
import { addProofRoutes } from '../../offchain/aggregator/proofsRoutes.ts'
import { createProofStore } from '../../offchain/aggregator/proofsStore.ts'
import { SILENT, startPostgres, type TestPostgres } from '../../test/support/postgres.ts'
import { recordBatches, signEdge, syntheticBatch, syntheticLeaves } from '../../test/support/syntheticLog.ts'
import { type Row, summarize } from './row.ts'

const MILLION = 1_000_000
const BULK_LEAVES = 100
/** Two requests at once: while one waits for the database, the other is worked on. */
const BULK_CLIENTS = 2
const WARM_MS = 2_000
const RUN_MS = 1_000
const RUNS = 5
/** In each of the runs. */
const SINGLE_PROOFS = 1_000
const PRIVATE_KEY = new Uint8Array(32).fill(3)
const DOMAIN = { chainId: 31_337, settlement: `0x${'11'.repeat(20)}` } as const
/** Above the million, as long as half a minute allows: what a larger log costs is what the aggregator writes while it grows. */
const LARGE_LEAVES = 4 * MILLION

export async function measureProofs(largeLeaves: number = LARGE_LEAVES): Promise<Row[]> {
  const postgres = await startPostgres()
  try {
    const small = await Stage.open(postgres, MILLION)
    const bulk = await small.bulkRates()
    const single = await small.singleP99s()
    const large = await Stage.open(postgres, largeLeaves)
    const growth = await compareRates(small, large)
    await Promise.all([small.close(), large.close()])
    return [
      {
        id: 'proofs.bulk',
        name: 'settled proofs a second, 100 a request, log of 1,000,000 leaves in PostgreSQL',
        ...summarize(bulk),
        unit: '1/s',
        target: { value: 10_000, direction: 'at least' },
      },
      {
        id: 'proofs.single.p99',
        name: 'one settled proof, 99th percentile of 1,000 in turn, same log',
        ...summarize(single, 2),
        unit: 'ms',
        target: { value: 5, direction: 'at most' },
      },
      {
        id: 'proofs.growth',
        name: `a proof of a log of ${largeLeaves.toLocaleString('en-US')} leaves, times one of 1,000,000`,
        ...summarize(growth, 2),
        unit: 'x',
        target: { value: 2, direction: 'at most' },
      },
    ]
  } finally {
    await postgres.close()
  }
}

/** How often the rate of the second is contained in that of the first, run by run. They take turns, so that whatever else the machine does meets both. */
async function compareRates(small: Stage, large: Stage): Promise<number[]> {
  await large.bulkFor(WARM_MS)
  const ratios: number[] = []
  for (let i = 0; i < RUNS; i++) ratios.push((await small.bulkFor(RUN_MS)) / (await large.bulkFor(RUN_MS)))
  return ratios
}

/** A settled log in a database of its own, and the aggregator's routes for proofs over it. */
class Stage {
  readonly #database: Database
  readonly #leaves: number
  readonly #app: Hono
  #asked = 0

  private constructor(database: Database, leaves: number, hash: Keccak256) {
    const { cachedLeavesMax } = AGGREGATOR_LIMITS
    this.#database = database
    this.#leaves = leaves
    this.#app = new Hono()
    addProofRoutes(this.#app, { prover: new Prover(createProofStore(database.sql), hash, cachedLeavesMax) })
  }

  static async open(postgres: TestPostgres, leaves: number): Promise<Stage> {
    const hash = await createBulkKeccak()
    const database = await openDatabase({ url: await postgres.createDatabase() }, SILENT)
    await migrate(database.sql, MIGRATIONS)
    const settlement = createSettlementStore(database.sql)
    await settlement.bindChain('bench')
    const edge = await writeLog(database, leaves, hash)
    // Batches are as large as the contract takes them.
    const others = Array.from({ length: 255 }, (_, i) => ({
      enclave: toHex(new Uint8Array(20).fill(i)),
      size: BigInt(i + 1),
      root: toHex(new Uint8Array(32)),
    }))
    await recordBatches(settlement, [syntheticBatch(0n, [signEdge(edge, PRIVATE_KEY, DOMAIN, hash), ...others])])
    await database.sql`vacuum analyze leaf_buckets`
    return new Stage(database, leaves, hash)
  }

  /** Several runs after one that is not counted. */
  async bulkRates(): Promise<number[]> {
    await this.bulkFor(WARM_MS)
    const rates: number[] = []
    for (let i = 0; i < RUNS; i++) rates.push(await this.bulkFor(RUN_MS))
    return rates
  }

  async singleP99s(): Promise<number[]> {
    const p99s: number[] = []
    for (let i = 0; i < RUNS; i++) p99s.push(await this.#singleP99())
    return p99s
  }

  async #singleP99(): Promise<number> {
    const times: number[] = []
    for (let i = 0; i < SINGLE_PROOFS; i++) {
      const leaf = this.#nextLeaf()
      const begun = performance.now()
      const response = await this.#app.request(`/v1/proofs/${leaf}`)
      const text = await response.text()
      times.push(performance.now() - begun)
      if (response.status !== 200 || !text.includes('logPath')) throw new Error(`expected a proof, got ${text}`)
    }
    return times.toSorted((a, b) => a - b)[Math.floor(SINGLE_PROOFS * 0.99)] ?? Number.NaN
  }

  close(): Promise<void> {
    return this.#database.close()
  }

  /** Proofs a second, in JSON, of leaves all over the log. */
  async bulkFor(durationMs: number): Promise<number> {
    const begun = performance.now()
    let proven = 0
    const client = async (): Promise<void> => {
      while (performance.now() - begun < durationMs) {
        const leaves = Array.from({ length: BULK_LEAVES }, () => this.#nextLeaf())
        const body = JSON.stringify({ leaves })
        const text = await (await this.#app.request('/v1/proofs', { method: 'POST', body })).text()
        if (text.includes('"pending"') || text.includes('"unknown"')) throw new Error('expected proofs only')
        proven += BULK_LEAVES
      }
    }
    await Promise.all(Array.from({ length: BULK_CLIENTS }, client))
    return proven / ((performance.now() - begun) / 1000)
  }

  /** Leaves in an order that looks like chance and is the same in every run. */
  #nextLeaf(): string {
    const index = (++this.#asked * 7_368_787) % this.#leaves
    return toHex(syntheticLeaves(1, index, 1))
  }
}

/** Writes a log as deliveries of a million leaves would, without their signatures. */
async function writeLog(database: Database, count: number, hash: Keccak256): Promise<LogEdge> {
  const store = createLogStore(database.sql)
  const enclave = toHex(fromHex(enclaveOfKey(PRIVATE_KEY), 20))
  let edge = EMPTY_EDGE
  while (edge.size < count) {
    const leaves = syntheticLeaves(1, edge.size, Math.min(MILLION, count - edge.size))
    const next = extendEdge(edge, leaves)
    const head = signEdge(next, PRIVATE_KEY, DOMAIN, hash)
    await store.withLog(enclave, 'gateway', (log) => log.append(leaves, next, head))
    edge = next
  }
  await store.mergeRuns(enclave)
  return edge
}
