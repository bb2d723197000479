/** Proofs and tiles of logs of many sizes, on a real database. The chain is not asked: its batches are written as a follower reads them. */
import type { Hono } from 'hono'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createBulkKeccak } from '#node/bulkKeccak.ts'
import { type Database, migrate, openDatabase } from '#node/database.ts'
import { fromHex, type Hex, toHex } from '#protocol/bytes.ts'
import type { Keccak256 } from '#protocol/hash.ts'
import { batchLeaf } from '#protocol/log/batch.ts'
import { EMPTY_EDGE, type LogEdge } from '#protocol/log/edge.ts'
import { appendLeaves, createRows, type LogRows, leafAt, rootAt } from '#protocol/log/rows.ts'
import { proveFromTiles } from '#protocol/log/tiles.ts'
import { BATCH_NODE_TAG, LOG_NODE_TAG, rootFromPath } from '#protocol/log/tree.ts'
import { enclaveOfKey } from '#protocol/receipt/head.ts'
import type { EarningsHeadMessage } from '#protocol/wire/agentApi.ts'
import {
  ApiErrorSchema,
  type LeafProofs,
  LeafProofsSchema,
  PROOF_LEAVES_MAX,
  settledLeafAt,
} from '#protocol/wire/aggregatorApi.ts'
import { parseJson, toJson } from '#protocol/wire/json.ts'
import { type SettledLeaf, SettledLeafSchema } from '#protocol/wire/receiptFile.ts'
import { createAggregatorApp } from '../../offchain/aggregator/app.ts'
import { AGGREGATOR_LIMITS } from '../../offchain/aggregator/config.ts'
import { SettlementFeed } from '../../offchain/aggregator/events.ts'
import { createBatchWatch } from '../../offchain/aggregator/eventsStore.ts'
import { extendEdge } from '../../offchain/aggregator/extendEdge.ts'
import type { IngestPorts } from '../../offchain/aggregator/ingest.ts'
import { Intake } from '../../offchain/aggregator/intake.ts'
import { MIGRATIONS } from '../../offchain/aggregator/migrations.ts'
import { createClearingStore } from '../../offchain/aggregator/postgresClearings.ts'
import { createLogStore } from '../../offchain/aggregator/postgresLogs.ts'
import { createSettlementStore } from '../../offchain/aggregator/postgresSettlement.ts'
import { Prover, settledLeafOf } from '../../offchain/aggregator/proofs.ts'
import { createProofStore, type ProofStore } from '../../offchain/aggregator/proofsStore.ts'
import type { SettlementStore } from '../../offchain/aggregator/store.ts'
import { schemaFaults } from '../support/jsonSchema.ts'
import { SILENT, startPostgres, type TestPostgres } from '../support/postgres.ts'
import { recordBatches, signEdge, syntheticBatch, syntheticLeaves } from '../support/syntheticLog.ts'

const domain = { chainId: 31_337, settlement: `0x${'5e'.repeat(20)}` as Hex }
const NODES_MAX = 4_096

let postgres: TestPostgres
let hash: Keccak256
let database: Database
let settlement: SettlementStore
let store: ProofStore
let prover: Prover
let intake: Intake
let ports: IngestPorts
let batches: bigint

beforeAll(async () => {
  postgres = await startPostgres()
  hash = await createBulkKeccak()
})
afterAll(() => postgres.close())

beforeEach(async () => {
  database = await openDatabase({ url: await postgres.createDatabase() }, SILENT)
  await migrate(database.sql, MIGRATIONS)
  settlement = createSettlementStore(database.sql)
  await settlement.bindChain('test')
  ports = { store: createLogStore(database.sql), standingOf: async () => 'gateway', domain, hash }
  batches = 0n
  restart()
  return async () => {
    await intake.close()
    await database.close()
  }
})

/** Everything that a process keeps in memory, anew. */
function restart(): void {
  store = createProofStore(database.sql)
  prover = new Prover(store, hash, NODES_MAX)
  intake = new Intake(ports, 4, SILENT)
}

/** A log that grows by deliveries. */
class Log {
  readonly key: Uint8Array
  readonly enclave: Hex
  readonly rows: LogRows = createRows()
  readonly heads = new Map<number, EarningsHeadMessage>()
  readonly #seed: number
  #edge: LogEdge = EMPTY_EDGE

  constructor(seed: number) {
    this.#seed = seed
    this.key = new Uint8Array(32).fill(seed + 1)
    this.enclave = enclaveOfKey(this.key).toLowerCase() as Hex
  }

  get size(): number {
    return this.#edge.size
  }

  leaf(index: number): Uint8Array {
    return leafAt(this.rows, index).slice()
  }

  async grow(size: number): Promise<void> {
    const from = this.#edge.size
    const leaves = syntheticLeaves(this.#seed, from, size - from)
    appendLeaves(this.rows, leaves, hash)
    const edge = extendEdge(this.#edge, leaves)
    const head = signEdge(edge, this.key, domain, hash)
    const taken = await intake.take({ head, from: BigInt(from), leaves })
    expect(taken).toEqual({ ok: true, size: BigInt(size) })
    this.#edge = edge
    this.heads.set(size, head)
  }

  head(size: number = this.size): EarningsHeadMessage {
    const head = this.heads.get(size)
    if (head === undefined) throw new Error(`no head of size ${size}`)
    return head
  }
}

async function settle(...heads: readonly EarningsHeadMessage[]): Promise<void> {
  await recordBatches(settlement, [syntheticBatch(batches++, heads)])
}

/** The root of the batch that a proof leads to, as the contracts compute it. */
function batchRootOf(leaf: Uint8Array, settled: SettledLeaf): Uint8Array | undefined {
  const path = settled.logPath.map((node) => fromHex(node, 32))
  const root = rootFromPath(LOG_NODE_TAG, leaf, Number(settled.index), Number(settled.size) - 1, path)
  if (root === undefined) return undefined
  const head = batchLeaf(settled.enclave, settled.size, root)
  const batchPath = settled.batchPath.map((node) => fromHex(node, 32))
  return rootFromPath(BATCH_NODE_TAG, head, Number(settled.batchIndex), Number(settled.batchSize) - 1, batchPath)
}

async function verifies(leaf: Uint8Array, settled: SettledLeaf): Promise<boolean> {
  const entry = await settlement.readBatch(settled.batch)
  const root = batchRootOf(leaf, settled)
  return root !== undefined && toHex(root) === entry?.root
}

/** Proves leaves in bulk and checks each. Answers the sizes that they were proven at. */
async function proveAll(log: Log, indices: readonly number[], size?: number): Promise<Set<number>> {
  const sizes = new Set<number>()
  const roots = new Map<bigint, Hex | undefined>()
  for (let start = 0; start < indices.length; start += PROOF_LEAVES_MAX) {
    const part = indices.slice(start, start + PROOF_LEAVES_MAX)
    const leaves = part.map((index) => log.leaf(index))
    const states = await prover.prove(leaves, size === undefined ? undefined : BigInt(size))
    for (const [i, state] of states.entries()) {
      if (state.state !== 'settled') throw new Error(`leaf ${part[i]} is ${state.state}`)
      const settled = settledLeafOf(state)
      if (!roots.has(settled.batch)) roots.set(settled.batch, (await settlement.readBatch(settled.batch))?.root)
      const root = batchRootOf(leaves[i] ?? new Uint8Array(), settled)
      if (root === undefined || toHex(root) !== roots.get(settled.batch)) throw new Error(`leaf ${part[i]} fails`)
      if (settled.index !== BigInt(part[i] ?? -1)) throw new Error(`leaf ${part[i]} is said to be at ${settled.index}`)
      sizes.add(Number(settled.size))
    }
  }
  return sizes
}

const upTo = (count: number) => Array.from({ length: count }, (_, i) => i)

describe('every leaf is proven', () => {
  test('at each settled size around the borders of groups and small tiles', async () => {
    const log = new Log(1)
    const sizes = [1, 2, 3, 15, 16, 17, 31, 33, 240, 255, 256, 257, 272, 511, 513]
    for (const size of sizes) {
      await log.grow(size)
      await settle(log.head())
    }
    for (const size of sizes) expect(await proveAll(log, upTo(size), size)).toEqual(new Set([size]))
    expect(await proveAll(log, upTo(513))).toEqual(new Set(sizes))
  })

  test.each([
    [65_535, 65_536, 65_537],
    [4_095, 4_097, 69_700],
  ])('in logs whose heads have %i, %i and %i leaves', async (...sizes) => {
    const log = new Log(2)
    for (const size of sizes) {
      await log.grow(size)
      await settle(log.head())
    }
    expect(await proveAll(log, upTo(log.size))).toEqual(new Set(sizes))
    const borders = [0, 1, 15, 16, 255, 256, 4_093, 4_094, 4_095, 4_096, 65_519, 65_520, 65_534, 65_535, 65_536]
    for (const size of sizes) {
      const below = borders.filter((index) => index < size)
      expect(await proveAll(log, [...below, size - 2, size - 1, size >> 1], size)).toEqual(new Set([size]))
    }
  })

  test('of many enclaves in one call, with heads that share batches', async () => {
    const logs = upTo(9).map((seed) => new Log(seed))
    for (const [i, log] of logs.entries()) await log.grow(10 + 50 * i)
    await settle(...logs.slice(0, 5).map((log) => log.head()))
    await settle(...logs.slice(5).map((log) => log.head()))
    const asked = logs.flatMap((log) => [0, log.size >> 1, log.size - 1].map((index) => ({ log, index })))
    const states = await prover.prove(asked.map(({ log, index }) => log.leaf(index)))
    for (const [i, state] of states.entries()) {
      if (state.state !== 'settled') throw new Error(`the leaf is ${state.state}`)
      const settled = settledLeafOf(state)
      expect(settled.enclave).toBe(asked[i]?.log.enclave)
      expect(await verifies(asked[i]?.log.leaf(asked[i]?.index ?? 0) ?? new Uint8Array(), settled)).toBe(true)
    }
  })
})

test('no proof verifies with a bit flipped anywhere', async () => {
  const [log, other] = [new Log(3), new Log(4)]
  await log.grow(300)
  await other.grow(5)
  await settle(log.head(), other.head())
  const leaf = log.leaf(257)
  const [state] = await prover.prove([leaf])
  if (state?.state !== 'settled') throw new Error('expected a proof')
  const settled = settledLeafOf(state)
  expect(await verifies(leaf, settled)).toBe(true)
  const flip = (hex: Hex): Hex => `0x${hex.slice(2, -1)}${(Number.parseInt(hex.slice(-1), 16) ^ 1).toString(16)}`
  const flipOne = (path: readonly Hex[], at: number) => path.map((node, i) => (i === at ? flip(node) : node))
  const wrong: SettledLeaf[] = [
    ...settled.logPath.map((_, at) => ({ ...settled, logPath: flipOne(settled.logPath, at) })),
    ...settled.batchPath.map((_, at) => ({ ...settled, batchPath: flipOne(settled.batchPath, at) })),
    { ...settled, index: settled.index ^ 1n },
    { ...settled, size: settled.size ^ 1n },
    { ...settled, batchIndex: settled.batchIndex ^ 1n },
    { ...settled, enclave: flip(settled.enclave) },
    { ...settled, logPath: settled.logPath.slice(1) },
    { ...settled, logPath: [...settled.logPath, toHex(leaf)] },
  ]
  for (const each of wrong) expect(await verifies(leaf, each)).toBe(false)
  expect(await verifies(fromHex(flip(toHex(leaf)), 32), settled)).toBe(false)
})

describe('a leaf', () => {
  test('is unknown, then pending, then settled, and keeps its first proof', async () => {
    const log = new Log(5)
    const state = async (index: number, size?: bigint) => (await prover.prove([log.leaf(index)], size))[0]?.state
    appendLeaves(log.rows, syntheticLeaves(5, 0, 40), hash)
    expect(await state(7)).toBe('unknown')
    const fresh = new Log(5)
    await fresh.grow(40)
    expect(await state(7)).toBe('pending')
    await settle(fresh.head())
    const [first] = await prover.prove([log.leaf(7)])
    await fresh.grow(90)
    expect(await state(7, 90n)).toBe('pending')
    await settle(fresh.head())
    expect(await prover.prove([log.leaf(7)])).toEqual([first])
    expect(await state(7, 90n)).toBe('settled')
    expect(await state(7, 41n)).toBe('pending')
    expect((await prover.prove([fresh.leaf(60)], 40n))[0]?.state).toBe('pending')
  })

  test('is pending again once its batch is reorganised away, and proven in the one that replaces it', async () => {
    const [log, other] = [new Log(6), new Log(7)]
    await log.grow(20)
    await other.grow(3)
    await settle(log.head())
    const [before] = await prover.prove([log.leaf(3)])
    expect(before?.state).toBe('settled')
    const entry = await settlement.readBatch(0n)
    await recordBatches(settlement, [{ ...syntheticBatch(0n, [other.head()]), block: entry?.block ?? 0n }])
    expect((await prover.prove([log.leaf(3)]))[0]).toEqual({ state: 'pending' })
    await recordBatches(settlement, [{ ...syntheticBatch(0n, [other.head(), log.head()]), block: entry?.block ?? 0n }])
    expect(await proveAll(log, upTo(20))).toEqual(new Set([20]))
  })

  test('is not proven under a root that its enclave settled over other leaves', async () => {
    const log = new Log(8)
    await log.grow(12)
    await settle({ ...log.head(), root: toHex(new Uint8Array(32).fill(9)) })
    expect((await prover.prove([log.leaf(3)]))[0]?.state).toBe('pending')
    await log.grow(15)
    await settle(log.head())
    expect(await proveAll(log, upTo(15))).toEqual(new Set([15]))
  })

  test('that two enclaves logged is proven where it is settled', async () => {
    const log = new Log(9)
    const key = new Uint8Array(32).fill(0x77)
    const edge = extendEdge(EMPTY_EDGE, syntheticLeaves(9, 0, 30))
    await log.grow(30)
    // The first log's leaves have come into the index, those of the second have not yet.
    await createProofStore(database.sql).catchUp(log.enclave)
    const head = signEdge(edge, key, domain, hash)
    expect(await intake.take({ head, from: 0n, leaves: syntheticLeaves(9, 0, 30) })).toMatchObject({ ok: true })
    expect((await prover.prove([log.leaf(4)]))[0]?.state).toBe('pending')
    await settle(head)
    const [state] = await prover.prove([log.leaf(4)])
    expect(state).toMatchObject({ state: 'settled', enclave: head.enclave })
  })
})

describe('what is written behind the deliveries', () => {
  test('never hides an acknowledged leaf, whatever is under way', async () => {
    const log = new Log(10)
    const seed = [3, 1, 17, 250, 16, 5, 4_100, 1, 1, 64, 700, 33, 2, 9_000, 15, 1, 5_000, 300, 8, 12]
    let acknowledged = 0
    let isDone = false
    const growing = (async () => {
      for (const [i, count] of [...seed, ...seed].entries()) {
        await log.grow(log.size + count)
        acknowledged = log.size
        if (i % 3 === 0) await settle(log.head())
      }
      isDone = true
    })()
    let asked = 0
    for (let step = 1; !isDone; step++) {
      const size = acknowledged
      if (size === 0) {
        await new Promise((resolve) => setImmediate(resolve))
        continue
      }
      const indices = [size - 1, Math.floor(size / 2), (step * 7_919) % size, 0]
      const states = await prover.prove(indices.map((index) => log.leaf(index)))
      for (const [i, state] of states.entries()) {
        if (state.state === 'unknown') throw new Error(`leaf ${indices[i]} of ${size} is not found`)
        if (state.state !== 'settled') continue
        expect(await verifies(log.leaf(indices[i] ?? 0), settledLeafOf(state))).toBe(true)
        asked++
      }
    }
    await growing
    expect(asked).toBeGreaterThan(0)
    await settle(log.head())
    await proveAll(log, upTo(log.size))
  })

  test('is caught up by a process that starts later, also in a database that never had it', async () => {
    const log = new Log(11)
    await log.grow(70_000)
    await settle(log.head())
    await intake.close()
    const stored = () => database.sql`select level, index, nodes from log_tiles order by level, index`
    const before = [...(await stored())]
    expect(before.length).toBe(18 + 2 + 1 + 1)
    await database.sql`truncate log_tiles, log_progress, leaf_segments, leaf_buckets`
    restart()
    // Runs that were merged have no index of their own: the log is indexed anew by the next delivery.
    await log.grow(70_001)
    await intake.close()
    await proveAll(log, [0, 15, 16, 255, 4_095, 4_096, 65_535, 65_536, 69_999])
    const [{ tiled, indexed } = {}] = await database.sql`select tiled, indexed from log_progress`
    expect([tiled, indexed]).toEqual([70_000n, 70_001n])
    expect([...(await stored())]).toEqual(before)
  })

  test('is written once by two processes at once', async () => {
    const log = new Log(12)
    const quiet = ports.store
    // Taken in without anything behind it.
    ports = { ...ports, store: { ...quiet, mergeRuns: async () => {} } }
    restart()
    await log.grow(30_000)
    await settle(log.head())
    const [one, two] = [createProofStore(database.sql), createProofStore(database.sql)]
    await Promise.all([one.catchUp(log.enclave), two.catchUp(log.enclave), proveAll(log, [0, 29_999, 12_345])])
    const [{ leaves } = {}] = await database.sql`select sum(length(entries) / 14)::int as leaves from leaf_buckets`
    expect(leaves).toBe(30_000)
    const [{ nodes } = {}] = await database.sql`select sum(length(nodes) / 32)::int as nodes from log_tiles`
    expect(nodes).toBe(1_875 + 117 + 7)
    await proveAll(log, upTo(30_000))
  })

  test('keeps the segments of the index few', async () => {
    const log = new Log(13)
    for (let i = 0; i < 80; i++) {
      await log.grow(log.size + 1 + (i % 40))
      await ports.store.mergeRuns(log.enclave)
    }
    const segments = await database.sql<{ count: bigint }[]>`select count from leaf_segments`
    expect(segments.reduce((sum, { count }) => sum + Number(count), 0)).toBe(log.size)
    expect(segments.length).toBeLessThanOrEqual(3 * 6)
  })
})

describe('over HTTP', () => {
  let app: Hono
  let log: Log

  beforeEach(async () => {
    app = createAggregatorApp({
      intake,
      clearings: {
        store: createClearingStore(database.sql),
        writerOf: async () => undefined,
        standingOf: ports.standingOf,
        domain,
      },
      logs: ports.store,
      settlement,
      prover,
      tiles: store,
      feed: new SettlementFeed({ watch: createBatchWatch(database.sql), settlement, log: SILENT }),
      account: `0x${'00'.repeat(20)}`,
      health: { isLeader: true, failure: undefined, trouble: undefined },
      limits: AGGREGATOR_LIMITS,
      log: SILENT,
      wake: () => {},
      now: () => 0,
    })
    log = new Log(14)
    await log.grow(300)
    await settle(log.head())
    await log.grow(70_000)
    await settle(log.head())
  })

  const post = (body: unknown) => app.request('/v1/proofs', { method: 'POST', body: JSON.stringify(body) })
  const leafAtIndex = (index: number) => toHex(log.leaf(index))
  async function errorOf(response: Response): Promise<unknown> {
    return { status: response.status, code: parseJson(ApiErrorSchema, await response.text(), 'error').error.code }
  }

  test('a proof is at the smallest size that covers the leaf, or at the one asked for', async () => {
    const [first, second] = [
      await app.request(`/v1/proofs/${leafAtIndex(299)}`),
      await app.request(`/v1/proofs/${leafAtIndex(299)}?size=70000`),
    ]
    const proofs = [first, second].map(async (response) => parseJson(SettledLeafSchema, await response.text(), 'proof'))
    expect((await Promise.all(proofs)).map(({ size }) => size)).toEqual([300n, 70_000n])
    for (const proof of proofs) expect(await verifies(log.leaf(299), await proof)).toBe(true)
    const pending = await app.request(`/v1/proofs/${leafAtIndex(299)}?size=301`)
    expect([pending.status, await pending.json()]).toEqual([202, { state: 'pending' }])
  })

  test('many proofs at once state each head once', async () => {
    const unknown = toHex(new Uint8Array(32).fill(0xab))
    const indices = [5, 299, 300, 69_999]
    const response = await post({ leaves: [...indices.map(leafAtIndex), unknown] })
    expect([response.status, response.headers.get('access-control-allow-origin')]).toEqual([200, '*'])
    const answer: LeafProofs = parseJson(LeafProofsSchema, await response.text(), 'proofs')
    expect(answer.heads.map(({ size, isFinal }) => [size, isFinal])).toEqual([
      [300n, false],
      [70_000n, false],
    ])
    expect(answer.proofs.map(({ state }) => state)).toEqual(['settled', 'settled', 'settled', 'settled', 'unknown'])
    for (const [i, index] of indices.entries()) {
      const settled = settledLeafAt(answer, i)
      if (settled === undefined) throw new Error('expected a proof')
      expect(await verifies(log.leaf(index), settled)).toBe(true)
    }
    expect(settledLeafAt(answer, 4)).toBeUndefined()
    const atSize = parseJson(
      LeafProofsSchema,
      await (await post({ leaves: indices.map(leafAtIndex), size: '300' })).text(),
      'proofs',
    )
    expect(atSize.proofs.map(({ state }) => state)).toEqual(['settled', 'settled', 'pending', 'pending'])
  })

  test('what asks wrongly is refused with its code', async () => {
    const leaf = leafAtIndex(0)
    for (const body of [
      {},
      { leaves: [] },
      { leaves: [leaf, '0x12'] },
      { leaves: Array.from({ length: PROOF_LEAVES_MAX + 1 }, () => leaf) },
      { leaves: [leaf], size: 300 },
      { leaves: [leaf], size: '-1' },
    ]) {
      expect(await errorOf(await post(body))).toEqual({ status: 400, code: 'BAD_REQUEST' })
    }
    const long = await app.request('/v1/proofs', { method: 'POST', body: ' '.repeat(40_000) })
    expect(await errorOf(long)).toEqual({ status: 413, code: 'BODY_TOO_LARGE' })
    for (const path of [
      '/v1/proofs/0x12',
      `/v1/proofs/${leaf}?size=x`,
      `/v1/proofs/${leaf}?size=1&size=2`,
      '/v1/tiles/0x12/0/0',
      `/v1/tiles/${log.enclave}/-1/0`,
      `/v1/tiles/${log.enclave}/0/1e3`,
      `/v1/tiles/${log.enclave}/0/0?width=0`,
      `/v1/tiles/${log.enclave}/0/0?width=257`,
      '/v1/settlements?from=-1',
      '/v1/settlements?from=1&from=2',
    ]) {
      expect(await errorOf(await app.request(path))).toEqual({ status: 400, code: 'BAD_REQUEST' })
    }
    for (const path of [
      `/v1/proofs/${toHex(new Uint8Array(32))}`,
      `/v1/tiles/${log.enclave}/0/273`,
      `/v1/tiles/${log.enclave}/0/273?width=113`,
      `/v1/tiles/${log.enclave}/1/1`,
      `/v1/tiles/${log.enclave}/7/0`,
      `/v1/tiles/${toHex(new Uint8Array(20))}/0/0`,
    ]) {
      expect(await errorOf(await app.request(path))).toEqual({ status: 404, code: 'NOT_FOUND' })
    }
  })

  test('a proof may be kept for ever once its block is final, and is told apart by its tag before', async () => {
    const path = `/v1/proofs/${leafAtIndex(7)}`
    const before = await app.request(path)
    expect(before.headers.get('cache-control')).toBe('public, no-cache')
    const tag = before.headers.get('etag') ?? ''
    const same = await app.request(path, { headers: { 'if-none-match': `"other", W/${tag}` } })
    expect([same.status, await same.text()]).toEqual([304, ''])
    await recordBatches(settlement, [], 1_000n)
    const after = await app.request(path, { headers: { 'if-none-match': '"other"' } })
    expect([after.status, after.headers.get('etag')]).toEqual([200, tag])
    expect(after.headers.get('cache-control')).toContain('immutable')
    expect((await app.request(`/v1/proofs/${toHex(new Uint8Array(32))}`)).headers.get('cache-control')).toBe('no-store')
  })

  test('tiles prove leaves without asking for proofs', async () => {
    const asked: string[] = []
    for (const [index, size] of [
      [0, 300],
      [299, 300],
      [65_535, 70_000],
      [69_999, 70_000],
    ] as const) {
      const { path, root } = await proveFromTiles(
        index,
        size,
        async ({ level, index: at, width }) => {
          const url = `/v1/tiles/${log.enclave}/${level}/${at}${width === 256 ? '' : `?width=${width}`}`
          asked.push(url)
          const response = await app.request(url)
          expect([response.status, response.headers.get('access-control-allow-origin')]).toEqual([200, '*'])
          expect(response.headers.get('cache-control')).toContain('immutable')
          return new Uint8Array(await response.arrayBuffer())
        },
        hash,
      )
      expect(toHex(root)).toBe(toHex(rootAt(log.rows, size, hash)))
      expect(toHex(root)).toBe(log.head(size).root)
      expect(rootFromPath(LOG_NODE_TAG, log.leaf(index), index, size - 1, path)).toEqual(root)
    }
    expect(asked).toContain(`/v1/tiles/${log.enclave}/1/0`)
    expect(asked).toContain(`/v1/tiles/${log.enclave}/2/0?width=1`)
  })

  test('pages may ask for proofs in bulk', async () => {
    const response = await app.request('/v1/proofs', {
      method: 'OPTIONS',
      headers: { origin: 'https://example.org', 'access-control-request-method': 'POST' },
    })
    expect([response.status, response.headers.get('access-control-allow-origin')]).toEqual([204, '*'])
  })

  test('the description names every route that is served, and no other', async () => {
    const document = await describedApi()
    const described = Object.entries(document.paths).flatMap(([path, operations]) =>
      Object.keys(operations).map((method) => `${method.toUpperCase()} ${path}`),
    )
    const served = app.routes
      .filter(({ method }) => method !== 'ALL')
      .map(({ method, path }) => `${method} ${path.replaceAll(/:([^/]+)/g, '{$1}')}`)
    expect(document.openapi).toBe('3.1.1')
    expect(described.sort()).toEqual([...new Set(served)].sort())
    for (const [path, operations] of Object.entries(document.paths)) {
      const names = [...path.matchAll(/\{([^}]+)\}/g)].map(([, name]) => name)
      for (const { parameters = [] } of Object.values(operations)) {
        const own = parameters.filter((parameter) => parameter.in === 'path').map(({ name }) => name)
        expect(own).toEqual(names)
      }
    }
  })

  test('real answers are as the description says, and spoilt ones are not', async () => {
    const document = await describedApi()
    const leaf = leafAtIndex(5)
    const leaves = JSON.stringify({ leaves: [leaf, leafAtIndex(69_999), toHex(new Uint8Array(32))] })
    const head = log.head()
    const delivery = toJson({ head, from: 0n, leaves: '' })
    const requests: [path: string, url: string, body?: string][] = [
      ['/healthz', '/healthz'],
      ['/readyz', '/readyz'],
      ['/openapi.json', '/openapi.json'],
      ['/v1/status', '/v1/status'],
      ['/v1/enclaves/{id}', `/v1/enclaves/${log.enclave}`],
      ['/v1/enclaves/{id}', '/v1/enclaves/0x12'],
      ['/v1/enclaves/{id}', `/v1/enclaves/${toHex(new Uint8Array(20))}`],
      ['/v1/batches/{id}', '/v1/batches/0'],
      ['/v1/batches/{id}', '/v1/batches/7'],
      ['/v1/proofs/{leaf}', `/v1/proofs/${leaf}`],
      ['/v1/proofs/{leaf}', `/v1/proofs/${leaf}?size=17`],
      ['/v1/proofs/{leaf}', `/v1/proofs/${leaf}?size=a`],
      ['/v1/proofs/{leaf}', `/v1/proofs/${toHex(new Uint8Array(32))}`],
      ['/v1/proofs', '/v1/proofs', leaves],
      ['/v1/proofs', '/v1/proofs', '{}'],
      ['/v1/tiles/{enclave}/{level}/{index}', `/v1/tiles/${log.enclave}/0/1`],
      ['/v1/tiles/{enclave}/{level}/{index}', `/v1/tiles/${log.enclave}/0/999`],
      ['/v1/settlements', '/v1/settlements?from=x'],
      ['/v1/heads', '/v1/heads', delivery],
      ['/v1/heads', '/v1/heads', toJson({ head: { ...head, fees: 0n }, from: 0n, leaves: '' })],
      ['/v1/clearings', '/v1/clearings', '{}'],
      ['/v1/settle', '/v1/settle', ''],
    ]
    const seen = new Set<string>()
    for (const [path, url, body] of requests) {
      const response = await app.request(url, body === undefined ? {} : { method: 'POST', body })
      const operation = document.paths[path]?.[body === undefined ? 'get' : 'post']
      const [type = ''] = (response.headers.get('content-type') ?? '').split(';')
      const schema = operation?.responses[response.status]?.content?.[type]?.schema
      if (schema === undefined) throw new Error(`${url} answers ${response.status} ${type}, which is not described`)
      seen.add(`${path} ${response.status}`)
      if (type !== 'application/json') continue
      const value: unknown = await response.json()
      expect(schemaFaults(schema, value, document)).toEqual([])
      for (const spoilt of spoil(value, schema)) expect(schemaFaults(schema, spoilt, document)).not.toEqual([])
    }
    expect(seen.size).toBeGreaterThanOrEqual(20)
    const stream = await app.request('/v1/settlements?from=0')
    const text = new TextDecoder().decode((await stream.body?.getReader().read())?.value)
    expect([stream.status, text]).toEqual([200, 'retry: 2000\n\n'])
    const types = Object.keys(document.paths['/v1/settlements']?.get?.responses[200]?.content ?? {})
    expect(types).toEqual([stream.headers.get('content-type')])
  })

  async function describedApi(): Promise<Description> {
    return (await app.request('/openapi.json')).json() as Promise<Description>
  }
})

type Description = {
  readonly [key: string]: unknown
  readonly openapi: string
  readonly paths: Record<string, Record<string, DescribedOperation>>
}

type DescribedOperation = {
  readonly parameters?: { readonly name: string; readonly in: string }[]
  readonly responses: Record<
    string,
    { readonly content?: Record<string, { readonly schema?: Record<string, unknown> }> }
  >
}

/** The value without each of its fields in turn, of those that a description names. */
function spoil(value: unknown, schema: Record<string, unknown>): unknown[] {
  if (typeof value !== 'object' || value === null || !('$ref' in schema || 'properties' in schema)) return [null, 7]
  return [null, [value], ...Object.keys(value).map((name) => ({ ...value, [name]: null }))]
}
