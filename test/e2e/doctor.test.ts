/** `sealpath doctor` on a network of real processes: healthy roles have no complaint, and each planted fault gives exactly its line. @module */
import { once } from 'node:events'
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { generatePrivateKey, privateKeyToAddress } from 'viem/accounts'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createDevelopmentAttester } from '#node/attesters/development.ts'
import { createAgentApp } from '#node/enclave/agentApp.ts'
import { bootEnclave } from '#node/enclave/enclave.ts'
import { createPublicApp } from '#node/enclave/publicApp.ts'
import { ReceiptLog } from '#node/enclave/receiptLog.ts'
import { createNodeSuites } from '#node/sealing/nodeSuites.ts'
import { startServer } from '#node/server.ts'
import { doctor } from '../../offchain/cli/commands/doctor.ts'
import type { Finding } from '../../offchain/cli/doctor/finding.ts'
import { type LocalNetwork, startLocalNetwork } from '../../scripts/local/network.ts'
import { makeCertificate, saveCertificate } from '../support/certificates.ts'
import { freePort } from '../support/freePort.ts'
import { SILENT } from '../support/postgres.ts'
import { startRpcProxy } from '../support/rpcProxy.ts'
import { runCommand } from '../support/runCommand.ts'

const PORT = 22_945
const HOST = '127.0.0.1'
const ROLES = ['gateway', 'relay', 'issuer', 'aggregator', 'operator', 'issuerOperator'] as const

let network: LocalNetwork
let folder: string
const closers: (() => Promise<void> | void)[] = []
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sealpath-doctor-'))
  network = await startLocalNetwork({
    port: PORT,
    onCrash(error) {
      throw error
    },
  })
})
afterAll(async () => {
  for (const close of closers) await close()
  await network?.stop()
  rmSync(folder, { recursive: true, force: true })
})

type Config = Record<string, unknown>

function configOf(role: (typeof ROLES)[number]): Config {
  return JSON.parse(readFileSync(join(network.folder, `${role}.json`), 'utf8')) as Config
}

async function run(config: Config, ...more: readonly string[]): Promise<{ code: number; findings: Finding[] }> {
  const file = join(folder, 'config.json')
  writeFileSync(file, JSON.stringify(config))
  const { code, said } = await runCommand(doctor, ['--config', file, '--json', ...more])
  return { code, findings: JSON.parse(said) as Finding[] }
}

/** The lines that are not ok. */
async function complaints(config: Config, ...more: readonly string[]): Promise<string[]> {
  const { code, findings } = await run(config, ...more)
  const bad = findings.filter(({ state }) => state !== 'ok')
  expect(code).toBe(bad.some(({ state }) => state === 'FAILED') ? 1 : 0)
  for (const { remedy } of bad) expect(remedy).toMatch(/\S/)
  return bad.map(({ state, what, found }) => `${state} ${what}: ${found}`)
}

async function serve(server: Server): Promise<number> {
  server.listen(0, HOST)
  await once(server, 'listening')
  closers.push(() => {
    server.closeAllConnections()
    server.close()
  })
  return (server.address() as AddressInfo).port
}

/** The network's RPC endpoint with other blocks, and another chain id where one is given. */
async function changedRpc(change: (block: object) => object, chainId?: number): Promise<string> {
  const proxy = await startRpcProxy(network.urls.rpc)
  closers.push(() => proxy.close())
  proxy.meddle = async ({ method }, pass) => {
    if (method === 'eth_chainId' && chainId !== undefined) return { result: `0x${chainId.toString(16)}` }
    const result = await pass()
    return { result: method === 'eth_getBlockByNumber' ? change(result as object) : result }
  }
  return proxy.url
}

describe('a healthy network', () => {
  it.each(ROLES)('gives no complaint about its %s', async (role) => {
    // The issuer's operator has put down one bond, and the next boot needs another.
    const expected =
      role === 'issuerOperator' ? [expect.stringMatching(/^warn bond: .*too little for the next boot$/)] : []
    expect(await complaints(configOf(role))).toEqual(expected)
  })

  it('has each of these things looked at', async () => {
    const looked = async (role: (typeof ROLES)[number], ...more: string[]) =>
      (await run(configOf(role), ...more)).findings.map(({ what }) => what)
    const hostOf = (name: keyof LocalNetwork['urls']) => new URL(network.urls[name]).host
    const machine = ['node', 'configuration', 'files']
    const rpc = `RPC endpoint ${hostOf('rpc')}`
    const standing = ['registry standing', 'sealing keys']
    expect(await looked('relay')).toEqual([
      ...machine,
      'port of listen',
      'clock',
      `gateway demo ${hostOf('gateway')}`,
      `gateway issuer ${hostOf('issuer')}`,
    ])
    expect(await looked('operator')).toEqual([
      ...machine,
      'disk of dataFolder',
      'port of listen',
      'clock',
      `enclave ${hostOf('gatewayAgent')}`,
      `aggregator ${hostOf('aggregator')}`,
      `aggregator ${hostOf('witness')}`,
      ...[rpc, 'contracts', 'account of accountKeyFile', ...standing, 'bond'],
    ])
    expect(await looked('issuer')).toEqual([
      ...machine,
      'disk of database.folder',
      'port of listen',
      'port of agentListen',
      'database',
      'clock',
      `witness ${hostOf('aggregator')}`,
      `witness ${hostOf('witness')}`,
      ...[rpc, rpc, 'agreement of the RPC endpoints', 'contracts', ...standing, 'evidence'],
    ])
    expect(await looked('aggregator')).toEqual([
      ...machine,
      'disk of database.folder',
      'port of listen',
      'database',
      'clock',
      ...[rpc, 'contracts', 'account of accountKeyFiles.0'],
    ])
    const ports = ['port of listen', 'port of agentListen', 'clock', `issuer ${hostOf('issuer')}`]
    expect(await looked('gateway')).toEqual([...machine, ...ports, 'evidence'])
    const chain = [rpc, 'contracts', ...standing]
    expect(await looked('gateway', '--rpc', network.urls.rpc)).toEqual([...machine, ...ports, ...chain, 'evidence'])
  })

  it('is held by roles that run: the ports are theirs, the database is up', async () => {
    const { findings } = await run(configOf('aggregator'))
    const said = (what: string) => findings.find((finding) => finding.what === what)?.found
    expect(said('port of listen')).toContain('is held by this role, which runs')
    expect(said('database')).toMatch(/^PostgreSQL 18\S*, \d+ migrations$/)
  })
})

describe('a planted fault gives its line and no other', () => {
  it('another chain', async () => {
    const { deployment, ...config } = configOf('aggregator')
    const wrong = { ...config, deployment: { ...(deployment as object), chainId: 84_532 } }
    expect(await complaints(wrong)).toEqual([
      expect.stringMatching(/^FAILED RPC endpoint .*: it is on chain 31337, the configuration on 84532$/),
    ])
  })

  it('a settlement that is another contract', async () => {
    const { deployment, ...config } = configOf('aggregator')
    const { token } = network.deployment()
    const wrong = { ...config, deployment: { ...(deployment as object), settlement: token } }
    expect(await complaints(wrong)).toEqual([
      expect.stringMatching(/^FAILED contracts: the registry's settlement is 0x.*, not /),
      expect.stringMatching(/^FAILED contracts: the settlement's registry is nothing that is one, not /),
    ])
  })

  it('an account without coins', async () => {
    const file = join(folder, 'empty.key')
    const key = generatePrivateKey()
    writeFileSync(file, key, { mode: 0o600 })
    expect(await complaints({ ...configOf('aggregator'), accountKeyFiles: [file] })).toEqual([
      expect.stringMatching(
        new RegExp(`^FAILED account of accountKeyFiles.0: ${privateKeyToAddress(key)} has 0 coins, enough for 0 `),
      ),
    ])
  })

  it('a gateway that nobody runs', async () => {
    const port = await freePort()
    const gateways = [{ name: 'dead', url: `http://${HOST}:${port}` }]
    expect(await complaints({ ...configOf('relay'), gateways })).toEqual([
      `FAILED gateway dead ${HOST}:${port}: nobody listens there`,
    ])
  })

  it('a port that another program holds', async () => {
    const port = Number(new URL(network.urls.gateway).port)
    expect(await complaints({ ...configOf('relay'), listen: { host: HOST, port } })).toEqual([
      `FAILED port of listen: ${HOST}:${port} is held by another program`,
    ])
  })

  it('an enclave that is not registered', async () => {
    const { chainId, registry, settlement } = network.deployment()
    const binding = { chainId, registry, settlement, operator: network.account('operator').address }
    const attester = createDevelopmentAttester({ pcrs: new Map([[0, new Uint8Array(48).fill(1)]]), now: Date.now })
    const enclave = await bootEnclave('gateway', binding, attester, createNodeSuites())
    const receipts = new ReceiptLog({
      enclave: enclave.statement.enclave,
      privateKey: enclave.privateKey,
      domain: binding,
      tick: { receipts: 1, seconds: 1 },
      leavesKeptMax: 1,
    })
    const server = await startServer(createAgentApp(enclave, receipts, SILENT), { host: HOST, port: 0 })
    closers.push(() => server.close(0))
    expect(await complaints({ ...configOf('operator'), gatewayAgentUrl: server.url })).toEqual([
      `FAILED registry standing: ${enclave.statement.enclave.toLowerCase()} is not registered`,
    ])
  })

  it('evidence that nobody renews', async () => {
    const { chainId, registry, settlement } = network.deployment()
    const binding = { chainId, registry, settlement, operator: network.account('operator').address }
    const pcrs = new Map([[0, new Uint8Array(48).fill(1)]])
    const attester = createDevelopmentAttester({ pcrs, now: () => Date.now() - 3 * 3_600_000 })
    const enclave = await bootEnclave('gateway', binding, attester, createNodeSuites())
    const app = createPublicApp(
      enclave,
      async () => new Response(),
      () => [],
    )
    const server = await startServer(app, { host: HOST, port: 0 })
    closers.push(() => server.close(0))
    const listen = { host: HOST, port: Number(new URL(server.url).port) }
    expect(await complaints({ ...configOf('gateway'), listen })).toEqual(['FAILED evidence: it serves none yet'])
    await enclave.renewEvidence(new Uint8Array(32))
    expect(await complaints({ ...configOf('gateway'), listen })).toEqual([
      'FAILED evidence: 3 hours old, clients refuse it',
    ])
  })

  it('keys that nobody told the registry of', async () => {
    const status = (await (await fetch(`${network.urls.gatewayAgent}/agent/status`)).json()) as object
    const keyConfigs = Buffer.from('other keys').toString('base64')
    const port = await serve(
      createServer((_request, response) => response.end(JSON.stringify({ ...status, keyConfigs }))),
    )
    expect(await complaints({ ...configOf('operator'), gatewayAgentUrl: `http://${HOST}:${port}` })).toEqual([
      'FAILED sealing keys: the registry does not know those that are served',
    ])
  })

  it('RPC endpoints that call different blocks final', async () => {
    const other = await changedRpc((block) => ({ ...block, hash: `0x${'ab'.repeat(32)}` }))
    expect(await complaints({ ...configOf('aggregator'), rpcUrls: [network.urls.rpc, other] })).toEqual([
      'FAILED agreement of the RPC endpoints: they call different blocks final',
    ])
  })

  it.each([
    ['stopped', -600, /^FAILED RPC endpoint .*: chain 8453, block \d+, 1\d minutes old$/],
    ['runs ahead of our clock', 90, /^FAILED clock: \d+ seconds behind the chain's newest block$/],
  ])('a chain that %s', async (_what, seconds, line) => {
    // Local chains keep their own time: this one says that it is another.
    const now = Math.floor(Date.now() / 1000) + seconds
    const rpc = await changedRpc((block) => ({ ...block, timestamp: `0x${now.toString(16)}` }), 8_453)
    const { deployment, ...config } = configOf('aggregator')
    const there = { ...(deployment as object), chainId: 8_453 }
    expect(await complaints({ ...config, deployment: there, rpcUrls: [rpc] })).toEqual([expect.stringMatching(line)])
  })

  it('a key that its group may read', async () => {
    const file = join(folder, 'group.key')
    copyFileSync(String(configOf('operator').accountKeyFile), file)
    chmodSync(file, 0o640)
    expect(await complaints({ ...configOf('operator'), accountKeyFile: file })).toEqual([
      `warn file of accountKeyFile: ${file} may be read by others than its owner`,
    ])
  })

  it('a key that is not there', async () => {
    const file = join(folder, 'no.key')
    expect(await complaints({ ...configOf('operator'), accountKeyFile: file })).toEqual([
      `FAILED file of accountKeyFile: there is no file ${file}`,
    ])
  })

  it.each([
    ['late', 90, 'behind'],
    ['early', -90, 'ahead of'],
  ])('a clock that is %s', async (_what, aheadSeconds, words) => {
    const port = await serve(
      createServer((_request, response) => {
        response.writeHead(200, { date: new Date(Date.now() + aheadSeconds * 1_000).toUTCString() }).end()
      }),
    )
    const gateways = [{ name: 'elsewhere', url: `http://${HOST}:${port}` }]
    expect(await complaints({ ...configOf('relay'), gateways })).toEqual([
      expect.stringMatching(new RegExp(`^FAILED clock: (89|90|91) seconds ${words} ${HOST}:${port}$`)),
    ])
  })

  it('a certificate that ended, and one that soon will', async () => {
    const authority = makeCertificate('an authority')
    mkdirSync(join(folder, 'tls'))
    const caFile = join(folder, 'tls', 'ca.crt')
    writeFileSync(caFile, authority.certificate)
    const peer = async (toDays: number): Promise<number> => {
      const { certificate: cert, key } = makeCertificate('a peer', {
        by: authority,
        hosts: [HOST],
        fromDays: -9,
        toDays,
      })
      return serve(createTlsServer({ cert, key }, (_request, response) => response.end()))
    }
    const [expired, soon] = [await peer(-1), await peer(5)]
    const gateways = [
      { name: 'expired', url: `https://${HOST}:${expired}`, caFile },
      { name: 'soon', url: `https://${HOST}:${soon}`, caFile },
    ]
    expect(await complaints({ ...configOf('relay'), gateways })).toEqual([
      `FAILED gateway expired ${HOST}:${expired}: its certificate has expired`,
      `warn gateway soon ${HOST}:${soon}: answers; its certificate ends in 5 days`,
    ])
    const own = makeCertificate('a relay', { by: authority, hosts: [HOST], fromDays: -9, toDays: -3 })
    const tls = saveCertificate(join(folder, 'tls'), 'relay', own)
    const listen = { host: HOST, port: await freePort(), tls }
    expect(await complaints({ ...configOf('relay'), listen })).toEqual([
      'FAILED certificate of listen: it ended 3 days ago',
    ])
  })

  it('a database that does not answer', async () => {
    const url = `postgres://sealpath@${HOST}:${await freePort()}/postgres`
    expect(await complaints({ ...configOf('aggregator'), database: { url } })).toEqual([
      'FAILED database: it cannot be read (ECONNREFUSED)',
    ])
  })

  it('a configuration with mistakes, whose role may have to be told', async () => {
    const { operator: _, ...config } = configOf('relay')
    expect(await complaints({ ...config, limits: { openRequestMax: 1 } })).toEqual([
      'FAILED configuration: operator: expected text of 1 to 128 characters; there is nothing',
      'FAILED configuration: limits.openRequestMax: there is no such setting; did you mean openRequestsMax?',
    ])
    expect(await complaints({})).toEqual(['FAILED configuration: no role has one like it'])
    expect(await complaints({}, '--role', 'relay')).toHaveLength(3)
  })
})
