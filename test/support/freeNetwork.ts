/**
 * A local network whose answers cost nothing: a chain with the contracts on it, a gateway in front of a model server, its operator agent and a relay,
 * each a process of its own. The gateway is registered; nothing settles. @module
 */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createPublicClient, createWalletClient, http, type PublicClient } from 'viem'
import { mnemonicToAccount } from 'viem/accounts'
import { hardhat } from 'viem/chains'
import type { Deployment } from '#chain/deployment.ts'
import { loadDevelopmentRoot } from '#node/attesters/developmentRoot.ts'
import { type Hex, toHex } from '#protocol/bytes.ts'
import {
  approveRole,
  chainArguments,
  compileContracts,
  deployContracts,
  depositBond,
  REPOSITORY,
} from '../../scripts/local/contracts.ts'
import { demoPrices } from '../../scripts/local/demoPrices.ts'
import { DEVELOPMENT_MNEMONIC } from '../../scripts/local/mnemonic.ts'
import { isReady, Processes, waitFor } from '../../scripts/local/processes.ts'
import { freePort } from './freePort.ts'

const HOST = '127.0.0.1'
const DEPLOYER = 0
const OPERATOR = 1
const PROTOCOL = 3
const BOND_UNITS = 1_000_000_000n

export type FreeNetwork = {
  readonly rpcUrl: string
  readonly relayUrl: string
  readonly registry: Hex
  readonly deployment: Deployment
  stop(): Promise<void>
}

/** Starts it in front of an OpenAI-compatible server. Throws `StartError` when something cannot start, after stopping what had started. */
export async function startFreeNetwork(upstream: {
  readonly url: string
  readonly models: readonly string[]
}): Promise<FreeNetwork> {
  const folder = mkdtempSync(join(tmpdir(), 'sealpath-free-'))
  chmodSync(folder, 0o755)
  const crashed = Promise.withResolvers<never>()
  crashed.promise.catch(() => {
    // Once everything runs, the test meets whatever no longer does.
  })
  const processes = new Processes(folder, crashed.reject)
  const stop = async () => {
    await processes.stopAll(10_000)
    rmSync(folder, { recursive: true, force: true })
  }
  try {
    return { ...(await Promise.race([startAll(folder, processes, upstream), crashed.promise])), stop }
  } catch (error) {
    await stop()
    throw error
  }
}

async function startAll(
  folder: string,
  processes: Processes,
  upstream: { readonly url: string; readonly models: readonly string[] },
): Promise<Omit<FreeNetwork, 'stop'>> {
  const ports = { rpc: await freePort(), gateway: await freePort(), agent: await freePort(), relay: await freePort() }
  const operatorPort = await freePort()
  const urlOf = (port: number) => `http://${HOST}:${port}`
  const rpcUrl = urlOf(ports.rpc)
  const transport = http(rpcUrl)
  const client = createPublicClient({ chain: hardhat, transport, pollingInterval: 100 }) as PublicClient
  const account = (index: number) => mnemonicToAccount(DEVELOPMENT_MNEMONIC, { addressIndex: index })
  const wallet = (index: number) => createWalletClient({ chain: hardhat, transport, account: account(index) })
  const startRole = (name: string, main: string, config: unknown) => {
    const file = join(folder, `${name}.json`)
    writeFileSync(file, JSON.stringify(config))
    processes.start(name, process.execPath, [join(REPOSITORY, main)], { SEALPATH_CONFIG: file })
  }

  compileContracts()
  processes.start('chain', process.execPath, chainArguments(HOST, ports.rpc))
  await waitFor('the chain', async () => (await client.getChainId()) === hardhat.id, 60_000)
  const rootFile = join(folder, 'development-root.json')
  loadDevelopmentRoot(rootFile, Math.floor(Date.now() / 1000))
  const deployment = deployContracts(rpcUrl, join(folder, 'deployment.json'), rootFile, account(PROTOCOL).address)
  await approveRole(client, wallet(DEPLOYER), deployment, 'gateway')
  await depositBond(client, wallet(OPERATOR), deployment, BOND_UNITS)

  const { chainId, registry, settlement } = deployment
  startRole('gateway', 'gateway/main.ts', {
    listen: { host: HOST, port: ports.gateway },
    agentListen: { host: HOST, port: ports.agent },
    chain: { chainId, registry, settlement, operator: account(OPERATOR).address },
    attester: { kind: 'development', rootFile },
    backends: [
      { kind: 'openai', url: upstream.url, models: upstream.models.map((name) => ({ name })), source: 'operator' },
    ],
    prices: demoPrices(upstream.models, 'operator'),
  })
  startRole('relay', 'offchain/relay/main.ts', {
    listen: { host: HOST, port: ports.relay },
    operator: 'a test',
    gateways: [{ name: 'free', url: urlOf(ports.gateway) }],
  })
  await waitFor('the gateway', async () => (await fetch(`${urlOf(ports.gateway)}/healthz`)).ok, 30_000)
  const keyFile = join(folder, 'operator.key')
  writeFileSync(keyFile, toHex(account(OPERATOR).getHdKey().privateKey ?? new Uint8Array()), { mode: 0o600 })
  startRole('operator', 'offchain/operator/main.ts', {
    listen: { host: HOST, port: operatorPort },
    gatewayAgentUrl: urlOf(ports.agent),
    rpcUrl,
    registry,
    accountKeyFile: keyFile,
    // There is none: heads stay in the outbox.
    aggregators: [`http://${HOST}:9`],
    dataFolder: join(folder, 'outbox'),
  })
  await waitFor('the registration', () => isReady(urlOf(operatorPort)), 60_000)
  await waitFor('the relay', () => isReady(urlOf(ports.relay)), 30_000)
  return { rpcUrl, relayUrl: urlOf(ports.relay), registry, deployment }
}
