/** Whether what stands on a chain is what a deployment file says, and who holds power over it: read, never believed. @module */
import {
  type Address,
  ContractFunctionExecutionError,
  getAbiItem,
  HttpRequestError,
  type PublicClient,
  TimeoutError,
  zeroAddress,
} from 'viem'
import { type Hex, toHex } from '#protocol/bytes.ts'
import { AWS_NITRO_ROOT } from '#protocol/evidence/awsRoot.ts'
import { isLocalChain } from '#protocol/evidence/localChains.ts'
import { keccak256 } from '#protocol/hash.ts'
import type { Deployment } from './deployment.ts'
import {
  creditVaultAbi,
  enclaveRegistryAbi,
  fixedPromptBountyAbi,
  inferenceVerifierAbi,
  nitroVerifierAbi,
  receiptSettlementAbi,
  testOPGAbi,
  timelockControllerAbi,
} from './generated/abis.ts'
import { readLogs } from './vaultLogs.ts'

/** One thing that was looked at, and what was found, in a sentence. */
export type DeploymentFinding = { readonly isOk: boolean; readonly says: string }

/** Who should hold power, where the asker knows. */
export type ExpectedPowers = { readonly proposer?: Hex | undefined; readonly guardian?: Hex | undefined }

/** What is meant wherever money is at stake; local chains do not wait. Seconds. */
export const APPROVAL_DELAY_SECONDS: bigint = 2n * 86_400n
export const KEY_CONFIGS_DELAY_SECONDS = 3_600
/** An operator waits so long for its earnings: time to stop an enclave that was broken into. */
export const THAW_SECONDS = 86_400

const TOKEN_DECIMALS = 18
const ADMIN_ROLE = toHex(new Uint8Array(32))

/** Looks at everything and answers everything it found. Throws what the RPC endpoint throws when it does not answer. */
export async function checkDeployment(
  client: PublicClient,
  deployment: Deployment,
  expected: ExpectedPowers = {},
): Promise<readonly DeploymentFinding[]> {
  const chainId = await client.getChainId()
  const { chainId: _, fromBlock: __, ...addresses } = deployment
  const codes = await Promise.all(
    Object.entries(addresses).map(async ([name, address]) => {
      const hasCode = (await client.getCode({ address })) !== undefined
      return finding(hasCode, `${name} ${address} has code`, `${name} ${address} has no code on this chain`)
    }),
  )
  const first = [
    finding(
      chainId === deployment.chainId,
      `chain ${chainId}`,
      `this is chain ${chainId}, the file says ${deployment.chainId}`,
    ),
    ...codes,
  ]
  // What has no code cannot be asked.
  if (first.some(({ isOk }) => !isOk)) return first
  const parts = await Promise.all([
    answered('the owners', checkOwners(client, deployment)),
    answered('which contracts know each other', checkBindings(client, deployment)),
    answered('the token', checkToken(client, deployment)),
    answered('the guardian', checkGuardian(client, deployment, expected.guardian)),
    answered('the terms', checkTerms(client, deployment)),
    answered('the timelock', checkTimelock(client, deployment, expected.proposer)),
  ])
  return [...first, ...parts.flat()]
}

/** A contract that does not know what it is asked is another one: a finding. An endpoint that does not answer is none. */
async function answered(what: string, findings: Promise<DeploymentFinding[]>): Promise<DeploymentFinding[]> {
  try {
    return await findings
  } catch (error) {
    if (!(error instanceof ContractFunctionExecutionError)) throw error
    if (error.walk((cause) => cause instanceof HttpRequestError || cause instanceof TimeoutError)) throw error
    const { contractAddress, functionName } = error
    return [
      bad(`${what} cannot be told: ${contractAddress} does not answer ${functionName}, so it is another contract`),
    ]
  }
}

async function checkOwners(client: PublicClient, deployment: Deployment): Promise<DeploymentFinding[]> {
  const { registry, vault, timelock } = deployment
  const contracts = [
    ['registry', registry],
    ['vault', vault],
  ] as const
  return Promise.all(
    contracts.map(async ([name, address]) => {
      // Ownable2Step, of both.
      const contract = { address, abi: enclaveRegistryAbi } as const
      const owner = await client.readContract({ ...contract, functionName: 'owner' })
      const pending = await client.readContract({ ...contract, functionName: 'pendingOwner' })
      if (!same(pending, zeroAddress)) return bad(`the ${name} is being handed over to ${pending}`)
      return finding(
        same(owner, timelock),
        `the timelock owns the ${name}`,
        `the ${name} is owned by ${owner}, not by the timelock ${timelock}`,
      )
    }),
  )
}

async function checkBindings(client: PublicClient, deployment: Deployment): Promise<DeploymentFinding[]> {
  const { registry, vault, settlement, verifier, inference, bounty } = deployment
  const ofRegistry = { address: registry, abi: enclaveRegistryAbi } as const
  const ofVault = { address: vault, abi: creditVaultAbi } as const
  const ofSettlement = { address: settlement, abi: receiptSettlementAbi } as const
  const ofInference = { address: inference, abi: inferenceVerifierAbi } as const
  const ofBounty = { address: bounty, abi: fixedPromptBountyAbi } as const
  const bindings: readonly (readonly [string, Promise<Address>, Hex])[] = [
    ["the registry's settlement", client.readContract({ ...ofRegistry, functionName: 'settlement' }), settlement],
    ["the vault's settlement", client.readContract({ ...ofVault, functionName: 'settlement' }), settlement],
    ["the settlement's registry", client.readContract({ ...ofSettlement, functionName: 'REGISTRY' }), registry],
    ["the settlement's vault", client.readContract({ ...ofSettlement, functionName: 'VAULT' }), vault],
    ["the vault's registry", client.readContract({ ...ofVault, functionName: 'REGISTRY' }), registry],
    ["the registry's verifier", client.readContract({ ...ofRegistry, functionName: 'VERIFIER' }), verifier],
    ["the proofs' settlement", client.readContract({ ...ofInference, functionName: 'SETTLEMENT' }), settlement],
    ["the proofs' registry", client.readContract({ ...ofInference, functionName: 'REGISTRY' }), registry],
    ["the bounty's settlement", client.readContract({ ...ofBounty, functionName: 'SETTLEMENT' }), settlement],
    ["the bounty's registry", client.readContract({ ...ofBounty, functionName: 'REGISTRY' }), registry],
  ]
  return Promise.all(
    bindings.map(async ([name, reading, wanted]) => {
      const actual = await reading
      return finding(same(actual, wanted), `${name} is ${wanted}`, `${name} is ${actual}, the file says ${wanted}`)
    }),
  )
}

async function checkToken(client: PublicClient, deployment: Deployment): Promise<DeploymentFinding[]> {
  const { token, registry, vault, bounty } = deployment
  const holders = [
    ['registry', client.readContract({ address: registry, abi: enclaveRegistryAbi, functionName: 'TOKEN' })],
    ['vault', client.readContract({ address: vault, abi: creditVaultAbi, functionName: 'TOKEN' })],
    ['bounty', client.readContract({ address: bounty, abi: fixedPromptBountyAbi, functionName: 'TOKEN' })],
  ] as const
  const decimals = await client.readContract({ address: token, abi: testOPGAbi, functionName: 'decimals' })
  const findings = await Promise.all(
    holders.map(async ([name, reading]) => {
      const actual = await reading
      return finding(
        same(actual, token),
        `the ${name} counts in ${token}`,
        `the ${name} counts in ${actual}, the file says ${token}`,
      )
    }),
  )
  const says = `the token has ${decimals} decimals`
  return [...findings, finding(decimals === TOKEN_DECIMALS, says, `${says}, not ${TOKEN_DECIMALS}`)]
}

async function checkGuardian(
  client: PublicClient,
  deployment: Deployment,
  expected: Hex | undefined,
): Promise<DeploymentFinding[]> {
  const { registry, vault, verifier } = deployment
  const guardian = await client.readContract({ address: registry, abi: enclaveRegistryAbi, functionName: 'guardian' })
  const ofVault = await client.readContract({ address: vault, abi: creditVaultAbi, functionName: 'guardian' })
  const ofVerifier = await client.readContract({ address: verifier, abi: nitroVerifierAbi, functionName: 'owner' })
  const pending = await client.readContract({ address: verifier, abi: nitroVerifierAbi, functionName: 'pendingOwner' })
  const wanted = expected ?? guardian
  return [
    finding(
      same(guardian, wanted),
      `the guardian is ${guardian}`,
      `the registry's guardian is ${guardian}, not ${wanted}`,
    ),
    finding(
      same(ofVault, wanted),
      'the guardian can stop deposits',
      `the vault's guardian is ${ofVault}, not ${wanted}`,
    ),
    finding(
      same(ofVerifier, wanted) && same(pending, zeroAddress),
      'the guardian can revoke certificates',
      same(pending, zeroAddress)
        ? `certificates are revoked by ${ofVerifier}, not by the guardian ${wanted}`
        : `the power to revoke certificates is being handed over to ${pending}`,
    ),
  ]
}

async function checkTerms(client: PublicClient, deployment: Deployment): Promise<DeploymentFinding[]> {
  const { registry, settlement, verifier, chainId } = deployment
  const ofRegistry = { address: registry, abi: enclaveRegistryAbi } as const
  const ofVerifier = { address: verifier, abi: nitroVerifierAbi } as const
  const thaw = await client.readContract({
    address: settlement,
    abi: receiptSettlementAbi,
    functionName: 'THAW_SECONDS',
  })
  // On a local chain nothing waits and development evidence counts, unless somebody wants otherwise.
  if (isLocalChain(chainId)) return [good(`a local chain: earnings wait ${thaw} s, and development evidence may count`)]
  const delay = await client.readContract({ ...ofRegistry, functionName: 'KEY_CONFIGS_DELAY' })
  const allowsDevelopment = await client.readContract({ ...ofRegistry, functionName: 'ALLOWS_DEVELOPMENT' })
  const isDevelopment = await client.readContract({ ...ofVerifier, functionName: 'IS_DEVELOPMENT' })
  const root = await client.readContract({ ...ofVerifier, functionName: 'ROOT_HASH' })
  const awsRoot = toHex(keccak256(AWS_NITRO_ROOT.certificate))
  return [
    finding(
      !allowsDevelopment && !isDevelopment,
      'development evidence is refused',
      'development evidence is accepted: no hardware stands behind what registers',
    ),
    finding(
      same(root, awsRoot),
      "evidence ends in AWS's root",
      `evidence ends in the root ${root}, not in AWS's ${awsRoot}`,
    ),
    finding(
      delay === KEY_CONFIGS_DELAY_SECONDS,
      `further keys wait ${delay} s`,
      `further keys wait ${delay} s, not ${KEY_CONFIGS_DELAY_SECONDS}`,
    ),
    finding(thaw === THAW_SECONDS, `earnings wait ${thaw} s`, `earnings wait ${thaw} s, not ${THAW_SECONDS}`),
  ]
}

async function checkTimelock(
  client: PublicClient,
  deployment: Deployment,
  proposer: Hex | undefined,
): Promise<DeploymentFinding[]> {
  const { timelock, fromBlock, chainId } = deployment
  const contract = { address: timelock, abi: timelockControllerAbi } as const
  const delay = await client.readContract({ ...contract, functionName: 'getMinDelay' })
  const least = isLocalChain(chainId) ? 0n : APPROVAL_DELAY_SECONDS
  const [proposerRole, executorRole] = await Promise.all([
    client.readContract({ ...contract, functionName: 'PROPOSER_ROLE' }),
    client.readContract({ ...contract, functionName: 'EXECUTOR_ROLE' }),
  ])
  const holders = await readRoleHolders(client, timelock, fromBlock)
  const admins = (holders.get(ADMIN_ROLE) ?? []).filter((holder) => !same(holder, timelock))
  const proposers = holders.get(proposerRole) ?? []
  const anyone = await client.readContract({ ...contract, functionName: 'hasRole', args: [executorRole, zeroAddress] })
  const wanted =
    proposer === undefined ? proposers.length > 0 : proposers.length === 1 && same(proposers[0] ?? '', proposer)
  return [
    finding(delay >= least, `the timelock waits ${delay} s`, `the timelock waits ${delay} s, less than ${least}`),
    finding(
      admins.length === 0,
      'nobody administers the timelock but itself',
      `the timelock is administered by ${admins.join(', ')}`,
    ),
    finding(
      wanted,
      `proposals come from ${proposers.join(', ')}`,
      `proposals come from ${proposers.join(', ') || 'nobody'}, not from ${proposer ?? 'anybody'}`,
    ),
    finding(anyone, 'anyone executes what has waited', 'not everyone may execute what has waited'),
  ]
}

/** By role, from the events: the timelock itself does not list them. */
async function readRoleHolders(client: PublicClient, timelock: Hex, fromBlock: bigint): Promise<Map<Hex, Address[]>> {
  const events = [
    getAbiItem({ abi: timelockControllerAbi, name: 'RoleGranted' }),
    getAbiItem({ abi: timelockControllerAbi, name: 'RoleRevoked' }),
  ] as const
  const logs = await readLogs({ client, fromBlock }, (range) =>
    client.getLogs({ address: timelock, events, strict: true, ...range }),
  )
  const holders = new Map<Hex, Address[]>()
  for (const { eventName, args } of logs.toReversed()) {
    const others = (holders.get(args.role) ?? []).filter((holder) => holder !== args.account)
    holders.set(args.role, eventName === 'RoleGranted' ? [...others, args.account] : others)
  }
  return holders
}

function finding(isOk: boolean, fact: string, complaint: string): DeploymentFinding {
  return { isOk, says: isOk ? fact : complaint }
}

function good(says: string): DeploymentFinding {
  return { isOk: true, says }
}

function bad(says: string): DeploymentFinding {
  return { isOk: false, says }
}

function same(a: string, b: string): boolean {
  return a.toLowerCase() === b.toLowerCase()
}
