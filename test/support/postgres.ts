/** An embedded PostgreSQL for tests: one server a file, one empty database a test. @module */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openDatabase } from '#node/database.ts'
import type { Logger } from '#node/log.ts'
import { freePort } from './freePort.ts'

export const SILENT: Logger = { info: () => {}, warn: () => {}, error: () => {} }

export type TestPostgres = {
  /** URL of a new, empty database. */
  createDatabase(): Promise<string>
  close(): Promise<void>
}

/** Starts a server in a folder of its own on a free port. */
export async function startPostgres(): Promise<TestPostgres> {
  const folder = mkdtempSync(join(tmpdir(), 'sealpath-postgres-'))
  // Started by root, the server runs as a user of its own, who must be able to enter.
  chmodSync(folder, 0o755)
  const port = await freePort()
  const server = await openDatabase({ folder, port }, SILENT)
  let count = 0
  return {
    async createDatabase() {
      const name = `test_${++count}`
      await server.sql.unsafe(`create database ${name}`)
      return `postgres://sealpath:sealpath@127.0.0.1:${port}/${name}`
    },
    async close() {
      await server.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
