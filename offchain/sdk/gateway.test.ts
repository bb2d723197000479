/** Choosing a gateway: real evidence behind a real relay, and a registry that answers as the contract would. @module */
import { once } from 'node:events'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { serve } from '@hono/node-server'
import { Hono } from 'hono'
import {
  createPublicClient,
  custom,
  decodeFunctionData,
  encodeFunctionResult,
  numberToHex,
  type PublicClient,
} from 'viem'
import { afterEach, describe, expect, test } from 'vitest'
import { enclaveRegistryAbi } from '#chain/generated/abis.ts'
import { createDevelopmentAttester } from '#node/attesters/development.ts'
import type { EnclaveChain } from '#node/enclave/config.ts'
import { bootEnclave, type Enclave } from '#node/enclave/enclave.ts'
import { createPublicApp } from '#node/enclave/publicApp.ts'
import { createNodeSuites } from '#node/sealing/nodeSuites.ts'
import { type Hex, toHex } from '#protocol/bytes.ts'
import { measurementOf } from '#protocol/evidence/measurement.ts'
import { OHTTP_KEYS } from '#protocol/sealing/mediaTypes.ts'
import { createRelayApp } from '../relay/app.ts'
import { RELAY_LIMITS } from '../relay/config.ts'
import { findGateways, type Network } from './gateway.ts'

const BINDING = {
  chainId: 31_337,
  registry: `0x${'4e'.repeat(20)}`,
  settlement: `0x${'5e'.repeat(20)}`,
  operator: `0x${'0e'.repeat(20)}`,
} as const
const NOW = BigInt(Math.floor(Date.now() / 1000))
const PCRS = [1, 2, 3].map((byte) => new Uint8Array(48).fill(byte)) as [Uint8Array, Uint8Array, Uint8Array]
const MEASUREMENT = measurementOf('development', ...PCRS)

const attester = createDevelopmentAttester({ pcrs: new Map(PCRS.entries()), now: Date.now })
const enclave = await boot(BINDING)

async function boot(binding: EnclaveChain): Promise<Enclave> {
  const booted = await bootEnclave('gateway', binding, attester, createNodeSuites())
  await booted.renewEvidence(new Uint8Array(32))
  return booted
}

const servers: Server[] = []
afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections()
    server.close()
    await once(server, 'close')
  }
})

async function listen(app: Hono): Promise<string> {
  const server = serve({ fetch: app.fetch, hostname: '127.0.0.1', port: 0 }) as Server
  servers.push(server)
  if (!server.listening) await once(server, 'listening')
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

function gatewayApp(of: Enclave): Hono {
  return createPublicApp(
    of,
    async () => new Response(null, { status: 500 }),
    () => [],
  )
}

async function relayOf(apps: readonly Hono[]): Promise<string> {
  const gateways = await Promise.all(apps.map(async (app, i) => ({ name: `g${i}`, url: await listen(app) })))
  const state = { openRequests: 0, isDraining: false }
  return listen(
    createRelayApp({ listen: { host: '', port: 0 }, operator: 'a test', gateways, limits: RELAY_LIMITS }, state),
  )
}

type Entry = {
  enclave: Hex
  operator: Hex
  measurement: Hex
  isDevelopment: boolean
  keys: { hash: Hex; activeFrom: number; expiresAt: number }
}

function entryOf(of: Enclave): Entry {
  const { enclave: id, operator, keyConfigs } = of.statement
  const keys = { hash: keyConfigs, activeFrom: 0, expiresAt: Number(NOW) + 1_000 }
  return { enclave: id, operator, measurement: MEASUREMENT, isDevelopment: true, keys }
}

/** A registry with these entries, at the level of JSON-RPC. */
function networkOf(relayUrl: string, entries: readonly Entry[]): Network {
  const call = (data: Hex): Hex => {
    const { functionName } = decodeFunctionData({ abi: enclaveRegistryAbi, data })
    if (functionName === 'enclaveCount') {
      return encodeFunctionResult({ abi: enclaveRegistryAbi, functionName, result: BigInt(entries.length) })
    }
    if (functionName !== 'liveEnclaves') throw new Error(`unexpected call of ${functionName}`)
    const none = { hash: toHex(new Uint8Array(32)), activeFrom: 0, expiresAt: 0 }
    const states = entries.map(({ operator, measurement, isDevelopment }) => ({
      operator,
      endsAt: Number(NOW) + 1_000,
      role: 1,
      isCompromised: false,
      isDevelopment,
      isBonded: true,
      measurement,
    }))
    const keys = entries.map((entry) => [entry.keys, none] as const)
    return encodeFunctionResult({
      abi: enclaveRegistryAbi,
      functionName,
      result: [entries.map((entry) => entry.enclave), states, keys],
    })
  }
  const transport = custom({
    async request({ method, params }: { method: string; params?: unknown }): Promise<unknown> {
      if (method === 'eth_getBlockByNumber') return { number: '0x1', timestamp: numberToHex(NOW), transactions: [] }
      if (method === 'eth_call') return call((params as [{ data: Hex }])[0].data)
      throw new Error(`unexpected method ${method}`)
    },
  })
  const { chainId, registry, settlement } = BINDING
  return { client: createPublicClient({ transport }) as PublicClient, chainId, registry, settlement, relayUrl }
}

async function refusalOf(promise: Promise<unknown>): Promise<[unknown, unknown]> {
  const error: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  if (!(error instanceof Error)) throw new Error('expected a refusal')
  return ['code' in error ? error.code : error.name, 'reason' in error ? error.reason : undefined]
}

test('trusts a gateway on which registry, evidence and served keys agree', async () => {
  const relayUrl = await relayOf([gatewayApp(enclave)])
  const [gateway, ...more] = await findGateways(networkOf(relayUrl, [entryOf(enclave)]), {}, NOW)
  expect(more).toEqual([])
  expect(gateway).toMatchObject({
    enclave: enclave.statement.enclave.toLowerCase(),
    operator: BINDING.operator,
    isDevelopment: true,
    url: new URL('/gateways/g0', relayUrl),
  })
  expect(gateway?.keyConfigs.map(({ keyId }) => keyId)).toEqual(enclave.keys.configs().map(({ keyId }) => keyId))
})

describe('refuses', () => {
  test.each<[string, (entry: Entry) => Entry]>([
    ['NOT_REGISTERED', (entry) => ({ ...entry, enclave: `0x${'77'.repeat(20)}` })],
    ['STATEMENT_MISMATCH', (entry) => ({ ...entry, operator: `0x${'77'.repeat(20)}` })],
    ['KEYS_NOT_REGISTERED', (entry) => ({ ...entry, keys: { ...entry.keys, hash: toHex(new Uint8Array(32)) } })],
    ['KEYS_NOT_REGISTERED', (entry) => ({ ...entry, keys: { ...entry.keys, expiresAt: Number(NOW) } })],
    ['KEYS_NOT_REGISTERED', (entry) => ({ ...entry, keys: { ...entry.keys, activeFrom: Number(NOW) + 1 } })],
    ['KIND_MISMATCH', (entry) => ({ ...entry, isDevelopment: false })],
  ])('%s when the registry says otherwise', async (reason, change) => {
    const network = networkOf(await relayOf([gatewayApp(enclave)]), [change(entryOf(enclave))])
    expect(await refusalOf(findGateways(network, {}, NOW))).toEqual(['EVIDENCE_REFUSED', reason])
  })

  test('another measurement than the registry has', async () => {
    const entry = { ...entryOf(enclave), measurement: toHex(new Uint8Array(32).fill(9)) }
    const network = networkOf(await relayOf([gatewayApp(enclave)]), [entry])
    const [code] = await refusalOf(findGateways(network, {}, NOW))
    expect(code).toBe('EVIDENCE_REFUSED')
  })

  test('evidence that is too old', async () => {
    const network = networkOf(await relayOf([gatewayApp(enclave)]), [entryOf(enclave)])
    const [code] = await refusalOf(findGateways(network, {}, NOW + 7_300n))
    expect(code).toBe('EVIDENCE_REFUSED')
  })

  test('a development root on a chain where something is at stake', async () => {
    const away = await boot({ ...BINDING, chainId: 1 })
    const network = { ...networkOf(await relayOf([gatewayApp(away)]), [entryOf(away)]), chainId: 1 }
    const [code] = await refusalOf(findGateways(network, {}, NOW))
    expect(code).toBe('EVIDENCE_REFUSED')
    const policy = { developmentRoot: attester.root.certificate }
    expect(await findGateways(network, policy, NOW)).toHaveLength(1)
  })

  test('a gateway that is bound to another network', async () => {
    const other = await boot({ ...BINDING, settlement: `0x${'66'.repeat(20)}` })
    const network = networkOf(await relayOf([gatewayApp(other)]), [entryOf(other)])
    expect(await refusalOf(findGateways(network, {}, NOW))).toEqual(['EVIDENCE_REFUSED', 'OTHER_NETWORK'])
  })

  test.each([
    ['measurements', { measurements: [] }],
    ['operators', { operators: [`0x${'77'.repeat(20)}`] }],
    ['enclaves', { enclaves: [BINDING.operator] }],
  ] as const)('what the policy on %s does not accept', async (_what, policy) => {
    const network = networkOf(await relayOf([gatewayApp(enclave)]), [entryOf(enclave)])
    expect(await refusalOf(findGateways(network, policy, NOW))).toEqual(['EVIDENCE_REFUSED', 'POLICY'])
  })
})

function appOf(evidence: string, keys: Uint8Array<ArrayBuffer> = new Uint8Array()): Hono {
  const app = new Hono()
  app.get('/evidence', (c) => c.text(evidence))
  app.get('/ohttp-keys', (c) => c.body(keys, 200, { 'content-type': OHTTP_KEYS }))
  return app
}

test('is not kept from a good gateway by bad neighbours', async () => {
  const relayUrl = await relayOf([
    appOf('no JSON'),
    appOf('{}'),
    appOf('x'.repeat(70_000)),
    gatewayApp(enclave),
    new Hono(),
  ])
  const found = await findGateways(networkOf(relayUrl, [entryOf(enclave)]), {}, NOW)
  expect(found.map(({ url }) => url.pathname)).toEqual(['/gateways/g3'])
})

test('says what is wrong with the only gateway, and that there is none among several', async () => {
  const one = networkOf(await relayOf([appOf('no JSON')]), [])
  expect(await refusalOf(findGateways(one, {}, NOW))).toEqual(['EVIDENCE_REFUSED', 'MALFORMED'])
  const two = networkOf(await relayOf([appOf('no JSON'), appOf('{}')]), [])
  expect(await refusalOf(findGateways(two, {}, NOW))).toEqual(['NO_GATEWAY', undefined])
})

test.each([
  ['is down', undefined],
  ['lists rubbish', '[]'],
  ['sends without end', ' '.repeat(600_000)],
  ['leads away from itself', '{"operator":"x","gateways":[{"name":"a","path":"//elsewhere"}]}'],
])('fails with the relay that %s', async (_what, directory) => {
  const app = new Hono()
  app.get('/gateways', (c) => c.text(directory ?? ''))
  const relayUrl = directory === undefined ? 'http://127.0.0.1:9' : await listen(app)
  expect(await refusalOf(findGateways(networkOf(relayUrl, []), {}, NOW))).toEqual(['RELAY_FAILED', undefined])
})

test('fails with a chain that does not answer', async () => {
  const network = networkOf(await relayOf([gatewayApp(enclave)]), [])
  const transport = custom({ request: async () => Promise.reject(new Error('down')) }, { retryCount: 0 })
  const client = createPublicClient({ transport }) as PublicClient
  expect(await refusalOf(findGateways({ ...network, client }, {}, NOW))).toEqual(['CHAIN_FAILED', undefined])
})

describe('of several relays', () => {
  test('all are asked, and each way to an enclave is found', async () => {
    const relays = [await relayOf([gatewayApp(enclave)]), await relayOf([gatewayApp(enclave)])]
    const network = { ...networkOf('', [entryOf(enclave)]), relayUrl: relays }
    const found = await findGateways(network, {}, NOW)
    expect(found.map(({ url }) => url.origin).sort()).toEqual(relays.toSorted())
    expect(new Set(found.map((gateway) => gateway.enclave)).size).toBe(1)
  })

  test('one that is down is no harm, all of them are', async () => {
    const up = await relayOf([gatewayApp(enclave)])
    const network = { ...networkOf('', [entryOf(enclave)]), relayUrl: ['http://127.0.0.1:9', up] }
    expect(await findGateways(network, {}, NOW)).toHaveLength(1)
    const down = { ...network, relayUrl: ['http://127.0.0.1:9', 'http://127.0.0.1:9'] }
    expect(await refusalOf(findGateways(down, {}, NOW))).toEqual(['RELAY_FAILED', undefined])
  })
})
