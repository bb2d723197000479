/** How much of what is due goes into one call of `settle`. Pure. @module */
import type { EarningsHeadMessage } from '#protocol/wire/agentApi.ts'
import type { StoredClearing } from './store.ts'

/** What one call settles: clearings first, then heads. */
export type SettleCall = {
  readonly heads: readonly EarningsHeadMessage[]
  readonly clearings: readonly StoredClearing[]
}

/**
 * Gas of a first-time line and head, about: a node estimates nothing above a transaction's bound (EIP-7825), so a call has to be near its
 * limit before anybody is asked. A line writes one new slot, two more when its enclave lives on several keysets.
 */
const LINE_GAS = 40_000
const HEAD_GAS = 36_000
const CLEARING_GAS = 60_000
/** The transaction itself, the batch's root and the totals. */
const CALL_GAS = 150_000

/** More than a call needs whose every line and head is accepted, all for the first time. */
export function gasBound({ heads, clearings }: SettleCall): number {
  const lines = clearings.reduce((sum, { clearing }) => sum + clearing.enclaves.length, 0)
  return CALL_GAS + heads.length * HEAD_GAS + clearings.length * CLEARING_GAS + lines * LINE_GAS
}

/** As many clearings, oldest first, as fit below `gasMax`, and the heads that fit beside them; always something if anything is due. */
export function planCall({ heads, clearings }: SettleCall, gasMax: number): SettleCall {
  if (clearings.length === 0) return { heads, clearings }
  let gas = 0
  let count = 0
  for (const { clearing } of clearings) {
    gas += CLEARING_GAS + clearing.enclaves.length * LINE_GAS
    if (count > 0 && gas > gasMax) break
    count++
  }
  const headsMax = count < clearings.length ? 0 : Math.max(0, Math.floor((gasMax - gas) / HEAD_GAS))
  return { heads: heads.slice(0, headsMax), clearings: clearings.slice(0, count) }
}

/** A smaller call; `undefined` for one that is as small as can be. Heads go before the last clearing does. */
export function shrinkCall({ heads, clearings }: SettleCall): SettleCall | undefined {
  if (heads.length + clearings.length <= 1) return undefined
  if (heads.length === 1 && clearings.length === 1) return { heads: [], clearings }
  return {
    heads: heads.slice(0, Math.ceil(heads.length / 2)),
    clearings: clearings.slice(0, Math.ceil(clearings.length / 2)),
  }
}
