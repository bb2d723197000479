/** How many of a payment's blanks its change can take: only so many are checked before the credits are burnt. @module */
import { BLANK_SLOTS, DENOMINATION_COUNT } from '#protocol/credits/amounts.ts'

const TOP = BigInt(DENOMINATION_COUNT - 1)
const LOW_MASK = (1n << TOP) - 1n

/** The most credits that any amount from `total - maximumFee` to `total` splits into; at most BLANK_SLOTS. */
export function blanksNeeded(total: bigint, maximumFee: bigint): number {
  const least = total - maximumFee
  let most = 0
  // One range of amounts for each number of top credits among them: three at most matter, as a full range takes 23 below the top.
  for (let top = total >> TOP; top >= least >> TOP; top--) {
    const from = top === least >> TOP ? least & LOW_MASK : 0n
    const to = top === total >> TOP ? total & LOW_MASK : LOW_MASK
    most = Math.max(most, Number(top) + mostBits(from, to))
  }
  return Math.min(most, BLANK_SLOTS)
}

/** The most bits set in any number from `from` to `to`. */
function mostBits(from: bigint, to: bigint): number {
  let best = countBits(to)
  // Every number below `to` first differs from it where `to` has a one; below that bit it may be all ones.
  for (let bit = 0n; bit < TOP; bit++) {
    if (((to >> bit) & 1n) === 0n) continue
    const candidate = ((to >> bit) << bit) - 1n
    if (candidate >= from) best = Math.max(best, countBits(candidate))
  }
  return best
}

function countBits(value: bigint): number {
  return value.toString(2).replaceAll('0', '').length
}
