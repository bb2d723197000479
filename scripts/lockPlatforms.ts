/**
 * Completes package-lock.json for machines other than the one that wrote it. Run it after `npm install` changed the lock. Two things that npm
 * gets wrong when the lock is written from one machine:
 *
 * - Packages for other systems are missing, and `npm ci` then calls the lock out of date. They are added by name, version and system;
 *   without an integrity value, because this machine never fetched them.
 * - Hardhat's native part asks for Node 22, and npm, running on Node 20, silently leaves it out. Our scripts run on the Node 24 that npm
 *   installs, so that demand is met whatever the machine has: the entry is kept without it.
 *
 * @module
 */
import { readFileSync, writeFileSync } from 'node:fs'

type Entry = {
  version?: string
  cpu?: string[]
  dev?: boolean
  engines?: unknown
  libc?: string[]
  optional?: boolean
  os?: string[]
  optionalDependencies?: Record<string, string>
}

const SYSTEMS = ['android', 'darwin', 'freebsd', 'linux', 'netbsd', 'openbsd', 'openharmony', 'sunos', 'win32', 'aix']
const PROCESSORS: readonly (readonly [mark: string, cpu: string])[] = [
  ['arm64', 'arm64'],
  ['amd64', 'x64'],
  ['x64', 'x64'],
  ['ia32', 'ia32'],
  ['arm', 'arm'],
]

const file = new URL('../package-lock.json', import.meta.url)
const lock = JSON.parse(readFileSync(file, 'utf8')) as { packages: Record<string, Entry> }
for (const [place, entry] of Object.entries(lock.packages)) {
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    const key = `node_modules/${name}`
    const isThere = key in lock.packages || `${place}/${key}` in lock.packages
    if (!isThere) addPlatform(key, name, version, entry.dev === true)
  }
}
for (const [place, entry] of Object.entries(lock.packages)) {
  if (place.startsWith('node_modules/@nomicfoundation/edr-')) delete entry.engines
}
const packages = Object.fromEntries(Object.entries(lock.packages).toSorted(([a], [b]) => (a < b ? -1 : 1)))
writeFileSync(file, `${JSON.stringify({ ...lock, packages }, null, 2)}\n`)

function addPlatform(key: string, name: string, version: string, dev: boolean): void {
  const os = SYSTEMS.find((system) => name.includes(system))
  if (os === undefined) return
  const cpu = PROCESSORS.find(([mark]) => name.includes(mark))?.[1]
  lock.packages[key] = {
    version: version.replace(/^[~^]/, ''),
    ...(cpu === undefined ? {} : { cpu: [cpu] }),
    ...(dev ? { dev } : {}),
    ...(name.endsWith('musl') ? { libc: ['musl'] } : name.endsWith('gnu') ? { libc: ['glibc'] } : {}),
    optional: true,
    os: [os],
  }
}
