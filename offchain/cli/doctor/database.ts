/** Whether a role's database answers, and what it is. @module */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type DatabaseConfig, isListening } from '#node/database.ts'
import { connectSql } from '#node/sql.ts'
import { type Finding, failed, guarded, ok } from './finding.ts'

const TIMEOUT_MS = 5_000
const WHAT = 'database'

/** `url` is that of DATABASE_URL, which wins. */
export function checkDatabase(config: DatabaseConfig, url: string | undefined): Promise<readonly Finding[]> {
  const remedy = 'check that it runs, its address, and the password in PGPASSWORD or DATABASE_URL'
  return guarded(WHAT, remedy, async () => {
    if (url !== undefined && url !== '') return [await askDatabase(url)]
    if ('url' in config) return [await askDatabase(config.url)]
    const version = join(config.folder, 'postgres', 'PG_VERSION')
    if (await isListening(config.port)) return [await askEmbedded(config.port)]
    if (!existsSync(version)) return [ok(WHAT, 'the role makes it at its first start')]
    return [ok(WHAT, `PostgreSQL ${readFileSync(version, 'utf8').trim()}, which starts with the role`)]
  })
}

function askEmbedded(port: number): Promise<Finding> {
  const taken = failed(WHAT, `127.0.0.1:${port} is held by something else`, 'stop that or choose another port')
  return askDatabase(`postgres://sealpath:sealpath@127.0.0.1:${port}/postgres`).catch(() => taken)
}

async function askDatabase(url: string): Promise<Finding> {
  const sql = connectSql(url, { max: 1 })
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('it does not answer')), TIMEOUT_MS)
  })
  try {
    return await Promise.race([read(sql), late])
  } catch (cause) {
    // What the client says may quote the address with its password.
    const code = cause instanceof Error && 'code' in cause ? ` (${String(cause.code)})` : ''
    throw new Error(`it cannot be read${code}`, { cause })
  } finally {
    clearTimeout(timer)
    // It may hang where the connection does.
    void sql.end().catch(() => {})
  }
}

async function read(sql: ReturnType<typeof connectSql>): Promise<Finding> {
  const [about] = await sql<{ version: string; table: string | null }[]>`
    select current_setting('server_version') as version, to_regclass('migrations')::text as table`
  const name = `PostgreSQL ${about?.version ?? 'of an unknown version'}`
  if (about === undefined || about.table === null) return ok(WHAT, `${name}, empty: the role makes its tables`)
  const [{ count } = { count: 0n }] = await sql<{ count: bigint }[]>`select count(*) as count from migrations`
  return ok(WHAT, `${name}, ${count} migrations`)
}
