/** What `sealpath init` makes of the answers, before anything is written. @module */
import { isLoopback } from '#node/config/configFiles.ts'
import { parseConfig } from '#node/role.ts'
import { type Schema, toJson } from '#protocol/wire/json.ts'

export type PlannedFile = {
  /** Absolute. */
  readonly path: string
  readonly text: string
  /** Only its owner may read it. */
  readonly isSecret?: boolean
}

export type Plan = {
  readonly files: readonly PlannedFile[]
  /** What is left to do, a sentence each. */
  readonly notes: readonly string[]
}

/** A configuration as its role will read it. Throws `AppError` with the sentences that the role would say. */
export function plannedConfig<Config>(path: string, schema: Schema<Config>, config: unknown): PlannedFile {
  const text = `${toJson(config, 2)}\n`
  parseConfig(schema, JSON.parse(text), path)
  return { path, text }
}

/** A sentence for each place of a configuration where something crosses machines in the clear. */
export function plainHttpNotes(config: unknown): readonly string[] {
  if (typeof config === 'string') {
    if (!URL.canParse(config)) return []
    const { protocol, hostname } = new URL(config)
    if (protocol !== 'http:' || isLoopback(hostname)) return []
    return [`${config} is plain HTTP: whoever is on the way reads and changes what passes. Prefer https.`]
  }
  if (typeof config !== 'object' || config === null) return []
  const below = Object.values(config).flatMap(plainHttpNotes)
  const { host, port, tls } = config as { host?: unknown; port?: unknown; tls?: unknown }
  if (typeof host !== 'string' || typeof port !== 'number' || tls !== undefined || isLoopback(host)) return below
  const remedy = 'let only a TLS terminator reach it, or give it a certificate (--set tls=CERTIFICATE,KEY)'
  return [...below, `${host}:${port} speaks plain HTTP to other machines: ${remedy}.`]
}
