/**
 * `node gateway/image/lockParts.ts SUITE…`: renews parts.lock.json. Each package that it names gets the newest version that the suites of Debian have
 * (for example `trixie trixie-updates trixie-security`), as this machine's apt finds and checks them by their signatures; Node gets the installed one. The
 * names of files are kept, but for the kernel's version in them. Everything an enclave measures to changes with it, so what it writes is reviewed like code.
 * @module
 */
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { findArchive, type LockedPackage, type PartsLock, readPartsLock, run } from './parts.ts'

const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg'
const path = fileURLToPath(new URL('parts.lock.json', import.meta.url))
const repository = fileURLToPath(new URL('../../', import.meta.url))

const suites = process.argv.slice(2)
if (suites.length === 0) {
  process.stderr.write('usage: node gateway/image/lockParts.ts SUITE…\n')
  process.exit(2)
}
const lock = readPartsLock(path)
const folder = mkdtempSync(join(tmpdir(), 'sealpath-apt-'))
try {
  const apt = openApt(folder, suites)
  const renewed: PartsLock = {
    archiveTime: `${new Date().toISOString().slice(0, 19)}Z`,
    packages: lock.packages.map((part) => renew(part, apt)),
    node: lockNode(),
    // Whoever builds it for the new kernel says so here.
    driver: lock.driver,
  }
  writeFileSync(path, `${JSON.stringify(renewed, null, 2)}\n`)
} finally {
  rmSync(folder, { recursive: true })
}

/** Asks apt's lists for one package's record. */
type Apt = (name: string) => ReadonlyMap<string, string>

/** apt with lists of its own, for x86-64, that knows of nothing installed. */
function openApt(root: string, names: readonly string[]): Apt {
  const sources = names.map((suite) => {
    const archive = findArchive(suite.endsWith('-security') ? 'debian-security' : 'debian')
    return `deb [signed-by=${KEYRING}] ${archive} ${suite} main\n`
  })
  for (const name of ['state/lists/partial', 'cache/archives/partial']) mkdirSync(join(root, name), { recursive: true })
  writeFileSync(join(root, 'sources.list'), sources.join(''))
  writeFileSync(join(root, 'status'), '')
  const options = [
    ...['-o', `Dir::State=${join(root, 'state')}`, '-o', `Dir::State::status=${join(root, 'status')}`],
    ...['-o', `Dir::Cache=${join(root, 'cache')}`, '-o', `Dir::Etc::sourcelist=${join(root, 'sources.list')}`],
    ...['-o', 'Dir::Etc::sourceparts=-', '-o', 'APT::Architecture=amd64', '-o', 'APT::Architectures=amd64'],
  ]
  // Its lists are ours alone, also where the downloading user of apt could not write them.
  run('apt-get', [...options, '-o', 'APT::Sandbox::User=root', 'update'])
  return (name) => {
    const record = Buffer.from(run('apt-cache', [...options, 'show', '--no-all-versions', name])).toString()
    return new Map(record.split('\n').flatMap((line) => readField(line)))
  }
}

function readField(line: string): (readonly [string, string])[] {
  const [, name, value] = /^([A-Za-z0-9-]+): (.*)$/.exec(line) ?? []
  return name === undefined || value === undefined ? [] : [[name, value]]
}

function renew(part: LockedPackage, apt: Apt): LockedPackage {
  // A kernel's version is a part of its package's name; another package depends on the newest.
  const flavour = /^linux-image-[0-9].*?-((?:cloud-)?amd64)$/.exec(part.name)?.[1]
  const name = flavour === undefined ? part.name : newestKernel(apt(`linux-image-${flavour}`))
  const record = apt(name)
  const [version, path, sha256] = ['Version', 'Filename', 'SHA256'].map((field) => record.get(field))
  if (version === undefined || path === undefined || sha256 === undefined) throw new Error(`there is no ${name}`)
  const [before, after] = [part.name, name].map((kernel) => kernel.replace('linux-image-', ''))
  return {
    name,
    version,
    // The archive of security updates keeps its pool in a folder of its own.
    archive: path.startsWith('pool/updates/') ? 'debian-security' : 'debian',
    path,
    sha256,
    files: part.files.map((file) => (flavour === undefined ? file : file.replaceAll(before ?? '', after ?? ''))),
  }
}

function newestKernel(record: ReadonlyMap<string, string>): string {
  const [, name] = /(linux-image-[0-9][^ ,]*)/.exec(record.get('Depends') ?? '') ?? []
  if (name === undefined) throw new Error('no kernel is the newest')
  return name
}

function lockNode(): PartsLock['node'] {
  const installed = join(repository, 'node_modules/node')
  const { version } = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8'))
  const bytes = readFileSync(join(installed, 'bin/node'))
  return { version, sha256: createHash('sha256').update(bytes).digest('hex') }
}
