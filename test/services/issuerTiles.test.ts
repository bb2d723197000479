/** What an issuer lists for those who restore, on a real PostgreSQL: payments by the first digits of their locators, spent credits in the order of the log. @module */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { SignerPool } from '#node/credits/signerPool.ts'
import { connectSql, type Sql } from '#node/sql.ts'
import { fromHex, type Hex, joinBytes, toHex } from '#protocol/bytes.ts'
import { totalUnits } from '#protocol/credits/amounts.ts'
import { creditMessage } from '#protocol/credits/message.ts'
import { keccak256 } from '#protocol/hash.ts'
import {
  CHANGE_TILE_MAX,
  ChangeTileSchema,
  paymentLocator,
  SPENT_ID_BYTES,
  SPENT_PAGE_MAX,
  type SpentPage,
  SpentPageSchema,
} from '#protocol/wire/issuerApi.ts'
import { decodeEntry } from '../../offchain/issuer/entry.ts'
import type { SecretKeyset } from '../../offchain/issuer/keysetKeys.ts'
import { createIssuerStore } from '../../offchain/issuer/postgresStore.ts'
import { DOMAIN, makeKeyset, makeSigners, type Stage, type StagedIssuer, Stages } from '../support/issuerStage.ts'
import { locate, type Paid, restore, TestGateway, TestWallet, type WalletCredit } from '../support/issuerWallet.ts'
import { startPostgres, type TestPostgres } from '../support/postgres.ts'

const DEPOSIT = 1_000_000n
const OTHER_KEYSET: Hex = `0x${'0e'.repeat(32)}`

let server: TestPostgres
let keyset: SecretKeyset
let signers: Map<Hex, SignerPool>
const gateway = new TestGateway('gateway')
let stages: Stages

beforeAll(async () => {
  server = await startPostgres()
  keyset = makeKeyset()
  signers = await makeSigners([keyset])
  stages = new Stages(server, keyset, signers, [gateway.enclave])
})
afterEach(() => stages.closeAll())
afterAll(async () => {
  for (const pool of signers.values()) await pool.close()
  await server.close()
})

/** The first bytes of its id, as pages hold them. */
const startOf = ({ exitKey, secret }: Pick<WalletCredit, 'exitKey' | 'secret'>): Hex =>
  toHex(creditMessage({ ...DOMAIN, keyset: keyset.id }, exitKey, secret).slice(0, SPENT_ID_BYTES))

const pageOf = (issuer: StagedIssuer, from: number): Promise<SpentPage> =>
  issuer.call(SpentPageSchema, 'GET', `/v1/spent/${keyset.id}/${from}`)

const idsOf = ({ ids }: SpentPage): Hex[] =>
  Array.from({ length: ids.length / SPENT_ID_BYTES }, (_, i) =>
    toHex(ids.slice(i * SPENT_ID_BYTES, (i + 1) * SPENT_ID_BYTES)),
  )

const tileOf = async (issuer: StagedIssuer, prefix: string) =>
  (await issuer.call(ChangeTileSchema, 'GET', `/v1/change/${keyset.id}/${prefix}`)).payments

const locatorOf = ({ payment }: Paid): Hex => paymentLocator(payment.blanks[0] ?? new Uint8Array())

async function withDatabase<T>(
  { url }: Stage,
  act: (sql: Sql) => PromiseLike<T>,
  { max = 1, statements }: { max?: number; statements?: string[] } = {},
): Promise<T> {
  const sql = connectSql(url, { max, onStatement: (statement) => statements?.push(statement) })
  try {
    return await act(sql)
  } finally {
    await sql.end()
  }
}

/** Payments with eight signatures each, whose locators are hashes of their numbers. */
const addPayments = (sql: Sql, of: Hex, count: number) =>
  sql.begin(async (query) => {
    await query`
      insert into payments (keyset, locator, payment)
      select ${fromHex(of, 32)}, sha256(('l' || i)::bytea), sha256(('p' || i || ${of}::text)::bytea)
      from generate_series(1, ${count}::int) i`
    await query`
      insert into change (payment, exponents, signatures)
      select sha256(('p' || i || ${of}::text)::bytea), '\\x0706050403020100'::bytea, decode(repeat('c0', 8 * 48), 'hex')
      from generate_series(1, ${count}::int) i`
  })

const addSpent = (sql: Sql, of: Hex, count: number) => sql`
  insert into spent (keyset, number, credit, exit_key, secret)
  select ${fromHex(of, 32)}, i, sha256(('c' || i || ${of}::text)::bytea), '\\x00'::bytea, '\\x00'::bytea
  from generate_series(0, ${count - 1}::int) i`

describe('a payment', () => {
  it('is listed from its reserve on, with its change from the capture on, by any number of digits', async () => {
    const stage = await stages.make()
    const issuer = await stages.bootOpen(stage)
    const wallet = new TestWallet(keyset, 'wallet')
    const credits = (await wallet.buy(stage.chain, issuer, DEPOSIT)).slice(-2)
    const paid = await wallet.pay(issuer, gateway, credits, 31n)
    const locator = locatorOf(paid)
    expect(await tileOf(issuer, '')).toEqual([])
    await gateway.reserve(issuer, paid.sealed)
    expect(await tileOf(issuer, '')).toEqual([{ locator }])
    await gateway.capture(issuer, paid.id, 31n)
    for (let digits = 0; digits <= 8; digits++) {
      const [listed, ...others] = await tileOf(issuer, locator.slice(2, 2 + digits))
      expect([listed?.locator, others]).toEqual([locator, []])
      expect(totalUnits((listed?.change ?? []).map(({ exponent }) => exponent))).toBe(
        totalUnits(credits.map(({ exponent }) => exponent)) - 31n,
      )
    }
    const elsewhere = locator[2] === '0' ? '1' : '0'
    expect(await tileOf(issuer, elsewhere)).toEqual([])
  })

  it('whose credits were its fee has change that is empty', async () => {
    const stage = await stages.make()
    const issuer = await stages.bootOpen(stage)
    const wallet = new TestWallet(keyset, 'wallet')
    const credits = (await wallet.buy(stage.chain, issuer, DEPOSIT)).slice(0, 1)
    const fee = totalUnits(credits.map(({ exponent }) => exponent))
    const paid = await wallet.pay(issuer, gateway, credits, fee)
    await gateway.reserve(issuer, paid.sealed)
    await gateway.capture(issuer, paid.id, fee)
    expect(await locate(issuer, paid)).toEqual([{ locator: locatorOf(paid), change: [] }])
  })

  it('of a wallet that uses its blanks twice is listed beside the first one', async () => {
    const stage = await stages.make()
    const issuer = await stages.bootOpen(stage)
    const [wallet, twin] = [new TestWallet(keyset, 'wallet'), new TestWallet(keyset, 'wallet')]
    const [a, b] = (await wallet.buy(stage.chain, issuer, DEPOSIT)).slice(-2)
    if (a === undefined || b === undefined) throw new Error('expected two credits')
    const first = await wallet.pay(issuer, gateway, [a], 1n)
    const second = await twin.pay(issuer, gateway, [b], 1n)
    const locator = locatorOf(first)
    expect(locatorOf(second)).toBe(locator)
    for (const { sealed } of [first, second]) await gateway.reserve(issuer, sealed)
    expect(await locate(issuer, first)).toEqual([{ locator }, { locator }])
    await gateway.capture(issuer, second.id, 1n)
    await gateway.capture(issuer, first.id, 0n)
    const worths = (await locate(issuer, first)).map(({ change = [] }) =>
      totalUnits(change.map(({ exponent }) => exponent)),
    )
    expect(new Set(worths)).toEqual(new Set([totalUnits([a.exponent]), totalUnits([b.exponent]) - 1n]))
  })

  it('keeps its change when the next writer captures it, and is still listed by every one after', async () => {
    const stage = await stages.make()
    const first = await stages.bootOpen(stage)
    const wallet = new TestWallet(keyset, 'wallet')
    const credits = (await wallet.buy(stage.chain, first, DEPOSIT)).slice(-1)
    const paid = await wallet.pay(first, gateway, credits, 1n)
    await gateway.reserve(first, paid.sealed)
    await first.close()
    const second = await stages.bootOpen(stage)
    await gateway.capture(second, paid.id, 1n)
    const back = await restore(second, paid)
    expect(totalUnits(back.map(({ exponent }) => exponent))).toBe(totalUnits([credits[0]?.exponent ?? 0]) - 1n)
    await second.close()
    expect(await restore(await stages.bootOpen(stage), paid)).toEqual(back)
  })
})

describe('a tile', () => {
  it('holds so many rows and not one more, of which a payment is one and each signature another', async () => {
    const stage = await stages.make()
    const issuer = await stages.bootOpen(stage)
    const perPayment = 9
    const count = Math.floor(CHANGE_TILE_MAX / perPayment)
    await withDatabase(stage, async (sql) => {
      await addPayments(sql, keyset.id, count)
      // Those of another keyset are in its own tiles.
      await addPayments(sql, OTHER_KEYSET, count)
      await sql`
        insert into payments (keyset, locator, payment)
        select ${fromHex(keyset.id, 32)}, sha256(('o' || i)::bytea), sha256(('o' || i)::bytea)
        from generate_series(1, ${CHANGE_TILE_MAX - perPayment * count}::int) i`
    })
    const all = await tileOf(issuer, '')
    const rows = all.reduce((sum, { change = [] }) => sum + 1 + change.length, 0)
    expect(rows).toBe(CHANGE_TILE_MAX)
    const locators = all.map(({ locator }) => locator)
    expect(locators).toEqual(locators.toSorted())
    // One reserve more, which has no change yet.
    await withDatabase(
      stage,
      (sql) => sql`
        insert into payments (keyset, locator, payment)
        values (${fromHex(keyset.id, 32)}, sha256('x'::bytea), sha256('x'::bytea))`,
    )
    await expect(tileOf(issuer, '')).rejects.toThrow('TILE_TOO_LARGE')
    const parts = await Promise.all(Array.from('0123456789abcdef', (digit) => tileOf(issuer, digit)))
    expect(parts.flat()).toHaveLength(all.length + 1)
  })

  it('is asked for by digits, of a keyset that the issuer has, and by nothing else', async () => {
    const stage = await stages.make()
    const issuer = await stages.bootOpen(stage)
    for (const prefix of ['g', 'A', '123456789', '0x', 'a/']) {
      await expect(tileOf(issuer, prefix)).rejects.toThrow('NOT_FOUND')
    }
    for (const from of ['', '-1', '01', '1e3', 'a', '1'.repeat(16)]) {
      const path = `/v1/spent/${keyset.id}/${from}`
      await expect(issuer.call(SpentPageSchema, 'GET', path)).rejects.toThrow('NOT_FOUND')
    }
    for (const kind of ['change', 'spent']) {
      const path = `/v1/${kind}/${OTHER_KEYSET}/0`
      await expect(issuer.call(SpentPageSchema, 'GET', path)).rejects.toThrow('UNKNOWN_KEYSET')
    }
  })
})

describe('spent credits', () => {
  it('are listed in the order of the log, whatever is reserved at once, and across writers', async () => {
    const stage = await stages.make()
    const first = await stages.bootOpen(stage)
    const wallet = new TestWallet(keyset, 'wallet')
    const credits = [
      ...(await wallet.buy(stage.chain, first, DEPOSIT)),
      ...(await wallet.buy(stage.chain, first, DEPOSIT)),
    ]
    const groups = [credits.slice(0, 1), credits.slice(1, 3), credits.slice(3, 6), credits.slice(6, 7)]
    const payments: Paid[] = []
    for (const group of groups) payments.push(await wallet.pay(first, gateway, group, 0n))
    await Promise.all(payments.map(({ sealed }) => gateway.reserve(first, sealed)))
    const before = idsOf(await pageOf(first, 0))
    await first.close()
    const second = await stages.bootOpen(stage)
    const later = await wallet.pay(second, gateway, credits.slice(7, 8), 0n)
    await gateway.reserve(second, later.sealed)

    const known = new Map(credits.map((credit) => [toHex(keccak256(credit.secret)), startOf(credit)]))
    const logged = await withDatabase(stage, async (sql) => {
      const store = createIssuerStore(sql)
      const logs = await store.readLogs()
      const entries = await Promise.all(logs.map(({ log, size }) => store.readEntries(log, 0, size)))
      return entries.flat().flatMap((encoded) => {
        const entry = decodeEntry(encoded)
        return entry.type === 'reserve' ? entry.inputs.map(({ spent }) => known.get(spent)) : []
      })
    })
    expect(logged).toHaveLength(8)
    expect(idsOf(await pageOf(second, 0))).toEqual(logged)
    // Below the end nothing changes.
    expect(before).toEqual(logged.slice(0, 7))
    expect(idsOf(await pageOf(second, 3))).toEqual(logged.slice(3))
    expect(await pageOf(second, 8)).toEqual({ ids: new Uint8Array() })
    expect(await pageOf(second, 1_000_000)).toEqual({ ids: new Uint8Array() })
  })

  it('stand under heads of which each can be found: one for every round', async () => {
    const stage = await stages.make()
    const issuer = await stages.bootOpen(stage)
    const wallet = new TestWallet(keyset, 'wallet')
    const credits = (await wallet.buy(stage.chain, issuer, DEPOSIT)).slice(-3)
    for (const credit of credits)
      await gateway.reserve(issuer, (await wallet.pay(issuer, gateway, [credit], 0n)).sealed)
    await withDatabase(stage, async (sql) => {
      const store = createIssuerStore(sql)
      const [written] = (await store.readLogs()).filter(({ size }) => size > 0)
      if (written === undefined) throw new Error('expected a log')
      const { log, size, head } = written
      expect(await store.readHead(log, size)).toEqual(head)
      expect(await store.readHead(log, size + 100)).toEqual(head)
      expect(await store.readHead(log, 0)).toBeUndefined()
      const earlier = await store.readHead(log, size - 1)
      expect(Number(earlier?.size)).toBeLessThan(size)
      expect(await store.readHead(log, Number(earlier?.size))).toEqual(earlier)
    })
  })

  it('fill pages to their bound, and name the next page only where there is one', async () => {
    const stage = await stages.make()
    const issuer = await stages.bootOpen(stage)
    await withDatabase(stage, (sql) => addSpent(sql, keyset.id, SPENT_PAGE_MAX))
    const full = await pageOf(issuer, 0)
    expect([idsOf(full).length, full.next]).toEqual([SPENT_PAGE_MAX, undefined])
    const wallet = new TestWallet(keyset, 'wallet')
    const credits = (await wallet.buy(stage.chain, issuer, DEPOSIT)).slice(-1)
    const paid = await wallet.pay(issuer, gateway, credits, 0n)
    await gateway.reserve(issuer, paid.sealed)
    const grown = await pageOf(issuer, 0)
    expect(grown).toEqual({ ...full, next: SPENT_PAGE_MAX })
    expect(await pageOf(issuer, SPENT_PAGE_MAX)).toEqual({ ids: joinBytes(credits.map((c) => fromHex(startOf(c)))) })
    const last = await pageOf(issuer, 1)
    expect([idsOf(last).length, last.next]).toEqual([SPENT_PAGE_MAX, undefined])
  })

  it('are counted for each keyset, in one round too, and once when a round is committed twice at the same time', async () => {
    const stage = await stages.make()
    await (await stages.bootOpen(stage)).close()
    const write = async (sql: Sql) => {
      const store = createIssuerStore(sql)
      const taken = await store.take()
      const enclave: Hex = `0x${'77'.repeat(20)}`
      const writer = await taken.beginLog(enclave, (await store.readLogs()).at(-1))
      const head = (size: number) => ({
        enclave,
        size: BigInt(size),
        root: OTHER_KEYSET,
        fees: 0n,
        signature: { r: OTHER_KEYSET, vs: OTHER_KEYSET },
      })
      let count = 0
      const reserveOf = (of: Hex, credits: number) => {
        const payment = toHex(keccak256(Uint8Array.of(++count)))
        const spent = Array.from({ length: credits }, (_, i) => ({
          credit: toHex(keccak256(Uint8Array.of(count, i))),
          exitKey: enclave,
          secret: new Uint8Array(32),
        }))
        const detail = { kind: 'reserve', keyset: of, payment, locator: payment, blanks: new Uint8Array(1) } as const
        return { encoded: Uint8Array.of(count), detail: { ...detail, credits: spent } }
      }
      const rounds = [
        [reserveOf(keyset.id, 3), reserveOf(OTHER_KEYSET, 2), reserveOf(keyset.id, 1)],
        [reserveOf(OTHER_KEYSET, 1), reserveOf(keyset.id, 2)],
      ]
      let size = 0
      for (const entries of rounds) {
        const round = { from: size, entries, head: head(size + entries.length) }
        size += entries.length
        const results = await Promise.allSettled([writer.commit(round), writer.commit(round)])
        // One of them may find the other's entries; told so, a writer gives the round again.
        expect(results.some(({ status }) => status === 'fulfilled')).toBe(true)
        await writer.commit(round)
      }
      for (const [of, expected] of [
        [keyset.id, 6],
        [OTHER_KEYSET, 3],
      ] as const) {
        const credits = rounds.flat().flatMap(({ detail }) => (detail.keyset === of ? detail.credits : []))
        expect(credits).toHaveLength(expected)
        const ids = await store.readSpentIds(of, 0, 100, 32)
        expect(toHex(ids)).toBe(toHex(joinBytes(credits.map(({ credit }) => fromHex(credit)))))
        const numbers = await sql`select number from spent where keyset = ${fromHex(of, 32)} order by number`
        expect(numbers.map(({ number }) => Number(number))).toEqual(Array.from({ length: expected }, (_, i) => i))
      }
      await taken.release()
    }
    await withDatabase(stage, write, { max: 3 })
  })
})

it('reads of 5,000 payments go through the indexes', async () => {
  const stage = await stages.make()
  await (await stages.boot(stage)).close()
  const statements: string[] = []
  const read = async (sql: Sql) => {
    const store = createIssuerStore(sql)
    await addPayments(sql, keyset.id, 5_000)
    await addPayments(sql, OTHER_KEYSET, 5_000)
    await addSpent(sql, keyset.id, 40_000)
    await sql`analyze payments, change, spent`
    statements.length = 0
    const payments = await store.readPayments(keyset.id, 'ab', CHANGE_TILE_MAX)
    expect(payments?.every(({ locator, change }) => locator.startsWith('0xab') && change?.length === 8)).toBe(true)
    expect(payments?.length).toBeGreaterThan(5)
    expect(await store.readPayments(keyset.id, '', CHANGE_TILE_MAX)).toBeUndefined()
    expect(await store.readSpentIds(keyset.id, 30_000, 100, SPENT_ID_BYTES)).toHaveLength(100 * SPENT_ID_BYTES)
    const parameters: (string | number)[][] = [
      ...[0, 1].map(() => [keyset.id, `0x${'ab'.padEnd(64, '0')}`, `0x${'ab'.padEnd(64, 'f')}`, CHANGE_TILE_MAX + 1]),
      [SPENT_ID_BYTES, keyset.id, 30_000, 100],
    ]
    const [weigh = '', list = '', , page = ''] = statements.splice(0)
    for (const [i, statement] of [weigh, list, page].entries()) {
      const bound = (parameters[i] ?? []).map((value) => (typeof value === 'string' ? fromHex(value) : value))
      const plan = await sql.unsafe(`explain ${statement}`, bound)
      const text = plan.map((row) => String(Object.values(row)[0])).join('\n')
      expect(text).not.toContain('Seq Scan')
      expect(text).toMatch(/Index (Only )?Scan (using|on) (payments|spent)_pkey/)
    }
  }
  await withDatabase(stage, read, { statements })
})
