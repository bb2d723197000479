/**
 * The calls that bring an operator's earnings home: thaw, withdraw, release of bonds. Whoever sends them, the money goes to the operator, and fees
 * for settling to whoever sends.
 * @module
 */
import { encodeFunctionData, getAddress } from 'viem'
import type { Hex } from '#protocol/bytes.ts'
import { type EarningsAccess, type OperatorEarnings, readEarnings } from './earnings.ts'
import { enclaveRegistryAbi, receiptSettlementAbi } from './generated/abis.ts'
import { type ChainCall, type ChainSigner, sendCall } from './vaultSigner.ts'

export type PayoutsDue = {
  readonly operator: Hex
  readonly signer: ChainSigner
  /** What is less than this stays where it is, in units. */
  readonly unitsMin: bigint
}

export type PayoutDone = Pick<PayoutCall, 'kind' | 'enclave' | 'units'> & { readonly transaction: Hex }

/** After a thaw that takes no time, as on local chains, its money is there to be drawn at once; no third round has anything left. */
const ROUNDS_MAX = 3

/** Sends everything that can be done now, one after another, and says each that was mined. Throws what `readEarnings` and `sendCall` throw. */
export async function* payOut(
  access: EarningsAccess,
  { operator, signer, unitsMin }: PayoutsDue,
): AsyncGenerator<PayoutDone> {
  const isSettler = signer.address.toLowerCase() === operator.toLowerCase()
  for (let round = 0; round < ROUNDS_MAX; round++) {
    const calls = planPayouts(access, await readEarnings(access, operator), { unitsMin, isSettler })
    if (calls.length === 0) return
    for (const call of calls) {
      const transaction = await sendCall(access.client, signer, call)
      const { kind, units, enclave } = call
      yield { kind, units, transaction, ...(enclave === undefined ? {} : { enclave }) }
    }
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
  for (const { enclave, role, state, bondFreeAt, payout, idle } of enclaves) {
    if (state !== 'compromised') {
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
  const { payout, idle } = settler
  const settlerCall = (functionName: 'thawSettler' | 'withdrawSettler') =>
    ({ to: settlement, data: encodeFunctionData({ abi: receiptSettlementAbi, functionName }) }) as const
  if (payout.thawing > 0n && payout.readyAt <= now) {
    calls.push({ kind: 'withdraw-settler', units: payout.thawing, ...settlerCall('withdrawSettler') })
  } else if (payout.thawing === 0n && idle > 0n && idle >= options.unitsMin) {
    calls.push({ kind: 'thaw-settler', units: idle, ...settlerCall('thawSettler') })
  }
  return calls
}
