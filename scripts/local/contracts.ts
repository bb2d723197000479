/** The contracts of the local network: compiled, deployed, and told what this checkout measures as and who stands behind it. @module */
import { spawnSync } from 'node:child_process'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Account, Chain, PublicClient, Transport, WalletClient } from 'viem'
import { type Deployment, readDeployment } from '#chain/deployment.ts'
import { enclaveRegistryAbi, testOPGAbi } from '#chain/generated/abis.ts'
import { advanceApproval } from '#chain/timelock.ts'
import { measureSources } from '#node/attesters/sourcePcrs.ts'
import type { Hex } from '#protocol/bytes.ts'
import { measurementOf } from '#protocol/evidence/measurement.ts'
import { ENCLAVE_ROLE } from '#protocol/evidence/statement.ts'
import { BASE_UNITS_PER_UNIT } from '#protocol/prices.ts'
import { StartError } from './processes.ts'

export const REPOSITORY: string = fileURLToPath(new URL('../../', import.meta.url))

export type LocalWallet = WalletClient<Transport, Chain, Account>

/** Two builds at once take the file away that each of them writes its cache to; nothing else is wrong then. */
const CACHE_TAKEN = 'compile-cache.json.tmp not found'
const BUILDS_MAX = 5

/** Hardhat compiles only what changed. Throws `StartError`. */
export function compileContracts(): void {
  const args = [hardhatCli(), 'build', '--quiet', '--no-tests']
  for (let builds = 1; ; builds++) {
    const { status, stderr } = spawnSync(process.execPath, args, { cwd: REPOSITORY, encoding: 'utf8' })
    if (status === 0) return
    if (builds < BUILDS_MAX && stderr.includes(CACHE_TAKEN)) continue
    throw new StartError(`the contracts do not compile: ${firstError(stderr)}`)
  }
}

/** Runs the deployment as a person would. Throws `StartError`. */
export function deployContracts(rpcUrl: string, out: string, rootFile: string, protocol: Hex): Deployment {
  const script = join(REPOSITORY, 'scripts/deploy.ts')
  const options = ['--network', 'localhost', '--out', out, '--protocol', protocol, '--development-root', rootFile]
  const result = spawnSync(process.execPath, [script, ...options], {
    cwd: REPOSITORY,
    encoding: 'utf8',
    env: { ...process.env, SEALPATH_RPC_URL: rpcUrl, SEALPATH_IGNITION_FOLDER: join(dirname(out), 'ignition') },
  })
  if (result.signal !== null) throw new StartError('stopped before it had started')
  if (result.status !== 0) throw new StartError(`the deployment failed: ${firstError(result.stderr)}`)
  return readDeployment(out)
}

/** Arguments of Node that start a chain of its own. */
export function chainArguments(host: string, port: number): readonly string[] {
  const config = fileURLToPath(new URL('./chain.config.ts', import.meta.url))
  return [hardhatCli(), '--config', config, 'node', '--hostname', host, '--port', String(port)]
}

export function hardhatCli(): string {
  return fileURLToPath(import.meta.resolve('hardhat/package.json')).replace('package.json', 'dist/src/cli.js')
}

function firstError(output: string): string {
  const lines = output.split('\n').filter((line) => line.trim() !== '' && !line.startsWith('npm warn'))
  return (lines.find((line) => /^\w*Error\b/.test(line)) ?? lines[0] ?? 'it said nothing').slice(0, 300)
}

/** Approves what this checkout measures as in a role. */
export async function approveRole(
  client: PublicClient,
  wallet: LocalWallet,
  deployment: Deployment,
  role: 'gateway' | 'issuer',
): Promise<void> {
  const pcrs = measureSources(REPOSITORY, role)
  const pcr = (index: number) => pcrs.get(index) ?? new Uint8Array(48)
  const measurement = measurementOf('development', pcr(0), pcr(1), pcr(2))
  const { state } = await advanceApproval({ client, wallet, ...deployment }, { role: ENCLAVE_ROLE[role], measurement })
  if (state !== 'done') throw new StartError('the timelock of a local chain must not wait')
}

/** Puts `units` of the operator's OPG behind its enclaves. */
export async function depositBond(
  client: PublicClient,
  wallet: LocalWallet,
  deployment: Deployment,
  units: bigint,
): Promise<void> {
  await grant(client, wallet, deployment.token, deployment.registry, units)
  const hash = await wallet.writeContract({
    address: deployment.registry,
    abi: enclaveRegistryAbi,
    functionName: 'depositBond',
    args: [wallet.account.address, units],
  })
  await mined(client, hash, 'the bond deposit')
}

/** Gives an account test tokens and lets `spender` take them. */
export async function grant(
  client: PublicClient,
  wallet: LocalWallet,
  token: Hex,
  spender: Hex,
  units: bigint,
): Promise<void> {
  const amount = units * BASE_UNITS_PER_UNIT
  const contract = { address: token, abi: testOPGAbi } as const
  const mint = await wallet.writeContract({ ...contract, functionName: 'mint', args: [wallet.account.address, amount] })
  await mined(client, mint, 'the minting of test tokens')
  const approval = await wallet.writeContract({ ...contract, functionName: 'approve', args: [spender, amount] })
  await mined(client, approval, 'the approval of test tokens')
}

/** Waits for a transaction and answers the gas it used. Throws `StartError` naming `what` when it was reverted. */
export async function mined(client: PublicClient, hash: Hex, what: string): Promise<bigint> {
  const { status, gasUsed } = await client.waitForTransactionReceipt({ hash })
  if (status !== 'success') throw new StartError(`${what} was reverted`)
  return gasUsed
}

/** Gas of all blocks from this one on. */
export async function gasUsedSince(client: PublicClient, fromBlock: bigint): Promise<bigint> {
  const latest = await client.getBlockNumber()
  let gasUsed = 0n
  for (let number = fromBlock; number <= latest; number++)
    gasUsed += (await client.getBlock({ blockNumber: number })).gasUsed
  return gasUsed
}
