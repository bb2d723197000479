/** What tests of deployments share: a chain with another id, accounts and multisigs, and commands run as a person runs them. @module */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { stripVTControlCharacters } from 'node:util'
import {
  type Account,
  type Chain,
  createPublicClient,
  createWalletClient,
  defineChain,
  http,
  type PublicClient,
  type Transport,
  type WalletClient,
} from 'viem'
import { type HDAccount, mnemonicToAccount } from 'viem/accounts'
import { type Hex, toHex } from '#protocol/bytes.ts'
import { DEVELOPMENT_MNEMONIC } from '../../scripts/local/mnemonic.ts'
import { type Anvil, startAnvil } from './anvil.ts'
import { compileCache } from './compileCache.ts'
import { deploySafe, type Safe } from './safe.ts'

export type DeployStage = {
  readonly node: Anvil
  readonly client: PublicClient
  /** The stranger's. */
  readonly wallet: WalletClient<Transport, Chain, Account>
  /** Two multisigs of three owners, of whom two sign. */
  readonly proposer: Safe
  readonly guardian: Safe
}

export type Outcome = { readonly code: number | null; readonly stdout: string; readonly stderr: string }

export type RunOptions = {
  /** A folder of this run's own in place of the person's home. */
  readonly home: string
  readonly env?: Readonly<Record<string, string>>
  /** What the person types, one line at each question. */
  readonly answers?: readonly string[]
  /** Called with what ends the command and all that it started, at once. */
  readonly onStart?: (kill: () => void) => void
}

/** Every contract that a deployment with a token makes, and how many transactions that takes with the two that bind. */
export const CONTRACTS = [
  'CreditVault',
  'EnclaveRegistry',
  'FixedPromptBounty',
  'InferenceVerifier',
  'NitroVerifier',
  'P384Table',
  'P384Verifier',
  'ReceiptSettlement',
  'Sha384',
  'TimelockController',
] as const
export const TRANSACTIONS: number = CONTRACTS.length + 2

export const REPOSITORY: string = fileURLToPath(new URL('../../', import.meta.url))

/** An account of the node, with coins. */
export function accountOf(index: number): HDAccount {
  return mnemonicToAccount(DEVELOPMENT_MNEMONIC, { addressIndex: index })
}

export const deployer: HDAccount = accountOf(0)
export const stranger: HDAccount = accountOf(1)
export const protocol: HDAccount = accountOf(2)
export const proposerOwners: readonly HDAccount[] = [3, 4, 5].map(accountOf)
export const guardianOwners: readonly HDAccount[] = [6, 7, 8].map(accountOf)

/** Private key, hex. */
export function keyOf(account: HDAccount): Hex {
  return toHex(account.getHdKey().privateKey ?? new Uint8Array())
}

/** Starts a chain with this id, where TestOPG's code stands at each of `tokens`. */
export async function startDeployStage(chainId: number, tokens: readonly Hex[]): Promise<DeployStage> {
  const node = await startAnvil(Math.floor(Date.now() / 1000), { chainId })
  const chain = defineChain({
    id: chainId,
    name: 'test',
    nativeCurrency: { name: 'Ether', symbol: 'ETH', decimals: 18 },
    rpcUrls: { default: { http: [node.rpcUrl] } },
  })
  const options = { chain, transport: http(node.rpcUrl), pollingInterval: 20, cacheTime: 0 }
  const client = createPublicClient(options) as PublicClient
  const wallet = createWalletClient({ ...options, account: stranger })
  const artifact = readFileSync(join(REPOSITORY, 'artifacts/test/contracts/support/TestOPG.sol/TestOPG.json'), 'utf8')
  const { deployedBytecode } = JSON.parse(artifact) as { readonly deployedBytecode: Hex }
  for (const token of tokens) await node.request('anvil_setCode', [token, deployedBytecode])
  return {
    node,
    client,
    wallet,
    proposer: await deploySafe(client, wallet, addressesOf(proposerOwners), 2),
    guardian: await deploySafe(client, wallet, addressesOf(guardianOwners), 2),
  }
}

/** Runs a command of the shell in the repository. Nothing of the tester's own environment reaches it but where programs are. */
export async function runCommand(command: string, options: RunOptions): Promise<Outcome> {
  const { home, env = {}, answers = [], onStart } = options
  const child = spawn('sh', ['-c', command], {
    cwd: REPOSITORY,
    detached: true,
    env: { PATH: process.env.PATH, HOME: home, ...compileCache(), ...env },
  })
  onStart?.(() => process.kill(-(child.pid ?? 0), 'SIGKILL'))
  const left = [...answers]
  if (left.length === 0) child.stdin.end()
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', (data: Buffer) => {
    stdout += data.toString()
    if (!/\[hardhat-keystore\][^\n]*: $/.test(stripVTControlCharacters(stdout))) return
    stdout += '\n'
    child.stdin.write(`${left.shift() ?? ''}\n`)
    // Else the command would wait for more.
    if (left.length === 0) child.stdin.end()
  })
  child.stderr.on('data', (data: Buffer) => {
    stderr += data.toString()
  })
  const [code] = await once(child, 'close')
  return { code, stdout, stderr }
}

/** What Ignition's folder of a deployment names, by the parts of its modules. */
export function readJournalAddresses(folder: string): Record<string, string> {
  const file = join(folder, 'deployed_addresses.json')
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Record<string, string>) : {}
}

function addressesOf(accounts: readonly HDAccount[]): Hex[] {
  return accounts.map(({ address }) => address)
}
