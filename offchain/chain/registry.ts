/** Reads of EnclaveRegistry. @module */
import type { Address, PublicClient } from 'viem'
import { getAddress } from 'viem/utils'
import { type Hex, lowerHex } from '#protocol/bytes.ts'
import type { EnclaveRole } from '#protocol/evidence/statement.ts'
import type { ChainReads } from './chainReads.ts'
import { enclaveRegistryAbi } from './generated/abis.ts'
import { registryReadsAbi } from './generated/readsAbis.ts'

/** Numbers of `EnclaveState` in contracts/types/Types.sol. */
export const ENCLAVE_STATES = ['none', 'active', 'retired', 'closed', 'compromised'] as const
export type EnclaveState = (typeof ENCLAVE_STATES)[number]

/** An enclave that the registry calls active. `keyConfigs` are hashes of `application/ohttp-keys` documents that are live now. */
export type LiveEnclave = {
  readonly enclave: Hex
  readonly operator: Hex
  readonly measurement: Hex
  readonly isDevelopment: boolean
  readonly endsAt: bigint
  readonly keyConfigs: readonly Hex[]
}

const PAGE = 500n

/** All active enclaves of a role with their live key configurations. Throws what the RPC endpoint throws. */
export async function readLiveEnclaves(
  client: ChainReads,
  registry: Address,
  role: EnclaveRole,
): Promise<LiveEnclave[]> {
  const contract = { address: registry, abi: registryReadsAbi } as const
  const [block, count] = await Promise.all([
    client.getBlock(),
    client.readContract({ ...contract, functionName: 'enclaveCount' }),
  ])
  const live: LiveEnclave[] = []
  for (let from = 0n; from < count; from += PAGE) {
    const [ids, enclaves, keyConfigs] = await client.readContract({
      ...contract,
      functionName: 'liveEnclaves',
      args: [role, from, PAGE],
    })
    for (const [i, id] of ids.entries()) {
      const entry = enclaves[i]
      if (entry === undefined) continue
      const liveConfigs = (keyConfigs[i] ?? []).filter(
        ({ activeFrom, expiresAt }) => activeFrom <= block.timestamp && expiresAt > block.timestamp,
      )
      live.push({
        enclave: lowerHex(id),
        operator: lowerHex(entry.operator),
        measurement: entry.measurement,
        isDevelopment: entry.isDevelopment,
        endsAt: BigInt(entry.endsAt),
        keyConfigs: liveConfigs.map(({ hash }) => hash),
      })
    }
  }
  return live
}

/** The registry's word on one enclave. */
export async function readEnclaveState(client: PublicClient, registry: Address, enclave: Hex): Promise<EnclaveState> {
  const state = await client.readContract({
    address: registry,
    abi: enclaveRegistryAbi,
    functionName: 'stateOf',
    args: [getAddress(enclave)],
  })
  return ENCLAVE_STATES[state] ?? 'none'
}

/** The registry's word on one enclave, and when its registration ends, in seconds. Both as of the same block. */
export async function readEnclaveStanding(
  client: PublicClient,
  registry: Address,
  enclave: Hex,
): Promise<{ readonly state: EnclaveState; readonly endsAt: bigint }> {
  const contract = { address: registry, abi: enclaveRegistryAbi, args: [getAddress(enclave)] } as const
  const blockNumber = await client.getBlockNumber({ cacheTime: 0 })
  const [state, { endsAt }] = await Promise.all([
    client.readContract({ ...contract, functionName: 'stateOf', blockNumber }),
    client.readContract({ ...contract, functionName: 'enclaveOf', blockNumber }),
  ])
  return { state: ENCLAVE_STATES[state] ?? 'none', endsAt: BigInt(endsAt) }
}
