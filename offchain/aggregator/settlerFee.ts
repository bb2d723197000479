/**
 * What a call of `settle` pays whoever sends it, computed from what is on chain before it. Pure. Twin of `_clearLine`, `_earn` and `_credit` in
 * ReceiptSettlement, and of FeeSplit.
 * @module
 */
import { larger } from '#protocol/bigints.ts'
import type { Hex } from '#protocol/bytes.ts'
import type { SettleCall } from './callPlan.ts'

/** One enclave's account, in units. */
export type EnclaveLedger = {
  readonly size: bigint
  readonly earned: bigint
  readonly cleared: bigint
  readonly credited: bigint
  /** Whether its operator named another settler whose exclusive time lasts. */
  readonly isOthersTurn: boolean
}

/** In ten-thousandths of what is credited: the settler's, and the settler's and the protocol's together. */
export type FeeShares = { readonly settlerBps: bigint; readonly bothBps: bigint }

export type LedgerView = {
  readonly ledgers: ReadonlyMap<Hex, EnclaveLedger>
  /** What each line's keyset has cleared for its enclave, by `lineKey`. */
  readonly clearedBy: ReadonlyMap<string, bigint>
  readonly shares: FeeShares
}

const BPS = 10_000n

export function lineKey(keyset: Hex, enclave: Hex): string {
  return `${keyset} ${enclave}`
}

/** In units. Only a head credits; what clearings alone make ready is paid with the enclave's next head. */
export function settlerFee({ heads, clearings }: SettleCall, { ledgers, clearedBy, shares }: LedgerView): bigint {
  const added = new Map<Hex, bigint>()
  const booked = new Map(clearedBy)
  for (const { clearing } of clearings) {
    for (const { enclave, captured } of clearing.enclaves) {
      const key = lineKey(clearing.keyset, enclave)
      const before = booked.get(key) ?? 0n
      if (captured <= before) continue
      booked.set(key, captured)
      added.set(enclave, (added.get(enclave) ?? 0n) + captured - before)
    }
  }
  let fee = 0n
  for (const head of heads) {
    const ledger = ledgers.get(head.enclave)
    if (ledger === undefined || ledger.isOthersTurn || head.size <= ledger.size) continue
    const earned = larger(ledger.earned, head.fees)
    const cleared = ledger.cleared + (added.get(head.enclave) ?? 0n)
    const agreed = larger(ledger.credited, earned < cleared ? earned : cleared)
    fee += settlerPart(agreed, shares) - settlerPart(ledger.credited, shares)
  }
  return fee
}

function settlerPart(credited: bigint, { settlerBps, bothBps }: FeeShares): bigint {
  if (bothBps === 0n) return 0n
  const both = (credited * bothBps + BPS - 1n) / BPS
  return (both * settlerBps) / bothBps
}
