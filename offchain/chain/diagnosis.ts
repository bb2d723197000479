/** What somebody who looks after a role asks its chain: whether the endpoints are well, the contracts fit, and who has what. @module */
import { type Address, createPublicClient, http, type PublicClient } from 'viem'
import type { Hex } from '#protocol/bytes.ts'
import { BASE_UNITS_PER_UNIT } from '#protocol/prices.ts'
import { creditVaultAbi, enclaveRegistryAbi, receiptSettlementAbi, testOPGAbi } from './generated/abis.ts'

/** One endpoint and what it says of its chain. Times in seconds since the epoch. */
export type EndpointHealth = {
  readonly client: PublicClient
  readonly chainId: number
  readonly head: { readonly number: bigint; readonly timestamp: bigint }
  readonly finalized: { readonly number: bigint; readonly hash: Hex }
}

/** Throws what viem throws when the endpoint does not answer within `timeoutMs`. */
export async function readEndpoint(rpcUrl: string, timeoutMs: number): Promise<EndpointHealth> {
  const transport = http(rpcUrl, { timeout: timeoutMs, retryCount: 0 })
  const client = createPublicClient({ transport, cacheTime: 0 }) as PublicClient
  const [chainId, head, finalized] = await Promise.all([
    client.getChainId(),
    client.getBlock(),
    client.getBlock({ blockTag: 'finalized' }),
  ])
  return {
    client,
    chainId,
    head: { number: head.number, timestamp: head.timestamp },
    finalized: { number: finalized.number, hash: finalized.hash },
  }
}

/** Whether all say the same of the newest block that all call final. Throws what viem throws. */
export async function agreeOnFinalized(endpoints: readonly EndpointHealth[]): Promise<boolean> {
  const [first, ...others] = endpoints.map(({ finalized }) => finalized.number).toSorted((a, b) => (a < b ? -1 : 1))
  if (first === undefined || others.length === 0) return true
  const hashes = await Promise.all(
    endpoints.map(async ({ client }) => (await client.getBlock({ blockNumber: first })).hash),
  )
  return new Set(hashes).size === 1
}

/** Contracts that a role names; those that it does not know are not asked. */
export type KnownContracts = {
  readonly registry: Hex
  readonly settlement?: Hex | undefined
  readonly vault?: Hex | undefined
}

/** What does not fit, a sentence each. Throws what viem throws when the endpoint does not answer. */
export async function findMisfits(client: PublicClient, contracts: KnownContracts): Promise<readonly string[]> {
  const missing: string[] = []
  for (const [name, address] of Object.entries(contracts)) {
    if (address !== undefined && (await client.getCode({ address })) === undefined) {
      missing.push(`${name} ${address} has no code on this chain`)
    }
  }
  // What has no code cannot be asked.
  if (missing.length > 0) return missing
  const { registry, settlement, vault } = contracts
  const ofRegistry = { address: registry, abi: enclaveRegistryAbi } as const
  const token = await client.readContract({ ...ofRegistry, functionName: 'TOKEN' })
  const bindings: (readonly [string, Promise<Address>, Hex])[] = []
  if (settlement !== undefined) {
    const contract = { address: settlement, abi: receiptSettlementAbi } as const
    bindings.push(
      ["the registry's settlement", client.readContract({ ...ofRegistry, functionName: 'settlement' }), settlement],
      ["the settlement's registry", client.readContract({ ...contract, functionName: 'REGISTRY' }), registry],
    )
    if (vault !== undefined) {
      bindings.push(["the settlement's vault", client.readContract({ ...contract, functionName: 'VAULT' }), vault])
    }
  }
  if (vault !== undefined) {
    const contract = { address: vault, abi: creditVaultAbi } as const
    bindings.push(
      ["the vault's registry", client.readContract({ ...contract, functionName: 'REGISTRY' }), registry],
      ["the vault's token", client.readContract({ ...contract, functionName: 'TOKEN' }), token],
    )
  }
  const found = await Promise.all(
    bindings.map(async ([name, reading, wanted]) => {
      // A contract of another kind has no such function.
      const actual = await reading.catch(() => undefined)
      if (actual?.toLowerCase() === wanted.toLowerCase()) return []
      return [`${name} is ${actual ?? 'nothing that is one'}, not ${wanted}`]
    }),
  )
  const hasToken = (await client.getCode({ address: token })) !== undefined
  return [...found.flat(), ...(hasToken ? [] : [`the registry's token ${token} has no code on this chain`])]
}

/** Native coins of an account, and the price of gas now, both in wei. */
export async function readPurse(client: PublicClient, account: Hex): Promise<{ balance: bigint; gasPrice: bigint }> {
  const [balance, gasPrice] = await Promise.all([client.getBalance({ address: account }), client.getGasPrice()])
  return { balance, gasPrice }
}

/** What an operator has put behind its enclaves, what of it one more of a role would lock, and what its account still holds, all in units. */
export async function readBonds(
  client: PublicClient,
  registry: Hex,
  operator: Hex,
  role: 'gateway' | 'issuer',
): Promise<{ deposited: bigint; locked: bigint; needed: bigint; held: bigint }> {
  const contract = { address: registry, abi: enclaveRegistryAbi } as const
  const [bond, needed, token] = await Promise.all([
    client.readContract({ ...contract, functionName: 'bondOf', args: [operator] }),
    client.readContract({ ...contract, functionName: role === 'gateway' ? 'GATEWAY_BOND' : 'ISSUER_BOND' }),
    client.readContract({ ...contract, functionName: 'TOKEN' }),
  ])
  const balance = await client.readContract({
    address: token,
    abi: testOPGAbi,
    functionName: 'balanceOf',
    args: [operator],
  })
  return { deposited: bond.deposited, locked: bond.locked, needed, held: balance / BASE_UNITS_PER_UNIT }
}

export type KnownKeys = { readonly hash: Hex; readonly activeFrom: bigint; readonly expiresAt: bigint }

/** Key configurations of an enclave that the registry knows, live or not. */
export async function readKeyConfigs(client: PublicClient, registry: Hex, enclave: Hex): Promise<readonly KnownKeys[]> {
  const known = await client.readContract({
    address: registry,
    abi: enclaveRegistryAbi,
    functionName: 'keyConfigsOf',
    args: [enclave],
  })
  return known.map(({ hash, activeFrom, expiresAt }) => ({
    hash,
    activeFrom: BigInt(activeFrom),
    expiresAt: BigInt(expiresAt),
  }))
}
