/** What an aggregator takes in and what it refuses, on a real database. The chain is not asked here: every enclave counts as a gateway. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createBulkKeccak } from '#node/bulkKeccak.ts'
import { type Database, migrate, openDatabase } from '#node/database.ts'
import type { Hex } from '#protocol/bytes.ts'
import type { Keccak256 } from '#protocol/hash.ts'
import { keccak256 } from '#protocol/hash.ts'
import { type IngestPorts, ingest } from '../../offchain/aggregator/ingest.ts'
import { Intake } from '../../offchain/aggregator/intake.ts'
import { MIGRATIONS } from '../../offchain/aggregator/migrations.ts'
import { createLogStore } from '../../offchain/aggregator/postgresLogs.ts'
import { createSettlementStore } from '../../offchain/aggregator/postgresSettlement.ts'
import { createProofStore } from '../../offchain/aggregator/proofsStore.ts'
import { SILENT, startPostgres, type TestPostgres } from '../support/postgres.ts'
import { TestLog } from '../support/testLog.ts'

const domain = { chainId: 31_337, settlement: `0x${'5e'.repeat(20)}` as Hex }
const KEY = new Uint8Array(32).fill(7)

let postgres: TestPostgres
let database: Database
let hash: Keccak256
let ports: IngestPorts
let log: TestLog

beforeAll(async () => {
  postgres = await startPostgres()
  hash = await createBulkKeccak()
})
afterAll(() => postgres.close())

beforeEach(async () => {
  database = await openDatabase({ url: await postgres.createDatabase() }, SILENT)
  await migrate(database.sql, MIGRATIONS)
  ports = { store: createLogStore(database.sql), standingOf: async () => 'gateway', domain, hash }
  log = new TestLog(KEY, domain)
  return () => database.close()
})

const evidence = () => database.sql<{ kind: string; heads: string }[]>`select kind, heads from evidence`
const placesOf = async (leaf: Uint8Array) => (await createProofStore(database.sql).findCandidates([leaf])).flat()
const sizeHeld = async () => (await ports.store.readEnclave(log.enclave))?.head.size

describe('a delivery', () => {
  test('is acknowledged with the leaves now held', async () => {
    expect(await ingest(ports, log.issue(5).delivery())).toEqual({ ok: true, size: 5n })
    expect(await ingest(ports, log.issue(4).delivery(5))).toEqual({ ok: true, size: 9n })
    expect(await ports.store.readEnclave(log.enclave)).toEqual({
      role: 'gateway',
      settledSize: 0n,
      head: log.head(),
    })
  })

  test('is answered the same when it is repeated', async () => {
    const delivery = log.issue(5).delivery()
    const first = await ingest(ports, delivery)
    expect(await ingest(ports, delivery)).toEqual(first)
    const [row] = await database.sql`select count(*)::int as count from heads`
    expect(row).toEqual({ count: 1 })
  })

  test('may overlap what is known', async () => {
    await ingest(ports, log.issue(5).delivery())
    expect(await ingest(ports, log.issue(4).delivery(2))).toEqual({ ok: true, size: 9n })
    expect(await ports.store.readLeaves(log.enclave, 0, 9)).toEqual(log.delivery().leaves)
  })

  test('may be of an older head whose leaves are all known', async () => {
    await ingest(ports, log.issue(9).delivery())
    expect(await ingest(ports, log.delivery(2, log.head(4)))).toEqual({ ok: true, size: 9n })
  })

  test('taken in twice at once is stored once', async () => {
    const delivery = log.issue(50).delivery()
    const results = await Promise.all(Array.from({ length: 6 }, () => ingest(ports, delivery)))
    for (const result of results) expect(result).toEqual({ ok: true, size: 50n })
    const [row] = await database.sql`select count(*)::int as runs, sum(count)::int as leaves from leaf_runs`
    expect(row).toEqual({ runs: 1, leaves: 50 })
  })

  test('of a longer log meets a shorter one at once without losing either', async () => {
    const short = log.issue(20).delivery()
    const long = log.issue(20).delivery()
    const results = await Promise.all([ingest(ports, long), ingest(ports, short), ingest(ports, long)])
    expect(results.every(({ ok }) => ok)).toBe(true)
    expect(await sizeHeld()).toBe(40n)
  })
})

describe('a delivery is refused', () => {
  const code = async (delivery: Parameters<typeof ingest>[1]) => {
    const result = await ingest(ports, delivery)
    return result.ok ? 'taken' : result.code
  }

  test('when another key signed its head', async () => {
    const other = new TestLog(new Uint8Array(32).fill(8), domain).issue(5)
    const head = { ...log.issue(5).head(), signature: other.head().signature }
    expect(await code(log.delivery(0, head))).toBe('BAD_SIGNATURE')
  })

  test('when any part of its head was changed', async () => {
    const head = log.issue(5).head()
    expect(await code({ ...log.delivery(0), head: { ...head, fees: head.fees + 1n } })).toBe('BAD_SIGNATURE')
    expect(await code({ ...log.delivery(0), head: { ...head, root: `0x${'00'.repeat(32)}` } })).toBe('BAD_SIGNATURE')
  })

  test('when its head was signed for another contract', async () => {
    const elsewhere = new TestLog(KEY, { ...domain, settlement: `0x${'5f'.repeat(20)}` }).issue(5)
    expect(await code(elsewhere.delivery())).toBe('BAD_SIGNATURE')
  })

  test('when the registry knows no such enclave, or it has ended', async () => {
    log.issue(1)
    for (const standing of ['unknown', 'ended'] as const) {
      ports = { ...ports, standingOf: async () => standing }
      expect(await code(log.delivery())).toBe('UNKNOWN_ENCLAVE')
    }
  })

  test('when one bit of a leaf differs', async () => {
    const delivery = log.issue(5).delivery()
    const leaves = delivery.leaves.slice()
    leaves[70] = (leaves[70] ?? 0) ^ 1
    expect(await code({ ...delivery, leaves })).toBe('ROOT_MISMATCH')
    expect(await sizeHeld()).toBeUndefined()
  })

  test('when a known leaf differs and the enclave signed no such log', async () => {
    await ingest(ports, log.issue(5).delivery())
    const delivery = log.issue(5).delivery(0)
    const leaves = delivery.leaves.slice()
    leaves[70] = (leaves[70] ?? 0) ^ 1
    expect(await code({ ...delivery, leaves })).toBe('ROOT_MISMATCH')
    expect(await evidence()).toHaveLength(0)
  })

  test('when it begins after the end of what is known, with the place to begin at', async () => {
    await ingest(ports, log.issue(5).delivery())
    expect(await ingest(ports, log.issue(5).delivery(7))).toMatchObject({ ok: false, code: 'GAP', expectedFrom: 5n })
  })

  test('when it does not hold exactly the leaves up to its head', async () => {
    const delivery = log.issue(5).delivery()
    expect(await code({ ...delivery, leaves: delivery.leaves.subarray(32) })).toBe('BAD_REQUEST')
    expect(await code({ ...delivery, leaves: delivery.leaves.subarray(1) })).toBe('BAD_REQUEST')
  })

  test('when its head ends before its leaves begin', async () => {
    expect(await code({ ...log.issue(5).delivery(), from: 6n })).toBe('HEAD_BACKWARDS')
  })
})

describe('an enclave that contradicts itself', () => {
  test('with two roots of one size leaves both heads as evidence', async () => {
    const fork = log.issue(5).forkAt(2, 1).issue(3)
    await ingest(ports, log.delivery())
    expect(await ingest(ports, fork.delivery())).toMatchObject({ ok: false, code: 'EQUIVOCATION' })
    const [row] = await evidence()
    expect(row?.kind).toBe('contradiction')
    expect(row?.heads).toContain(fork.head().signature.r)
    expect(row?.heads).toContain(log.head().signature.r)
  })

  test('with two fee totals of one size is caught', async () => {
    await ingest(ports, log.issue(5).delivery())
    expect(await ingest(ports, log.delivery(0, log.head(5, 16n)))).toMatchObject({ code: 'EQUIVOCATION' })
  })

  test('with smaller fees of a larger log is caught, whichever comes first', async () => {
    await ingest(ports, log.issue(5).delivery())
    expect(await ingest(ports, log.issue(1).delivery(0, log.head(6, 14n)))).toMatchObject({ code: 'EQUIVOCATION' })
    const other = new TestLog(new Uint8Array(32).fill(9), domain).issue(6)
    await ingest(ports, other.delivery())
    expect(await ingest(ports, other.delivery(0, other.head(5, 19n)))).toMatchObject({ code: 'EQUIVOCATION' })
    expect(await evidence()).toHaveLength(2)
  })

  test('with another leaf at a known place leaves a fork as evidence', async () => {
    await ingest(ports, log.issue(5).delivery())
    const fork = log.forkAt(2, 1).issue(6)
    expect(await ingest(ports, fork.delivery(1))).toMatchObject({ ok: false, code: 'EQUIVOCATION' })
    expect((await evidence())[0]?.kind).toBe('fork')
  })

  test('is noted once however often it is told', async () => {
    const fork = log.issue(5).forkAt(2, 1).issue(3)
    await ingest(ports, log.delivery())
    for (let i = 0; i < 3; i++) await ingest(ports, fork.delivery())
    expect(await evidence()).toHaveLength(1)
  })

  test('delivers nothing new any more, and gets the same answer to what was taken', async () => {
    const fork = log.issue(5).forkAt(2, 1).issue(3)
    await ingest(ports, log.delivery())
    await ingest(ports, fork.delivery())
    expect(await ingest(ports, log.delivery())).toEqual({ ok: true, size: 5n })
    expect(await ingest(ports, log.issue(1).delivery())).toMatchObject({ code: 'EQUIVOCATION' })
    expect((await createSettlementStore(database.sql).readDue(`0x${'00'.repeat(20)}`, 256)).heads).toHaveLength(0)
  })
})

describe('leaves', () => {
  test('are found by their hash before and after runs are merged', async () => {
    for (let i = 0; i < 20; i++) await ingest(ports, log.issue(1 + (i % 7)).delivery(log.size - 1 - (i % 7)))
    const runs = async () => (await database.sql`select 1 from leaf_runs`).length
    const before = await runs()
    for (let i = 0; i < log.size; i++) {
      expect(await placesOf(log.leaf(i))).toEqual([{ enclave: log.enclave, index: i }])
    }
    await ports.store.mergeRuns(log.enclave)
    expect(await runs()).toBeLessThan(before)
    for (let i = 0; i < log.size; i++) {
      expect(await placesOf(log.leaf(i))).toEqual([{ enclave: log.enclave, index: i }])
    }
    expect(await ports.store.readLeaves(log.enclave, 3, 40)).toEqual(log.delivery().leaves.subarray(3 * 32, 40 * 32))
    expect(await ingest(ports, log.issue(3).delivery(10))).toMatchObject({ ok: true })
  })

  test('that nobody delivered are not found', async () => {
    await ingest(ports, log.issue(30).delivery())
    expect(await placesOf(keccak256(Uint8Array.of(1)))).toEqual([])
  })
})

test('an intake lets in as many bytes as it was told, a larger body alone, and none once it closes', async () => {
  const intake = new Intake(ports, 100, SILENT)
  expect([intake.enter(60), intake.enter(40), intake.enter(1)]).toEqual([true, true, false])
  intake.leave(40)
  expect(intake.openBytes).toBe(60)
  expect([intake.enter(41), intake.enter(40)]).toEqual([false, true])
  intake.leave(40)
  intake.leave(60)
  expect([intake.enter(101), intake.enter(1)]).toEqual([true, false])
  intake.leave(101)
  await intake.close()
  expect(intake.enter(1)).toBe(false)
})
