/**
 * Amounts in credits: which denominations make up an amount, which of a wallet's credits pay, what comes back, and how people write it.
 *
 * A credit is worth 2^exponent units, exponent 0 … 23. Fees are rounded up to five significant bits (`fiveBitsRoundedUp` of
 * prices.ts). Spec: docs/spec.md section 9.
 * @module
 */
import { fiveBitsRoundedUp } from '../prices.ts'
import { CreditError } from './creditError.ts'

export const DENOMINATION_COUNT = 24
/** Credits in a payment, and blanks for its change: the change of eight credits takes thirty at most. */
export const CREDIT_SLOTS = 8
export const BLANK_SLOTS = 32

export const UNITS_PER_OPG = 1_000_000n
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
 * Chooses the wallet's credits that pay: eight of them, or all of a wallet that has fewer, worth at least the maximum fee.
 *
 * The issuer sees how many credits a payment carries. Always eight, so that the number tells nothing of a wallet that has as many; and small
 * credits that come along are consolidated, as change is made of the fewest there can be.
 *
 * The eight smallest are taken where they reach. Where they do not, the cover with the smallest overpayment is, and the slots that it leaves are
 * filled with the smallest of the rest. What fills is among the eight smallest, which are worth less than the fee: so filling never ties up as much as
 * the fee itself. An overpayment is not at risk (nobody captures more than the maximum fee) and comes back with the answer; meanwhile it cannot pay
 * for anything else, which is why it is kept small.
 */
export function chooseCredits(exponents: readonly number[], maximumFee: bigint): CreditChoice {
  checkUnits(maximumFee)
  const largestFirst = byValue(exponents)
  const smallest = largestFirst.slice(-CREDIT_SLOTS)
  if (smallest.length > 0 && worthOf(smallest) >= maximumFee) return chosen(smallest)
  const cover = coverOf(largestFirst, maximumFee, CREDIT_SLOTS)
  // A payment carries one credit at least, even for nothing.
  if (cover === undefined || cover.length === 0) {
    return {
      ok: false,
      code: 'INSUFFICIENT',
      needed: maximumFee,
      spendable: worthOf(largestFirst.slice(0, CREDIT_SLOTS)),
      balance: worthOf(largestFirst),
    }
  }
  const taken = new Set(cover)
  const rest = largestFirst.filter((credit) => !taken.has(credit))
  const free = CREDIT_SLOTS - cover.length
  return chosen([...cover, ...rest.slice(Math.max(0, rest.length - free))])
}

/** Indices of the credits that are worth at least `units` with the smallest excess there is; undefined when all together are not. */
export function coverUnits(exponents: readonly number[], units: bigint): readonly number[] | undefined {
  checkUnits(units)
  return coverOf(byValue(exponents), units, exponents.length)?.map(({ index }) => index)
}

type RankedCredit = { readonly index: number; readonly units: bigint }

/**
 * At most `slots` credits that are worth at least `units`, with the smallest excess there is. Of equal ones, the choice that uses up more credits.
 *
 * Largest first is optimal here. As every credit divides every larger one, smaller credits worth as much as a larger one contain a
 * part worth exactly that, so taking the larger never costs a slot more. What does not fit under `units` any more can only be the
 * last credit, and each later candidate for it exceeds no more than the one before.
 */
function coverOf(largestFirst: readonly RankedCredit[], units: bigint, slots: number): RankedCredit[] | undefined {
  const taken: RankedCredit[] = []
  let total = 0n
  let covering: RankedCredit[] | undefined
  for (const credit of largestFirst) {
    if (taken.length === slots || total === units) break
    if (total + credit.units > units) {
      covering = [...taken, credit]
    } else {
      taken.push(credit)
      total += credit.units
    }
  }
  return total === units ? taken : covering
}

function byValue(exponents: readonly number[]): RankedCredit[] {
  const ranked = exponents.map((exponent, index) => ({ index, units: unitsOf(exponent) }))
  return ranked.sort((a, b) => (a.units < b.units ? 1 : a.units > b.units ? -1 : a.index - b.index))
}

function worthOf(credits: readonly RankedCredit[]): bigint {
  return credits.reduce((sum, { units }) => sum + units, 0n)
}

function chosen(credits: readonly RankedCredit[]): CreditChoice {
  return { ok: true, indices: credits.map(({ index }) => index), total: worthOf(credits) }
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

/** Units as decimal OPG without needless zeros: 1 OPG is 10^6 units. */
export function formatOpg(units: bigint): string {
  const fraction = (units % UNITS_PER_OPG).toString().padStart(6, '0').replace(/0+$/, '')
  return `${units / UNITS_PER_OPG}${fraction === '' ? '' : `.${fraction}`} OPG`
}

/** Decimal OPG, with or without the unit's name, as units; undefined for anything else, and for parts of a unit. */
export function parseOpg(text: string): bigint | undefined {
  const match = /^(0|[1-9][0-9]{0,12})(?:\.([0-9]{1,6}))?(?: ?OPG)?$/i.exec(text.trim())
  if (match === null) return undefined
  const [, whole = '0', fraction = ''] = match
  return BigInt(whole) * UNITS_PER_OPG + BigInt(fraction.padEnd(6, '0'))
}

function countBits(value: bigint): number {
  return value.toString(2).replaceAll('0', '').length
}

function checkUnits(units: bigint): bigint {
  if (units < 0n || units >> 64n !== 0n) throw new CreditError('BAD_AMOUNT', 'expected units from 0 below 2^64')
  return units
}
