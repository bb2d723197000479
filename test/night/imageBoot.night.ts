/**
 * An enclave image's kernel and ramdisks start in a machine like an enclave: no ACPI, no PCI, devices only on the command line, emulated instruction by
 * instruction. Needs `qemu-system-x86_64`; with `vhost-device-vsock` the machine has vsock too, and the gateway is asked through it.
 * @module
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { buildImage, buildSystem } from '../../gateway/image/buildImage.ts'
import { readSections } from '../support/enclaveImage.ts'
import { PARTS, REPOSITORY, whyNoImage, writeGatewayConfig } from '../support/imageBuild.ts'

const hasProgram = (name: string) => spawnSync(name, ['--version'], { stdio: 'ignore' }).error === undefined
const reason = whyNoImage() ?? (hasProgram('qemu-system-x86_64') ? undefined : 'there is no qemu-system-x86_64')
const hasVsock = hasProgram('vhost-device-vsock')
if (reason !== undefined) process.stderr.write(`\nSKIPPED: an image is not started here: ${reason}\n`)
else if (!hasVsock) process.stderr.write('\nSKIPPED: no vsock in the machine: there is no vhost-device-vsock\n')

const PORTS = { public: 18_080, agent: 18_081 }
const PATIENCE_MS = 300_000

describe.skipIf(reason !== undefined)('an enclave image', () => {
  const running: ChildProcess[] = []
  const ended: string[] = []
  let words = ''
  let folder: string
  let console: string

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'sealpath-boot-'))
    console = join(folder, 'console')
    const config = writeGatewayConfig(folder, PORTS)
    const system = buildSystem(REPOSITORY, PARTS)
    const { eif } = await buildImage({ repository: REPOSITORY, role: 'gateway', config, out: folder, system })
    const { kernel, cmdline, ramdisks } = readSections(readFileSync(eif))
    writeFileSync(join(folder, 'kernel'), kernel)
    writeFileSync(join(folder, 'ramdisk'), Buffer.concat(ramdisks))
    if (hasVsock) {
      const sockets = ['--socket', join(folder, 'device'), '--uds-path', join(folder, 'vsock')]
      start('vhost-device-vsock', ['--guest-cid', '16', ...sockets])
      await until(() => existsSync(join(folder, 'device')))
    }
    start('qemu-system-x86_64', [
      ...['-M', 'microvm,acpi=off,rtc=on,memory-backend=memory', '-accel', 'tcg', '-cpu', 'max', '-smp', '2'],
      ...['-m', '2048', '-object', 'memory-backend-memfd,id=memory,size=2048M,share=on', '-no-reboot'],
      ...['-display', 'none', '-serial', `file:${console}`, '-device', 'virtio-rng-device'],
      ...(hasVsock ? ['-chardev', `socket,id=vsock,path=${join(folder, 'device')}`] : []),
      ...(hasVsock ? ['-device', 'vhost-user-vsock-device,chardev=vsock'] : []),
      ...['-kernel', join(folder, 'kernel'), '-initrd', join(folder, 'ramdisk'), '-append', cmdline.toString()],
    ])
  }, PATIENCE_MS)
  afterAll(() => {
    for (const child of running) child.kill('SIGKILL')
    rmSync(folder, { recursive: true, force: true })
  })

  function start(command: string, args: readonly string[]): void {
    const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'pipe'] })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      words += text
    })
    child.on('exit', (code, signal) => ended.push(`${command} ended with ${signal ?? code}: ${words}`))
    running.push(child)
  }

  /** Fails as soon as a program has ended, with what it said. */
  async function until(condition: () => boolean): Promise<void> {
    const deadline = performance.now() + PATIENCE_MS
    while (!condition()) {
      if (ended[0] !== undefined) throw new Error(ended[0])
      if (performance.now() > deadline) throw new Error(`waited too long: ${words}`)
      await sleep(200)
    }
  }

  it('starts the gateway, and says on its console what is missing outside an enclave', async () => {
    const said = () => (existsSync(console) ? readFileSync(console, 'latin1') : '')
    await until(() => /"event":"ready"|Kernel panic|ended with/.test(said()))
    expect(said()).toContain('"event":"ready"')
    expect(said()).toContain('sealpath-init: there is no /dev/nsm: this is no Nitro enclave')
    expect(said()).toContain('sealpath-init: nobody on the host waits for this enclave')
    expect(said()).not.toContain('does not load')
  })

  it.skipIf(!hasVsock)('answers through vsock at both of its doors', async () => {
    await askThroughVsock(PORTS.public, '/ohttp-keys', 'application/ohttp-keys')
    await askThroughVsock(PORTS.agent, '/agent/status', '"enclave"')
  })

  /**
   * A request to a port of the machine, in the words of `vhost-device-vsock`: `CONNECT port`, `OK port`, then the connection. Waits for
   * `expected` in the answer, for that program does not pass on that one side has ended.
   */
  function askThroughVsock(port: number, path: string, expected: string): Promise<void> {
    return new Promise((resolve, reject) => {
      let answer = ''
      const socket = connect(join(folder, 'vsock'), () => socket.write(`CONNECT ${port}\n`))
      socket.setTimeout(60_000, () => socket.destroy(new Error(`no answer but ${answer}`)))
      socket.on('error', reject)
      socket.once('data', () => {
        socket.on('data', (bytes) => {
          answer += bytes.toString('latin1')
          if (!answer.includes(expected)) return
          resolve()
          socket.destroy()
        })
        socket.write(`GET ${path} HTTP/1.1\r\nhost: enclave\r\nconnection: close\r\n\r\n`)
      })
    })
  }
})
