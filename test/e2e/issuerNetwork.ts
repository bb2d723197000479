/** A network for issuers that are killed: a chain, an aggregator as the witness, PostgreSQL, issuers with their agents, and one registered gateway. @module */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createPublicClient, createWalletClient, http, type PublicClient } from 'viem'
import { type HDAccount, mnemonicToAccount } from 'viem/accounts'
import { hardhat } from 'viem/chains'
import { creditVaultAbi } from '#chain/generated/abis.ts'
import { advanceKeyset } from '#chain/timelock.ts'
import { loadDevelopmentRoot, pinDevelopmentRoot } from '#node/attesters/developmentRoot.ts'
import { openAttester } from '#node/attesters/openAttester.ts'
import { createAgentApp } from '#node/enclave/agentApp.ts'
import { bootEnclave, type Enclave } from '#node/enclave/enclave.ts'
import { ReceiptLog } from '#node/enclave/receiptLog.ts'
import { createNodeSuites } from '#node/sealing/nodeSuites.ts'
import { callSealed } from '#node/sealing/sealedCall.ts'
import { type RunningServer, startServer } from '#node/server.ts'
import { decodeUtf8, encodeUtf8, type Hex, toHex } from '#protocol/bytes.ts'
import { parseKeyConfigList } from '#protocol/sealing/keyConfig.ts'
import { AgentStatusSchema } from '#protocol/wire/agentApi.ts'
import { ApiErrorSchema } from '#protocol/wire/aggregatorApi.ts'
import { AgentKeysetsSchema, AgentSuccessionsSchema, type SignedSuccession } from '#protocol/wire/handoverApi.ts'
import { parseJson, toJson } from '#protocol/wire/json.ts'
import { createIssuerClient, type IssuerClient } from '../../gateway/issuerClient.ts'
import {
  approveRole,
  chainArguments,
  compileContracts,
  deployContracts,
  depositBond,
  grant,
  type LocalWallet,
  mined,
  REPOSITORY,
} from '../../scripts/local/contracts.ts'
import { DEVELOPMENT_MNEMONIC } from '../../scripts/local/mnemonic.ts'
import { type Child, isReady, Processes, waitFor } from '../../scripts/local/processes.ts'
import { freePort } from '../support/freePort.ts'
import type { IssuerCalls } from '../support/issuerWallet.ts'
import { SILENT, startPostgres, type TestPostgres } from '../support/postgres.ts'

const ACCOUNTS = { deployer: 0, operator: 1, aggregator: 2, protocol: 3, buyer: 4 } as const
type AccountName = keyof typeof ACCOUNTS
const HOST = '127.0.0.1'
/** For four issuers and a gateway. */
const BOND_UNITS = 50_000_000_000n
const LEASE_SECONDS = 2

/** An issuer's process, and what can be said to it. */
export type IssuerProcess = IssuerCalls & {
  readonly url: string
  readonly agentUrl: string
  readonly enclave: Hex
  readonly child: Child
  /** Why it is not ready; empty when it is. */
  notReady(): Promise<string>
  keysets(): Promise<readonly Hex[]>
  successions(): Promise<readonly SignedSuccession[]>
}

export type IssuerNetwork = {
  readonly postgres: TestPostgres
  readonly domain: { readonly chainId: number; readonly vault: Hex }
  readonly gateway: Enclave
  /** Starts an issuer on the database at `database` and waits for its registration. Its keys are its own without `from`. */
  startIssuer(name: string, database: string, from?: readonly string[]): Promise<IssuerProcess>
  /** Opens the issuer's keyset in the vault, as the owner would: with what the issuer's agent interface says. Answers its id. */
  openKeyset(issuer: IssuerProcess): Promise<Hex>
  /** The gateway's way to these issuers. */
  client(urls: readonly string[]): IssuerClient
  /** Deposits the smallest amount for a claim key. */
  deposit(keyset: Hex, claimKey: Hex): Promise<void>
  writerOf(keyset: Hex): Promise<Hex>
  kill(child: Child): Promise<void>
  stop(): Promise<void>
}

/** Starts it; throws `StartError` when something cannot start. */
export async function startIssuerNetwork(): Promise<IssuerNetwork> {
  const folder = mkdtempSync(join(tmpdir(), 'sealpath-issuers-'))
  chmodSync(folder, 0o755)
  const crashes: Error[] = []
  const processes = new Processes(folder, (error) => crashes.push(error))
  const servers: RunningServer[] = []
  const stopping: (() => Promise<void>)[] = []
  const stop = async () => {
    await processes.stopAll(10_000)
    for (const server of servers) await server.close(0)
    for (const close of stopping) await close()
    rmSync(folder, { recursive: true, force: true })
    if (crashes[0] !== undefined) throw crashes[0]
  }
  try {
    const postgres = await startPostgres()
    stopping.push(() => postgres.close())
    return { ...(await startAll(folder, processes, servers, postgres)), postgres, stop }
  } catch (error) {
    await stop().catch(() => {
      // What failed first is what is told.
    })
    throw error
  }
}

async function startAll(
  folder: string,
  processes: Processes,
  servers: RunningServer[],
  postgres: TestPostgres,
): Promise<Omit<IssuerNetwork, 'postgres' | 'stop'>> {
  const rpcPort = await freePort()
  const rpc = `http://${HOST}:${rpcPort}`
  const account = (name: AccountName): HDAccount =>
    mnemonicToAccount(DEVELOPMENT_MNEMONIC, { addressIndex: ACCOUNTS[name] })
  const chain = { ...hardhat, rpcUrls: { default: { http: [rpc] } } }
  const transport = http(rpc)
  const client = createPublicClient({ chain, transport, pollingInterval: 100 }) as PublicClient
  const wallet = (name: AccountName): LocalWallet => createWalletClient({ chain, transport, account: account(name) })
  const keyFile = (name: AccountName) => {
    const path = join(folder, `${name}.key`)
    writeFileSync(path, toHex(account(name).getHdKey().privateKey ?? new Uint8Array()), { mode: 0o600 })
    return path
  }
  const startRole = (name: string, main: string, config: unknown): Child => {
    const file = join(folder, `${name}.json`)
    writeFileSync(file, JSON.stringify(config))
    return processes.start(name, process.execPath, [join(REPOSITORY, main)], { SEALPATH_CONFIG: file })
  }

  compileContracts()
  processes.start('chain', process.execPath, chainArguments(HOST, rpcPort))
  await waitFor('the chain', async () => (await client.getChainId()) === hardhat.id, 60_000)
  const rootFile = join(folder, 'development-root.json')
  const root = loadDevelopmentRoot(rootFile, Math.floor(Date.now() / 1000))
  const deployment = deployContracts(rpc, join(folder, 'deployment.json'), rootFile, account('protocol').address)
  for (const role of ['gateway', 'issuer'] as const) await approveRole(client, wallet('deployer'), deployment, role)
  await depositBond(client, wallet('operator'), deployment, BOND_UNITS)
  const { chainId, registry, settlement, vault } = deployment
  const binding = { chainId, registry, settlement, operator: account('operator').address.toLowerCase() as Hex }
  const attester = { kind: 'development', rootFile } as const

  const aggregatorPort = await freePort()
  const aggregator = `http://${HOST}:${aggregatorPort}`
  startRole('aggregator', 'offchain/aggregator/main.ts', {
    listen: { host: HOST, port: aggregatorPort },
    rpcUrls: [rpc],
    deployment: { chainId, registry, settlement, fromBlock: deployment.fromBlock.toString() },
    accountKeyFiles: [keyFile('aggregator')],
    database: { url: await postgres.createDatabase() },
    settle: { everySeconds: 60, leaseSeconds: 4 },
  })
  const operatorKey = keyFile('operator')
  const startAgent = async (name: string, enclaveAgentUrl: string): Promise<void> => {
    const port = await freePort()
    startRole(`${name}-agent`, 'offchain/operator/main.ts', {
      listen: { host: HOST, port },
      gatewayAgentUrl: enclaveAgentUrl,
      rpcUrl: rpc,
      registry,
      accountKeyFile: operatorKey,
      aggregators: [aggregator],
      dataFolder: join(folder, `${name}-outbox`),
    })
    await waitFor(`the registration of ${name}`, () => isReady(`http://${HOST}:${port}`), 60_000)
  }

  const suites = createNodeSuites()
  const gateway = await bootEnclave('gateway', binding, await openAttester(attester, chainId, 'gateway'), suites)
  const receipts = new ReceiptLog({
    enclave: gateway.statement.enclave,
    privateKey: gateway.privateKey,
    domain: binding,
    tick: { receipts: 1, seconds: 1 },
    leavesKeptMax: 1,
  })
  const gatewayAgent = await startServer(createAgentApp(gateway, receipts, SILENT), { host: HOST, port: 0 })
  servers.push(gatewayAgent)
  await Promise.all([
    startAgent('gateway', gatewayAgent.url),
    waitFor('the aggregator', () => isReady(aggregator), 60_000),
  ])

  return {
    domain: { chainId, vault },
    gateway,
    async startIssuer(name, database, from) {
      const [port, agentPort] = [await freePort(), await freePort()]
      const [url, agentUrl] = [port, agentPort].map((number) => `http://${HOST}:${number}`) as [string, string]
      const child = startRole(name, 'offchain/issuer/main.ts', {
        listen: { host: HOST, port },
        agentListen: { host: HOST, port: agentPort },
        chain: { ...binding, vault, fromBlock: deployment.fromBlock.toString() },
        // Two endpoints of one node: the least that an issuer takes.
        rpcUrls: [rpc, `${rpc}/`],
        attester,
        keys: from === undefined ? { generate: { signDays: 1, spendDays: 1, exitDays: 365 } } : { from },
        database: { url: database },
        witnesses: { urls: [aggregator], quorum: 1 },
        limits: { openMax: 64, replaysMax: 1_000, dateWindowSeconds: 300, leaseSeconds: LEASE_SECONDS },
      })
      await waitFor(`the process of ${name}`, async () => (await fetch(`${url}/healthz`)).ok, 30_000)
      await startAgent(name, agentUrl)
      return reach(url, agentUrl, child, suites)
    },
    async openKeyset({ enclave, agentUrl }) {
      const text = await (await fetch(`${agentUrl}/agent/keysets`)).text()
      const [born] = parseJson(AgentKeysetsSchema, text, 'keysets of an issuer').keysets
      if (born === undefined) throw new Error('expected an issuer with a keyset')
      const { keyset: id, keys, ...times } = born
      await advanceKeyset({ client, wallet: wallet('deployer'), ...deployment }, { id, keys, times, writer: enclave })
      return id
    },
    client: (urls) =>
      createIssuerClient({
        urls,
        chain: { chainId, registry, vault },
        roots: () => [pinDevelopmentRoot(root)],
        suites,
        enclave: gateway.statement.enclave.toLowerCase() as Hex,
        privateKey: gateway.privateKey,
        nowSeconds: () => Date.now() / 1000,
      }),
    async deposit(keyset, claimKey) {
      const buyer = wallet('buyer')
      await grant(client, buyer, deployment.token, vault, 1_000_000n)
      const args = [keyset, 0, claimKey] as const
      const hash = await buyer.writeContract({ address: vault, abi: creditVaultAbi, functionName: 'deposit', args })
      await mined(client, hash, 'the deposit')
    },
    async writerOf(keyset) {
      const contract = { address: vault, abi: creditVaultAbi } as const
      const { writer } = await client.readContract({ ...contract, functionName: 'keysetOf', args: [keyset] })
      return writer.toLowerCase() as Hex
    },
    kill: (child) => processes.kill(child),
  }
}

type Suites = ReturnType<typeof createNodeSuites>

/** The running issuer behind these addresses. */
async function reach(url: string, agentUrl: string, child: Child, suites: Suites): Promise<IssuerProcess> {
  const read = async (address: string) => (await fetch(address)).text()
  const { statement, keyConfigs } = parseJson(AgentStatusSchema, await read(`${agentUrl}/agent/status`), 'status')
  const [config] = parseKeyConfigList(keyConfigs)
  if (config === undefined) throw new Error('expected a key to seal to')
  return {
    url,
    agentUrl,
    enclave: statement.enclave,
    child,
    config,
    async call(schema, method, path, body) {
      const request = {
        method: method as 'GET' | 'POST',
        path,
        body: encodeUtf8(body === undefined ? '' : toJson(body)),
      }
      const answer = await callSealed({ suites, url: `${url}/gateway`, config, timeoutMs: 15_000 }, request)
      const text = decodeUtf8(answer.body)
      if (answer.status === 200) return parseJson(schema, text, 'answer')
      throw new Error(parseJson(ApiErrorSchema, text, 'refusal').error.code)
    },
    notReady: async () => {
      const response = await fetch(`${url}/readyz`)
      return response.ok ? '' : response.text()
    },
    async keysets() {
      const { keysets } = parseJson(AgentKeysetsSchema, await read(`${agentUrl}/agent/keysets`), 'keysets')
      return keysets.map(({ keyset }) => keyset)
    },
    async successions() {
      return parseJson(AgentSuccessionsSchema, await read(`${agentUrl}/agent/successions`), 'successions').successions
    },
  }
}
