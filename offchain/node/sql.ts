/**
 * PostgreSQL by tagged templates, on the client `pg`: in `sql<Row[]>`select … ${value}`` a value becomes a parameter, and a query in the place of a
 * value becomes part of the statement. Nothing is asked before somebody awaits it. Statements are prepared once a connection, and what is asked of one
 * connection at the same time is sent together.
 *
 * A connection that is lost fails what was asked through it, and nothing else; the next question opens another.
 * @module
 */
import { strict as assert } from 'node:assert'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'

/** bytes as Buffer, bigint as bigint and never as a double, numeric as text. */
export type Value = Uint8Array | string | number | bigint | boolean | Date | null | readonly Value[]

type Rows<Of extends readonly object[]> = Of & {
  /** Rows that were read or changed. */
  readonly count: number
}

export type Querier = {
  <Of extends readonly object[] = readonly Record<string, unknown>[]>(
    parts: TemplateStringsArray,
    ...values: readonly (Value | Query<readonly object[]>)[]
  ): Query<Of>
  /** Runs a statement as it is written; without parameters several, which are one transaction. */
  unsafe(text: string, parameters?: readonly Value[]): Promise<Rows<readonly Record<string, unknown>[]>>
}

/** A transaction under way. */
export type Transaction = Querier

export type Sql = Querier & {
  /** Commits what `work` did when it resolves, and undoes it when it rejects. Rejects as well when a statement failed and `work` went on. */
  begin<T>(work: (transaction: Transaction) => Promise<T>): Promise<T>
  /**
   * A connection of its own, for what lasts as long as it. Whoever takes over from another waits for nothing: opening, asking and ending each fail, or are
   * given up, within five seconds.
   */
  openSession(settings: Readonly<Record<string, number>>): Promise<Session>
  /** Calls `onNotified` when `channel` is notified, and `onReady` whenever it listens: at first and after a connection was lost. */
  listen(channel: string, onNotified: () => void, onReady: () => void): Promise<{ unlisten(): Promise<void> }>
  /** Lets what is under way end. */
  end(): Promise<void>
}

export type Session = { readonly query: Querier; end(): Promise<void> }

export type SqlOptions = {
  /** Connections at most. */
  readonly max?: number
  /** Told of every statement before it is sent. */
  readonly onStatement?: (text: string) => void
}

const CONNECT_TIMEOUT_MS = 30_000
const SESSION_TIMEOUT_MS = 5_000
const LISTEN_RETRY_MS = 250
/** Number of the type bigint in PostgreSQL. */
const INT8 = 20

/** Connects when first asked. */
export function connectSql(url: string, { max = 8, onStatement }: SqlOptions = {}): Sql {
  const options = {
    connectionString: url,
    pipeline: true,
    keepAlive: true,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    types: { getTypeParser },
  }
  const pool = new pg.Pool({ ...options, max, idleTimeoutMillis: 0 })
  // Whoever asks through a lost connection hears of it; the pool has dropped it.
  pool.on('error', ignore)
  pool.on('connect', (client) => client.on('error', ignore))
  const listeners = new Set<Listener>()
  return Object.assign(querierOf(pool, onStatement), {
    async begin<T>(work: (transaction: Transaction) => Promise<T>): Promise<T> {
      const client = await pool.connect()
      let lost: Error | undefined
      try {
        return await transact(client, querierOf(client, onStatement), work)
      } catch (error) {
        await client.query('rollback').catch((failure: Error) => {
          lost = failure
        })
        throw error
      } finally {
        client.release(lost)
      }
    },
    async openSession(settings: Readonly<Record<string, number>>): Promise<Session> {
      const set = Object.entries(settings).map(([name, value]) => `-c ${name}=${value}`)
      const limits = { connectionTimeoutMillis: SESSION_TIMEOUT_MS, query_timeout: SESSION_TIMEOUT_MS }
      const client = new pg.Client({ ...options, ...limits, options: set.join(' ') })
      client.on('error', ignore)
      await client.connect()
      return { query: querierOf(client, onStatement), end: () => endWithin(client, SESSION_TIMEOUT_MS) }
    },
    async listen(channel: string, onNotified: () => void, onReady: () => void) {
      const listener = new Listener(() => new pg.Client(options), channel, onNotified, onReady)
      listeners.add(listener)
      await listener.start()
      return {
        async unlisten() {
          listeners.delete(listener)
          await listener.close()
        },
      }
    },
    async end() {
      await Promise.all([...listeners].map((listener) => listener.close()))
      await pool.end()
    },
  })
}

/** A server that does not say goodbye is left without one. */
async function endWithin(client: pg.Client, timeoutMs: number): Promise<void> {
  const late = new AbortController()
  await Promise.race([client.end(), sleep(timeoutMs, undefined, { signal: late.signal }).catch(ignore)])
  late.abort()
}

/** A question that is asked when it is awaited, or part of another one. */
export class Query<Of extends readonly object[]> implements PromiseLike<Rows<Of>> {
  readonly #parts: readonly string[]
  readonly #values: readonly (Value | Query<readonly object[]>)[]
  readonly #ask: Ask
  #answer: Promise<Rows<Of>> | undefined

  constructor(ask: Ask, parts: readonly string[], values: readonly (Value | Query<readonly object[]>)[]) {
    this.#ask = ask
    this.#parts = parts
    this.#values = values
  }

  // biome-ignore lint/suspicious/noThenProperty: awaiting it is what asks.
  then<A = Rows<Of>, B = never>(
    onFulfilled?: ((rows: Rows<Of>) => A | PromiseLike<A>) | null,
    onRejected?: ((error: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return this.#run().then(onFulfilled, onRejected)
  }

  catch<B>(onRejected: (error: unknown) => B | PromiseLike<B>): Promise<Rows<Of> | B> {
    return this.#run().catch(onRejected)
  }

  #run(): Promise<Rows<Of>> {
    this.#answer ??= this.#ask(...this.#statement()) as unknown as Promise<Rows<Of>>
    return this.#answer
  }

  #statement(): [text: string, parameters: Value[]] {
    const parameters: Value[] = []
    return [this.#write(parameters), parameters]
  }

  #write(parameters: Value[]): string {
    return this.#parts.reduce((text, part, i) => {
      const value = this.#values[i - 1]
      if (value instanceof Query) return text + value.#write(parameters) + part
      if (value === undefined) throw new TypeError(`expected a value at place ${i} of: ${this.#parts.join('?')}`)
      parameters.push(value)
      return `${text}$${parameters.length}${part}`
    })
  }
}

type Ask = (text: string, parameters: readonly Value[]) => Promise<Rows<readonly object[]>>

type Connection = {
  query(query: { text: string; name?: string; values?: unknown[] }): Promise<pg.QueryResult | pg.QueryResult[]>
}

/** Names of prepared statements, which are as many as there are templates in the code. */
const names = new Map<string, string>()

function querierOf(connection: Connection, onStatement: SqlOptions['onStatement']): Querier {
  const ask: Ask = async (text, parameters) => {
    onStatement?.(text)
    const name = names.get(text) ?? `s${names.size}`
    names.set(text, name)
    return rowsOf(await connection.query({ text, name, values: [...parameters] }))
  }
  const querier = <Of extends readonly object[]>(
    parts: TemplateStringsArray,
    ...values: readonly (Value | Query<readonly object[]>)[]
  ): Query<Of> => new Query<Of>(ask, parts, values)
  return Object.assign(querier, {
    async unsafe(text: string, parameters: readonly Value[] = []) {
      onStatement?.(text)
      return rowsOf(await connection.query({ text, values: [...parameters] })) as Rows<
        readonly Record<string, unknown>[]
      >
    },
  }) as Querier
}

function rowsOf(result: pg.QueryResult | pg.QueryResult[]): Rows<readonly object[]> {
  const last = Array.isArray(result) ? result.at(-1) : result
  const rows: object[] = last?.rows ?? []
  return Object.assign(rows, { count: last?.rowCount ?? rows.length })
}

async function transact<T>(
  client: pg.PoolClient,
  querier: Querier,
  work: (transaction: Transaction) => Promise<T>,
): Promise<T> {
  // Not awaited: it goes out with the first statement, which fails with it.
  const begun = client.query('begin')
  begun.catch(ignore)
  const result = await work(querier)
  await begun
  const { command } = await client.query('commit')
  // Of a transaction in which something failed the server undoes everything, and calls that no error.
  assert(command === 'COMMIT', 'expected a transaction without failed statements at its end')
  return result
}

/** One connection that listens, opened again when it is lost. */
class Listener {
  readonly #open: () => pg.Client
  readonly #channel: string
  readonly #onNotified: () => void
  readonly #onReady: () => void
  readonly #closing = new AbortController()
  #client: pg.Client | undefined

  constructor(open: () => pg.Client, channel: string, onNotified: () => void, onReady: () => void) {
    this.#open = open
    this.#channel = channel
    this.#onNotified = onNotified
    this.#onReady = onReady
  }

  async start(): Promise<void> {
    const client = this.#open()
    client.on('error', ignore)
    client.on('notification', this.#onNotified)
    await client.connect()
    this.#client = client
    client.on('end', () => void this.#restart())
    await client.query(`listen "${this.#channel}"`)
    this.#onReady()
  }

  async close(): Promise<void> {
    this.#closing.abort()
    await this.#client?.end().catch(ignore)
  }

  async #restart(): Promise<void> {
    const { signal } = this.#closing
    while (!signal.aborted) {
      try {
        await sleep(LISTEN_RETRY_MS, undefined, { signal, ref: false })
        return await this.start()
      } catch {
        // Tried again until it is closed.
      }
    }
  }
}

function getTypeParser(type: number, format?: 'text' | 'binary'): (value: string) => unknown {
  if (type === INT8 && format !== 'binary') return BigInt
  return pg.types.getTypeParser(type, format ?? 'text') as (value: string) => unknown
}

function ignore(): void {}
