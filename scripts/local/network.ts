/**
 * The local network: every role a process of its own, in a fresh data folder. Used by `npm start` and by the end-to-end tests.
 * @module
 */
import { spawnSync } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import {
  type Account,
  type Chain,
  createPublicClient,
  createWalletClient,
  http,
  type PublicClient,
  type Transport,
  type WalletClient,
} from 'viem'
import { type HDAccount, mnemonicToAccount } from 'viem/accounts'
import { hardhat } from 'viem/chains'
import { type Deployment, readDeployment } from '#chain/deployment.ts'
import { creditVaultAbi, enclaveRegistryAbi, testOPGAbi } from '#chain/generated/abis.ts'
import { advanceApproval } from '#chain/timelock.ts'
import { loadDevelopmentRoot } from '#node/attesters/developmentRoot.ts'
import { measureSources } from '#node/attesters/sourcePcrs.ts'
import { type Hex, toHex } from '#protocol/bytes.ts'
import { measurementOf } from '#protocol/evidence/measurement.ts'
import { ENCLAVE_ROLE } from '#protocol/evidence/statement.ts'
import { PublicEvidenceSchema } from '#protocol/wire/agentApi.ts'
import { parseJson } from '#protocol/wire/json.ts'
import { DEMO_MODEL, demoPrices } from './demoPrices.ts'
import { type Child, isReady, Processes, requireFreePort, StartError, waitFor } from './processes.ts'

const REPOSITORY = fileURLToPath(new URL('../../', import.meta.url))
/** Hardhat's well-known test accounts: worth nothing anywhere. */
const MNEMONIC = 'test test test test test test test test test test test junk'
const HOST = '127.0.0.1'
/** What the sponsor lets the gateway earn: 1,000 OPG in units of 10^12 base units. */
const SPONSORED_UNITS = 1_000_000_000n
/** What the operator puts behind its enclaves: 1,000 OPG, enough for ten gateways. */
const BOND_UNITS = 1_000_000_000n

const ACCOUNTS = { deployer: 0, operator: 1, aggregator: 2, protocol: 3, sponsor: 4 } as const
export type AccountName = keyof typeof ACCOUNTS

export type LocalOptions = {
  /** Ports are this one and the next nine. */
  readonly port: number
  /** Told of each finished step, for people: what, and details like gas. */
  readonly onStep?: (what: string, detail?: string) => void
  /** Told when a child ends by itself after the start. */
  readonly onCrash: (error: StartError) => void
  /** Where the relay finds the gateway, for tests that listen in between; the gateway itself unless told. */
  readonly relayTo?: string
  /** Ends a start that is under way. */
  readonly signal?: AbortSignal
  /** Another backend than the demo model, for tests: an OpenAI-compatible base URL and its models. */
  readonly upstream?: { readonly url: string; readonly models: readonly string[] }
}

type LocalWallet = WalletClient<Transport, Chain, Account>

export type LocalNetwork = {
  readonly folder: string
  readonly urls: Record<'rpc' | 'relay' | 'gateway' | 'gatewayAgent' | 'operator' | 'aggregator', string>
  readonly client: PublicClient
  readonly children: Record<'chain' | 'gateway' | 'operator' | 'relay' | 'aggregator', Child>
  deployment(): Deployment
  account(name: AccountName): HDAccount
  wallet(name: AccountName): LocalWallet
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

type Ports = Record<'rpc' | 'relay' | 'gateway' | 'gatewayAgent' | 'operator' | 'aggregator' | 'postgres', number>

function portsFrom(first: number): Ports {
  return {
    rpc: first,
    relay: first + 1,
    gateway: first + 2,
    gatewayAgent: first + 3,
    operator: first + 4,
    aggregator: first + 5,
    postgres: first + 6,
  }
}

async function startAll(
  options: LocalOptions,
  port: Ports,
  folder: string,
  processes: Processes,
  step: (what: string, detail?: string) => void,
): Promise<LocalNetwork> {
  const url = (number: number) => `http://${HOST}:${number}`
  const urls = {
    rpc: url(port.rpc),
    relay: url(port.relay),
    gateway: url(port.gateway),
    gatewayAgent: url(port.gatewayAgent),
    operator: url(port.operator),
    aggregator: url(port.aggregator),
  }
  const account = (name: AccountName) => mnemonicToAccount(MNEMONIC, { addressIndex: ACCOUNTS[name] })
  const chain = { ...hardhat, rpcUrls: { default: { http: [urls.rpc] } } }
  const transport = http(urls.rpc)
  const client = createPublicClient({ chain, transport, pollingInterval: 100 }) as PublicClient
  const wallet = (name: AccountName) => createWalletClient({ chain, transport, account: account(name) })
  const keyFile = (name: AccountName) => {
    const path = join(folder, `${name}.key`)
    writeFileSync(path, toHex(account(name).getHdKey().privateKey ?? new Uint8Array()), { mode: 0o600 })
    return path
  }
  const startRole = (name: string, main: string, config: unknown): Child => {
    const configFile = join(folder, `${name}.json`)
    writeFileSync(configFile, JSON.stringify(config, null, 2))
    return processes.start(name, process.execPath, [join(REPOSITORY, main)], { SEALPATH_CONFIG: configFile })
  }

  compile()
  step('contracts compiled')
  const chainChild = processes.start('chain', process.execPath, [
    hardhatCli(),
    'node',
    '--port',
    String(port.rpc),
    '--hostname',
    HOST,
  ])
  await waitFor('the chain', async () => (await client.getChainId()) === hardhat.id, 60_000)
  step('chain started', urls.rpc)

  const rootFile = join(folder, 'development-root.json')
  loadDevelopmentRoot(rootFile, Math.floor(Date.now() / 1000))
  const deploymentFile = join(folder, 'deployment.json')
  const deployment = deployContracts(urls.rpc, deploymentFile, rootFile, account('protocol').address)
  const deployGas = await gasUsedSince(client, 0n)
  step('contracts deployed', `settlement ${deployment.settlement}, ${deployGas} gas`)

  await approve(client, wallet('deployer'), deployment)
  await depositBond(client, wallet('operator'), deployment)
  step('bond deposited', `${BOND_UNITS / 1_000_000n} OPG by the operator`)
  const { chainId, registry, settlement } = deployment
  const gateway = startRole('gateway', 'gateway/main.ts', {
    listen: { host: HOST, port: port.gateway },
    agentListen: { host: HOST, port: port.gatewayAgent },
    chain: { chainId, registry, settlement, operator: account('operator').address },
    attester: { kind: 'development', rootFile },
    ...backendConfig(options.upstream),
  })
  await waitFor('the gateway', async () => (await fetch(`${urls.gateway}/healthz`)).ok, 30_000)
  const aggregatorConfig = {
    listen: { host: HOST, port: port.aggregator },
    rpcUrl: urls.rpc,
    deployment: { chainId, registry, settlement, fromBlock: deployment.fromBlock.toString() },
    accountKeyFile: keyFile('aggregator'),
    database: { folder: join(folder, 'aggregator'), port: port.postgres },
    settle: { everySeconds: 1, leaseSeconds: 4 },
  }
  const startAggregator = () => startRole('aggregator', 'offchain/aggregator/main.ts', aggregatorConfig)
  const relay = startRole('relay', 'offchain/relay/main.ts', {
    listen: { host: HOST, port: port.relay },
    operator: 'local demo',
    gateways: [{ name: 'demo', url: options.relayTo ?? urls.gateway }],
  })
  const children = {
    chain: chainChild,
    gateway,
    relay,
    aggregator: startAggregator(),
  } as const
  await Promise.all([
    waitFor('the aggregator', () => isReady(urls.aggregator), 60_000),
    waitFor('the relay', () => isReady(urls.relay), 30_000),
  ])
  step('roles started', 'gateway, relay, aggregator with PostgreSQL')

  const before = await client.getBlockNumber()
  const operator = startRole('operator', 'offchain/operator/main.ts', {
    listen: { host: HOST, port: port.operator },
    gatewayAgentUrl: urls.gatewayAgent,
    rpcUrl: urls.rpc,
    registry,
    accountKeyFile: keyFile('operator'),
    aggregators: [urls.aggregator],
    dataFolder: join(folder, 'outbox'),
  })
  await waitFor('the enclave registration', () => isReady(urls.operator), 60_000)
  const enclave = await readEnclave(urls.gateway)
  step('enclave registered', `${enclave}, ${await gasUsedSince(client, before + 1n)} gas`)
  await sponsor(client, wallet('sponsor'), deployment, enclave)
  step('sponsor deposit made', `up to ${SPONSORED_UNITS / 1_000_000n} OPG for this enclave`)

  const all = { ...children, operator }
  const network: LocalNetwork = {
    folder,
    urls,
    client,
    children: all,
    deployment: () => deployment,
    account,
    wallet,
    async restartAggregator() {
      all.aggregator = startAggregator()
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

/** Hardhat compiles only what changed. */
function compile(): void {
  const result = spawnSync(process.execPath, [hardhatCli(), 'build', '--quiet', '--no-tests'], {
    cwd: REPOSITORY,
    encoding: 'utf8',
  })
  if (result.status !== 0) throw new StartError(`the contracts do not compile: ${firstError(result.stderr)}`)
}

function deployContracts(rpcUrl: string, out: string, rootFile: string, protocol: Hex): Deployment {
  const result = spawnSync(
    process.execPath,
    [
      join(REPOSITORY, 'scripts/deploy.ts'),
      '--network',
      'localhost',
      '--out',
      out,
      '--protocol',
      protocol,
      '--development-root',
      rootFile,
    ],
    {
      cwd: REPOSITORY,
      encoding: 'utf8',
      env: { ...process.env, SEALPATH_RPC_URL: rpcUrl, SEALPATH_IGNITION_FOLDER: join(dirname(out), 'ignition') },
    },
  )
  if (result.signal !== null) throw new StartError('stopped before it had started')
  if (result.status !== 0) throw new StartError(`the deployment failed: ${firstError(result.stderr)}`)
  return readDeployment(out)
}

function hardhatCli(): string {
  return fileURLToPath(import.meta.resolve('hardhat/package.json')).replace('package.json', 'dist/src/cli.js')
}

function firstError(output: string): string {
  const lines = output.split('\n').filter((line) => line.trim() !== '' && !line.startsWith('npm warn'))
  return (lines.find((line) => /^\w*Error\b/.test(line)) ?? lines[0] ?? 'it said nothing').slice(0, 300)
}

/** Approves what this checkout measures as. */
async function approve(client: PublicClient, wallet: LocalWallet, deployment: Deployment): Promise<void> {
  const pcrs = measureSources(REPOSITORY, 'gateway')
  const pcr = (index: number) => pcrs.get(index) ?? new Uint8Array(48)
  const measurement = measurementOf('development', pcr(0), pcr(1), pcr(2))
  const { state } = await advanceApproval(
    { client, wallet, ...deployment },
    { role: ENCLAVE_ROLE.gateway, measurement },
  )
  if (state !== 'done') throw new StartError('the timelock of a local chain must not wait')
}

async function depositBond(client: PublicClient, wallet: LocalWallet, deployment: Deployment): Promise<void> {
  await grant(client, wallet, deployment.token, deployment.registry, BOND_UNITS)
  const hash = await wallet.writeContract({
    address: deployment.registry,
    abi: enclaveRegistryAbi,
    functionName: 'depositBond',
    args: [wallet.account.address, BOND_UNITS],
  })
  await mined(client, hash, 'the bond deposit')
}

async function sponsor(
  client: PublicClient,
  wallet: LocalWallet,
  { token, vault }: Deployment,
  enclave: Hex,
): Promise<void> {
  await grant(client, wallet, token, vault, SPONSORED_UNITS)
  const hash = await wallet.writeContract({
    address: vault,
    abi: creditVaultAbi,
    functionName: 'sponsorEnclave',
    args: [enclave, SPONSORED_UNITS],
  })
  await mined(client, hash, 'the sponsor deposit')
}

/** Gives an account test tokens and lets `spender` take them. */
async function grant(
  client: PublicClient,
  wallet: LocalWallet,
  token: Hex,
  spender: Hex,
  units: bigint,
): Promise<void> {
  const amount = units * 1_000_000_000_000n
  const contract = { address: token, abi: testOPGAbi } as const
  const mint = await wallet.writeContract({ ...contract, functionName: 'mint', args: [wallet.account.address, amount] })
  await mined(client, mint, 'the minting of test tokens')
  const approval = await wallet.writeContract({ ...contract, functionName: 'approve', args: [spender, amount] })
  await mined(client, approval, 'the approval of test tokens')
}

async function mined(client: PublicClient, hash: Hex, what: string): Promise<void> {
  const { status } = await client.waitForTransactionReceipt({ hash })
  if (status !== 'success') throw new StartError(`${what} was reverted`)
}

async function readEnclave(gatewayUrl: string): Promise<Hex> {
  const text = await (await fetch(`${gatewayUrl}/evidence`)).text()
  return parseJson(PublicEvidenceSchema, text, 'gateway evidence').statement.enclave
}

async function gasUsedSince(client: PublicClient, fromBlock: bigint): Promise<bigint> {
  const latest = await client.getBlockNumber()
  let gasUsed = 0n
  for (let number = fromBlock; number <= latest; number++)
    gasUsed += (await client.getBlock({ blockNumber: number })).gasUsed
  return gasUsed
}

function backendConfig(upstream: LocalOptions['upstream']): { backends: unknown; prices: unknown } {
  if (upstream === undefined) return { backends: [{ kind: 'embedded' }], prices: demoPrices([DEMO_MODEL], 'measured') }
  const models = upstream.models.map((name) => ({ name }))
  return {
    backends: [{ kind: 'openai', url: upstream.url, models, source: 'operator' }],
    prices: demoPrices(upstream.models, 'operator'),
  }
}
