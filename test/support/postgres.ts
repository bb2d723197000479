/** An embedded PostgreSQL for tests: one server a file, one empty database a test. @module */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openDatabase } from '#node/database.ts'
import type { Logger } from '#node/log.ts'

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

/** A port nobody listens on now. */
export async function freePort(): Promise<number> {
  const probe = createServer()
  await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve))
  const address = probe.address()
  await new Promise((resolve) => probe.close(resolve))
  if (address === null || typeof address === 'string') throw new Error('expected an address with a port')
  return address.port
}
