/**
 * The inside of an image without an enclave: its own Node runs the gateway from nothing but its own files, and both bridges carry what they are for. UNIX
 * sockets stand where an enclave has vsock, which socat treats alike.
 * @module
 */
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { type ClientRequest, createServer, request as httpRequest, type IncomingMessage, type Server } from 'node:http'
import { request as httpsRequest } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parseKeyConfigList } from '#protocol/sealing/keyConfig.ts'
import { buildImage, buildSystem, type SystemPart } from '../../gateway/image/buildImage.ts'
import { freePort } from '../support/freePort.ts'
import { PARTS, REPOSITORY, whyNoImage, writeGatewayConfig } from '../support/imageBuild.ts'

const reason = whyNoImage() ?? (process.getuid?.() === 0 ? undefined : 'only root may change its root folder')
if (reason !== undefined) process.stderr.write(`\nSKIPPED: an image is not run here: ${reason}\n`)

describe.skipIf(reason !== undefined)('inside the files of an image', () => {
  const running: ChildProcess[] = []
  let folder: string
  let system: SystemPart
  let root: string
  let sockets: string
  let ports: { public: number; agent: number }
  let outer: number
  let server: Server
  let serverPort: number
  let gatewayLog = ''
  let bridgeLog = ''

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'sealpath-image-run-'))
    chmodSync(folder, 0o755)
    ports = { public: await freePort(), agent: await freePort() }
    outer = await freePort()
    server = createServer((_, response) => response.end('a server outside')).listen(0, '127.0.0.1')
    await new Promise((resolve) => server.once('listening', resolve))
    serverPort = (server.address() as AddressInfo).port
    const config = writeGatewayConfig(folder, ports)
    system = buildSystem(REPOSITORY, PARTS)
    const { rootfs } = await buildImage({ repository: REPOSITORY, role: 'gateway', config, out: folder, system })
    root = join(folder, 'root')
    mkdirSync(root)
    execFileSync('tar', ['-xpf', rootfs, '-C', root])
    // What init mounts.
    chmodSync(join(root, 'tmp'), 0o1777)
    execFileSync('mknod', ['-m', '666', join(root, 'dev/null'), 'c', '1', '3'])
    sockets = join(root, 'run/doors')
    mkdirSync(sockets)
    chmodSync(sockets, 0o777)

    const main = readFileSync(join(root, 'etc/sealpath/main'), 'utf8').trim()
    const gateway = inside(['/usr/bin/node', '--disable-warning=ExperimentalWarning', `/opt/sealpath/${main}`])
    gateway.stdout?.setEncoding('utf8').on('data', (text: string) => {
      gatewayLog += text
    })
    gateway.stderr?.setEncoding('utf8').on('data', (text: string) => {
      gatewayLog += text
    })
    const doors = `${readFileSync(join(root, 'etc/sealpath/doors'), 'utf8')}out 9100 127.0.1.1 localhost ${serverPort}\n`
    writeFileSync(join(root, 'tmp/doors'), doors)
    inside(['/bin/sh', '-c', '/usr/lib/sealpath/bridges UNIX-LISTEN:/run/doors/ UNIX-CONNECT:/run/doors/ </tmp/doors'])
    startHostBridge()
  })
  afterAll(() => {
    for (const child of running)
      if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, 'SIGKILL')
    server?.close()
    rmSync(folder, { recursive: true, force: true })
  })

  /** Starts a program of the image, in the image, as the user of the role. */
  function inside(command: readonly string[]): ChildProcess {
    const env = { PATH: '/usr/bin', SEALPATH_CONFIG: '/etc/sealpath/config.json' }
    const args = ['--userspec=1000:1000', root, ...command]
    return started(
      spawn('/usr/sbin/chroot', args, { env, cwd: '/', detached: true, stdio: ['ignore', 'pipe', 'pipe'] }),
    )
  }

  function startHostBridge(): void {
    const bin = join(folder, 'bin')
    mkdirSync(bin)
    // The image's socat serves the host too, so that the test needs none installed.
    const loader = `'${root}/usr/lib64/ld-linux-x86-64.so.2' --library-path '${root}/usr/lib/x86_64-linux-gnu'`
    writeFileSync(join(bin, 'socat'), `#!/bin/sh\nexec ${loader} '${root}/usr/bin/socat' "$@"\n`, { mode: 0o755 })
    writeFileSync(join(folder, 'settings.json'), '{"tick":{"receipts":5,"seconds":5}}')
    const [key, certificate] = [join(folder, 'tls.key'), join(folder, 'tls.pem')]
    const subject = ['-subj', '/CN=gateway.example', '-addext', 'subjectAltName=DNS:gateway.example', '-days', '2']
    const kind = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
    execFileSync('openssl', ['req', ...kind, '-keyout', key, '-out', certificate, ...subject], { stdio: 'ignore' })
    const args = [
      ...['--doors', join(root, 'tmp/doors'), '--sockets', sockets, '--settings', join(folder, 'settings.json')],
      ...['--listen', '127.0.0.1', '--port', String(outer), '--certificate', certificate, '--key', key],
      ...['--agent-listen', '127.0.0.2'],
    ]
    const env = { ...process.env, PATH: `${bin}:${process.env.PATH}` }
    const script = join(REPOSITORY, 'gateway/image/host/sealpath-host-bridge')
    // Unlike vsock, a socket of root's is closed to the users of the image unless told.
    const command = ['-c', 'umask 0; exec "$@"', 'sh', script, ...args]
    const child = started(spawn('sh', command, { env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] }))
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      bridgeLog += text
    })
  }

  function started(child: ChildProcess): ChildProcess {
    running.push(child)
    return child
  }

  const ask = (path: string): Promise<Answer> => {
    const ca = readFileSync(join(folder, 'tls.pem'))
    const options = { host: '127.0.0.1', port: outer, path, ca, servername: 'gateway.example', agent: false }
    return answerOf((listener) => httpsRequest(options, listener).on('error', () => {}))
  }
  const askAgent = (path: string, body?: string): Promise<Answer> => {
    const method = body === undefined ? 'GET' : 'POST'
    return answerOf(
      (listener) => httpRequest({ host: '127.0.0.2', port: ports.agent, path, method, agent: false }, listener),
      body,
    )
  }

  it('the gateway becomes ready, and its keys come through both bridges and TLS', async () => {
    await until(
      () => gatewayLog.includes('"ready"'),
      () => `the gateway is not ready: ${gatewayLog}`,
    )
    await until(
      () => existsSync(join(sockets, String(ports.public))),
      () => bridgeLog,
    )
    const keys = await untilAnswered(() => ask('/ohttp-keys'))
    expect(keys.status).toBe(200)
    expect(parseKeyConfigList(keys.body).length).toBeGreaterThan(0)
  })

  it('the operator agent reaches its own port, and no evidence is served before it asked for it', async () => {
    expect((await ask('/evidence')).status).toBe(503)
    const nonce = `0x${'ab'.repeat(32)}`
    const evidence = await askAgent('/agent/evidence', JSON.stringify({ nonce }))
    expect(evidence.status).toBe(200)
    expect((await ask('/evidence')).status).toBe(200)
    expect((await ask('/agent/status')).status).toBe(404)
  })

  it('a server that the table names is reached from inside, and the host hands out its settings', async () => {
    await until(
      () => existsSync(join(sockets, '9100')) && existsSync(join(sockets, '9001')),
      () => bridgeLog,
    )
    const fetchOut = `console.log(await (await fetch('http://127.0.1.1:${serverPort}/')).text())`
    expect(await run(['/usr/bin/node', '--input-type=module', '-e', fetchOut])).toBe('a server outside\n')
    expect(await run(['/usr/bin/socat', '-u', 'UNIX-CONNECT:/run/doors/9001', 'STDOUT'])).toBe(
      '{"tick":{"receipts":5,"seconds":5}}',
    )
  })

  it('the device of the security module is said to be missing, in a sentence: its library is there', async () => {
    const config = JSON.parse(readFileSync(join(root, 'etc/sealpath/config.json'), 'utf8'))
    writeFileSync(join(root, 'tmp/nitro.json'), JSON.stringify({ ...config, attester: { kind: 'nitro' } }))
    const said = await run(['/usr/bin/node', '/opt/sealpath/gateway/main.ts'], { SEALPATH_CONFIG: '/tmp/nitro.json' })
    expect(said).toContain('there is no /dev/nsm: the nitro attester works inside a Nitro enclave only')
  })

  it('the issuer finds all that it imports in its own image', async () => {
    const out = join(folder, 'issuer')
    const config = join(folder, 'gateway.json')
    const { rootfs } = await buildImage({ repository: REPOSITORY, role: 'issuer', config, out, system })
    const sources = ['opt/sealpath', 'etc/sealpath/main', 'etc/sealpath/config.json']
    rmSync(join(root, 'opt'), { recursive: true })
    execFileSync('tar', ['-xpf', rootfs, '-C', root, ...sources])
    const main = readFileSync(join(root, 'etc/sealpath/main'), 'utf8').trim()
    expect(main).toBe('offchain/issuer/main.ts')
    const said = await run(['/usr/bin/node', `/opt/sealpath/${main}`], { SEALPATH_CONFIG: '/etc/sealpath/config.json' })
    // A gateway's configuration is none of an issuer's, which it can say only with all of its code there.
    expect(said).toContain('"code":"BAD_CONFIG"')
    expect(said).toContain('/etc/sealpath/config.json: keys')
  })

  /** What a program of the image prints, whether it succeeds or fails. */
  function run(command: readonly string[], env: Record<string, string> = {}): Promise<string> {
    const args = ['--userspec=1000:1000', root, ...command]
    return new Promise((resolve) => {
      const options = { env: { PATH: '/usr/bin', ...env }, cwd: '/', timeout: PATIENCE_MS }
      execFile('/usr/sbin/chroot', args, options, (_, out, said) => resolve(`${out}${said}`))
    })
  }
})

type Answer = { readonly status: number; readonly body: Uint8Array }

function answerOf(
  send: (listener: (response: IncomingMessage) => void) => ClientRequest,
  body?: string,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = send((response) => {
      const parts: Buffer[] = []
      response.on('data', (part: Buffer) => parts.push(part))
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, body: new Uint8Array(Buffer.concat(parts)) }),
      )
    })
    request.on('error', reject)
    request.end(body)
  })
}

const PATIENCE_MS = 30_000

async function until(condition: () => boolean, explain: () => string): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(explain())
    await sleep(50)
  }
}

/** The bridges take a moment to listen. */
async function untilAnswered(send: () => Promise<Answer>): Promise<Answer> {
  const deadline = performance.now() + PATIENCE_MS
  for (;;) {
    try {
      return await send()
    } catch (error) {
      if (performance.now() > deadline) throw error
      await sleep(100)
    }
  }
}
