/** Enclave images as they are built: the same everywhere, complete, and nothing in them that does not belong there. @module */
import { execFileSync, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  appendFileSync,
  copyFileSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { buildImage, buildSystem, type SystemPart } from '../../gateway/image/buildImage.ts'
import { readPartsLock } from '../../gateway/image/parts.ts'
import { pcrOf, readSections } from '../support/enclaveImage.ts'
import { copyRepository, LOCK_FILE, PARTS, REPOSITORY, whyNoImage, writeGatewayConfig } from '../support/imageBuild.ts'

const reason = whyNoImage()
if (reason !== undefined) process.stderr.write(`\nSKIPPED: enclave images are not built here: ${reason}\n`)
const hasBuildah = spawnSync('buildah', ['--version']).error === undefined
if (reason === undefined && !hasBuildah) process.stderr.write('\nSKIPPED: no container is made: there is no buildah\n')
const PORTS = { public: 18_080, agent: 18_081 }

describe.skipIf(reason !== undefined)('an enclave image', () => {
  let folder: string
  let first: string
  let config: string
  let system: SystemPart

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'sealpath-image-'))
    first = join(folder, 'first')
    config = writeGatewayConfig(folder, PORTS)
    system = buildSystem(REPOSITORY, PARTS)
    await buildImage({ repository: REPOSITORY, role: 'gateway', config, out: first, system })
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))
  const read = (name: string, out = first) => readFileSync(join(out, name))

  it('is the same, byte for byte, from another folder, user mask, clock, time zone and language', async () => {
    const copy = join(folder, 'a copy')
    await copyRepository(copy)
    mkdirSync(join(folder, 'elsewhere'))
    const otherConfig = writeGatewayConfig(join(folder, 'elsewhere'), PORTS)
    const second = join(folder, 'second')
    const clock = 'const Now = Date; globalThis.Date = class extends Now { static now() { return 4e12 } }'
    const args = ['--config', otherConfig, '--out', second, '--parts', PARTS.folder]
    const script = `umask 077; cd "$1"; shift; exec "$@"`
    const build = join(copy, 'gateway/image/build.ts')
    execFileSync('sh', ['-c', script, 'sh', join(folder, 'elsewhere'), process.execPath, build, ...args], {
      env: {
        PATH: process.env.PATH,
        TZ: 'Pacific/Kiritimati',
        LC_ALL: 'tr_TR.UTF-8',
        TMPDIR: join(folder, 'elsewhere'),
        SOURCE_DATE_EPOCH: '1',
        NODE_OPTIONS: `--disable-warning=ExperimentalWarning --import=data:text/javascript,${encodeURIComponent(clock)}`,
      },
    })
    for (const name of [
      'sealpath-gateway.eif',
      'rootfs.tar',
      'contents.txt',
      'doors',
      'Containerfile',
      'measurement.json',
    ]) {
      expect([name, read(name).equals(read(name, second))]).toEqual([name, true])
    }
  })

  it('measures as an independent computation says', () => {
    const { kernel, cmdline, ramdisks, rest } = readSections(read('sealpath-gateway.eif'))
    const [boot = Buffer.alloc(0), ...application] = ramdisks
    expect(rest).toEqual([5])
    expect(JSON.parse(read('measurement.json').toString())).toMatchObject({
      role: 'gateway',
      pcrs: {
        0: `0x${pcrOf(kernel, cmdline, ...ramdisks)}`,
        1: `0x${pcrOf(kernel, cmdline, boot)}`,
        2: `0x${pcrOf(...application)}`,
      },
      sha256: createHash('sha256').update(read('sealpath-gateway.eif')).digest('hex'),
    })
  })

  it('holds in its two ramdisks what the list and the layer hold, and nothing else', () => {
    const listed = read('contents.txt').toString().trimEnd().split('\n')
    const layer = join(folder, 'layer')
    mkdirSync(layer)
    execFileSync('tar', ['-xf', join(first, 'rootfs.tar'), '-C', layer])
    const { ramdisks } = readSections(read('sealpath-gateway.eif'))
    const unpacked = join(folder, 'unpacked')
    mkdirSync(unpacked)
    // The image's own busybox reads the archives as Linux does, one over the other.
    for (const ramdisk of ramdisks) {
      const args = ['cpio', '-idmu', '--quiet']
      execFileSync(join(layer, 'usr/bin/busybox'), args, { cwd: unpacked, input: gunzipSync(ramdisk) })
    }
    const onDisk = (root: string) => describeTree(root).filter((line) => !line.includes(' device'))
    expect(onDisk(unpacked)).toEqual(onDisk(layer))
    const paths = listed.map((line) => line.split(' ').slice(2).join(' ')).filter((path) => path !== 'dev/console')
    expect(
      describeTree(layer)
        .map((line) => line.split(' ')[2])
        .toSorted(),
    ).toEqual(paths.toSorted())
    for (const line of listed) {
      const [mode, digest = '', path = ''] = line.split(' ')
      if (/^[0-9a-f]{64}$/.test(digest)) {
        expect([
          path,
          createHash('sha256')
            .update(readFileSync(join(layer, path)))
            .digest('hex'),
        ]).toEqual([path, digest])
      }
      // Nothing above these: no bit that gives the rights of another user.
      expect([path, ['0755', '0644', '0777', '0600'].includes(mode ?? '')]).toEqual([path, true])
    }
  })

  it('loads its drivers in their order, ours built for the kernel that the image has', () => {
    const lock = readPartsLock(LOCK_FILE)
    const list = system.tree.entries().find(({ path }) => path === 'etc/sealpath/modules')
    const modules = list?.kind === 'file' ? Buffer.from(list.bytes).toString().split('\n') : []
    expect(modules.map((path) => path.replace('/usr/lib/modules/', ''))).toEqual([
      ...['nsm.ko', 'vsock.ko', 'vmw_vsock_virtio_transport_common.ko', 'vmw_vsock_virtio_transport.ko'],
      ...['virtio_mmio.ko', 'mmio_devices.ko', ''],
    ])
    const driver = readFileSync(join(REPOSITORY, 'gateway/image/kernel/mmio_devices.ko'))
    expect(driver.includes(`vermagic=${system.kernelVersion} `)).toBe(true)
    expect(lock.driver.kernel).toBe(system.kernelVersion)
  })

  it('is not built of a part with other bytes than the lock file says', () => {
    const parts = join(folder, 'parts')
    mkdirSync(parts)
    const [part] = readPartsLock(LOCK_FILE).packages
    writeFileSync(join(parts, part?.path.split('/').at(-1) ?? ''), 'something else')
    expect(() => buildSystem(REPOSITORY, { folder: parts })).toThrow(expect.objectContaining({ code: 'PART_CHANGED' }))
  })

  it.skipIf(!hasBuildah)('makes one and the same container of its layer', () => {
    const imageIds = ['one', 'other'].map((name) => {
      const store = ['--root', join(folder, `store-${name}`), '--runroot', join(folder, `run-${name}`)]
      const options = [
        '--storage-driver',
        'vfs',
        'build',
        '--isolation',
        'chroot',
        '--timestamp',
        '0',
        '--quiet',
        first,
      ]
      return execFileSync('buildah', [...store, ...options], { stdio: ['ignore', 'pipe', 'ignore'] })
        .toString()
        .trim()
    })
    expect(imageIds[0]).toMatch(/^[0-9a-f]{64}$/)
    expect(imageIds[1]).toBe(imageIds[0])
  })

  it('has no program but Node, socat and busybox, no secret, no package manager, and no bit that gives rights', () => {
    const listed = read('contents.txt')
      .toString()
      .trimEnd()
      .split('\n')
      .map((line) => line.split(' '))
    const files = listed.map(([, , path = '']) => path)
    const programs = listed.flatMap(([mode, , path = '']) =>
      mode === '0755' && path.startsWith('usr/bin/') ? [path] : [],
    )
    expect(programs).toEqual(['usr/bin/busybox', 'usr/bin/node', 'usr/bin/socat1'])
    expect(files.filter((path) => /\.(?:key|pem|env|p12|sqlite)$|(?:^|\/)\.env|id_rsa|\.git\//.test(path))).toEqual([])
    expect(files.filter((path) => /(?:^|\/)(?:apt|dpkg|npm|npx|pip|gcc|perl|python)[^/]*$/.test(path))).toEqual([])
    expect(files.filter((path) => /\.test\.ts$|\.md$|\.d\.ts$|\.map$/.test(path))).toEqual([])
    expect(
      files.filter(
        (path) => path.startsWith('opt/sealpath/') && /\/(?:image|operator|aggregator|cli|sdk)\//.test(path),
      ),
    ).toEqual([])
  })

  it('measures differently in PCR0 and PCR2 after one byte of source, model or configuration', async () => {
    const copy = join(folder, 'changed')
    await copyRepository(copy)
    const before = pcrsOf(read('measurement.json'))
    const change = async (edit: () => string | undefined) => {
      const out = join(folder, 'other')
      const path = edit() ?? config
      await buildImage({ repository: copy, role: 'gateway', config: path, out, system })
      const after = pcrsOf(read('measurement.json', out))
      return [0, 1, 2].filter((index) => after[index] !== before[index])
    }
    expect(await change(() => undefined)).toEqual([])
    mkdirSync(join(folder, 'config'))
    const tick = { receipts: 2, seconds: 2 }
    const otherConfig = () => writeGatewayConfig(join(folder, 'config'), PORTS, (value) => ({ ...value, tick }))
    expect(await change(otherConfig)).toEqual([0, 2])
    const model = 'gateway/models/sealpath-demo.gguf'
    const bytes = readFileSync(join(copy, model))
    bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1
    expect(await change(() => void writeFileSync(join(copy, model), bytes))).toEqual([0, 2])
    copyFileSync(join(REPOSITORY, model), join(copy, model))
    expect(await change(() => void appendFileSync(join(copy, 'gateway/target.ts'), '\n'))).toEqual([0, 2])
  })
})

/** Every entry below `root`: kind and mode, content, time, path. */
function describeTree(root: string, folder = ''): string[] {
  return readdirSync(join(root, folder)).flatMap((name) => {
    const path = folder === '' ? name : `${folder}/${name}`
    const stat = lstatSync(join(root, path))
    const mode = stat.mode.toString(8)
    if (stat.isDirectory()) return [`${mode} folder ${path}`, ...describeTree(root, path)]
    if (stat.isSymbolicLink()) return [`${mode} ->${readlinkSync(join(root, path))} ${path}`]
    if (!stat.isFile()) return [`${mode} device ${path}`]
    const digest = createHash('sha256')
      .update(readFileSync(join(root, path)))
      .digest('hex')
    return [`${mode} ${digest}:${stat.mtimeMs} ${path}`]
  })
}

function pcrsOf(measurement: Buffer): string[] {
  const { pcrs } = JSON.parse(measurement.toString()) as { pcrs: Record<string, string> }
  return ['0', '1', '2'].map((index) => pcrs[index] ?? '')
}
