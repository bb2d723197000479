/** The database client: arrays as parameters, and connections lost at any moment. @module */
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { byteaArray } from '#node/arrayTypes.ts'
import { createClient, type Sql } from '#node/database.ts'
import { startPostgres, type TestPostgres } from '../support/postgres.ts'

let server: TestPostgres
let url: string
beforeAll(async () => {
  server = await startPostgres()
  url = await server.createDatabase()
}, 60_000)
afterAll(() => server.close())

describe('arrays as parameters', () => {
  let sql: Sql
  beforeAll(() => {
    sql = createClient(url, 1)
  })
  afterAll(() => sql.end())

  it('of bytes arrive as they are', async () => {
    const values = [new Uint8Array(), Uint8Array.of(0, 34, 92, 255), Uint8Array.of(1, 2, 3, 4).subarray(1, 3)]
    const rows = await sql<
      { value: Uint8Array }[]
    >`select unnest(${byteaArray(sql, values, (value) => value)}::bytea[]) as value`
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
      select from unnest(${byteaArray(sql, [], (value: Uint8Array) => value)}::bytea[])
      union all select where 1 = any(${[]}::int[])`
    expect(rows).toHaveLength(0)
  })
})

describe('a connection that is lost', () => {
  let cutter: Server | undefined
  afterEach(() => cutter?.close())

  it('at any moment of its opening fails what was asked through it, and nothing else', async () => {
    const unheard: unknown[] = []
    const note = (error: unknown) => unheard.push(error)
    process.on('unhandledRejection', note)
    try {
      for (let parts = 0; parts < MESSAGES_OF_OPENING; parts++) {
        cutter?.close()
        cutter = await cutFirst(parts)
        const { port } = cutter.address() as AddressInfo
        const sql = createClient(Object.assign(new URL(url), { port: String(port) }).href, 1)
        await sql`select 1`.catch((error: { code: unknown }) => expect(error.code).toBe('ECONNRESET'))
        await sql.end({ timeout: 0 })
        // Rejections that nobody hears are told of after the microtasks.
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
      expect(unheard).toEqual([])
    } finally {
      process.off('unhandledRejection', note)
    }
  })
})

/** Authentication, some fifteen parameters, a key, ready; then the answer to a query and to what the client itself asks. */
const MESSAGES_OF_OPENING = 40

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
