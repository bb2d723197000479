/**
 * What an image takes from Debian and from npm, each pinned by its SHA-256 in parts.lock.json: a package that is fetched from anywhere is the package that was
 * locked, or no image is built.
 * @module
 */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, lstatSync, mkdirSync, mkdtempSync, readFileSync, readlinkSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import * as v from 'valibot'
import { parseJson, type Schema } from '#protocol/wire/json.ts'
import { ImageError } from './imageError.ts'
import type { ImageTree } from './imageTree.ts'

export type PartsLock = {
  /** When Debian's archive had all of these versions, RFC 3339: the time of every file in the image, and where to look for what the archive has dropped. */
  readonly archiveTime: string
  readonly packages: readonly LockedPackage[]
  /** The binary that the npm package `node` brings. */
  readonly node: { readonly version: string; readonly sha256: string }
  /** kernel/mmio_devices.ko, built by kernel/build for this version of the kernel. */
  readonly driver: { readonly kernel: string; readonly sha256: string }
}

export type LockedPackage = {
  readonly name: string
  readonly version: string
  readonly archive: 'debian' | 'debian-security'
  /** In the archive. */
  readonly path: string
  readonly sha256: string
  /** The paths that the image takes, and no others. Kernel modules stand in the order in which they are loaded. */
  readonly files: readonly string[]
}

/** Where packages are kept, and where those that are not there yet come from. */
export type PartsSource = {
  readonly folder: string
  /** Base URL of an archive that has `debian` and `debian-security`; undefined: those of this machine's apt. */
  readonly archive?: string
}

export function readPartsLock(path: string): PartsLock {
  return parseJson(PartsLockSchema, readFileSync(path, 'utf8'), `lock file ${path}`)
}

/** Sees to it that every package lies in the folder with the bytes that the lock says. Throws `ImageError` (`PART_MISSING`, `PART_CHANGED`). */
export function fetchParts(lock: PartsLock, source: PartsSource): void {
  mkdirSync(source.folder, { recursive: true })
  for (const part of lock.packages) {
    const file = fileOf(part, source)
    if (!existsSync(file)) download(part, file, source)
    checked(file, part.sha256)
  }
}

/** The files that the lock names, out of packages in the folder, at their own paths: plain files and links. */
export function unpackParts(lock: PartsLock, source: PartsSource): readonly UnpackedFile[] {
  const folder = mkdtempSync(join(tmpdir(), 'sealpath-parts-'))
  try {
    return lock.packages.flatMap((part) => {
      const archive = run('dpkg-deb', ['--fsys-tarfile', fileOf(part, source)])
      const members = part.files.map((path) => `./${path}`)
      run('tar', ['--extract', '--directory', folder, '--no-same-owner', ...members], archive)
      return part.files.map((path) => readUnpacked(join(folder, path), path, part.name))
    })
  } finally {
    rmSync(folder, { recursive: true })
  }
}

export type UnpackedFile = { readonly path: string; readonly package: string } & (
  | { readonly bytes: Uint8Array; readonly isExecutable: boolean }
  | { readonly target: string }
)

/** Puts an unpacked file into the image. */
export function addUnpacked(tree: ImageTree, file: UnpackedFile): void {
  if ('target' in file) tree.addLink(file.path, file.target)
  else tree.addFile(file.path, file.bytes, file)
}

/** The Node binary of the npm package `node`. Throws `ImageError` (`PART_MISSING`, `PART_CHANGED`). */
export function readNode(repository: string, lock: PartsLock): Uint8Array {
  const path = join(repository, 'node_modules/node/bin/node')
  if (!existsSync(path)) throw new ImageError('PART_MISSING', `there is no ${path}: run npm ci`)
  return checked(path, lock.node.sha256)
}

/** Our driver. Throws `ImageError`: `BAD_LOCK` when it was built for another kernel, `PART_CHANGED`. */
export function readDriver(path: string, lock: PartsLock, kernelVersion: string): Uint8Array {
  if (lock.driver.kernel !== kernelVersion) {
    const advice = 'build it with kernel/build and put its SHA-256 into the lock file'
    throw new ImageError(
      'BAD_LOCK',
      `mmio_devices.ko is for ${lock.driver.kernel}, the kernel is ${kernelVersion}: ${advice}`,
    )
  }
  return checked(path, lock.driver.sha256)
}

function checked(path: string, sha256: string): Uint8Array {
  const bytes = readFileSync(path)
  const found = createHash('sha256').update(bytes).digest('hex')
  if (found === sha256) return bytes
  throw new ImageError('PART_CHANGED', `${path}: expected SHA-256 ${sha256} of the lock file, got ${found}`)
}

/** What `command` writes to its standard output. Throws `ImageError` (`TOOL_FAILED`) with what it said. */
export function run(command: string, args: readonly string[], input?: Uint8Array): Uint8Array {
  try {
    return execFileSync(command, args, {
      ...(input === undefined ? {} : { input }),
      maxBuffer: OUTPUT_BYTES_MAX,
      stdio: ['pipe', 'pipe', 'pipe'],
      // What tools say and how they sort must not depend on the builder.
      env: { ...process.env, LC_ALL: 'C', TZ: 'UTC' },
    })
  } catch (cause) {
    const said = cause instanceof Error && 'stderr' in cause ? String(cause.stderr).trim().split('\n').at(-1) : ''
    throw new ImageError('TOOL_FAILED', `${command} did not do its work${said === '' ? '' : `: ${said}`}`, { cause })
  }
}

const OUTPUT_BYTES_MAX = 1_073_741_824
const APT_HELPER = '/usr/lib/apt/apt-helper'

const sha256: Schema<string> = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/))
const PartsLockSchema: Schema<PartsLock> = v.object({
  archiveTime: v.pipe(v.string(), v.isoTimestamp()),
  packages: v.array(
    v.object({
      name: v.string(),
      version: v.string(),
      archive: v.picklist(['debian', 'debian-security']),
      path: v.pipe(v.string(), v.regex(/^pool\/[A-Za-z0-9.+~_/-]+\.deb$/)),
      sha256,
      files: v.array(v.pipe(v.string(), v.regex(/^[a-z][A-Za-z0-9.+_/-]*$/))),
    }),
  ),
  node: v.object({ version: v.string(), sha256 }),
  driver: v.object({ kernel: v.string(), sha256 }),
})

function fileOf(part: LockedPackage, source: PartsSource): string {
  return join(source.folder, basename(part.path))
}

function download(part: LockedPackage, file: string, source: PartsSource): void {
  const base = source.archive === undefined ? findArchive(part.archive) : `${source.archive}/${part.archive}`
  // Whole or not at all: another build may be waiting for the same package.
  const own = `${file}.${process.pid}`
  try {
    run(APT_HELPER, ['download-file', `${base.replace(/\/$/, '')}/${part.path}`, own, `SHA256:${part.sha256}`])
    renameSync(own, file)
  } catch (cause) {
    const message = `cannot fetch ${part.name} ${part.version}: the archive may have a newer one, and only its snapshots this one (--archive)`
    throw new ImageError('PART_MISSING', message, { cause })
  }
}

/** Where this machine's apt finds Debian's archive. Throws `ImageError` (`PART_MISSING`). */
export function findArchive(archive: LockedPackage['archive']): string {
  const targets = run('apt-get', ['indextargets', '--format', '$(ORIGIN) $(LABEL) $(REPO_URI)', 'Created-By: Packages'])
  const label = archive === 'debian' ? 'Debian' : 'Debian-Security'
  for (const line of Buffer.from(targets).toString().split('\n')) {
    const [origin, found, uri] = line.split(' ')
    if (origin === 'Debian' && found === label && uri !== undefined) return uri
  }
  throw new ImageError(
    'PART_MISSING',
    `this machine's apt knows no ${label} archive: run apt-get update, or name one with --archive`,
  )
}

function readUnpacked(file: string, path: string, name: string): UnpackedFile {
  const stat = lstatSync(file)
  if (stat.isSymbolicLink()) return { path, package: name, target: readlinkSync(file) }
  return { path, package: name, bytes: readFileSync(file), isExecutable: (stat.mode & 0o100) !== 0 }
}
