/** What `sealpath init` makes of the answers, before anything is written. @module */
import { parseJson, type Schema, toJson } from '#protocol/wire/json.ts'

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

/** A configuration as its role will read it. Throws `WireError` with the sentence that the role would say. */
export function plannedConfig<Config>(path: string, schema: Schema<Config>, config: unknown): PlannedFile {
  const text = `${toJson(config, 2)}\n`
  parseJson(schema, text, path)
  return { path, text }
}
