/** The stream of settlements, on a real database and over a real connection. */
import { connect } from 'node:net'
import { Hono } from 'hono'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { type Database, migrate, openDatabase } from '#node/database.ts'
import { type RunningServer, startServer } from '#node/server.ts'
import { type Hex, toHex } from '#protocol/bytes.ts'
import { SettlementEventSchema, WithdrawnEventSchema } from '#protocol/wire/aggregatorApi.ts'
import { parseJson } from '#protocol/wire/json.ts'
import { SettlementFeed } from '../../offchain/aggregator/events.ts'
import { FEED_LIMITS, type FeedLimits } from '../../offchain/aggregator/eventsListener.ts'
import { addEventRoutes } from '../../offchain/aggregator/eventsRoutes.ts'
import { createBatchWatch } from '../../offchain/aggregator/eventsStore.ts'
import { MIGRATIONS } from '../../offchain/aggregator/migrations.ts'
import { createSettlementStore } from '../../offchain/aggregator/postgresSettlement.ts'
import type { SettlementStore } from '../../offchain/aggregator/store.ts'
import { SILENT, startPostgres, type TestPostgres } from '../support/postgres.ts'
import { recordBatches, syntheticBatch } from '../support/syntheticLog.ts'

/** Nothing here is found by looking now and then. */
const NEVER_MS = 3_600_000

let postgres: TestPostgres
let database: Database
let other: Database
/** Writes as another process would. */
let settlement: SettlementStore
let close: (() => Promise<void>)[]

beforeAll(async () => {
  postgres = await startPostgres()
})
afterAll(() => postgres.close())

beforeEach(async () => {
  const url = await postgres.createDatabase()
  ;[database, other] = await Promise.all([openDatabase({ url }, SILENT), openDatabase({ url }, SILENT)])
  await migrate(database.sql, MIGRATIONS)
  settlement = createSettlementStore(other.sql)
  await settlement.bindChain('test')
  close = []
  return async () => {
    for (const each of close.reverse()) await each()
    await Promise.all([database.close(), other.close()])
  }
})

async function start(limits: Partial<FeedLimits> = {}): Promise<{ feed: SettlementFeed; server: RunningServer }> {
  const ports = { watch: createBatchWatch(database.sql), settlement: createSettlementStore(database.sql), log: SILENT }
  const feed = new SettlementFeed(ports, { ...FEED_LIMITS, pollMs: NEVER_MS, ...limits })
  const app = new Hono()
  addEventRoutes(app, { feed })
  const server = await startServer(app, { host: '127.0.0.1', port: 0 })
  close.push(async () => {
    await feed.close()
    await server.close(1_000)
  })
  return { feed, server }
}

type Event = { readonly event: string; readonly id: string; readonly data: string }

/** A listener that reads events one by one. */
class Reader {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>
  readonly #decoder = new TextDecoder()
  #text = ''

  private constructor(body: ReadableStream<Uint8Array>) {
    this.#reader = body.getReader()
  }

  static async open({ url }: RunningServer, query = '', headers: Record<string, string> = {}): Promise<Reader> {
    const response = await fetch(`${url}/v1/settlements${query}`, { headers })
    expect([response.status, response.headers.get('content-type')]).toEqual([200, 'text/event-stream'])
    if (response.body === null) throw new Error('expected a body')
    const reader = new Reader(response.body)
    close.push(() => reader.close())
    return reader
  }

  /** The next block up to an empty line; `undefined` at the end of the stream. */
  async block(): Promise<string | undefined> {
    for (;;) {
      const end = this.#text.indexOf('\n\n')
      if (end !== -1) {
        const block = this.#text.slice(0, end)
        this.#text = this.#text.slice(end + 2)
        return block
      }
      const { done, value } = await this.#reader.read()
      if (done) return undefined
      this.#text += this.#decoder.decode(value, { stream: true })
    }
  }

  async event(): Promise<Event> {
    for (;;) {
      const block = await this.block()
      if (block === undefined) throw new Error('the stream ended')
      const fields = new Map(block.split('\n').map((line) => [line.split(':')[0], line.replace(/^[^:]*: ?/, '')]))
      const [event, id, data] = [fields.get('event'), fields.get('id'), fields.get('data')]
      if (event !== undefined && id !== undefined && data !== undefined) return { event, id, data }
    }
  }

  /** The next event in short: `+3` or `+3 final` for a settled batch, `-3` for those withdrawn from 3 on. Checks shape and id. */
  async short(): Promise<string> {
    const { event, id, data } = await this.event()
    if (event === 'withdrawn') {
      const { from } = parseJson(WithdrawnEventSchema, data, event)
      expect(id).toBe(from === 0n ? '' : `${from - 1n}`)
      return `-${from}`
    }
    expect(event).toBe('settled')
    const { batch, isFinal, heads } = parseJson(SettlementEventSchema, data, event)
    expect([id, heads.length > 0]).toEqual([`${batch}`, true])
    return `+${batch}${isFinal ? ' final' : ''}`
  }

  async shorts(count: number): Promise<string[]> {
    const all: string[] = []
    while (all.length < count) all.push(await this.short())
    return all
  }

  async close(): Promise<void> {
    // An erred stream cannot be cancelled any more.
    await this.#reader.cancel().catch(() => {})
  }
}

const enclave = (fill: number): Hex => toHex(new Uint8Array(20).fill(fill))
const batchOf = (number: bigint, size = 5n) =>
  syntheticBatch(number, [{ enclave: enclave(1), size, root: toHex(new Uint8Array(32).fill(Number(size))) }])

/** Batches `from` to `to`, both included, with everything before `finalBatch` final. */
async function settle(from: bigint, to: bigint, finalBatch = 0n): Promise<void> {
  const batches = Array.from({ length: Number(to - from) + 1 }, (_, i) => batchOf(from + BigInt(i)))
  await recordBatches(settlement, batches, 9n + finalBatch)
}

test('tells what settled from a batch on, and then what another process settles, at once', async () => {
  const { server } = await start()
  await settle(0n, 4n, 2n)
  const reader = await Reader.open(server, '?from=1')
  expect(await reader.shorts(4)).toEqual(['+1 final', '+2', '+3', '+4'])
  await settle(5n, 6n, 2n)
  expect(await reader.shorts(2)).toEqual(['+5', '+6'])
})

test('tells only what is new when nothing else is asked for', async () => {
  const { server } = await start()
  await settle(0n, 4n)
  const reader = await Reader.open(server)
  await settle(5n, 5n)
  expect(await reader.short()).toBe('+5')
})

test('goes on after the event that a listener names, once more with what was not final', async () => {
  const { server } = await start()
  await settle(0n, 9n, 4n)
  const reader = await Reader.open(server, '?from=0', { 'last-event-id': '7' })
  expect(await reader.shorts(6)).toEqual(['+4', '+5', '+6', '+7', '+8', '+9'])
  const later = await Reader.open(server, '', { 'last-event-id': '1' })
  expect(await later.shorts(3)).toEqual(['+2 final', '+3 final', '+4'])
})

test('withdraws what a reorganisation takes back, and tells what came instead', async () => {
  const { server } = await start()
  await settle(0n, 5n, 3n)
  const reader = await Reader.open(server, '?from=2')
  expect(await reader.shorts(4)).toEqual(['+2 final', '+3', '+4', '+5'])
  await recordBatches(settlement, [{ ...batchOf(4n, 6n), transaction: toHex(new Uint8Array(32).fill(0xee)) }], 12n)
  expect(await reader.shorts(2)).toEqual(['-4', '+4'])
  await settle(5n, 5n, 3n)
  expect(await reader.short()).toBe('+5')
})

test('tells a listener that was away during a reorganisation', async () => {
  const { server } = await start()
  await settle(0n, 3n, 1n)
  const reader = await Reader.open(server, '', { 'last-event-id': '8' })
  expect(await reader.shorts(4)).toEqual(['-4', '+1', '+2', '+3'])
})

test('withdraws the very first batch too', async () => {
  const { server } = await start()
  await settle(0n, 1n)
  const reader = await Reader.open(server, '?from=0')
  expect(await reader.shorts(2)).toEqual(['+0', '+1'])
  await recordBatches(settlement, [{ ...batchOf(0n, 9n), transaction: toHex(new Uint8Array(32).fill(0xee)) }])
  expect(await reader.shorts(2)).toEqual(['-0', '+0'])
})

test('what became final is not withdrawn', async () => {
  const { server } = await start()
  await settle(0n, 2n)
  const reader = await Reader.open(server, '?from=0')
  expect(await reader.shorts(3)).toEqual(['+0', '+1', '+2'])
  await settle(3n, 3n, 3n)
  expect(await reader.short()).toBe('+3')
  await settle(4n, 4n, 4n)
  expect(await reader.short()).toBe('+4')
})

test('a long history comes in order and whole', async () => {
  const { server } = await start()
  await settle(0n, 299n, 200n)
  const reader = await Reader.open(server, '?from=0')
  const numbers = (await reader.shorts(300)).map((each) => Number.parseInt(each.slice(1), 10))
  expect(numbers).toEqual(Array.from({ length: 300 }, (_, i) => i))
})

test('lets in as many listeners as it was told, and another once one leaves', async () => {
  const { feed, server } = await start({ listenersMax: 2 })
  const [first] = [await Reader.open(server), await Reader.open(server)]
  const refused = await fetch(`${server.url}/v1/settlements`)
  expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, '1'])
  await first.close()
  while (feed.listeners === 2) await new Promise((resolve) => setTimeout(resolve, 5))
  await settle(0n, 0n)
  const late = await Reader.open(server, '?from=0')
  expect(await late.short()).toBe('+0')
})

test('cuts off a listener that does not read, and nobody else', async () => {
  const { feed, server } = await start({ slowMs: 200, waitingBytesMax: 65_536 })
  const heads = Array.from({ length: 256 }, (_, i) => ({
    enclave: enclave(i % 200),
    size: BigInt(i + 1),
    root: toHex(new Uint8Array(32)),
  }))
  const batches = Array.from({ length: 300 }, (_, i) => syntheticBatch(BigInt(i), heads))
  await recordBatches(settlement, batches)
  const { port } = new URL(server.url)
  const socket = connect(Number(port), '127.0.0.1')
  const ended = new Promise((resolve) => socket.once('close', resolve))
  // The connection is reset while it still holds what was not read.
  socket.on('error', () => {})
  socket.pause()
  socket.write('GET /v1/settlements?from=0 HTTP/1.1\r\nhost: x\r\n\r\n')
  while (feed.listeners === 0) await new Promise((resolve) => setTimeout(resolve, 5))
  const reader = await Reader.open(server, '?from=295')
  expect(await reader.shorts(5)).toHaveLength(5)
  while (feed.listeners === 2) await new Promise((resolve) => setTimeout(resolve, 20))
  socket.resume()
  await ended
  await recordBatches(settlement, [batchOf(300n)])
  expect(await reader.short()).toBe('+300')
})

test('says now and then that it is alive', async () => {
  const { server } = await start({ keepAliveMs: 20 })
  const reader = await Reader.open(server)
  expect(await reader.block()).toBe('retry: 2000')
  expect([await reader.block(), await reader.block()]).toEqual([': keep-alive', ': keep-alive'])
})

test('ends its streams when it closes, and opens no more', async () => {
  const { feed, server } = await start()
  const reader = await Reader.open(server)
  expect(await reader.block()).toBe('retry: 2000')
  await feed.close()
  expect(await reader.block()).toBeUndefined()
  expect((await fetch(`${server.url}/v1/settlements`)).status).toBe(503)
})

test('4,096 batches that may still be withdrawn are watched at most, the newest', async () => {
  const watch = createBatchWatch(database.sql)
  const insert = (from: number, to: number) => database.sql`
    insert into batches (batch, root, transaction, block, gas_used)
    select i, sha256(i::text::bytea), sha256(i::text::bytea), i, 1 from generate_series(${from}::int, ${to}::int) i`
  await insert(1, 4_096)
  expect((await watch.readSnapshot()).open.size).toBe(4_096)
  await insert(4_097, 4_097)
  const { last, open } = await watch.readSnapshot()
  expect([last, open.size, open.has(1n), open.has(2n)]).toEqual([4_097n, 4_096, false, true])
})
