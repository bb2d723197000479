/** A PostgreSQL server in a folder, with everything that can happen to one: killed with all its processes, started again, copied as a power cut would leave it, rolled back. @module */
import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Database, isListening, openDatabase } from '#node/database.ts'
import { SILENT } from './postgres.ts'

export class KillableDatabase {
  readonly #folder: string
  readonly #port: number
  #database: Database | undefined

  /** Nothing runs yet. */
  constructor(folder: string, port: number) {
    this.#folder = folder
    this.#port = port
    // Started by root, the server runs as a user of its own, who must be able to enter.
    mkdirSync(folder, { recursive: true })
    chmodSync(folder, 0o755)
  }

  get url(): string {
    return `postgres://sealpath:sealpath@127.0.0.1:${this.#port}/postgres`
  }

  get #data(): string {
    return join(this.#folder, 'postgres')
  }

  /** Starts the server, and brings the folder in order after whatever ended it. */
  async start(): Promise<void> {
    this.#database = await openDatabase({ folder: this.#folder, port: this.#port }, SILENT)
  }

  /** Kills the postmaster and each of its processes at once. */
  async kill(): Promise<void> {
    signal([...this.#pids()], 'SIGKILL')
    const database = this.#database
    this.#database = undefined
    await database?.sql.end()
    // Whoever starts a server where one still listens takes that one over.
    while (await isListening(this.#port)) await sleep(10)
  }

  /** The folder as it is at this moment, elsewhere. */
  copy(to: string): void {
    const pids = [...this.#pids()]
    signal(pids, 'SIGSTOP')
    try {
      copyFolder(this.#data, to)
    } finally {
      signal(pids, 'SIGCONT')
    }
  }

  /** Puts an older copy in the place of the folder. The server must not run. */
  rollBack(copy: string): void {
    rmSync(this.#data, { recursive: true, force: true })
    copyFolder(copy, this.#data)
  }

  async stop(): Promise<void> {
    await this.#database?.close()
    this.#database = undefined
  }

  /** The postmaster first. */
  *#pids(): Generator<number> {
    const postmaster = Number.parseInt(readFileSync(join(this.#data, 'postmaster.pid'), 'utf8'), 10)
    yield postmaster
    const table = execFileSync('ps', ['-A', '-o', 'pid=,ppid='], { encoding: 'utf8' })
    for (const line of table.split('\n')) {
      const [pid, parent] = line.trim().split(/\s+/).map(Number)
      if (pid !== undefined && parent === postmaster) yield pid
    }
  }
}

function signal(pids: readonly number[], name: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): void {
  for (const pid of pids) {
    try {
      process.kill(pid, name)
    } catch {
      // It has ended meanwhile.
    }
  }
}

/** With owners and modes: the server refuses a folder that is not its own. Its lock stays behind. */
function copyFolder(from: string, to: string): void {
  execFileSync('cp', ['-a', from, to])
  rmSync(join(to, 'postmaster.pid'), { force: true })
}
