/**
 * What an operator's enclaves have earned, what of it is drawn, and the bonds behind them; and the calls that bring all of it home. Whoever sends
 * those calls, the money goes to the operator. Amounts in units, times in seconds since the epoch.
 * @module
 */
import { encodeFunctionData, getAbiItem, getAddress, type PublicClient } from 'viem'
import type { Hex } from '#protocol/bytes.ts'
import { ENCLAVE_ROLE } from '#protocol/evidence/statement.ts'
import { enclaveRegistryAbi, receiptSettlementAbi } from './generated/abis.ts'
import { ENCLAVE_STATES, type EnclaveState } from './registry.ts'
import { fromChain } from './vaultErrors.ts'
import { readLogs } from './vaultLogs.ts'
import type { ChainCall } from './vaultSigner.ts'

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
  readonly settler: { readonly earned: bigint; readonly payout: Payout }
}

/** Enclaves asked about at once. */
const AT_ONCE = 16
/** Twin of BOND_PERIOD in OperatorBonds.sol. */
const BOND_SECONDS = 14 * 86_400
const REGISTERED = getAbiItem({ abi: enclaveRegistryAbi, name: 'EnclaveRegistered' })

/** Everything of one operator, as of one block. Throws `VaultError` (`CHAIN_FAILED`). */
export async function readEarnings(access: EarningsAccess, operator: Hex): Promise<OperatorEarnings> {
  const { client } = access
  const block = await fromChain(client.getBlock())
  const registry = { address: access.registry, abi: enclaveRegistryAbi, blockNumber: block.number } as const
  const settlement = { address: access.settlement, abi: receiptSettlementAbi, blockNumber: block.number } as const
  const account = getAddress(operator)
  const [bond, gateway, issuer, earned, settler, registered] = await Promise.all([
    fromChain(client.readContract({ ...registry, functionName: 'bondOf', args: [account] })),
    fromChain(client.readContract({ ...registry, functionName: 'GATEWAY_BOND' })),
    fromChain(client.readContract({ ...registry, functionName: 'ISSUER_BOND' })),
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
    enclaves.push(...(await Promise.all(page.map((enclave) => readEnclave(access, enclave, block.number)))))
  }
  return {
    operator,
    now: Number(block.timestamp),
    bond: { deposited: bond.deposited, locked: bond.locked },
    bondNeeded: { gateway, issuer },
    enclaves,
    settler: { earned, payout: settler },
  }
}

async function readEnclave(
  { client, registry, settlement }: EarningsAccess,
  enclave: Hex,
  blockNumber: bigint,
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
  return {
    enclave: enclave.toLowerCase() as Hex,
    role: entry.role === ENCLAVE_ROLE.issuer ? 'issuer' : 'gateway',
    state: ENCLAVE_STATES[state] ?? 'none',
    endsAt: entry.endsAt,
    bondFreeAt: entry.isBonded ? entry.endsAt + BOND_SECONDS : undefined,
    earned: account.earned,
    cleared: account.cleared,
    credited: account.credited,
    share,
    payout,
  }
}

/** A call that moves money one step towards its owner. */
export type PayoutCall = ChainCall & {
  readonly kind: 'thaw' | 'withdraw' | 'release-bond' | 'thaw-settler' | 'withdraw-settler'
  /** Absent for a settler's fees. */
  readonly enclave?: Hex
  /** Units that it moves at least: a thaw may credit more. */
  readonly units: bigint
}

/**
 * What can be done now: draw what has thawed, start the thaw of what lies there, if it is `unitsMin` or more, release bonds of enclaves that ended
 * long enough ago. A settler's fees only if `isSettler`: they go to whoever sends the call.
 */
export function planPayouts(
  { registry, settlement }: Pick<EarningsAccess, 'registry' | 'settlement'>,
  { enclaves, settler, bondNeeded, now }: OperatorEarnings,
  options: { readonly unitsMin: bigint; readonly isSettler: boolean },
): PayoutCall[] {
  const settle = (functionName: 'thaw' | 'withdraw', enclave: Hex) =>
    encodeFunctionData({ abi: receiptSettlementAbi, functionName, args: [getAddress(enclave)] })
  const calls: PayoutCall[] = []
  for (const { enclave, role, state, bondFreeAt, payout, ...account } of enclaves) {
    if (state !== 'compromised') {
      const idle = idleUnits({ ...account, payout })
      if (payout.thawing > 0n && payout.readyAt <= now) {
        calls.push({
          kind: 'withdraw',
          enclave,
          units: payout.thawing,
          to: settlement,
          data: settle('withdraw', enclave),
        })
      } else if (payout.thawing === 0n && idle > 0n && idle >= options.unitsMin) {
        calls.push({ kind: 'thaw', enclave, units: idle, to: settlement, data: settle('thaw', enclave) })
      }
    }
    if (bondFreeAt !== undefined && bondFreeAt <= now) {
      const data = encodeFunctionData({
        abi: enclaveRegistryAbi,
        functionName: 'releaseBond',
        args: [getAddress(enclave)],
      })
      calls.push({ kind: 'release-bond', enclave, units: bondNeeded[role], to: registry, data })
    }
  }
  if (!options.isSettler) return calls
  const { payout } = settler
  const idle = settler.earned - payout.drawn
  const settlerCall = (functionName: 'thawSettler' | 'withdrawSettler') =>
    ({ to: settlement, data: encodeFunctionData({ abi: receiptSettlementAbi, functionName }) }) as const
  if (payout.thawing > 0n && payout.readyAt <= now) {
    calls.push({ kind: 'withdraw-settler', units: payout.thawing, ...settlerCall('withdrawSettler') })
  } else if (payout.thawing === 0n && idle > 0n && idle >= options.unitsMin) {
    calls.push({ kind: 'thaw-settler', units: idle, ...settlerCall('thawSettler') })
  }
  return calls
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
