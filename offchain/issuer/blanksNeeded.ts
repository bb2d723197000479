/** How many of a payment's blanks its change can take: only so many are checked before the credits are burnt. @module */
import { strict as assert } from 'node:assert'
import { CREDIT_SLOTS, DENOMINATION_COUNT } from '#protocol/credits/amounts.ts'

const TOP = DENOMINATION_COUNT - 1
const LOW_MASK = 2 ** TOP - 1
const TOTAL_MAX = CREDIT_SLOTS * 2 ** TOP

/** The most credits that the rest splits into, whatever fee of five significant bits up to `maximumFee` is taken from `total`. */
export function blanksNeeded(total: bigint, maximumFee: bigint): number {
  assert(maximumFee <= total && total <= TOTAL_MAX, 'no payment is worth more, or promises more than it is worth')
  // Small enough for the integers of the processor, of which some hundreds are looked at.
  const [units, most] = [Number(total), Number(maximumFee)]
  let needed = slotsNeeded(units)
  for (let step = 1; step <= most; step *= 2) {
    // 1 to 31, then 32 to 62 by two, 64 to 124 by four: each range begins where the one before ended.
    for (let fee = step === 1 ? 1 : 16 * step; fee < 32 * step && fee <= most; fee += step) {
      needed = Math.max(needed, slotsNeeded(units - fee))
    }
  }
  return needed
}

/** As `slotsNeeded` of amounts.ts, for integers of 31 bits. */
function slotsNeeded(units: number): number {
  let count = units >> TOP
  for (let rest = units & LOW_MASK; rest !== 0; rest &= rest - 1) count++
  return count
}
