/**
 * The files of an image as a list: everything that could differ from machine to machine (owner, time, order, mode, umask) is decided here, and nothing of
 * it is taken from the disk.
 * @module
 */
import { createHash } from 'node:crypto'
import { posix } from 'node:path'
import { ImageError } from './imageError.ts'

/** Everything belongs to user and group 0. */
export type ImageEntry =
  | { readonly path: string; readonly kind: 'folder' }
  | { readonly path: string; readonly kind: 'file'; readonly bytes: Uint8Array; readonly isExecutable: boolean }
  | { readonly path: string; readonly kind: 'link'; readonly target: string }
  /** A character device. */
  | { readonly path: string; readonly kind: 'device'; readonly major: number; readonly minor: number }

export const ENTRY_MODE: Readonly<Record<ImageEntry['kind'], number>> = {
  folder: 0o755,
  file: 0o644,
  link: 0o777,
  device: 0o600,
}
const EXECUTABLE_MODE = 0o755

/** The permission bits of an entry. */
export function modeOf(entry: ImageEntry): number {
  return entry.kind === 'file' && entry.isExecutable ? EXECUTABLE_MODE : ENTRY_MODE[entry.kind]
}

/** Collects entries; folders above them come by themselves. Paths are absolute inside the image and written without their first slash. */
export class ImageTree {
  readonly #entries = new Map<string, ImageEntry>()

  addFile(path: string, bytes: Uint8Array, options: { readonly isExecutable?: boolean } = {}): void {
    this.#add({ path, kind: 'file', bytes, isExecutable: options.isExecutable ?? false })
  }

  addLink(path: string, target: string): void {
    this.#add({ path, kind: 'link', target })
  }

  addFolder(path: string): void {
    this.#add({ path, kind: 'folder' })
  }

  addDevice(path: string, major: number, minor: number): void {
    this.#add({ path, kind: 'device', major, minor })
  }

  /** All entries, each folder before what is in it, in the order of their paths' bytes. */
  entries(): readonly ImageEntry[] {
    const order = (path: string) => path.split('/').join('\0')
    return [...this.#entries.values()].sort((a, b) => (order(a.path) < order(b.path) ? -1 : 1))
  }

  /** Throws `ImageError` (`PATH_TWICE`) when something else already stands there, `BAD_PATH` for a path that leaves the image. */
  #add(entry: ImageEntry): void {
    const { path } = entry
    if (path === '' || posix.normalize(path) !== path || /^(?:\/|\.{1,2}(?:\/|$))/.test(path) || path.endsWith('/')) {
      throw new ImageError('BAD_PATH', `expected a plain path inside the image, got ${path}`)
    }
    const known = this.#entries.get(path)
    if (known !== undefined && !(known.kind === 'folder' && entry.kind === 'folder')) {
      throw new ImageError('PATH_TWICE', `two parts bring ${path}`)
    }
    this.#entries.set(path, entry)
    const folder = posix.dirname(path)
    if (folder === '.') return
    const above = this.#entries.get(folder)
    if (above === undefined) this.#add({ path: folder, kind: 'folder' })
    else if (above.kind !== 'folder')
      throw new ImageError('PATH_TWICE', `${path} lies in ${folder}, which is no folder`)
  }
}

/** One line for each entry: mode, SHA-256 or what it points to, path. What an image has and this list has not is a mistake. */
export function listEntries(entries: readonly ImageEntry[]): string {
  return entries
    .map((entry) => `${modeOf(entry).toString(8).padStart(4, '0')} ${describeContent(entry)} ${entry.path}\n`)
    .join('')
}

function describeContent(entry: ImageEntry): string {
  if (entry.kind === 'file') return createHash('sha256').update(entry.bytes).digest('hex')
  if (entry.kind === 'link') return `->${entry.target}`
  return entry.kind === 'device' ? `device:${entry.major}:${entry.minor}` : 'folder'
}
