/** Everything that registry and settlement contract say of one enclave, as of one block. @module */
import { getAddress } from 'viem/utils'
import { enclaveRegistryAbi, receiptSettlementAbi } from '#chain/generated/abis.ts'
import { ENCLAVE_STATES, type EnclaveState } from '#chain/registry.ts'
import type { Hex } from '#protocol/bytes.ts'
import { ENCLAVE_ROLE } from '#protocol/evidence/statement.ts'
import type { ExplorerDeployment } from './config.ts'
import type { Reader } from './reader.ts'

/** Amounts in units, times in seconds since the epoch. */
export type EnclaveView = {
  readonly enclave: Hex
  readonly role: 'gateway' | 'issuer'
  readonly state: EnclaveState
  readonly operator: Hex
  readonly measurement: Hex
  readonly isApproved: boolean
  readonly isDevelopment: boolean
  readonly isBonded: boolean
  readonly endsAt: number
  readonly keyConfigs: readonly { readonly hash: Hex; readonly activeFrom: number; readonly expiresAt: number }[]
  readonly settledSize: number
  readonly earned: bigint
  readonly cleared: bigint
  readonly credited: bigint
  readonly share: bigint
  /** Time of the block that all of this is read at. */
  readonly now: number
}

/** Answers undefined for an enclave that was never registered. Throws what the RPC endpoint throws. */
export async function readEnclave(
  reader: Reader,
  { registry, settlement }: ExplorerDeployment,
  enclave: Hex,
): Promise<EnclaveView | undefined> {
  const block = await reader.getBlock()
  const at = { blockNumber: block.number, args: [getAddress(enclave)] } as const
  const ofRegistry = { address: registry, abi: enclaveRegistryAbi, ...at } as const
  const ofSettlement = { address: settlement, abi: receiptSettlementAbi, ...at } as const
  const [state, entry, keyConfigs, account, share] = await Promise.all([
    reader.readContract({ ...ofRegistry, functionName: 'stateOf' }),
    reader.readContract({ ...ofRegistry, functionName: 'enclaveOf' }),
    reader.readContract({ ...ofRegistry, functionName: 'keyConfigsOf' }),
    reader.readContract({ ...ofSettlement, functionName: 'accountOf' }),
    reader.readContract({ ...ofSettlement, functionName: 'operatorShareOf' }),
  ])
  const name = ENCLAVE_STATES[state] ?? 'none'
  if (name === 'none') return undefined
  const { role, measurement } = entry
  const isApproved = await reader.readContract({
    address: registry,
    abi: enclaveRegistryAbi,
    functionName: 'isApproved',
    args: [role, measurement],
    blockNumber: block.number,
  })
  return {
    enclave,
    role: role === ENCLAVE_ROLE.issuer ? 'issuer' : 'gateway',
    state: name,
    operator: entry.operator.toLowerCase() as Hex,
    measurement,
    isApproved,
    isDevelopment: entry.isDevelopment,
    isBonded: entry.isBonded,
    endsAt: entry.endsAt,
    keyConfigs: keyConfigs.filter(({ expiresAt }) => expiresAt > 0),
    settledSize: account.size,
    earned: account.earned,
    cleared: account.cleared,
    credited: account.credited,
    share,
    now: Number(block.timestamp),
  }
}
