/**
 * Aggregators as processes of their own on a PostgreSQL and a node that are real too, each behind a proxy at which a message can be held, so that a process
 * can be killed between any two things it does. @module
 */
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Database, migrate, openDatabase } from '#node/database.ts'
import { fromHex, type Hex, toBase64 } from '#protocol/bytes.ts'
import { HeadReceivedSchema } from '#protocol/wire/aggregatorApi.ts'
import { parseJson, toJson } from '#protocol/wire/json.ts'
import { MIGRATIONS } from '../../offchain/aggregator/migrations.ts'
import { REPOSITORY } from '../../scripts/local/contracts.ts'
import { type Child, isReady, Processes, waitFor } from '../../scripts/local/processes.ts'
import { deployLocal, type LocalChain, registerTestEnclave, type TestNode } from '../support/chain.ts'
import { type DatabaseProxy, startDatabaseProxy } from '../support/databaseProxy.ts'
import { freePort } from '../support/freePort.ts'
import { KillableDatabase } from '../support/killableDatabase.ts'
import { SILENT } from '../support/postgres.ts'
import { type RpcGate, startRpcGate } from '../support/rpcGate.ts'
import { TestLog } from '../support/testLog.ts'

const START_MS_MAX = 20_000
/** Blocks after which a transaction is safe and final. */
export const DEPTH = { safe: 2, final: 8 } as const
/** A lease of a process that was killed ends after so long, unless told otherwise. */
const LEASE_SECONDS = 1
const ENDPOINTS = 3

export type Aggregator = { readonly url: string; readonly child: Child }

export type AggregatorOptions = {
  readonly leaseSeconds?: number
  readonly resubmitSeconds?: number
  /** One unless told; three of which two must say the same. */
  readonly endpoints?: number
}

/** A transaction as the database has it. */
export type TransactionRow = { readonly state: string; readonly nonce: number | undefined }

/** A lease that changed hands: how long nobody had it, by the database's clock, and at which asking in that time it was given. */
export type Takeover = { readonly lateSeconds: number; readonly tries: number }

export class AggregatorNetwork {
  readonly node: TestNode
  readonly chain: LocalChain
  readonly database: KillableDatabase
  /** Before the database. */
  readonly databaseProxy: DatabaseProxy
  /** Before the node, the same one: endpoints that may disagree. */
  readonly gates: readonly RpcGate[]
  readonly #processes: Processes
  readonly #folder: string
  readonly #keyFile: string
  #judge: Database | undefined
  #started = 0
  #keys = 0

  private constructor(parts: {
    node: TestNode
    chain: LocalChain
    database: KillableDatabase
    databaseProxy: DatabaseProxy
    gates: readonly RpcGate[]
    judge: Database
    folder: string
  }) {
    this.node = parts.node
    this.chain = parts.chain
    this.database = parts.database
    this.databaseProxy = parts.databaseProxy
    this.gates = parts.gates
    this.#judge = parts.judge
    this.#folder = parts.folder
    // What ends by itself is missed by the case that needs it, with the end of its log.
    this.#processes = new Processes(parts.folder, () => {})
    this.#keyFile = join(parts.folder, 'settler.key')
    writeFileSync(this.#keyFile, parts.chain.keyOf('settler'), { mode: 0o600 })
  }

  static async start(node: TestNode): Promise<AggregatorNetwork> {
    const folder = mkdtempSync(join(tmpdir(), 'sealpath-kills-'))
    chmodSync(folder, 0o755)
    const databasePort = await freePort()
    const database = new KillableDatabase(join(folder, 'database'), databasePort)
    const [chain] = await Promise.all([deployLocal({ node }), database.start()])
    const judge = await openDatabase({ url: database.url }, SILENT)
    await migrate(judge.sql, MIGRATIONS)
    await judge.sql.unsafe(LEASE_HISTORY)
    const databaseProxy = await startDatabaseProxy(databasePort)
    const gates: RpcGate[] = []
    for (let i = 0; i < ENDPOINTS; i++) gates.push(await startRpcGate(chain.rpcUrl))
    return new AggregatorNetwork({ node, chain, database, databaseProxy, gates, judge, folder })
  }

  /** Where the only endpoint is, or the first of three. */
  get gate(): RpcGate {
    const [gate] = this.gates
    if (gate === undefined) throw new Error('expected an endpoint')
    return gate
  }

  get #sql(): Database['sql'] {
    if (this.#judge === undefined) throw new Error('the network was stopped')
    return this.#judge.sql
  }

  /** Starts a process that settles at once and looks often, and waits until it is ready. */
  async startAggregator(options: AggregatorOptions = {}): Promise<Aggregator> {
    const port = await freePort()
    const name = `aggregator-${++this.#started}`
    const file = join(this.#folder, `${name}.json`)
    const { chainId, registry, settlement } = this.chain.addresses
    const { leaseSeconds = LEASE_SECONDS, resubmitSeconds = 60, endpoints = 1 } = options
    const settle = { everySeconds: 0, pollMs: 40, leaseSeconds, resubmitSeconds, depth: DEPTH }
    writeFileSync(
      file,
      JSON.stringify({
        listen: { host: '127.0.0.1', port },
        rpcUrls: this.gates.slice(0, endpoints).map(({ url }) => url),
        deployment: { chainId, registry, settlement },
        accountKeyFiles: [this.#keyFile],
        database: { url: this.database.url.replace(/:\d+\/postgres$/, `:${this.databaseProxy.port}/postgres`) },
        settle,
      }),
    )
    const main = join(REPOSITORY, 'offchain/aggregator/main.ts')
    const child = this.#processes.start(name, process.execPath, [main], { SEALPATH_CONFIG: file })
    const url = `http://127.0.0.1:${port}`
    const aggregator = { url, child }
    await waitFor(name, () => isReady(url), START_MS_MAX).catch((cause: unknown) => {
      throw new Error(`${name} does not get ready: ${this.logOf(aggregator)}`, { cause })
    })
    return aggregator
  }

  kill({ child }: Aggregator): Promise<void> {
    return this.#processes.kill(child)
  }

  /** Asks it to stop. Resolves to its exit code. */
  async terminate({ child }: Aggregator): Promise<number | null> {
    child.isExpectedToEnd = true
    const ended = new Promise<number | null>((resolve) => child.process.once('exit', (code) => resolve(code)))
    child.process.kill('SIGTERM')
    return ended
  }

  /** Stops it where it is, as a machine that hangs would; `thaw` lets it go on. */
  freeze({ child }: Aggregator): void {
    child.process.kill('SIGSTOP')
  }

  thaw({ child }: Aggregator): void {
    child.process.kill('SIGCONT')
  }

  logOf({ child }: Aggregator): string {
    return readFileSync(child.logFile, 'utf8')
  }

  async killDatabase(): Promise<void> {
    await this.#judge?.sql.end()
    await this.database.kill()
  }

  async startDatabase(): Promise<void> {
    await this.database.start()
    this.#judge = await openDatabase({ url: this.database.url }, SILENT)
  }

  /** Mines one by one: Hardhat's node does not link blocks that it mines many at once to their parents. */
  async mine(blocks: number): Promise<void> {
    for (let i = 0; i < blocks; i++) await this.chain.control.mine({ blocks: 1 })
  }

  /** A log of `count` receipts of a newly registered enclave. */
  async newLog(count: number): Promise<TestLog> {
    const key = new Uint8Array(32).fill(0x10)
    key.set([++this.#keys], 31)
    await registerTestEnclave(this.chain, key)
    const { chainId, settlement } = this.chain.addresses
    return new TestLog(key, { chainId, settlement }).issue(count)
  }

  /** Whether the whole log was acknowledged. A process that ends meanwhile has not. */
  async deliver({ url }: Aggregator, log: TestLog, from = 0, size: number = log.size): Promise<boolean> {
    const delivery = log.delivery(from, log.head(size))
    const body = toJson({ ...delivery, leaves: toBase64(delivery.leaves) })
    const headers = { 'content-type': 'application/json' }
    try {
      const response = await fetch(`${url}/v1/heads`, { method: 'POST', body, headers })
      const text = await response.text()
      return response.status === 200 && parseJson(HeadReceivedSchema, text, 'answer').size >= BigInt(size)
    } catch {
      return false
    }
  }

  /** All of the account, oldest first. */
  async transactions(): Promise<TransactionRow[]> {
    const rows = await this.#sql<{ state: string; nonce: bigint | null }[]>`
      select state, nonce from transactions order by id`
    return rows.map(({ state, nonce }) => ({ state, nonce: nonce === null ? undefined : Number(nonce) }))
  }

  async newestState(): Promise<string | undefined> {
    return (await this.transactions()).at(-1)?.state
  }

  /** Each time that the lease changed hands, oldest first. */
  async takeovers(): Promise<Takeover[]> {
    const rows = await this.#sql<{ late: number | null; tries: bigint }[]>`
      select late, tries from takeovers order by id`
    return rows.map(({ late, tries }) => ({ lateSeconds: late ?? 0, tries: Number(tries) }))
  }

  /** Whether nobody has the lease for `seconds` from now on. */
  async isLeaseFree(seconds: number = 0): Promise<boolean> {
    const account = fromHex(this.chain.account('settler').address.toLowerCase() as Hex, 20)
    const rows = await this.#sql`
      select 1 from leases where account = ${account} and ends_at > now() + make_interval(secs => ${seconds})`
    return rows.length === 0
  }

  async stop(): Promise<void> {
    await this.#processes.stopAll(5_000)
    await this.#judge?.sql.end()
    await this.databaseProxy.close()
    await Promise.all(this.gates.map((gate) => gate.close()))
    await Promise.all([this.database.stop(), this.chain.close()])
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

/**
 * Each change of hands of a lease: how long nobody had it, and how often somebody asked for it meanwhile. A trigger before an insertion sees every asking, also
 * those that the conflict refuses.
 */
const LEASE_HISTORY = `
  create table lease_tries (account bytea not null);
  create table takeovers (id bigserial primary key, late float8, tries bigint not null);
  create function note_try() returns trigger language plpgsql as $$
  begin
    if exists (select 1 from leases where account = new.account and holder <> new.holder and ends_at < now()) then
      insert into lease_tries values (new.account);
    end if;
    return new;
  end $$;
  create function note_takeover() returns trigger language plpgsql as $$
  begin
    if tg_op = 'INSERT' then
      insert into takeovers (tries) values (1);
    elsif new.epoch <> old.epoch then
      insert into takeovers (late, tries)
      select extract(epoch from now() - old.ends_at)::float8, count(*) from lease_tries where account = new.account;
      delete from lease_tries where account = new.account;
    end if;
    return null;
  end $$;
  create trigger lease_asked before insert on leases for each row execute function note_try();
  create trigger lease_taken after insert or update on leases for each row execute function note_takeover();
`

/** Waits until `read` answers something, and throws naming `what` when it does not in time. */
export async function eventually<T>(
  what: string,
  read: () => Promise<T | undefined | false>,
  msMax = 20_000,
): Promise<T> {
  const deadline = performance.now() + msMax
  for (;;) {
    const value = await read()
    if (value !== undefined && value !== false) return value
    if (performance.now() > deadline) throw new Error(`${what} did not happen within ${msMax} ms`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
