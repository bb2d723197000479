/**
 * Amounts in credits: which denominations make up an amount, which of a wallet's credits pay, and what comes back.
 *
 * A credit is worth 2^exponent units, exponent 0 … 23. Fees are rounded up to five significant bits (`fiveBitsRoundedUp` of
 * prices.ts). Spec: DESIGN section 6.
 * @module
 */
import { fiveBitsRoundedUp } from '../prices.ts'
import { CreditError } from './creditError.ts'

export const DENOMINATION_COUNT = 24
/** Credits in a payment, and blanks for its change: the change of eight credits takes thirty at most. */
export const CREDIT_SLOTS = 8
export const BLANK_SLOTS = 32

const TOP = BigInt(DENOMINATION_COUNT - 1)

/** 2^exponent units. Throws `CreditError` (`BAD_EXPONENT`). */
export function unitsOf(exponent: number): bigint {
  if (!Number.isInteger(exponent) || exponent < 0 || exponent >= DENOMINATION_COUNT) {
    throw new CreditError('BAD_EXPONENT', `expected an exponent from 0 below ${DENOMINATION_COUNT}`)
  }
  return 1n << BigInt(exponent)
}

/** What credits of these exponents are worth together. */
export function totalUnits(exponents: readonly number[]): bigint {
  return exponents.reduce((sum, exponent) => sum + unitsOf(exponent), 0n)
}

/** The fewest credits that are worth `units`: how many of 2^23, and one per bit below. */
export function slotsNeeded(units: bigint): number {
  checkUnits(units)
  return Number(units >> TOP) + countBits(units & ((1n << TOP) - 1n))
}

/** The exponents, largest first, of the fewest credits that are worth `units`. Throws `CreditError` (`TOO_FEW_SLOTS`, `BAD_AMOUNT`). */
export function splitAmount(units: bigint, slots: number): number[] {
  const needed = slotsNeeded(units)
  if (needed > slots) {
    throw new CreditError('TOO_FEW_SLOTS', `${units} units take ${needed} credits, and there are ${slots} slots`)
  }
  const exponents = Array.from({ length: Number(units >> TOP) }, () => Number(TOP))
  for (let exponent = TOP - 1n; exponent >= 0n; exponent--) {
    if (((units >> exponent) & 1n) === 1n) exponents.push(Number(exponent))
  }
  return exponents
}

/** `indices` point into the wallet's list. `needed` is the maximum fee, `spendable` the most that one payment can carry. */
export type CreditChoice =
  | { readonly ok: true; readonly indices: readonly number[]; readonly total: bigint }
  | {
      readonly ok: false
      readonly code: 'INSUFFICIENT'
      readonly needed: bigint
      readonly spendable: bigint
      readonly balance: bigint
    }

/**
 * Chooses at most eight of the wallet's credits that cover the maximum fee, with the smallest overpayment there is. Of equal ones,
 * the choice that uses up more credits.
 *
 * Largest first is optimal here. As every credit divides every larger one, smaller credits worth as much as a larger one contain a
 * part worth exactly that, so taking the larger never costs a slot more. What does not fit under the fee any more can only be the
 * last credit, and each later candidate for it overpays no more than the one before.
 */
export function chooseCredits(exponents: readonly number[], maximumFee: bigint): CreditChoice {
  checkUnits(maximumFee)
  const largestFirst = exponents.map((exponent, index) => ({ index, units: unitsOf(exponent) }))
  largestFirst.sort((a, b) => (a.units < b.units ? 1 : a.units > b.units ? -1 : a.index - b.index))
  const taken: number[] = []
  let total = 0n
  let covering: { indices: number[]; total: bigint } | undefined
  for (const { index, units } of largestFirst) {
    if (taken.length === CREDIT_SLOTS || total === maximumFee) break
    if (total + units > maximumFee) {
      covering = { indices: [...taken, index], total: total + units }
    } else {
      taken.push(index)
      total += units
    }
  }
  if (total === maximumFee) return { ok: true, indices: taken, total }
  if (covering !== undefined) return { ok: true, ...covering }
  const sum = (items: typeof largestFirst): bigint => items.reduce((units, item) => units + item.units, 0n)
  return {
    ok: false,
    code: 'INSUFFICIENT',
    needed: maximumFee,
    spendable: sum(largestFirst.slice(0, CREDIT_SLOTS)),
    balance: sum(largestFirst),
  }
}

/** The exponents of the change, one per blank in order. Throws `CreditError`: `BAD_AMOUNT` for a fee that is none, `TOO_FEW_SLOTS`. */
export function splitChange(inputs: readonly number[], fee: bigint): number[] {
  const total = totalUnits(inputs)
  if (!isRoundedFee(fee) || fee > total) {
    throw new CreditError('BAD_AMOUNT', `expected a fee of at most five significant bits and ${total} units`)
  }
  return splitAmount(total - fee, BLANK_SLOTS)
}

/** Whether a fee is what rounding up to five significant bits leaves: nothing else may be reserved or captured. */
export function isRoundedFee(fee: bigint): boolean {
  return fee >= 0n && fiveBitsRoundedUp(fee) === fee
}

function countBits(value: bigint): number {
  return value.toString(2).replaceAll('0', '').length
}

function checkUnits(units: bigint): bigint {
  if (units < 0n || units >> 64n !== 0n) throw new CreditError('BAD_AMOUNT', 'expected units from 0 below 2^64')
  return units
}
