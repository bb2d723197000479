/** One contract of the aggregator's store ports, for PostgreSQL and for the store of the simulation: whatever is asked of both, they answer alike. */
import fc from 'fast-check'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type Database, migrate, openDatabase } from '#node/database.ts'
import { MIGRATIONS } from '../../offchain/aggregator/migrations.ts'
import { createClearingStore } from '../../offchain/aggregator/postgresClearings.ts'
import { createLogStore } from '../../offchain/aggregator/postgresLogs.ts'
import { createSettlementStore } from '../../offchain/aggregator/postgresSettlement.ts'
import { createProofStore } from '../../offchain/aggregator/proofsStore.ts'
import { MemoryClearings } from '../simulation/memoryClearings.ts'
import { MemoryLogs } from '../simulation/memoryLogs.ts'
import { MemoryProofs } from '../simulation/memoryProofs.ts'
import { MemorySettlement } from '../simulation/memorySettlement.ts'
import { Tables } from '../simulation/memoryTables.ts'
import { firstDifference, playScript, type ScriptStep, STEP_WEIGHTS, type Stores } from '../simulation/storeScript.ts'
import { SILENT, startPostgres, type TestPostgres } from '../support/postgres.ts'

const SCRIPTS = 24
const STEPS = 80
const SEED = 6

let postgres: TestPostgres
let database: Database
let inPostgres: Stores

beforeAll(async () => {
  postgres = await startPostgres()
  const url = await postgres.createDatabase()
  // A clock that stands: `now()` is found here before PostgreSQL's own, in the tables' defaults too.
  const { sql, close } = await openDatabase({ url }, SILENT)
  await sql.unsafe(`
    create schema clock;
    create table clock.instant (at timestamptz not null);
    insert into clock.instant values (now());
    create function clock.now() returns timestamptz language sql stable as 'select at from clock.instant';
    do $$ begin execute format('alter database %I set search_path = clock, pg_catalog, public', current_database()); end $$`)
  await close()
  database = await openDatabase({ url }, SILENT)
  await migrate(database.sql, MIGRATIONS)
  inPostgres = {
    logs: createLogStore(database.sql),
    clearings: createClearingStore(database.sql),
    settlement: createSettlementStore(database.sql),
    proofs: createProofStore(database.sql),
    setClock: async (ms) => {
      await database.sql`update clock.instant set at = ${new Date(ms)}`
    },
  }
})
afterAll(async () => {
  await database.close()
  await postgres.close()
})

function storesInMemory(): Stores {
  let now = 0
  const tables = new Tables(() => now)
  const logs = new MemoryLogs(tables)
  return {
    logs,
    clearings: new MemoryClearings(tables),
    settlement: new MemorySettlement(tables),
    proofs: new MemoryProofs(tables, logs),
    setClock: async (ms) => {
      now = ms
    },
  }
}

async function emptyTables(): Promise<void> {
  const tables = await database.sql<{ name: string }[]>`
    select format('%I.%I', schemaname, tablename) as name from pg_tables
    where schemaname = 'clock' and tablename not in ('instant', 'migrations')`
  await database.sql.unsafe(`truncate ${tables.map(({ name }) => name).join(', ')} cascade`)
}

beforeEach(emptyTables)

test('whatever is asked of both stores, they answer alike', async () => {
  const kinds = Object.entries(STEP_WEIGHTS).map(([kind, weight]) => ({ arbitrary: fc.constant(kind), weight }))
  const step = fc.record({ kind: fc.oneof(...kinds), a: fc.nat(255), b: fc.nat(255) }) as fc.Arbitrary<ScriptStep>
  const scripts = fc.array(step, { minLength: 1, maxLength: STEPS, size: 'max' })
  const seen = new Set<string>()
  await fc.assert(
    fc.asyncProperty(scripts, async (steps) => {
      await emptyTables()
      const memory = await playScript(storesInMemory(), steps)
      expect(firstDifference(memory, await playScript(inPostgres, steps))).toBeUndefined()
      for (const { kind } of steps) seen.add(kind)
    }),
    { seed: SEED, numRuns: SCRIPTS, endOnFailure: false, verbose: 0 },
  )
  expect([...seen].sort()).toEqual(Object.keys(STEP_WEIGHTS).sort())
})

describe.each([
  ['in memory', storesInMemory],
  ['in PostgreSQL', () => inPostgres],
] as const)('%s', (_, storesOf) => {
  const enclave = `0x${'11'.repeat(20)}` as const

  test('two deliveries of one enclave wait for each other', async () => {
    const { logs } = storesOf()
    const events: string[] = []
    let goOn = () => {}
    const held = new Promise<void>((resolve) => {
      goOn = resolve
    })
    let isIn = () => {}
    const entered = new Promise<void>((resolve) => {
      isIn = resolve
    })
    const first = logs.withLog(enclave, 'gateway', async () => {
      isIn()
      await held
      events.push('first')
    })
    await entered
    const second = logs.withLog(enclave, 'gateway', async () => {
      events.push('second')
    })
    // Another enclave's delivery passes meanwhile.
    await logs.withLog(`0x${'22'.repeat(20)}`, 'gateway', async () => {
      events.push('other')
    })
    goOn()
    await Promise.all([first, second])
    expect(events).toEqual(['other', 'first', 'second'])
  })

  test('what failed inside of a delivery leaves nothing, and the log free', async () => {
    const { logs } = storesOf()
    const failed = logs.withLog(enclave, 'gateway', async () => {
      throw new Error('given up')
    })
    await expect(failed).rejects.toThrow('given up')
    expect(await logs.readEnclave(enclave)).toBeUndefined()
    await expect(logs.withLog(enclave, 'gateway', async ({ edge }) => edge.size)).resolves.toBe(0)
  })
})
