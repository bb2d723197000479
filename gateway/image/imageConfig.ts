/** A role's configuration on its way into an image: without secrets, and with the models and public certificates that it names. @module */
import { readFileSync } from 'node:fs'
import { basename, dirname, resolve } from 'node:path'
import * as v from 'valibot'
import { encodeUtf8, equalBytes } from '#protocol/bytes.ts'
import { parseJson, type Schema } from '#protocol/wire/json.ts'
import { ImageError } from './imageError.ts'
import { APPLICATION_FOLDER } from './sources.ts'

export type ImageConfig = {
  /** What the image holds at /etc/sealpath/config.json. */
  readonly value: Readonly<Record<string, unknown>>
  readonly bytes: Uint8Array
  /** What it names, by the path in the image. */
  readonly files: ReadonlyMap<string, Uint8Array>
}

/**
 * Reads a role's configuration for an image. A backend's `modelPath` and `caFile`, relative to the configuration, become the paths of copies inside. Throws
 * `ImageError` (`BAD_CONFIG`) for a setting that cannot be inside an image, and for a file that cannot be read.
 */
export function readImageConfig(path: string): ImageConfig {
  const config = parseJson(ObjectSchema, readFileSync(path, 'utf8'), `configuration ${path}`)
  refuse(config, '')
  const files = new Map<string, Uint8Array>()
  const value = { ...config, ...('backends' in config ? { backends: takeFiles(config.backends, path, files) } : {}) }
  return { value, bytes: encodeUtf8(`${JSON.stringify(value, null, 2)}\n`), files }
}

const ObjectSchema: Schema<Record<string, unknown>> = v.pipe(
  v.unknown(),
  v.check((value) => typeof value === 'object' && value !== null && !Array.isArray(value)),
  v.transform((value) => value as Record<string, unknown>),
)
const FILES_FOLDER = `${APPLICATION_FOLDER}/files`
/** Settings of a backend whose files everybody may read. */
const PUBLIC_FILES = ['modelPath', 'caFile'] as const

/** Settings that cannot be in an image, by their path, with the reason. Every `…File` is one but the development root, which is made anew inside, and
 * certificates of authorities. */
function refuse(value: unknown, place: string): void {
  if (typeof value !== 'object' || value === null) return
  for (const [key, entry] of Object.entries(value)) {
    const here = place === '' ? key : `${place}.${key}`
    const reason = reasonAgainst(key, here)
    if (reason !== undefined) throw new ImageError('BAD_CONFIG', `${here}: ${reason}`)
    refuse(entry, here)
  }
}

function reasonAgainst(key: string, place: string): string | undefined {
  if (place === 'attester.rootFile' || /^backends\.\d+\.caFile$/.test(place)) return undefined
  if (place.endsWith('listen.tls'))
    return 'leave it out: TLS from relays ends at the bridge on the host, and requests are sealed beneath it'
  if (key.endsWith('File') || place === 'keys.files')
    return 'leave it out: it names a file that an image cannot hold, for everybody can read an image'
  if (place === 'database.folder')
    return 'name a PostgreSQL by database.url: what an enclave keeps in its memory is gone when it ends'
  if (key === 'measuredFiles') {
    return 'leave it out: no model server runs inside an image; give the model to an embedded backend, or name a server outside'
  }
  if (place === 'metrics') return 'leave it out: an image has no door for metrics'
  return undefined
}

function takeFiles(backends: unknown, configPath: string, files: Map<string, Uint8Array>): unknown {
  if (!Array.isArray(backends)) return backends
  return backends.map((backend: unknown) => {
    if (typeof backend !== 'object' || backend === null) return backend
    const settings: Record<string, unknown> = { ...backend }
    for (const setting of PUBLIC_FILES) {
      const named = settings[setting]
      if (typeof named !== 'string') continue
      const inside = `${FILES_FOLDER}/${basename(named)}`
      const bytes = readNamed(setting, resolve(dirname(configPath), named))
      const known = files.get(inside)
      if (known !== undefined && !equalBytes(known, bytes)) {
        throw new ImageError('BAD_CONFIG', `backends: two files are called ${basename(named)}`)
      }
      files.set(inside, bytes)
      settings[setting] = `/${inside}`
    }
    return settings
  })
}

function readNamed(setting: string, path: string): Uint8Array {
  try {
    return readFileSync(path)
  } catch (cause) {
    throw new ImageError('BAD_CONFIG', `backends: ${setting}: cannot read ${path}`, { cause })
  }
}
