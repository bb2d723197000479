/** Secrets around a configuration: they stand in files of their own, which only their owner reads, or in the environment. @module */
import { accessSync, constants, existsSync, statSync } from 'node:fs'
import { type Mistake, placeOf } from './mistakes.ts'
import type { Key } from './schemaNode.ts'

/** Settings that name files with a secret in them. */
const SECRET_FILES: ReadonlySet<string> = new Set([
  'accountKeyFile',
  'accountKeyFiles',
  'apiKeyFile',
  'keyFile',
  'files',
])
/** The same of a file that is made when it is absent. */
const MADE_FILES: ReadonlySet<string> = new Set(['rootFile'])
/** Settings that name files which anybody may read. */
const PUBLIC_FILES: ReadonlySet<string> = new Set(['certificateFile', 'caFile', 'modelPath'])

/** A file that the configuration names. */
export type NamedFile = {
  readonly place: string
  readonly file: string
  readonly isSecret: boolean
  readonly isMade: boolean
}

export function namedFiles(config: unknown): readonly NamedFile[] {
  return textsOf(config, []).flatMap(({ path, text }) => {
    const setting = settingOf(path)
    const [isSecret, isMade] = [SECRET_FILES.has(setting), MADE_FILES.has(setting)]
    if (!isSecret && !isMade && !PUBLIC_FILES.has(setting)) return []
    return [{ place: placeOf(path), file: text, isSecret: isSecret || isMade, isMade }]
  })
}

/** Secrets that stand in the configuration itself. What they are is not said. */
export function findSecrets(config: unknown): readonly Mistake[] {
  return textsOf(config, []).flatMap(({ path, text }) => {
    const place = placeOf(path)
    const setting = settingOf(path)
    if (SECRET_FILES.has(setting) && /^(0x)?[0-9a-f]{64}$/i.test(text)) {
      return [
        { place, sentence: 'expected the path of a file with the key in it; there is a key: no secret may stand here' },
      ]
    }
    if (!hasPassword(text)) return []
    const remedy =
      path[0] === 'database' ? 'leave it out and set PGPASSWORD, or the whole URL as DATABASE_URL' : 'leave it out'
    return [
      { place, sentence: `there is a password in the URL, which only one of this machine may have here: ${remedy}` },
    ]
  })
}

/** Named files that are missing or cannot be read by us. */
export function findMissingFiles(config: unknown): readonly Mistake[] {
  return namedFiles(config).flatMap(({ place, file, isMade }) => {
    if (!existsSync(file)) return isMade ? [] : [{ place, sentence: `there is no file ${shortened(file)}` }]
    try {
      accessSync(file, constants.R_OK)
      return statSync(file).isFile() ? [] : [{ place, sentence: `${shortened(file)} is no file` }]
    } catch {
      // Whatever the reason, the role could not read it either.
      return [{ place, sentence: `${shortened(file)} cannot be read by the user that this runs as` }]
    }
  })
}

/** Secret files that others than their owner may read. */
export function exposedFiles(config: unknown): readonly NamedFile[] {
  // Elsewhere modes say nothing about who may read.
  if (process.platform === 'win32') return []
  return namedFiles(config).filter(
    ({ file, isSecret }) => isSecret && existsSync(file) && (statSync(file).mode & 0o077) !== 0,
  )
}

function hasPassword(text: string): boolean {
  if (!/^[a-z][a-z0-9+.-]*:\/\//i.test(text) || !URL.canParse(text)) return false
  const { password, hostname, searchParams } = new URL(text)
  if (password === '' && !searchParams.has('password')) return false
  return !isLoopback(hostname)
}

/** Whether only this machine is reached by it. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || /^127\.\d+\.\d+\.\d+$/.test(host) || host === '::1' || host === '[::1]'
}

/** The last name in a path: places in lists have none. */
function settingOf(path: readonly Key[]): string {
  return String(path.findLast((key) => typeof key === 'string') ?? '')
}

function textsOf(value: unknown, path: readonly Key[]): { path: readonly Key[]; text: string }[] {
  if (typeof value === 'string') return [{ path, text: value }]
  if (Array.isArray(value)) return value.flatMap((entry, i) => textsOf(entry, [...path, i]))
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([key, entry]) => textsOf(entry, [...path, key]))
}

/** Enough of a path to find it; a text that is no path at all is not quoted whole. */
function shortened(file: string): string {
  return file.length <= 200 ? file : `${file.slice(0, 200)}...`
}
