/** A folder of receipts, one file each, whole or not there at all. @module */
import { mkdirSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Hex } from '#protocol/bytes.ts'

/** Saves a receipt under its time and leaf; answers the file. Receipts hold what they are about: only their owner may read them. */
export function saveReceipt(folder: string, { leaf, json, now }: { leaf: Hex; json: string; now: Date }): string {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const time = now.toISOString().replaceAll(':', '-').slice(0, 19)
  const path = join(folder, `${time}-${leaf.slice(2, 18)}.json`)
  const draft = `${path}.draft`
  writeFileSync(draft, json, { mode: 0o600 })
  renameSync(draft, path)
  return path
}
