/**
 * Builds a role's image out of pinned parts, our sources and one configuration: an enclave image file, and the same files as a layer for a container.
 * The same inputs give the same bytes on every machine.
 *
 * The first ramdisk, with the kernel in PCR1, is what roles and operators share: the system, Node, `init`. The second, in PCR2, is our code with
 * its packages, the models and the configuration. Linux unpacks one over the other.
 * @module
 */
import { createHash } from 'node:crypto'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { MeasuredRole } from '#node/attesters/sourcePcrs.ts'
import { type ImageMeasurement, measureImage } from '#node/eif/measureImage.ts'
import { writeImage } from '#node/eif/writeImage.ts'
import { parseConfig } from '#node/role.ts'
import { encodeUtf8, toHex } from '#protocol/bytes.ts'
import { measurementOf } from '#protocol/evidence/measurement.ts'
import { toJson } from '#protocol/wire/json.ts'
import { GatewayConfigSchema } from '../config.ts'
import { encodeCpio, encodeTar } from './archive.ts'
import { readImageConfig } from './imageConfig.ts'
import { ImageError } from './imageError.ts'
import { type ImageEntry, ImageTree, listEntries } from './imageTree.ts'
import { planDoors, writeDoors, writeHosts } from './network.ts'
import {
  addUnpacked,
  fetchParts,
  type PartsLock,
  type PartsSource,
  readDriver,
  readNode,
  readPartsLock,
  run,
  type UnpackedFile,
  unpackParts,
} from './parts.ts'
import { APPLICATION_FOLDER, addSources, mainOf } from './sources.ts'

export type BuildOptions = {
  /** The root of a checkout with its packages installed. */
  readonly repository: string
  readonly role: MeasuredRole
  /** The role's JSON configuration. */
  readonly config: string
  /** Where the products go; it is made where it is missing. */
  readonly out: string
  readonly system: SystemPart
}

/** What all roles share: the kernel and the first ramdisk. */
export type SystemPart = {
  readonly kernel: Uint8Array
  readonly kernelVersion: string
  readonly tree: ImageTree
  readonly ramdisk: Uint8Array
  /** Of every file in an image, RFC 3339. */
  readonly time: string
  /** The compressor of the image's own busybox. */
  gzip(bytes: Uint8Array): Uint8Array
}

export type BuiltImage = {
  readonly measurement: ImageMeasurement
  /** Paths of the products. */
  readonly eif: string
  readonly rootfs: string
}

/** Fetches, unpacks and packs the system of `repository`'s lock file. Throws `ImageError`. */
export function buildSystem(repository: string, parts: PartsSource): SystemPart {
  const lock = readPartsLock(fileURLToPath(new URL('parts.lock.json', import.meta.url)))
  fetchParts(lock, parts)
  const unpacked = unpackParts(lock, parts)
  const busybox = openBusybox(unpacked)
  const kernel = findKernel(unpacked)
  const driver = readDriver(fileURLToPath(new URL('kernel/mmio_devices.ko', import.meta.url)), lock, kernel.version)
  const binaries = { node: readNode(repository, lock), driver }
  const tree = collectSystem(lock, unpacked, binaries, (bytes) => busybox(['xzcat'], bytes))
  const gzip = (bytes: Uint8Array) => busybox(['gzip', '-c'], bytes)
  const ramdisk = gzip(encodeCpio(tree.entries(), secondsOf(lock.archiveTime)))
  return { kernel: kernel.bytes, kernelVersion: kernel.version, tree, ramdisk, time: lock.archiveTime, gzip }
}

/** Builds the image and writes its products into `out`. Throws `ImageError` with any of its codes, and `AppError` (`BAD_CONFIG`) with all that is wrong with a configuration. */
export async function buildImage(options: BuildOptions): Promise<BuiltImage> {
  const { repository, role, out, system } = options
  const mtime = secondsOf(system.time)
  const config = readImageConfig(options.config)
  // An issuer checks its own when it starts: roles do not import each other.
  if (role === 'gateway') parseConfig(GatewayConfigSchema, config.value, `configuration ${options.config}`)
  const doors = planDoors(config.value)
  const application = new ImageTree()
  await addSources(application, repository, role)
  for (const [path, bytes] of config.files) application.addFile(path, bytes)
  application.addFile('etc/sealpath/config.json', config.bytes)
  application.addFile('etc/sealpath/main', encodeUtf8(`${mainOf(role)}\n`))
  application.addFile('etc/sealpath/doors', encodeUtf8(writeDoors(doors)))
  application.addFile('etc/hosts', encodeUtf8(writeHosts(doors)))

  mkdirSync(out, { recursive: true })
  const eif = join(out, `sealpath-${role}.eif`)
  const version = readVersion(repository)
  writeImage(eif, {
    architecture: 'x86_64',
    kernel: system.kernel,
    cmdline: CMDLINE,
    ramdisks: [system.ramdisk, system.gzip(encodeCpio(application.entries(), mtime))],
    metadata: {
      name: `sealpath-${role}`,
      version,
      buildTime: system.time,
      buildTool: 'sealpath',
      buildToolVersion: version,
      operatingSystem: 'Debian',
      kernelVersion: system.kernelVersion,
    },
    defaultMemoryBytes: MEMORY_BYTES,
    defaultCpuCount: 2n,
  })
  const all = mergeEntries(system.tree, application)
  const rootfs = join(out, 'rootfs.tar')
  // A container gets its devices from whoever runs it.
  const layer = all.filter(({ kind }) => kind !== 'device')
  writeFileSync(rootfs, encodeTar(layer, mtime))
  writeFileSync(join(out, 'Containerfile'), writeContainerfile(role))
  writeFileSync(join(out, 'contents.txt'), listEntries(all))
  writeFileSync(join(out, 'doors'), writeDoors(doors))
  const measurement = await measureImage(eif)
  writeFileSync(join(out, 'measurement.json'), describe(role, measurement, readFileSync(eif)))
  return { measurement, eif, rootfs }
}

const MEMORY_BYTES = 2n << 30n

/**
 * `reboot=k panic=1`: an enclave that fails ends at once. `pci=off` and the keyboard's: there is neither. `random.trust_cpu`: the processor's generator seeds
 * the kernel's until the security module's driver adds its own.
 */
const CMDLINE =
  'reboot=k panic=1 pci=off console=ttyS0 random.trust_cpu=on i8042.noaux i8042.nomux i8042.nopnp i8042.dumbkbd'

/** What `init` and `bridges` call. */
const BUSYBOX_COMMANDS = [
  ...['cat', 'chown', 'head', 'insmod', 'ip', 'mkdir', 'mount', 'od', 'reboot', 'sh', 'sleep', 'su', 'timeout', 'wc'],
]
const ACCOUNTS = ['root:x:0:0', 'sealpath:x:1000:1000', 'bridge:x:1001:1001']
const MODULE = /^usr\/lib\/modules\/.*\/([^/]+\.ko)\.xz$/
const KERNEL = /^boot\/vmlinuz-(.+)$/

/** The entries of the first ramdisk. */
function collectSystem(
  lock: PartsLock,
  unpacked: readonly UnpackedFile[],
  binaries: { readonly node: Uint8Array; readonly driver: Uint8Array },
  unxz: (bytes: Uint8Array) => Uint8Array,
): ImageTree {
  const tree = new ImageTree()
  for (const folder of ['dev', 'proc', 'sys', 'run', 'tmp']) tree.addFolder(folder)
  tree.addDevice('dev/console', 5, 1)
  for (const folder of ['bin', 'lib', 'lib64', 'sbin'])
    tree.addLink(folder, folder === 'sbin' ? 'usr/bin' : `usr/${folder}`)
  for (const command of BUSYBOX_COMMANDS) tree.addLink(`usr/bin/${command}`, 'busybox')
  const modules: string[] = []
  for (const file of unpacked) {
    const module = MODULE.exec(file.path)?.[1]
    if (KERNEL.test(file.path)) continue
    if (module === undefined) addUnpacked(tree, file)
    else if ('bytes' in file) {
      const path = `usr/lib/modules/${module}`
      tree.addFile(path, unxz(file.bytes))
      modules.push(path)
    }
  }
  const driver = 'usr/lib/modules/mmio_devices.ko'
  tree.addFile(driver, binaries.driver)
  modules.push(driver)
  tree.addFile('etc/sealpath/modules', encodeUtf8(modules.map((path) => `/${path}\n`).join('')))
  tree.addFile(
    'etc/sealpath/parts',
    encodeUtf8(lock.packages.map(({ name, version }) => `${name} ${version}\n`).join('')),
  )
  tree.addFile('etc/passwd', encodeUtf8(ACCOUNTS.map((account) => `${account}::/:/bin/sh\n`).join('')))
  tree.addFile('etc/group', encodeUtf8(ACCOUNTS.map((account) => `${account.replace(/:\d+$/, '')}:\n`).join('')))
  tree.addFile('etc/nsswitch.conf', encodeUtf8('hosts: files\n'))
  tree.addFile('usr/bin/node', binaries.node, { isExecutable: true })
  tree.addFile('init', readBeside('init'), { isExecutable: true })
  tree.addFile('usr/lib/sealpath/bridges', readBeside('bridges'), { isExecutable: true })
  return tree
}

/** Runs the image's own busybox: what the builder has installed may compress otherwise. */
function openBusybox(unpacked: readonly UnpackedFile[]): (args: readonly string[], input: Uint8Array) => Uint8Array {
  const busybox = unpacked.find(({ path }) => path === 'usr/bin/busybox')
  if (busybox === undefined || !('bytes' in busybox)) {
    throw new ImageError('BAD_LOCK', 'expected usr/bin/busybox in the lock file')
  }
  const { bytes } = busybox
  return (args, input) => {
    const folder = mkdtempSync(join(tmpdir(), 'sealpath-busybox-'))
    try {
      const path = join(folder, 'busybox')
      writeFileSync(path, bytes)
      chmodSync(path, 0o755)
      return run(path, args, input)
    } finally {
      rmSync(folder, { recursive: true })
    }
  }
}

function findKernel(unpacked: readonly UnpackedFile[]): { bytes: Uint8Array; version: string } {
  for (const file of unpacked) {
    const version = KERNEL.exec(file.path)?.[1]
    if (version !== undefined && 'bytes' in file) return { bytes: file.bytes, version }
  }
  throw new ImageError('BAD_LOCK', 'expected boot/vmlinuz-… in the lock file')
}

/** What both ramdisks give when one is unpacked over the other. */
function mergeEntries(system: ImageTree, application: ImageTree): readonly ImageEntry[] {
  const merged = new ImageTree()
  for (const entry of [...system.entries(), ...application.entries()]) {
    if (entry.kind === 'folder') merged.addFolder(entry.path)
    else if (entry.kind === 'file') merged.addFile(entry.path, entry.bytes, entry)
    else if (entry.kind === 'link') merged.addLink(entry.path, entry.target)
    else merged.addDevice(entry.path, entry.major, entry.minor)
  }
  return merged.entries()
}

function writeContainerfile(role: MeasuredRole): string {
  return [
    'FROM scratch',
    'ADD rootfs.tar /',
    'USER 1000:1000',
    `WORKDIR /${APPLICATION_FOLDER}`,
    'ENV SEALPATH_CONFIG=/etc/sealpath/config.json',
    `ENTRYPOINT ["/usr/bin/node", "--disable-warning=ExperimentalWarning", "${mainOf(role)}"]`,
    '',
  ].join('\n')
}

function describe(role: MeasuredRole, { pcr0, pcr1, pcr2 }: ImageMeasurement, eif: Uint8Array): string {
  const facts = {
    role,
    measurement: measurementOf('nitro', pcr0, pcr1, pcr2),
    pcrs: { 0: toHex(pcr0), 1: toHex(pcr1), 2: toHex(pcr2) },
    sha256: createHash('sha256').update(eif).digest('hex'),
  }
  return `${toJson(facts, 2)}\n`
}

function secondsOf(time: string): number {
  return Date.parse(time) / 1_000
}

function readVersion(repository: string): string {
  return String(JSON.parse(readFileSync(join(repository, 'package.json'), 'utf8')).version)
}

function readBeside(name: string): Uint8Array {
  return readFileSync(fileURLToPath(new URL(basename(name), import.meta.url)))
}
