/**
 * The local network: every role a process of its own, in a fresh data folder. Used by `npm start` and by the end-to-end tests.
 * @module
 */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createPublicClient, createWalletClient, http, type PublicClient } from 'viem'
import { type HDAccount, mnemonicToAccount } from 'viem/accounts'
import { hardhat } from 'viem/chains'
import type { Deployment } from '#chain/deployment.ts'
import type { VaultKeyset } from '#chain/vault.ts'
import { loadDevelopmentRoot } from '#node/attesters/developmentRoot.ts'
import { type Hex, toHex } from '#protocol/bytes.ts'
import { PublicEvidenceSchema } from '#protocol/wire/agentApi.ts'
import { parseJson } from '#protocol/wire/json.ts'
import {
  approveRole,
  chainArguments,
  compileContracts,
  deployContracts,
  depositBond,
  gasUsedSince,
  grant,
  type LocalWallet,
  REPOSITORY,
} from './contracts.ts'
import { type Bought, type BuyOptions, buyCredits, openIssuersKeyset } from './credits.ts'
import { DEMO_MODEL, demoPrices } from './demoPrices.ts'
import { DEVELOPMENT_MNEMONIC } from './mnemonic.ts'
import { type Child, isReady, Processes, requireFreePort, StartError, waitFor } from './processes.ts'

const HOST = '127.0.0.1'
/** What operators put behind their enclaves: 1,000 OPG, enough for ten gateways, and 10,000 for an issuer. */
const GATEWAY_BOND_UNITS = 1_000_000_000n
const ISSUER_BOND_UNITS = 10_000_000_000n
const BUYER_UNITS = 100_000_000n

/** Gateway and issuer are of different operators, as they should be. */
const ACCOUNTS = {
  deployer: 0,
  operator: 1,
  aggregator: 2,
  protocol: 3,
  buyer: 4,
  issuer: 5,
  witness: 6,
  desk: 7,
} as const
export type AccountName = keyof typeof ACCOUNTS

export type LocalOptions = {
  /** Ports are this one and the next twelve. */
  readonly port: number
  /** Told of each finished step, for people: what, and details like gas. */
  readonly onStep?: (what: string, detail?: string) => void
  /** Told when a child ends by itself after the start. */
  readonly onCrash: (error: StartError) => void
  /** Where the relay finds the gateway, for tests that listen in between; the gateway itself unless told. */
  readonly relayTo?: string
  /** For tests: a module that gateway and issuer load first, told by SEALPATH_TRANSCRIPT of a file `{role}.transcript` in the network's folder. */
  readonly preload?: string
  /** For tests: how soon sealing keys are replaced and how long the old ones still open. */
  readonly keys?: { readonly rotationSeconds: number; readonly overlapSeconds: number }
  /** Ends a start that is under way. */
  readonly signal?: AbortSignal
  /** Another backend than the demo model, for tests: an OpenAI-compatible base URL and its models. */
  readonly upstream?: { readonly url: string; readonly models: readonly string[] }
}

const URL_NAMES = [
  'rpc',
  'relay',
  'gateway',
  'gatewayAgent',
  'operator',
  'aggregator',
  'issuer',
  'issuerAgent',
  'issuerOperator',
  'witness',
] as const
const DATABASE_NAMES = ['aggregatorDatabase', 'issuerDatabase', 'witnessDatabase'] as const
const PORT_NAMES = [...URL_NAMES, ...DATABASE_NAMES] as const
/** How many ports the network takes. */
export const PORT_COUNT: number = PORT_NAMES.length

const CHILD_NAMES = [
  'chain',
  'gateway',
  'operator',
  'relay',
  'aggregator',
  'witness',
  'issuer',
  'issuerOperator',
] as const

export type LocalNetwork = {
  readonly folder: string
  readonly urls: Record<(typeof URL_NAMES)[number], string>
  readonly client: PublicClient
  readonly children: Record<(typeof CHILD_NAMES)[number], Child>
  /** What the gateway takes credits of. */
  readonly keyset: VaultKeyset
  /** The key of an account with gas and 100 OPG, as the command line takes it. */
  readonly buyerKeyFile: string
  deployment(): Deployment
  account(name: AccountName): HDAccount
  wallet(name: AccountName): LocalWallet
  /** Buys credits as a person would, from the account `buyer` unless another is given. */
  buyCredits(options: Pick<BuyOptions, 'seed'> & Partial<Omit<BuyOptions, 'seed'>>): Promise<Bought>
  /** Starts the aggregator again after it was killed. */
  restartAggregator(): Promise<void>
  kill(child: Child): Promise<void>
  /** Stops every child and removes the data folder. */
  stop(): Promise<void>
}

/**
 * Starts everything. Throws `StartError` with one sentence when something cannot start, stops by itself meanwhile or `signal` aborts, after
 * stopping what had started.
 */
export async function startLocalNetwork(options: LocalOptions): Promise<LocalNetwork> {
  const step = options.onStep ?? (() => {})
  const port = portsFrom(options.port)
  for (const [name, number] of Object.entries(port)) await requireFreePort(number, name)
  const folder = mkdtempSync(join(tmpdir(), 'sealpath-'))
  // The embedded PostgreSQL runs as a user of its own when started by root, and must get through to its folder.
  chmodSync(folder, 0o755)
  const interrupted = Promise.withResolvers<never>()
  let hasStarted = false
  const processes = new Processes(folder, (error) => (hasStarted ? options.onCrash(error) : interrupted.reject(error)))
  options.signal?.addEventListener('abort', () => interrupted.reject(new StartError('stopped before it had started')))
  try {
    const network = await Promise.race([startAll(options, port, folder, processes, step), interrupted.promise])
    hasStarted = true
    return network
  } catch (error) {
    await processes.stopAll(5_000)
    rmSync(folder, { recursive: true, force: true })
    throw error
  }
}

type Ports = Record<(typeof PORT_NAMES)[number], number>

function portsFrom(first: number): Ports {
  return Object.fromEntries(PORT_NAMES.map((name, i) => [name, first + i])) as Ports
}

async function startAll(
  options: LocalOptions,
  port: Ports,
  folder: string,
  processes: Processes,
  step: (what: string, detail?: string) => void,
): Promise<LocalNetwork> {
  const urls = Object.fromEntries(
    URL_NAMES.map((name) => [name, `http://${HOST}:${port[name]}`]),
  ) as LocalNetwork['urls']
  const account = (name: AccountName) => mnemonicToAccount(DEVELOPMENT_MNEMONIC, { addressIndex: ACCOUNTS[name] })
  const chain = { ...hardhat, rpcUrls: { default: { http: [urls.rpc] } } }
  const transport = http(urls.rpc)
  const client = createPublicClient({ chain, transport, pollingInterval: 100 }) as PublicClient
  const wallet = (name: AccountName) => createWalletClient({ chain, transport, account: account(name) })
  const listenOn = (name: keyof Ports) => ({ host: HOST, port: port[name] })
  const keyFile = (name: AccountName) => {
    const path = join(folder, `${name}.key`)
    writeFileSync(path, toHex(account(name).getHdKey().privateKey ?? new Uint8Array()), { mode: 0o600 })
    return path
  }
  const startRole = (name: string, main: string, config: unknown): Child => {
    const configFile = join(folder, `${name}.json`)
    writeFileSync(configFile, JSON.stringify(config, null, 2))
    const { preload } = options
    const isRecorded = preload !== undefined && (name === 'gateway' || name === 'issuer')
    const imports = isRecorded ? ['--import', preload] : []
    return processes.start(name, process.execPath, [...imports, join(REPOSITORY, main)], {
      SEALPATH_CONFIG: configFile,
      ...(isRecorded ? { SEALPATH_TRANSCRIPT: join(folder, `${name}.transcript`) } : {}),
    })
  }

  compileContracts()
  step('contracts compiled')
  const chainChild = processes.start('chain', process.execPath, chainArguments(HOST, port.rpc))
  await waitFor('the chain', async () => (await client.getChainId()) === hardhat.id, 60_000)
  step('chain started', urls.rpc)

  const rootFile = join(folder, 'development-root.json')
  loadDevelopmentRoot(rootFile, Math.floor(Date.now() / 1000))
  const deploymentFile = join(folder, 'deployment.json')
  const deployment = deployContracts(urls.rpc, deploymentFile, rootFile, account('protocol').address)
  const deployGas = await gasUsedSince(client, 0n)
  step('contracts deployed', `settlement ${deployment.settlement}, ${deployGas} gas`)

  for (const role of ['gateway', 'issuer'] as const) await approveRole(client, wallet('deployer'), deployment, role)
  await depositBond(client, wallet('operator'), deployment, GATEWAY_BOND_UNITS)
  await depositBond(client, wallet('issuer'), deployment, ISSUER_BOND_UNITS)
  step('bonds deposited', 'gateway 1,000 OPG, issuer 10,000 OPG')
  await grant(client, wallet('buyer'), deployment.token, deployment.vault, BUYER_UNITS)

  const { chainId, registry, settlement, vault } = deployment
  const attester = { kind: 'development', rootFile }
  const overlap = options.keys === undefined ? {} : { keyOverlapSeconds: options.keys.overlapSeconds }
  const chainOf = (operator: AccountName) => ({ chainId, registry, settlement, operator: account(operator).address })
  const startAggregator = (name: 'aggregator' | 'witness', everySeconds: number): Child =>
    startRole(name, 'offchain/aggregator/main.ts', {
      listen: listenOn(name),
      rpcUrls: [urls.rpc],
      deployment: { chainId, registry, settlement, fromBlock: deployment.fromBlock.toString() },
      accountKeyFiles: [keyFile(name)],
      database: { folder: join(folder, name), port: port[`${name}Database`] },
      settle: { everySeconds },
    })
  const deposits = () => ({ vault, accountKeyFile: keyFile('desk') })
  const startAgent = (name: 'operator' | 'issuerOperator', enclaveAgentUrl: string, from: AccountName): Child =>
    startRole(name, 'offchain/operator/main.ts', {
      listen: listenOn(name),
      gatewayAgentUrl: enclaveAgentUrl,
      rpcUrl: urls.rpc,
      registry,
      accountKeyFile: keyFile(from),
      aggregators: [urls.aggregator, urls.witness],
      dataFolder: join(folder, `${name}-outbox`),
      ...(name === 'issuerOperator' ? { deposits: deposits() } : {}),
      ...(options.keys === undefined ? {} : { keyRotationSeconds: options.keys.rotationSeconds }),
    })
  const children = {
    chain: chainChild,
    // The second aggregator is there for when the first is not: it settles what is still unsettled a minute later.
    aggregator: startAggregator('aggregator', 1),
    witness: startAggregator('witness', 60),
    gateway: startRole('gateway', 'gateway/main.ts', {
      listen: listenOn('gateway'),
      agentListen: listenOn('gatewayAgent'),
      chain: chainOf('operator'),
      attester,
      ...overlap,
      issuer: { urls: [urls.issuer], vault },
      ...backendConfig(options.upstream),
    }),
    issuer: startRole('issuer', 'offchain/issuer/main.ts', {
      listen: listenOn('issuer'),
      agentListen: listenOn('issuerAgent'),
      chain: { ...chainOf('issuer'), vault, fromBlock: deployment.fromBlock.toString() },
      // An issuer asks at least two endpoints. Here both lead to the one chain there is.
      rpcUrls: [urls.rpc, `${urls.rpc}/`],
      attester,
      ...overlap,
      // Made in the enclave, and nowhere else.
      keys: { generate: { signDays: 1, spendDays: 1, exitDays: 400 } },
      database: { folder: join(folder, 'issuer-database'), port: port.issuerDatabase },
      witnesses: { urls: [urls.aggregator, urls.witness], quorum: 1 },
    }),
    relay: startRole('relay', 'offchain/relay/main.ts', {
      listen: listenOn('relay'),
      operator: 'local demo',
      gateways: [
        { name: 'demo', url: options.relayTo ?? urls.gateway },
        { name: 'issuer', url: urls.issuer },
      ],
    }),
  } as const
  const isUp = (url: string) => async () => (await fetch(`${url}/healthz`)).ok
  await Promise.all([
    waitFor('the gateway', isUp(urls.gateway), 30_000),
    waitFor('the issuer', isUp(urls.issuer), 60_000),
    waitFor('the aggregator', () => isReady(urls.aggregator), 60_000),
    waitFor('the witness', () => isReady(urls.witness), 60_000),
    waitFor('the relay', () => isReady(urls.relay), 30_000),
  ])
  step('roles started', 'gateway, issuer, relay and two aggregators, with PostgreSQL')

  // One after the other, so that the gas of each can be told.
  const register = async (
    name: 'operator' | 'issuerOperator',
    enclaveName: 'gateway' | 'issuer',
    from: AccountName,
  ) => {
    const before = await client.getBlockNumber()
    const child = startAgent(name, urls[`${enclaveName}Agent`], from)
    await waitFor(`the registration of the ${enclaveName}`, () => isReady(urls[name]), 60_000)
    const enclave = await readEnclave(urls[enclaveName])
    step(`${enclaveName} registered`, `${enclave}, ${await gasUsedSince(client, before + 1n)} gas`)
    return { child, enclave }
  }
  const operator = await register('operator', 'gateway', 'operator')
  const issuerOperator = await register('issuerOperator', 'issuer', 'issuer')
  const owner = wallet('deployer')
  const keyset = await openIssuersKeyset(client, owner, deployment, urls.issuerAgent, issuerOperator.enclave)
  await waitFor('the keyset', () => isReady(urls.issuer), 60_000)
  step('keyset opened', keyset.id)

  const all = { ...children, operator: operator.child, issuerOperator: issuerOperator.child }
  const network: LocalNetwork = {
    folder,
    urls,
    client,
    children: all,
    keyset,
    buyerKeyFile: keyFile('buyer'),
    deployment: () => deployment,
    account,
    wallet,
    buyCredits: (buy) =>
      buyCredits({ client, buyer: wallet('buyer'), deployment, relayUrl: urls.relay, keyset, ...buy }),
    async restartAggregator() {
      all.aggregator = startAggregator('aggregator', 1)
      await waitFor('the aggregator', () => isReady(urls.aggregator), 60_000)
    },
    kill: (child) => processes.kill(child),
    async stop() {
      await processes.stopAll(15_000)
      rmSync(folder, { recursive: true, force: true })
    },
  }
  return network
}

async function readEnclave(gatewayUrl: string): Promise<Hex> {
  const text = await (await fetch(`${gatewayUrl}/evidence`)).text()
  return parseJson(PublicEvidenceSchema, text, 'gateway evidence').statement.enclave
}

function backendConfig(upstream: LocalOptions['upstream']): { backends: unknown; prices: unknown } {
  if (upstream === undefined) return { backends: [{ kind: 'embedded' }], prices: demoPrices([DEMO_MODEL], 'measured') }
  const models = upstream.models.map((name) => ({ name }))
  return {
    backends: [{ kind: 'openai', url: upstream.url, models, source: 'operator' }],
    prices: demoPrices(upstream.models, 'operator'),
  }
}
