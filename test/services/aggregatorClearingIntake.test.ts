/** Which clearings an aggregator takes in, keeps and drops, on a real database. The chain is not asked here: every keyset has one writer. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type Database, migrate, openDatabase } from '#node/database.ts'
import type { Hex } from '#protocol/bytes.ts'
import { type Clearing, hashClearing, signClearing } from '#protocol/receipt/clearing.ts'
import { enclaveOfKey } from '#protocol/receipt/head.ts'
import { CLEARING_LINES_MAX, type SignedClearing } from '#protocol/wire/agentApi.ts'
import { type ClearingPorts, takeClearing } from '../../offchain/aggregator/clearings.ts'
import { MIGRATIONS } from '../../offchain/aggregator/migrations.ts'
import { createClearingStore } from '../../offchain/aggregator/postgresClearings.ts'
import { createSettlementStore } from '../../offchain/aggregator/postgresSettlement.ts'
import type { Lease, SettlementStore } from '../../offchain/aggregator/store.ts'
import { SILENT, startPostgres, type TestPostgres } from '../support/postgres.ts'

const KEY = new Uint8Array(32).fill(7)
const DOMAIN = { chainId: 31_337, settlement: `0x${'5e'.repeat(20)}` } as const
const ACCOUNT: Hex = `0x${'00'.repeat(20)}`
const KEYSET: Hex = `0x${'a1'.repeat(32)}`
const OTHER_KEYSET: Hex = `0x${'a2'.repeat(32)}`
const HASH: Hex = `0x${'cd'.repeat(32)}`
const enclave = (name: string): Hex => `0x${name.repeat(40)}`
const [A, B, C] = [enclave('a'), enclave('b'), enclave('c')]

let postgres: TestPostgres
let database: Database
let ports: ClearingPorts
let settlement: SettlementStore

beforeAll(async () => {
  postgres = await startPostgres()
})
afterAll(() => postgres.close())
beforeEach(async () => {
  database = await openDatabase({ url: await postgres.createDatabase() }, SILENT)
  await migrate(database.sql, MIGRATIONS)
  const writer = enclaveOfKey(KEY).toLowerCase() as Hex
  const store = createClearingStore(database.sql)
  ports = { store, writerOf: async () => writer, standingOf: async () => 'issuer', domain: DOMAIN }
  settlement = createSettlementStore(database.sql)
  await settlement.bindChain('a chain')
  return () => database.close()
})

/** A signed clearing; its totals are the sum of its lines unless told. */
function clearing(lines: Record<Hex, bigint>, stated: Partial<Clearing> = {}): SignedClearing {
  const enclaves = Object.entries(lines).map(([name, captured]) => ({ enclave: name as Hex, captured }))
  const captured = enclaves.reduce((sum, line) => sum + line.captured, 0n)
  return signClearing({ keyset: KEYSET, issued: captured, captured, enclaves, ...stated }, DOMAIN, KEY)
}

const idOf = ({ r: _r, vs: _vs, ...stated }: SignedClearing): Hex => hashClearing(stated, DOMAIN)
const take = (signed: SignedClearing) => takeClearing(ports, signed)

async function takeAll(...all: SignedClearing[]): Promise<void> {
  for (const signed of all) expect(await take(signed)).toEqual({ ok: true, id: idOf(signed) })
}

const due = async () => (await settlement.readDue(ACCOUNT, 256)).clearings.map((stored) => stored.clearing)

async function lease(): Promise<Lease> {
  const taken = await settlement.takeLease(ACCOUNT, 'test', 60)
  if (taken === undefined) throw new Error('expected the lease')
  return taken
}

/** Puts clearings into a transaction of their own. Answers its id. */
async function seal(...all: SignedClearing[]): Promise<bigint> {
  const sealed = { kind: 'settle', calldata: '0x', gas: 1n, heads: [], clearings: all.map(idOf) } as const
  expect(await settlement.seal(await lease(), sealed)).toBe(true)
  const live = await settlement.readLive(ACCOUNT)
  return live.at(-1)?.id ?? -1n
}

/** What the chain says up to `block`, the last final one being `finalBlock`. */
async function chainSays(block: bigint, finalBlock: bigint, from: bigint, ...settled: SignedClearing[]): Promise<void> {
  const next = { block, hash: HASH, finalBlock, finalHash: HASH }
  const clearings = settled.map((signed) => ({ id: idOf(signed), transaction: HASH, block }))
  expect(await settlement.record(await settlement.readCursor(), next, from, { batches: [], clearings })).toBe(true)
}

const counts = async () => {
  const { pendingClearings, settledClearings } = await settlement.readSettlementTotals()
  return [pendingClearings, settledClearings]
}

test('takes a clearing of an issuer that has taken over since the writer was looked up', async () => {
  const successor = enclaveOfKey(KEY).toLowerCase() as Hex
  const asked: boolean[] = []
  ports = {
    ...ports,
    async writerOf(_keyset, { isDoubted } = { isDoubted: false }) {
      asked.push(isDoubted)
      return isDoubted ? successor : enclave('d')
    },
  }
  expect(await take(clearing({ [A]: 5n }))).toMatchObject({ ok: true })
  expect(asked).toEqual([false, true])
})

describe('a clearing', () => {
  test('is kept as it was signed, and acknowledged with its digest', async () => {
    const signed = clearing({ [B]: 2n ** 63n, [A]: 2n }, { issued: 2n ** 64n - 1n })
    await takeAll(signed)
    expect(await settlement.readDue(ACCOUNT, 256)).toMatchObject({
      heads: [],
      clearings: [{ id: idOf(signed), clearing: signed }],
    })
  })

  test('is kept once however often it comes, also at once', async () => {
    const signed = clearing({ [A]: 5n })
    const results = await Promise.all(Array.from({ length: 6 }, () => take(signed)))
    for (const result of results) expect(result).toEqual({ ok: true, id: idOf(signed) })
    expect(await due()).toEqual([signed])
    expect(await counts()).toEqual([1, 0])
  })

  test('may say nothing but what was issued', async () => {
    const signed = clearing({}, { issued: 9n })
    await takeAll(signed, signed)
    expect(await due()).toEqual([signed])
  })

  test('may have as many lines as the contract takes', async () => {
    const lines = Array.from({ length: CLEARING_LINES_MAX }, (_, i): [Hex, bigint] => [
      `0x${i.toString(16).padStart(40, '0')}`,
      BigInt(i + 1),
    ])
    const signed = clearing(Object.fromEntries(lines))
    await takeAll(signed)
    expect(await due()).toEqual([signed])
  })

  test('is needed no more once newer ones say all that it does, together', async () => {
    const first = clearing({ [A]: 5n, [B]: 5n })
    const second = clearing({ [A]: 6n }, { issued: 11n, captured: 11n })
    const third = clearing({ [B]: 5n, [C]: 1n }, { issued: 12n, captured: 12n })
    await takeAll(first, second)
    expect(await due()).toEqual([first, second])
    await takeAll(third)
    expect(await due()).toEqual([second, third])
  })

  test('stays while its totals are the largest', async () => {
    const first = clearing({ [A]: 5n }, { issued: 50n })
    const second = clearing({ [A]: 6n }, { issued: 49n })
    await takeAll(first, second)
    expect(await due()).toEqual([first, second])
  })

  test('is acknowledged without being kept when it comes after one that says more', async () => {
    const newer = clearing({ [A]: 6n, [B]: 2n })
    await takeAll(newer, clearing({ [A]: 5n }), clearing({ [B]: 2n }))
    expect(await due()).toEqual([newer])
  })

  test('of another keyset replaces nothing', async () => {
    const first = clearing({ [A]: 5n })
    const other = clearing({ [A]: 6n }, { keyset: OTHER_KEYSET })
    await takeAll(first, other)
    expect(await due()).toEqual([first, other])
  })

  test('that is in a transaction waits for it, whatever comes', async () => {
    const first = clearing({ [A]: 5n })
    const second = clearing({ [A]: 6n })
    await takeAll(first)
    await seal(first)
    await takeAll(second)
    expect(await due()).toEqual([second])
    const sealed = { kind: 'settle', calldata: '0x', gas: 1n, heads: [] } as const
    // Not even together with one that is free.
    const ids = [idOf(second), idOf(first)]
    expect(await settlement.seal(await lease(), { ...sealed, clearings: ids })).toBe(false)
    expect(await due()).toEqual([second])
  })

  test('is due again when its transaction failed', async () => {
    const signed = clearing({ [A]: 5n })
    await takeAll(signed)
    const id = await seal(signed)
    const failed = { name: 'failed', reason: 'reverted', nonce: 0, attempts: [] } as const
    await settlement.advance(await lease(), id, failed, {})
    expect(await due()).toEqual([signed])
  })

  test('at most sixteen are due at once, the oldest first', async () => {
    const all = Array.from({ length: 20 }, (_, i) =>
      clearing({ [A]: 5n }, { keyset: `0x${i.toString(16).padStart(64, '0')}` }),
    )
    await takeAll(...all)
    expect(await due()).toEqual(all.slice(0, 16))
  })
})

describe('the chain', () => {
  test('settles a clearing whoever sent it, and takes that back', async () => {
    const signed = clearing({ [A]: 5n })
    await takeAll(signed)
    await chainSays(10n, 5n, 0n, signed)
    expect([await due(), await counts()]).toEqual([[], [0, 1]])
    await chainSays(11n, 5n, 6n)
    expect([await due(), await counts()]).toEqual([[signed], [1, 0]])
    await chainSays(12n, 12n, 6n, signed)
    expect([await due(), await counts()]).toEqual([[], [0, 1]])
  })

  test('is believed about a clearing that comes later', async () => {
    const signed = clearing({ [A]: 5n })
    await chainSays(10n, 5n, 0n, signed)
    await takeAll(signed)
    expect([await due(), await counts()]).toEqual([[], [0, 1]])
  })

  test('is asked nothing that a final clearing says, though its lines are kept only where they are newest', async () => {
    const first = clearing({ [A]: 5n, [B]: 5n })
    await takeAll(first)
    await chainSays(10n, 10n, 0n, first)
    const second = clearing({ [A]: 6n }, { issued: 11n, captured: 11n })
    await takeAll(second)
    const lines = await database.sql`select captured::int from clearing_lines order by clearing, position`
    expect(lines.map(({ captured }) => captured)).toEqual([5, 6])
    await takeAll(clearing({ [B]: 4n }), first)
    expect(await due()).toEqual([second])
  })
})

describe('a refusal of the contract', () => {
  const refuse = async (signed: SignedClearing, reason: string, isRetried: boolean) => {
    const id = await seal(signed)
    const inclusion = { hash: HASH, block: 1n, blockHash: HASH, gasUsed: 1n }
    const included = { name: 'included', nonce: 0, attempts: [], inclusion } as const
    await settlement.advance(await lease(), id, included, { refused: [{ position: 0, reason, isRetried }] })
    return id
  }
  const reasons = () => database.sql`select skipped, retry_at is not null as waits from clearings order by seq`

  test('is kept with its reason, and final unless it may pass', async () => {
    const signed = clearing({ [A]: 5n })
    await takeAll(signed)
    await refuse(signed, 'IssuerEnded', false)
    expect([await due(), await counts()]).toEqual([[], [0, 0]])
    expect([...(await reasons())]).toEqual([{ skipped: 'IssuerEnded', waits: false }])
    await takeAll(signed)
    expect(await due()).toEqual([])
  })

  test('covers nothing: what the refused one says may come again in another', async () => {
    const signed = clearing({ [A]: 5n })
    await takeAll(signed)
    await refuse(signed, 'IssuerEnded', false)
    const smaller = clearing({ [A]: 4n })
    await takeAll(smaller)
    expect(await due()).toEqual([smaller])
  })

  test('that may pass is tried again after pauses that double, and not for ever', async () => {
    const signed = clearing({ [A]: 5n })
    await takeAll(signed)
    const pauses: number[] = []
    for (;;) {
      await refuse(signed, 'OutOfBounds', true)
      expect(await due()).toEqual([])
      const [row] = await database.sql<{ pause: number | null }[]>`
        select round(extract(epoch from retry_at - now()) / 60)::int as pause from clearings`
      if (row?.pause == null) break
      expect(await counts()).toEqual([1, 0])
      pauses.push(row.pause)
      await database.sql`update clearings set retry_at = now()`
      expect(await due()).toEqual([signed])
    }
    expect(pauses.slice(0, 8)).toEqual([1, 2, 4, 8, 16, 32, 60, 60])
    expect(pauses).toHaveLength(30)
    expect(await counts()).toEqual([0, 0])
  })

  test('that a reorganised block told is forgotten', async () => {
    const signed = clearing({ [A]: 5n })
    await takeAll(signed)
    const id = await refuse(signed, 'UnknownKeyset', false)
    await settlement.advance(await lease(), id, { name: 'signed', nonce: 0, attempts: [] }, {})
    expect([...(await reasons())]).toEqual([{ skipped: null, waits: false }])
    expect(await counts()).toEqual([1, 0])
  })
})

const STATED = { keyset: KEYSET, issued: 100n, captured: 30n, enclaves: [{ enclave: A, captured: 30n }] }
const sign = (stated: Clearing, key = KEY) => signClearing(stated, DOMAIN, key)
const signed = sign(STATED)

test.each<[string, SignedClearing, Partial<ClearingPorts>, string]>([
  ['captures more than it issued', sign({ ...STATED, issued: 29n }), {}, 'BAD_REQUEST'],
  ['lists more than it captured', sign({ ...STATED, captured: 29n }), {}, 'BAD_REQUEST'],
  ['is of a keyset that nobody opened', signed, { writerOf: async () => undefined }, 'UNKNOWN_KEYSET'],
  ['is signed by another key', sign(STATED, new Uint8Array(32).fill(8)), {}, 'BAD_SIGNATURE'],
  ['is signed for another chain', signClearing(STATED, { ...DOMAIN, chainId: 1 }, KEY), {}, 'BAD_SIGNATURE'],
  ['had its issued total changed', { ...signed, issued: 101n }, {}, 'BAD_SIGNATURE'],
  ['had its captured total changed', { ...signed, captured: 31n }, {}, 'BAD_SIGNATURE'],
  ['had its keyset changed', { ...signed, keyset: OTHER_KEYSET }, {}, 'BAD_SIGNATURE'],
  ['had a line changed', { ...signed, enclaves: [{ enclave: A, captured: 29n }] }, {}, 'BAD_SIGNATURE'],
  ['had a line taken away', { ...signed, enclaves: [] }, {}, 'BAD_SIGNATURE'],
  ['has no valid signature', { ...signed, r: `0x${'00'.repeat(32)}` }, {}, 'BAD_SIGNATURE'],
  ['is of a writer that has ended', signed, { standingOf: async () => 'ended' }, 'UNKNOWN_ENCLAVE'],
  ['is of a writer that is a gateway', signed, { standingOf: async () => 'gateway' }, 'UNKNOWN_ENCLAVE'],
])('a clearing that %s is refused, and nothing of it is kept', async (_what, refused, otherPorts, code) => {
  expect(await takeClearing({ ...ports, ...otherPorts }, refused)).toMatchObject({ ok: false, code })
  expect(await database.sql`select 1 from clearings`).toHaveLength(0)
})

test('4,096 clearings of a keyset wait at most, and the next one is told to come back', async () => {
  await takeAll(clearing({ [A]: 5n }))
  await database.sql`
    insert into clearings (seq, id, keyset, issued, captured, r, vs)
    select seq + 10000 + i, sha256(i::text::bytea), keyset, issued, captured, r, vs
    from clearings, generate_series(2, 4095) i`
  await takeAll(clearing({ [B]: 1n }))
  expect(await counts()).toEqual([4_096, 0])
  expect(await take(clearing({ [B]: 5n }))).toMatchObject({ ok: false, code: 'BUSY' })
  await takeAll(clearing({ [A]: 5n }), clearing({ [B]: 5n }, { keyset: OTHER_KEYSET }))
})

test('that the chain cannot be read is a failure, not an answer', async () => {
  const writerOf = () => Promise.reject(new Error('no answer'))
  await expect(takeClearing({ ...ports, writerOf }, signed)).rejects.toThrow('no answer')
})
