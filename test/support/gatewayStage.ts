/**
 * Gateways, relays and a registry for tests of the client: real gateways and relays in this process, on real sockets, and a registry that answers
 * over JSON-RPC as the contract would. What a gateway does wrong is up to each test. @module
 */
import { once } from 'node:events'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { serve } from '@hono/node-server'
import { Hono } from 'hono'
import { decodeFunctionData, encodeFunctionResult, numberToHex } from 'viem'
import { enclaveRegistryAbi } from '#chain/generated/abis.ts'
import { createDevelopmentAttester } from '#node/attesters/development.ts'
import type { EnclaveChain } from '#node/enclave/config.ts'
import { bootEnclave, type Enclave } from '#node/enclave/enclave.ts'
import { createPublicApp } from '#node/enclave/publicApp.ts'
import { ReceiptLog } from '#node/enclave/receiptLog.ts'
import type { InnerResponse } from '#node/sealing/innerResponse.ts'
import { createNodeSuites } from '#node/sealing/nodeSuites.ts'
import { ReplayMemory } from '#node/sealing/replayMemory.ts'
import { createSealedServer } from '#node/sealing/sealedServer.ts'
import { type Hex, toHex } from '#protocol/bytes.ts'
import { measurementOf } from '#protocol/evidence/measurement.ts'
import { type PricedModel, serializePriceList } from '#protocol/prices.ts'
import type { InnerRequest } from '#protocol/sealing/binaryHttp.ts'
import type { AnswerEvent, Backend } from '../../gateway/backends/backend.ts'
import { TARGET_LIMITS } from '../../gateway/limits.ts'
import type { Payments } from '../../gateway/payment.ts'
import { createReceiptIssuer } from '../../gateway/receiptIssuer.ts'
import { createTarget } from '../../gateway/target.ts'
import { createRelayApp } from '../../offchain/relay/app.ts'
import { RELAY_LIMITS } from '../../offchain/relay/config.ts'

export const STAGE_BINDING: EnclaveChain = {
  chainId: 31_337,
  registry: `0x${'4e'.repeat(20)}`,
  settlement: `0x${'5e'.repeat(20)}`,
  operator: `0x${'0e'.repeat(20)}`,
}
const PCRS = [1, 2, 3].map((byte) => new Uint8Array(48).fill(byte)) as [Uint8Array, Uint8Array, Uint8Array]
const suites = createNodeSuites()
const attester = createDevelopmentAttester({ pcrs: new Map(PCRS.entries()), now: Date.now })

/** What a gateway costs unless told. */
export function stagePrice(model: string, change: Partial<PricedModel> = {}): PricedModel {
  const units = { requestUnits: 3n, promptUnitsPerMillion: 0n, completionUnitsPerMillion: 0n }
  return { model, source: 'operator', ...units, ...change }
}

export type StageGatewayOptions = {
  readonly prices?: readonly PricedModel[]
  readonly chat?: NonNullable<Backend['chat']>
  readonly payments?: Payments
}

export type StageGateway = {
  readonly enclave: Enclave
  readonly log: ReceiptLog
  /** Chat requests that it opened. */
  asked: number
  /** Answers under way. */
  readonly openAnswers: number
  /** Answers outside the seal, in place of the gateway, as long as it is set. `pass` asks the gateway after all. */
  outside: ((request: Request, pass: () => Promise<Response>) => Promise<Response>) | undefined
  /** Changes an answer inside the seal, as long as it is set. */
  inside: ((response: InnerResponse, inner: InnerRequest) => InnerResponse) | undefined
  /** Why it takes nothing new. */
  refusal: string | undefined
}

export type Stage = {
  readonly rpcUrl: string
  readonly registry: Hex
  /** Starts a gateway that the registry knows, and answers its address. */
  addGateway(options?: StageGatewayOptions): Promise<{ gateway: StageGateway; url: string }>
  /** Starts a relay in front of these addresses. */
  addRelay(urls: readonly string[]): Promise<string>
  /** Stops the relay or gateway at this address, in the middle of whatever it does. */
  stop(url: string): Promise<void>
  close(): Promise<void>
}

/** Says 'Hello' in two pieces. */
export async function* sayHello(): AsyncGenerator<AnswerEvent> {
  for (const content of ['Hel', 'lo']) {
    yield { kind: 'delta', choice: 0, content, raw: { index: 0, delta: { content }, finish_reason: null } }
  }
  yield { kind: 'finish', choice: 0, reason: 'stop', raw: { index: 0, delta: {}, finish_reason: 'stop' } }
  yield { kind: 'usage', promptTokens: 1, completionTokens: 2, reported: true }
}

export async function startStage(): Promise<Stage> {
  const servers = new Map<string, Server>()
  const enclaves: Enclave[] = []
  const listen = async (fetch: (request: Request) => Response | Promise<Response>): Promise<string> => {
    const server = serve({ fetch, hostname: '127.0.0.1', port: 0 }) as Server
    if (!server.listening) await once(server, 'listening')
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    servers.set(url, server)
    return url
  }
  const stop = async (url: string): Promise<void> => {
    const server = servers.get(url)
    if (server === undefined) throw new Error(`nothing listens at ${url}`)
    servers.delete(url)
    server.closeAllConnections()
    server.close()
    await once(server, 'close')
  }
  return {
    rpcUrl: await listen(registryOf(enclaves).fetch),
    registry: STAGE_BINDING.registry,
    async addGateway(options = {}) {
      const enclave = await bootEnclave('gateway', STAGE_BINDING, attester, suites)
      await enclave.renewEvidence(new Uint8Array(32))
      enclaves.push(enclave)
      const { gateway, fetch } = createGateway(enclave, options)
      return { gateway, url: await listen(fetch) }
    },
    addRelay: (urls) => {
      const gateways = urls.map((url, i) => ({ name: `g${i}`, url }))
      const config = { listen: { host: '', port: 0 }, operator: 'a test', gateways, limits: RELAY_LIMITS }
      return listen(createRelayApp(config, { openRequests: 0, isDraining: false }).fetch)
    },
    stop,
    async close() {
      for (const url of [...servers.keys()]) await stop(url)
    },
  }
}

function createGateway(
  enclave: Enclave,
  { prices = [stagePrice('demo')], chat = sayHello, payments }: StageGatewayOptions,
): { gateway: StageGateway; fetch: (request: Request) => Promise<Response> } {
  const priceList = serializePriceList({ format: 'sealpath-prices/1', models: prices })
  const log = new ReceiptLog({
    enclave: enclave.statement.enclave,
    privateKey: enclave.privateKey,
    domain: STAGE_BINDING,
    tick: { receipts: 1, seconds: 1 },
    leavesKeptMax: 10_000,
  })
  const models = prices.map((price) => {
    const { model: name, source, origin } = price
    const claim = source === 'proxied' ? { source, origin: origin ?? '' } : { source }
    return { price, model: { name, claim, serves: ['chat'], contextTokens: 64 } as const }
  })
  const backend: Backend = { models: models.map(({ model }) => model), chat }
  const target = createTarget({
    models: new Map(models.map((entry) => [entry.model.name, { ...entry, backend }])),
    priceList,
    issuer: createReceiptIssuer(enclave.statement, priceList, log),
    ...(payments === undefined ? {} : { payments }),
    limits: TARGET_LIMITS,
    refusesBecause: () => gateway.refusal,
    nowSeconds: () => Date.now() / 1000,
  })
  const gateway: StageGateway = {
    enclave,
    log,
    asked: 0,
    get openAnswers() {
      return target.openAnswers
    },
    outside: undefined,
    inside: undefined,
    refusal: undefined,
  }
  const sealed = createSealedServer({
    keys: enclave.keys,
    suites,
    replay: new ReplayMemory(Date.now),
    handle: async (inner, exchange) => {
      if (inner.method === 'POST') gateway.asked++
      const response = await target.handle(inner, exchange)
      return gateway.inside?.(response, inner) ?? response
    },
    shapeOf: target.shapeOf,
  })
  const app = createPublicApp(enclave, sealed, () => [])
  const fetch = async (request: Request, env?: object): Promise<Response> => {
    const pass = async () => app.fetch(request, env)
    return gateway.outside !== undefined && request.method === 'POST' ? gateway.outside(request, pass) : pass()
  }
  return { gateway, fetch }
}

/** A chain on which only the registry can be read, at the level of JSON-RPC. */
function registryOf(enclaves: readonly Enclave[]): Hono {
  const app = new Hono()
  app.post('/', async (c) => {
    const { method, params } = (await c.req.json()) as { method: string; params: [{ data: Hex }] }
    const now = Math.floor(Date.now() / 1000)
    const block = { number: '0x1', timestamp: numberToHex(now), transactions: [] }
    const answers: Record<string, () => unknown> = {
      eth_chainId: () => numberToHex(STAGE_BINDING.chainId),
      eth_blockNumber: () => '0x1',
      eth_getBlockByNumber: () => block,
      eth_call: () => callRegistry(enclaves, params[0].data, now),
    }
    const answer = answers[method]
    if (answer === undefined) return c.json({ jsonrpc: '2.0', id: 1, error: { code: -32_601, message: method } })
    return c.json({ jsonrpc: '2.0', id: 1, result: answer() })
  })
  return app
}

function callRegistry(enclaves: readonly Enclave[], data: Hex, now: number): Hex {
  const abi = enclaveRegistryAbi
  const { functionName } = decodeFunctionData({ abi, data })
  if (functionName === 'settlement') {
    return encodeFunctionResult({ abi, functionName, result: STAGE_BINDING.settlement })
  }
  if (functionName === 'enclaveCount') {
    return encodeFunctionResult({ abi, functionName, result: BigInt(enclaves.length) })
  }
  if (functionName !== 'liveEnclaves') throw new Error(`unexpected call of ${functionName}`)
  const measurement = measurementOf('development', ...PCRS)
  const none = { hash: toHex(new Uint8Array(32)), activeFrom: 0, expiresAt: 0 }
  const states = enclaves.map(({ statement: { operator } }) => ({
    operator,
    endsAt: now + 1_000,
    role: 1,
    isCompromised: false,
    isDevelopment: true,
    isBonded: true,
    measurement,
  }))
  const keys = enclaves.map(({ statement }) => {
    return [{ hash: statement.keyConfigs, activeFrom: 0, expiresAt: now + 1_000 }, none] as const
  })
  return encodeFunctionResult({
    abi,
    functionName,
    result: [enclaves.map(({ statement }) => statement.enclave), states, keys],
  })
}
