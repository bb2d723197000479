/** What is looked at before anything is sent: a wrong address in a constructor cannot be mended afterwards. @module */
import { artifacts } from 'hardhat'
import { erc20Abi, formatEther, type PublicClient } from 'viem'
import { printable } from '#node/printable.ts'
import type { Hex } from '#protocol/bytes.ts'
import { DeployError } from './deployError.ts'
import type { DeployOptions } from './options.ts'
import type { Target } from './target.ts'

/** What will be deployed with. */
export type Plan = {
  /** Undefined where a test token is deployed first. */
  readonly token: Hex | undefined
  readonly proposer: Hex
  readonly guardian: Hex
  readonly protocol: Hex
  /** Sentences that the deployer should read. */
  readonly notes: readonly string[]
}

const TOKEN_DECIMALS = 18
/** Of what a token calls itself. */
const SYMBOL_CHARS_MAX = 40
/** BLS12_G1ADD of EIP-2537, and two points at infinity. */
const G1_ADD = '0x000000000000000000000000000000000000000b'
const TWO_INFINITIES = `0x${'00'.repeat(256)}` as const
/** PUSH1 1, CLZ, PUSH0, MSTORE, PUSH1 32, PUSH0, RETURN: 255 where the chain knows CLZ (EIP-7939). */
const COUNT_LEADING_ZEROS = '0x60011e5f5260205ff3'
/** What a whole deployment uses, rounded up. */
const DEPLOYMENT_GAS = 40_000_000n
/** EIP-7702: the code of an account of one key that has lent its address to a contract. */
const DELEGATION = '0xef0100'

/** Throws `DeployError` for the first thing that is wrong. `isBegun`: it was cut before, and some of it is paid for. */
export async function planDeployment(target: Target, options: DeployOptions, isBegun: boolean): Promise<Plan> {
  const { client, deployer } = target
  const notes: string[] = []
  await checkRules(client)
  const proposer = powerOf('proposer', options.proposer, target)
  const guardian = powerOf('guardian', options.guardian, target)
  if (options.developmentRoot !== undefined && !target.isLocal) {
    throw new DeployError('a development root is for local chains only: its evidence proves no hardware')
  }
  const token = await checkToken(target, options, notes)
  for (const [name, address] of [
    ['proposer', proposer],
    ['guardian', guardian],
  ] as const) {
    notes.push(await checkPower(target, name, address))
  }
  if (!target.isLocal && same(proposer, guardian)) {
    notes.push('proposer and guardian are the same account: whoever takes it over holds both powers')
  }
  await checkBalance(client, deployer, isBegun, notes)
  return { token, proposer, guardian, protocol: options.protocol, notes }
}

/** What the contracts are compiled for and call: on a chain of older rules they would deploy, and then refuse everything. */
async function checkRules(client: PublicClient): Promise<void> {
  const { data: sum } = await client.call({ to: G1_ADD, data: TWO_INFINITIES })
  if (sum?.length !== 2 + 2 * 128) {
    throw new DeployError('this chain has no precompiles for BLS12-381 (EIP-2537): credits could not be checked on it')
  }
  const { data: zeros } = await client.call({ data: COUNT_LEADING_ZEROS }).catch(() => ({ data: undefined }))
  if (zeros === undefined || BigInt(zeros) !== 255n) {
    throw new DeployError(
      'this chain does not follow the rules of Osaka (it lacks CLZ, EIP-7939), for which the contracts are compiled',
    )
  }
}

/** An account with power: named, or the deployer where nothing is at stake. */
function powerOf(name: 'proposer' | 'guardian', given: Hex | undefined, { isLocal, deployer }: Target): Hex {
  const account = given ?? (isLocal ? deployer : undefined)
  if (account === undefined) throw new DeployError(`give the address of the ${name}, a multisig, with --${name}`)
  return account
}

async function checkToken(target: Target, options: DeployOptions, notes: string[]): Promise<Hex | undefined> {
  const { client, network, isLocal, isMainnet, chainId } = target
  if (options.isTestToken && isMainnet) {
    throw new DeployError(
      `--test-token is not for ${network}: anyone may mint TestOPG, and real work would be paid with it`,
    )
  }
  const address = options.token ?? (options.isTestToken ? undefined : target.token)
  if (address === undefined) {
    if (!isLocal && !options.isTestToken) {
      throw new DeployError(
        `give the address of OPG on chain ${chainId} with --token, or deploy a token without value there with --test-token`,
      )
    }
    if (isLocal) return undefined
    await checkTestToken(client, chainId)
    notes.push(
      'TEST TOKEN: what is called OPG here will be TestOPG, which ANYONE CAN MINT without limit. It has no value and never will; credits, bonds and earnings in it are for trying things out',
    )
    return undefined
  }
  notes.push(await describeToken(client, address))
  if (isMainnet && target.token !== undefined && !same(address, target.token)) {
    notes.push(`this is not the OPG known on ${network}, ${target.token}`)
  }
  return address
}

/** Tries the constructor out: TestOPG itself says on which chains it lets itself be deployed. */
async function checkTestToken(client: PublicClient, chainId: number): Promise<void> {
  const { bytecode } = await artifacts.readArtifact('TestOPG')
  try {
    await client.call({ data: bytecode as Hex })
  } catch (cause) {
    throw new DeployError(`TestOPG refuses to be deployed on chain ${chainId}: give a token with --token`, { cause })
  }
}

async function describeToken(client: PublicClient, address: Hex): Promise<string> {
  await requireCode(client, address, '--token')
  const read = { address, abi: erc20Abi } as const
  const noToken = (cause: unknown): never => {
    const message = `the contract at ${address} is no ERC-20 token: it does not answer decimals, symbol and totalSupply`
    throw new DeployError(message, { cause })
  }
  const decimals = await client.readContract({ ...read, functionName: 'decimals' }).catch(noToken)
  if (decimals !== TOKEN_DECIMALS) {
    throw new DeployError(
      `the token at ${address} has ${decimals} decimals, but amounts are counted in units of 10^12 of ${TOKEN_DECIMALS} decimals`,
    )
  }
  const symbol = await client.readContract({ ...read, functionName: 'symbol' }).catch(noToken)
  const supply = await client.readContract({ ...read, functionName: 'totalSupply' }).catch(noToken)
  return `token ${address} calls itself ${printable(symbol, SYMBOL_CHARS_MAX)}; there are ${supply / 10n ** 18n} of it`
}

/** On a mainnet power belongs to contracts. Answers who it is. */
async function checkPower(
  { client, network, isMainnet, deployer }: Target,
  name: string,
  address: Hex,
): Promise<string> {
  const code = await client.getCode({ address })
  if (code === undefined || code.startsWith(DELEGATION)) {
    const isDeployer = same(address, deployer) ? ', the deployer' : ''
    if (isMainnet) {
      throw new DeployError(
        `the ${name} on ${network} must be a multisig, and ${address} is an account of one key${isDeployer}: nothing was sent`,
      )
    }
    return `${name} ${address} is an account of one key${isDeployer}: good enough for trying things out`
  }
  const safe = { address, abi: SAFE_ABI } as const
  try {
    const [threshold, owners] = await Promise.all([
      client.readContract({ ...safe, functionName: 'getThreshold' }),
      client.readContract({ ...safe, functionName: 'getOwners' }),
    ])
    return `${name} ${address} is a Safe: ${threshold} of ${owners.length} owners sign`
  } catch {
    // Another kind of multisig: who signs there is the deployer's to know.
    return `${name} ${address} is a contract, and no Safe: make sure that it can call others`
  }
}

const SAFE_ABI = [
  { type: 'function', name: 'getThreshold', stateMutability: 'view', inputs: [], outputs: [{ type: 'uint256' }] },
  { type: 'function', name: 'getOwners', stateMutability: 'view', inputs: [], outputs: [{ type: 'address[]' }] },
] as const

async function checkBalance(client: PublicClient, deployer: Hex, isBegun: boolean, notes: string[]): Promise<void> {
  const [balance, price] = await Promise.all([client.getBalance({ address: deployer }), client.getGasPrice()])
  const cost = DEPLOYMENT_GAS * price
  if (balance === 0n || (balance < cost && !isBegun)) {
    throw new DeployError(
      `the deployer ${deployer} has ${formatEther(balance)} ETH, and deploying takes about ${formatEther(cost)} at the present gas price: send it some`,
    )
  }
  notes.push(`deployer ${deployer} has ${formatEther(balance)} ETH; deploying takes about ${formatEther(cost)}`)
}

async function requireCode(client: PublicClient, address: Hex, what: string): Promise<void> {
  const code = await client.getCode({ address })
  if (code === undefined) throw new DeployError(`${what} ${address} is no contract on this chain: nothing was sent`)
}

function same(a: Hex, b: Hex): boolean {
  return a.toLowerCase() === b.toLowerCase()
}
