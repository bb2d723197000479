/** The database client: arrays as parameters, and connections lost at any moment. @module */
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { connectSql, type Sql } from '#node/sql.ts'
import { startPostgres, type TestPostgres } from '../support/postgres.ts'

let server: TestPostgres
let url: string
beforeAll(async () => {
  server = await startPostgres()
  url = await server.createDatabase()
})
afterAll(() => server.close())

describe('arrays as parameters', () => {
  let sql: Sql
  beforeAll(() => {
    sql = connectSql(url, { max: 1 })
  })
  afterAll(() => sql.end())

  it('of bytes arrive as they are', async () => {
    const values = [new Uint8Array(), Uint8Array.of(0, 34, 92, 255), Uint8Array.of(1, 2, 3, 4).subarray(1, 3)]
    const rows = await sql<{ value: Uint8Array }[]>`select unnest(${values}::bytea[]) as value`
    expect(rows.map(({ value }) => new Uint8Array(value))).toEqual(values)
  })

  it('of texts arrive as they are, whatever is in them', async () => {
    const values = ['', 'NULL', '{}', 'a,b', '"', '\\', '\\"', 'ä\n', null]
    const rows = await sql<{ value: string | null }[]>`select unnest(${values}::text[]) as value`
    expect(rows.map(({ value }) => value)).toEqual(values)
  })

  it('of numbers arrive as they are', async () => {
    const ints = [0, -1, 2 ** 31 - 1]
    const bigints = [0n, -1n, 2n ** 63n - 1n]
    const [row] = await sql<{ ints: string; bigints: string }[]>`
      select (${ints}::int[])::text as ints, (${bigints.map(String)}::bigint[])::text as bigints`
    expect(row).toEqual({ ints: `{${ints.join()}}`, bigints: `{${bigints.join()}}` })
  })

  it('may be empty', async () => {
    const rows = await sql`
      select from unnest(${[]}::bytea[])
      union all select where 1 = any(${[]}::int[])`
    expect(rows).toHaveLength(0)
  })
})

describe('a transaction', () => {
  let sql: Sql
  beforeAll(async () => {
    sql = connectSql(url)
    await sql`create table kept (value int primary key)`
  })
  afterAll(() => sql.end())

  const held = async () =>
    (await sql<{ value: number }[]>`select value from kept order by value`).map(({ value }) => value)

  it('is there as a whole when it is done, and not at all when its work fails', async () => {
    expect(await sql.begin(async (query) => (await query`insert into kept values (${1})`).count)).toBe(1)
    const failing = sql.begin(async (query) => {
      await query`insert into kept values (${2})`
      throw new RangeError('no')
    })
    await expect(failing).rejects.toThrow('no')
    expect(await held()).toEqual([1])
  })

  it('in which a statement failed is not there, though its work went on', async () => {
    const ignoring = sql.begin(async (query) => {
      await query`insert into kept values (${3})`
      await query`insert into kept values (${1})`.catch(() => undefined)
    })
    await expect(ignoring).rejects.toThrow()
    expect(await held()).toEqual([1])
  })

  it('sends together what is asked at the same time, in this order', async () => {
    const values = await sql.begin((query) =>
      Promise.all([4, 5, 6].map((value) => query`insert into kept values (${value})`)).then(
        () => query`select value from kept`,
      ),
    )
    expect(values).toHaveLength(4)
  })
})

describe('a connection that is lost', () => {
  let cutter: Server | undefined
  const unheard: unknown[] = []
  const note = (error: unknown) => unheard.push(error)
  beforeEach(() => {
    unheard.length = 0
    process.on('unhandledRejection', note).on('uncaughtException', note)
  })
  afterEach(() => {
    process.off('unhandledRejection', note).off('uncaughtException', note)
    cutter?.close()
  })

  const throughCutter = async (parts: number): Promise<Sql> => {
    cutter?.close()
    cutter = await cutFirst(parts)
    const { port } = cutter.address() as AddressInfo
    return connectSql(Object.assign(new URL(url), { port: String(port) }).href, { max: 1 })
  }
  const outcome = (asked: PromiseLike<unknown>) =>
    asked.then(
      () => 'answered',
      () => 'failed',
    )

  it.each([
    ['a question', (sql: Sql) => sql`select ${1}::int`],
    [
      'a transaction',
      (sql: Sql) =>
        sql.begin(async (query) => {
          await query`select ${1}::int`
          // Longer than it takes to lose the connection: the next statement meets one that is gone.
          await sleep(10)
          await query`select ${2}::int`
        }),
    ],
  ])('at any moment fails %s that is under way, and not the next one', async (_, ask) => {
    const outcomes: string[] = []
    while (outcomes.at(-1) !== 'answered') {
      expect(outcomes.length).toBeLessThan(MESSAGES_MAX)
      const sql = await throughCutter(outcomes.length)
      outcomes.push(await outcome(ask(sql)))
      if (outcomes.at(-1) === 'failed') expect(await outcome(ask(sql))).toBe('answered')
      await sql.end()
      // Rejections that nobody hears are told of after the microtasks.
      await sleep(5)
    }
    // Authentication, some fifteen parameters, a key and ready come before any answer.
    expect(outcomes.length).toBeGreaterThan(18)
    expect(unheard).toEqual([])
  })

  it('of a session is given up when its server says nothing', async () => {
    const sockets = new Set<Socket>()
    cutter = createServer((socket) => sockets.add(socket))
    await new Promise<void>((resolve) => cutter?.listen(0, '127.0.0.1', resolve))
    const { port } = cutter.address() as AddressInfo
    const sql = connectSql(Object.assign(new URL(url), { port: String(port) }).href, { max: 1 })
    await expect(sql.openSession({})).rejects.toThrow(/timeout/)
    await sql.end()
    for (const socket of sockets) socket.destroy()
    expect(unheard).toEqual([])
  })

  it('is opened again by a listener, who is told that it listens', async () => {
    const sql = await throughCutter(30)
    const own = connectSql(url, { max: 1 })
    let [ready, notified] = [0, 0]
    const listening = await sql.listen(
      'news',
      () => notified++,
      () => ready++,
    )
    for (let i = 0; ready < 2; i++) {
      expect(i).toBeLessThan(200)
      await own`notify news`
      await sleep(20)
    }
    const before = notified
    await own`notify news`
    while (notified === before) await sleep(5)
    await listening.unlisten()
    await Promise.all([sql.end(), own.end()])
    expect(unheard).toEqual([])
  })
})

const MESSAGES_MAX = 60

/** A proxy before the server that cuts the first connection after `parts` messages of the server. */
async function cutFirst(parts: number): Promise<Server> {
  const target = Number(new URL(url).port)
  let left = parts
  let isFirst = true
  const proxy = createServer((client: Socket) => {
    const upstream = connect(target, '127.0.0.1')
    const isCut = isFirst
    isFirst = false
    const cut = () => {
      client.resetAndDestroy()
      upstream.destroy()
    }
    client.on('data', (data) => upstream.write(data))
    upstream.on('data', (data: Buffer) => {
      if (!isCut) return client.write(data)
      let at = 0
      while (at < data.length) {
        if (left === 0) return cut()
        // A type and a length that counts itself.
        const end = at + 1 + data.readUInt32BE(at + 1)
        client.write(data.subarray(at, end))
        at = end
        left--
      }
      if (left === 0) cut()
    })
    for (const end of [client, upstream]) end.on('error', cut).on('close', cut)
  })
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
  return proxy
}
