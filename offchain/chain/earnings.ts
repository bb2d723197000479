/**
 * What an operator's enclaves have earned, what of it is drawn, and the bonds behind them. Amounts in units, times in seconds since the epoch.
 * @module
 */
import { getAbiItem, getAddress, type PublicClient } from 'viem'
import type { Hex } from '#protocol/bytes.ts'
import { ENCLAVE_ROLE } from '#protocol/evidence/statement.ts'
import { enclaveRegistryAbi, receiptSettlementAbi } from './generated/abis.ts'
import { ENCLAVE_STATES, type EnclaveState } from './registry.ts'
import { fromChain } from './vaultErrors.ts'
import { readLogs } from './vaultLogs.ts'

export type EarningsAccess = {
  readonly client: PublicClient
  readonly registry: Hex
  readonly settlement: Hex
  /** Block to read registrations from. */
  readonly fromBlock: bigint
}

export type Payout = { readonly drawn: bigint; readonly thawing: bigint; readonly readyAt: number }

export type EnclaveEarnings = {
  readonly enclave: Hex
  readonly role: 'gateway' | 'issuer'
  readonly state: EnclaveState
  readonly endsAt: number
  /** When its bond can be released; undefined when it holds none. */
  readonly bondFreeAt: number | undefined
  /** As its heads say, as issuers have cleared, and what of both the settlement has credited: fees before they are split. */
  readonly earned: bigint
  readonly cleared: bigint
  readonly credited: bigint
  /** The operator's own part of what was credited, and what became of it. */
  readonly share: bigint
  readonly payout: Payout
  /** What neither was drawn nor thaws, see `idleUnits`. */
  readonly idle: bigint
}

export type OperatorEarnings = {
  readonly operator: Hex
  /** Of the block that all of this is read at. */
  readonly now: number
  readonly bond: { readonly deposited: bigint; readonly locked: bigint }
  /** What each enclave of a role locks. */
  readonly bondNeeded: { readonly gateway: bigint; readonly issuer: bigint }
  /** In the order they were registered. */
  readonly enclaves: readonly EnclaveEarnings[]
  /** Fees for settling: what the same account earned by sending batches. */
  readonly settler: { readonly earned: bigint; readonly payout: Payout; readonly idle: bigint }
}

/** Enclaves asked about at once. */
const AT_ONCE = 16
const REGISTERED = getAbiItem({ abi: enclaveRegistryAbi, name: 'EnclaveRegistered' })

/** Everything of one operator, as of one block. Throws `VaultError` (`CHAIN_FAILED`). */
export async function readEarnings(access: EarningsAccess, operator: Hex): Promise<OperatorEarnings> {
  const { client } = access
  const block = await fromChain(client.getBlock())
  const registry = { address: access.registry, abi: enclaveRegistryAbi, blockNumber: block.number } as const
  const settlement = { address: access.settlement, abi: receiptSettlementAbi, blockNumber: block.number } as const
  const account = getAddress(operator)
  const [bond, gateway, issuer, bondSeconds, earned, settler, registered] = await Promise.all([
    fromChain(client.readContract({ ...registry, functionName: 'bondOf', args: [account] })),
    fromChain(client.readContract({ ...registry, functionName: 'GATEWAY_BOND' })),
    fromChain(client.readContract({ ...registry, functionName: 'ISSUER_BOND' })),
    fromChain(client.readContract({ ...registry, functionName: 'BOND_PERIOD' })),
    fromChain(client.readContract({ ...settlement, functionName: 'settlerEarned', args: [account] })),
    fromChain(client.readContract({ ...settlement, functionName: 'settlerPayoutOf', args: [account] })),
    readLogs(access, (range) =>
      client.getLogs({
        address: access.registry,
        event: REGISTERED,
        args: { operator: account },
        strict: true,
        ...range,
      }),
    ),
  ])
  const ids = registered
    .filter(({ blockNumber }) => blockNumber <= block.number)
    .map(({ args }) => args.enclave)
    .toReversed()
  const enclaves: EnclaveEarnings[] = []
  for (let from = 0; from < ids.length; from += AT_ONCE) {
    const page = ids.slice(from, from + AT_ONCE)
    const reads = page.map((enclave) => readEnclave(access, enclave, { blockNumber: block.number, bondSeconds }))
    enclaves.push(...(await Promise.all(reads)))
  }
  return {
    operator,
    now: Number(block.timestamp),
    bond: { deposited: bond.deposited, locked: bond.locked },
    bondNeeded: { gateway, issuer },
    enclaves,
    settler: { earned, payout: settler, idle: earned - settler.drawn - settler.thawing },
  }
}

async function readEnclave(
  { client, registry, settlement }: EarningsAccess,
  enclave: Hex,
  { blockNumber, bondSeconds }: { readonly blockNumber: bigint; readonly bondSeconds: number },
): Promise<EnclaveEarnings> {
  const args = [getAddress(enclave)] as const
  const registered = { address: registry, abi: enclaveRegistryAbi, blockNumber, args } as const
  const settled = { address: settlement, abi: receiptSettlementAbi, blockNumber, args } as const
  const [entry, state, account, share, payout] = await Promise.all([
    fromChain(client.readContract({ ...registered, functionName: 'enclaveOf' })),
    fromChain(client.readContract({ ...registered, functionName: 'stateOf' })),
    fromChain(client.readContract({ ...settled, functionName: 'accountOf' })),
    fromChain(client.readContract({ ...settled, functionName: 'operatorShareOf' })),
    fromChain(client.readContract({ ...settled, functionName: 'operatorPayoutOf' })),
  ])
  const { earned, cleared, credited } = account
  return {
    enclave: enclave.toLowerCase() as Hex,
    role: entry.role === ENCLAVE_ROLE.issuer ? 'issuer' : 'gateway',
    state: ENCLAVE_STATES[state] ?? 'none',
    endsAt: entry.endsAt,
    bondFreeAt: entry.isBonded ? entry.endsAt + bondSeconds : undefined,
    earned,
    cleared,
    credited,
    share,
    payout,
    idle: idleUnits({ earned, cleared, credited, share, payout }),
  }
}

/**
 * What neither was drawn nor thaws. Of what both sides agree on but the settlement has not credited yet the whole counts, as its split is made only
 * then: a little more than will come.
 */
export function idleUnits({
  earned,
  cleared,
  credited,
  share,
  payout,
}: Pick<EnclaveEarnings, 'earned' | 'cleared' | 'credited' | 'share' | 'payout'>): bigint {
  const agreed = earned < cleared ? earned : cleared
  const uncredited = agreed > credited ? agreed - credited : 0n
  return share - payout.drawn - payout.thawing + uncredited
}
