/** The operator agent between a real gateway's agent interface and aggregators that answer as the wire says. No chain: it is not in the way. @module */
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { serve } from '@hono/node-server'
import { type Context, Hono } from 'hono'
import { createPublicClient, createWalletClient, defineChain, http, type PublicClient } from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createDevelopmentAttester } from '#node/attesters/development.ts'
import { createAgentApp } from '#node/enclave/agentApp.ts'
import { bootEnclave } from '#node/enclave/enclave.ts'
import { ReceiptLog } from '#node/enclave/receiptLog.ts'
import type { Logger } from '#node/log.ts'
import { createNodeSuites } from '#node/sealing/nodeSuites.ts'
import { encodeUint, type Hex, joinBytes, toHex } from '#protocol/bytes.ts'
import { keccak256 } from '#protocol/hash.ts'
import { appendLeaves, createRows, rootAt } from '#protocol/log/rows.ts'
import { hashClearing, signClearing } from '#protocol/receipt/clearing.ts'
import { isSignedByEnclave } from '#protocol/receipt/head.ts'
import { type SignedClearing, SignedClearingSchema } from '#protocol/wire/agentApi.ts'
import { HeadDeliverySchema } from '#protocol/wire/aggregatorApi.ts'
import { parseJson, toJson } from '#protocol/wire/json.ts'
import { until } from '../../test/support/until.ts'
import { OperatorAgent } from './agent.ts'
import { EnclaveOutbox } from './outbox.ts'
import { connectEnclave, deliver, deliverClearing } from './peers.ts'
import type { RegistryAccess } from './registration.ts'

const BINDING = {
  chainId: 31_337,
  registry: `0x${'4e'.repeat(20)}`,
  settlement: `0x${'5e'.repeat(20)}`,
  operator: `0x${'0e'.repeat(20)}`,
} as const
const SILENT: Logger = { info: () => {}, warn: () => {}, error: () => {} }
const LEAVES = Array.from({ length: 200 }, (_, i) => keccak256(encodeUint(BigInt(i), 4)))

const suites = createNodeSuites()
const attester = createDevelopmentAttester({ pcrs: new Map([[0, new Uint8Array(48).fill(1)]]), now: Date.now })

let folder = ''
const closers: (() => Promise<void>)[] = []
const rejections: unknown[] = []
const onRejection = (reason: unknown): void => void rejections.push(reason)

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sealpath-operator-'))
  rejections.length = 0
  process.on('unhandledRejection', onRejection)
})

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
  rmSync(folder, { recursive: true })
  process.off('unhandledRejection', onRejection)
  expect(rejections).toEqual([])
})

async function listen(app: Hono, port = 0): Promise<{ url: string; port: number; close: () => Promise<void> }> {
  const server = serve({ fetch: app.fetch, hostname: '127.0.0.1', port }) as Server
  if (!server.listening) await once(server, 'listening')
  const address = server.address() as AddressInfo
  const close = async (): Promise<void> => {
    if (!server.listening) return
    server.closeAllConnections()
    server.close()
    await once(server, 'close')
  }
  closers.push(close)
  return { url: `http://127.0.0.1:${address.port}`, port: address.port, close }
}

type TestGateway = { readonly enclave: Hex; readonly log: ReceiptLog; readonly app: Hono }

async function bootGateway(): Promise<TestGateway> {
  const enclave = await bootEnclave('gateway', BINDING, attester, suites)
  const log = new ReceiptLog({
    enclave: enclave.statement.enclave,
    privateKey: enclave.privateKey,
    domain: BINDING,
    tick: { receipts: 1, seconds: 1 },
    leavesKeptMax: 1_000,
  })
  return { enclave: enclave.statement.enclave.toLowerCase() as Hex, log, app: createAgentApp(enclave, log, SILENT) }
}

/** Issues the leaves from `from` to `to` at one unit each, and makes an earnings head over them. */
async function earn({ log }: Pick<TestGateway, 'log'>, from: number, to: number): Promise<void> {
  await Promise.all(LEAVES.slice(from, to).map((leaf) => log.issue(leaf, 1n)))
  log.tick(to)
}

/** What an aggregator holds of one enclave, and how it answers: it takes nothing that it did not check. */
class TestAggregator {
  readonly app = new Hono()
  readonly logs = new Map<Hex, { rows: ReturnType<typeof createRows>; size: number; fees: bigint }>()
  readonly refused = new Set<Hex>()
  /** The order in which heads were accepted, by size. */
  readonly accepted: number[] = []
  /** Clearings in the order in which they came. */
  readonly clearings: SignedClearing[] = []
  isDown = false
  gaps = 0
  asked = 0

  constructor() {
    this.app.post('/v1/heads', (c) => this.#receive(c))
    this.app.post('/v1/clearings', (c) => this.#receiveClearing(c))
  }

  sizeOf(enclave: Hex): number {
    return this.logs.get(enclave)?.size ?? 0
  }

  leavesOf(enclave: Hex): Hex {
    const log = this.logs.get(enclave)
    return toHex(log?.rows.rows[0]?.bytes.slice(0, 32 * log.size) ?? new Uint8Array())
  }

  async #receiveClearing(c: Context): Promise<Response> {
    if (this.isDown) return c.text('<html>busy</html>', 503)
    const clearing = parseJson(SignedClearingSchema, await c.req.text(), 'clearing')
    if (this.refused.has(clearing.keyset)) return refuse(c, 'UNKNOWN_KEYSET')
    this.clearings.push(clearing)
    const { r: _r, vs: _vs, ...stated } = clearing
    return c.body(toJson({ clearing: hashClearing(stated, BINDING) }))
  }

  async #receive(c: Context): Promise<Response> {
    this.asked++
    if (this.isDown) return c.text('<html>busy</html>', 503)
    const { head, from, leaves } = parseJson(HeadDeliverySchema, await c.req.text(), 'delivery')
    const { signature, enclave, ...rest } = head
    if (this.refused.has(enclave)) return refuse(c, 'UNKNOWN_ENCLAVE')
    const signed = { head: { kind: 'earnings', enclave, ...rest }, signature } as const
    if (!isSignedByEnclave(signed, BINDING)) return refuse(c, 'BAD_SIGNATURE')
    const log = this.logs.get(enclave) ?? { rows: createRows(), size: 0, fees: 0n }
    this.logs.set(enclave, log)
    if (Number(from) > log.size) {
      this.gaps++
      return refuse(c, 'GAP', BigInt(log.size))
    }
    appendLeaves(log.rows, leaves.subarray(32 * (log.size - Number(from))))
    log.size = Number(from) + leaves.length / 32
    if (toHex(rootAt(log.rows, Number(head.size))) !== head.root) return refuse(c, 'ROOT_MISMATCH')
    if (head.fees < log.fees) return refuse(c, 'HEAD_BACKWARDS')
    log.fees = head.fees
    this.accepted.push(Number(head.size))
    return c.body(toJson({ size: head.size }))
  }
}

/** An issuer's enclave that serves clearings, which it signs itself. */
async function bootIssuer() {
  const enclave = await bootEnclave('issuer', BINDING, attester, suites)
  const log = new ReceiptLog({
    enclave: enclave.statement.enclave,
    privateKey: enclave.privateKey,
    domain: BINDING,
    tick: { receipts: 1, seconds: 1 },
    leavesKeptMax: 1_000,
  })
  const served = { clearings: [] as SignedClearing[], asked: 0 }
  const app = new Hono()
  app.get('/agent/clearings', (c) => {
    served.asked++
    return c.body(toJson({ clearings: served.clearings }))
  })
  app.route('/', createAgentApp(enclave, log, SILENT))
  const sign = (keyset: string, captured: bigint): SignedClearing => {
    const lines = [{ enclave: BINDING.operator, captured }]
    const keysetId: Hex = `0x${keyset.repeat(32)}`
    return signClearing({ keyset: keysetId, issued: 100n, captured, enclaves: lines }, BINDING, enclave.privateKey)
  }
  return { enclave: enclave.statement.enclave.toLowerCase() as Hex, log, app, served, sign }
}

function refuse(c: Context, code: string, expectedFrom?: bigint): Response {
  return c.body(
    toJson({ error: { code, message: 'no', ...(expectedFrom === undefined ? {} : { expectedFrom }) } }),
    409,
  )
}

/** A chain that does not answer. */
function absentChain(): RegistryAccess {
  const chain = defineChain({
    id: 31_337,
    name: 'absent',
    nativeCurrency: { name: 'native', symbol: 'ETH', decimals: 18 },
    rpcUrls: { default: { http: ['http://127.0.0.1:9'] } },
  })
  const transport = http('http://127.0.0.1:9', { retryCount: 0 })
  const account = privateKeyToAccount(toHex(new Uint8Array(32).fill(1)))
  return {
    client: createPublicClient({ chain, transport }) as PublicClient,
    wallet: createWalletClient({ chain, transport, account }),
    registry: BINDING.registry,
  }
}

function startAgent(gatewayUrl: string, aggregators: readonly string[]): OperatorAgent {
  const agent = new OperatorAgent(
    {
      listen: { host: '127.0.0.1', port: 0 },
      gatewayAgentUrl: gatewayUrl,
      rpcUrl: 'http://127.0.0.1:9',
      registry: BINDING.registry,
      accountKeyFile: '',
      aggregators,
      dataFolder: folder,
      pollMs: 2,
      fromBlock: 0n,
      evidenceRenewalSeconds: 3_600,
      keyRotationSeconds: 302_400,
    },
    connectEnclave(gatewayUrl),
    absentChain(),
    SILENT,
  )
  agent.start()
  closers.push(() => agent.close())
  return agent
}

function expectAll(aggregator: TestAggregator, enclave: Hex, count: number): void {
  expect(aggregator.leavesOf(enclave)).toBe(toHex(joinBytes(LEAVES.slice(0, count))))
  expect(aggregator.logs.get(enclave)?.fees).toBe(BigInt(count))
  expect(aggregator.accepted).toEqual([...aggregator.accepted].sort((a, b) => a - b))
}

test('delivers every leaf in order to every aggregator, and lets the enclave forget', async () => {
  const gateway = await bootGateway()
  const { url } = await listen(gateway.app)
  const aggregators = [new TestAggregator(), new TestAggregator()]
  const agent = startAgent(url, await Promise.all(aggregators.map(async ({ app }) => (await listen(app)).url)))
  for (let from = 0; from < 60; from += 12) {
    await earn(gateway, from, from + 12)
    await sleep(5)
  }
  await until(() => aggregators.every((aggregator) => aggregator.sizeOf(gateway.enclave) === 60))
  for (const aggregator of aggregators) expectAll(aggregator, gateway.enclave, 60)
  await until(() => gateway.log.isHandedOver)
  expect(agent.state).toMatchObject({ enclave: gateway.enclave, isEnclaveReachable: true, isRegistered: false })
})

test('fills an aggregator that came back, while the other never waits', async () => {
  const gateway = await bootGateway()
  const { url } = await listen(gateway.app)
  const [up, down] = [new TestAggregator(), new TestAggregator()]
  down.isDown = true
  const downUrl = await listen(down.app)
  startAgent(url, [(await listen(up.app)).url, downUrl.url])
  await earn(gateway, 0, 20)
  await until(() => up.sizeOf(gateway.enclave) === 20)
  await until(() => down.asked > 1)
  await downUrl.close()
  await earn(gateway, 20, 40)
  await until(() => up.sizeOf(gateway.enclave) === 40)
  expect(down.sizeOf(gateway.enclave)).toBe(0)
  down.isDown = false
  await listen(down.app, downUrl.port)
  await until(() => down.sizeOf(gateway.enclave) === 40)
  for (const aggregator of [up, down]) expectAll(aggregator, gateway.enclave, 40)
})

test('goes back to where the copy of an aggregator ends that lost its database', async () => {
  const gateway = await bootGateway()
  const { url } = await listen(gateway.app)
  const aggregator = new TestAggregator()
  startAgent(url, [(await listen(aggregator.app)).url])
  await earn(gateway, 0, 10)
  await until(() => aggregator.sizeOf(gateway.enclave) === 10)
  aggregator.logs.clear()
  aggregator.accepted.length = 0
  await earn(gateway, 10, 15)
  await until(() => aggregator.sizeOf(gateway.enclave) === 15)
  expect(aggregator.gaps).toBe(1)
  expectAll(aggregator, gateway.enclave, 15)
})

test('delivers what an earlier run stored, also after the gateway is gone', async () => {
  const gateway = await bootGateway()
  const gatewayServer = await listen(gateway.app)
  const aggregator = new TestAggregator()
  aggregator.isDown = true
  const { url } = await listen(aggregator.app)
  const first = startAgent(gatewayServer.url, [url])
  await earn(gateway, 0, 30)
  await until(() => gateway.log.isHandedOver)
  await first.close()
  await gatewayServer.close()
  aggregator.isDown = false
  startAgent(gatewayServer.url, [url])
  await until(() => aggregator.sizeOf(gateway.enclave) === 30)
  expectAll(aggregator, gateway.enclave, 30)
})

test('delivers each enclave although an aggregator refuses another one for good', async () => {
  const aggregator = new TestAggregator()
  const { url } = await listen(aggregator.app)
  const gateways = [await bootGateway(), await bootGateway(), await bootGateway()].sort((a, b) =>
    a.enclave < b.enclave ? -1 : 1,
  )
  const [refused, ...rest] = gateways
  if (refused === undefined) throw new Error('expected a gateway')
  aggregator.refused.add(refused.enclave)
  // One after another on the same host: each boot is a new enclave with a new log.
  for (const gateway of gateways) {
    const server = await listen(gateway.app)
    await earn(gateway, 0, 5)
    const agent = startAgent(server.url, [url])
    await until(() => gateway.log.isHandedOver)
    await agent.close()
    await server.close()
  }
  startAgent('http://127.0.0.1:9', [url])
  await until(() => rest.every(({ enclave }) => aggregator.sizeOf(enclave) === 5))
  expect(aggregator.sizeOf(refused.enclave)).toBe(0)
})

test('acknowledges and delivers after a crash between the leaves and their head', async () => {
  const gateway = await bootGateway()
  const { url } = await listen(gateway.app)
  await earn(gateway, 0, 7)
  const outbox = new EnclaveOutbox(folder, gateway.enclave)
  outbox.store(0, joinBytes(LEAVES.slice(0, 7)), undefined)
  outbox.close()
  const aggregator = new TestAggregator()
  startAgent(url, [(await listen(aggregator.app)).url])
  await until(() => aggregator.sizeOf(gateway.enclave) === 7)
  await until(() => gateway.log.isHandedOver)
  expectAll(aggregator, gateway.enclave, 7)
})

test('notices a gateway that is gone, and a new enclave in its place', async () => {
  const first = await bootGateway()
  const server = await listen(first.app)
  const aggregator = new TestAggregator()
  const agent = startAgent(server.url, [(await listen(aggregator.app)).url])
  await earn(first, 0, 3)
  await until(() => aggregator.sizeOf(first.enclave) === 3)
  await server.close()
  await until(() => !agent.state.isEnclaveReachable)
  const second = await bootGateway()
  await listen(second.app, server.port)
  await earn(second, 0, 4)
  await until(() => aggregator.sizeOf(second.enclave) === 4)
  expect(agent.state).toMatchObject({ enclave: second.enclave, isEnclaveReachable: true })
})

test("delivers an issuer's log and clearings, each clearing once to every aggregator", async () => {
  const issuer = await bootIssuer()
  const { url } = await listen(issuer.app)
  const aggregators = [new TestAggregator(), new TestAggregator()]
  const [first, second] = [issuer.sign('a1', 4n), issuer.sign('a2', 5n)]
  issuer.served.clearings = [first, second]
  startAgent(url, await Promise.all(aggregators.map(async ({ app }) => (await listen(app)).url)))
  await earn(issuer, 0, 3)
  await until(() => aggregators.every(({ clearings }) => clearings.length === 2))
  const newer = issuer.sign('a1', 6n)
  issuer.served.clearings = [newer, second]
  await until(() => aggregators.every(({ clearings }) => clearings.length === 3))
  const { asked } = issuer.served
  await until(() => issuer.served.asked > asked + 5)
  for (const { clearings } of aggregators) expect(clearings).toEqual([first, second, newer])
  await until(() => aggregators.every((aggregator) => aggregator.sizeOf(issuer.enclave) === 3))
})

test('delivers the newest clearing to an aggregator that was down, and again after its own restart', async () => {
  const issuer = await bootIssuer()
  const { url } = await listen(issuer.app)
  const aggregator = new TestAggregator()
  const aggregatorUrl = (await listen(aggregator.app)).url
  aggregator.isDown = true
  issuer.served.clearings = [issuer.sign('a1', 4n)]
  const agent = startAgent(url, [aggregatorUrl])
  await until(() => issuer.served.asked > 2)
  const newer = issuer.sign('a1', 6n)
  issuer.served.clearings = [newer]
  const { asked } = issuer.served
  await until(() => issuer.served.asked > asked + 1)
  aggregator.isDown = false
  await until(() => aggregator.clearings.length === 1)
  await agent.close()
  startAgent(url, [aggregatorUrl])
  await until(() => aggregator.clearings.length === 2)
  expect(aggregator.clearings).toEqual([newer, newer])
})

test('delivers each clearing and every head although one clearing is refused for good', async () => {
  const issuer = await bootIssuer()
  const aggregator = new TestAggregator()
  const [refused, taken] = [issuer.sign('a1', 4n), issuer.sign('a2', 5n)]
  aggregator.refused.add(refused.keyset)
  issuer.served.clearings = [refused, taken]
  startAgent((await listen(issuer.app)).url, [(await listen(aggregator.app)).url])
  await until(() => aggregator.clearings.length === 1)
  await earn(issuer, 0, 2)
  await until(() => aggregator.sizeOf(issuer.enclave) === 2)
  expect(aggregator.clearings).toEqual([taken])
})

test('asks a gateway for no clearings', async () => {
  const gateway = await bootGateway()
  let asked = 0
  const app = new Hono()
  app.get('/agent/clearings', (c) => {
    asked++
    return c.body('{"clearings":[]}')
  })
  app.route('/', gateway.app)
  const aggregator = new TestAggregator()
  startAgent((await listen(app)).url, [(await listen(aggregator.app)).url])
  for (let from = 0; from < 30; from += 10) {
    await earn(gateway, from, from + 10)
    await until(() => aggregator.sizeOf(gateway.enclave) === from + 10)
  }
  expect(asked).toBe(0)
})

test.each([
  ['text that is no JSON', 200, 'fine'],
  ['an answer of another shape', 200, '{"size":"4"}'],
  ['an error with a code', 422, '{"error":{"code":"BAD_SIGNATURE","message":"no"}}'],
])('takes %s from an aggregator, for a clearing, as a failure to try again', async (_what, status, body) => {
  const app = new Hono()
  app.post('/v1/clearings', () => new Response(body, { status }))
  const issuer = await bootIssuer()
  await expect(deliverClearing((await listen(app)).url, issuer.sign('a1', 4n))).rejects.toMatchObject({
    name: 'AppError',
    code: 'PEER_FAILED',
    retryable: true,
  })
})

test.each([
  ['text that is no JSON', 200, 'fine'],
  ['an answer of another shape', 200, '{"size":4}'],
  ['an error page', 500, '<html>'],
  ['an error with a code', 409, '{"error":{"code":"BAD_SIGNATURE","message":"no"}}'],
  ['a gap without a place', 409, '{"error":{"code":"GAP","message":"no"}}'],
  ['more than it may say', 200, ' '.repeat(5_000_000)],
])('takes %s from an aggregator as a failure to try again', async (_what, status, body) => {
  const app = new Hono()
  app.post('/v1/heads', () => new Response(body, { status }))
  const { url } = await listen(app)
  const gateway = await bootGateway()
  await earn(gateway, 0, 1)
  const { head } = await connectEnclave((await listen(gateway.app)).url).log(0)
  if (head === undefined) throw new Error('expected a head')
  await expect(deliver(url, { head, from: 0n, leaves: LEAVES[0] ?? new Uint8Array() })).rejects.toMatchObject({
    name: 'AppError',
    code: 'PEER_FAILED',
    retryable: true,
  })
})
