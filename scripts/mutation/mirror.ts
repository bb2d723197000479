/** A copy of the repository in which sources may be spoilt. @module */
import { cpSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export type Mirror = { readonly folder: string; remove(): void }

/** Packages are linked; the rest is made anew or not looked at. */
const NEVER_COPIED = ['node_modules', '.git', 'dist', 'coverage', '.sealpath', '.stryker-tmp']

/** Copies `root` without what `without` names at its top. */
export function makeMirror(root: string, without: readonly string[] = []): Mirror {
  const folder = mkdtempSync(join(tmpdir(), 'sealpath-mutation-'))
  const skipped = new Set([...NEVER_COPIED, ...without].map((name) => join(root, name)))
  cpSync(root, folder, { recursive: true, filter: (path) => !skipped.has(path) })
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'), 'dir')
  const remove = () => rmSync(folder, { recursive: true, force: true })
  process.once('exit', remove)
  return { folder, remove }
}
