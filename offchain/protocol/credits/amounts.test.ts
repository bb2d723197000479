/** Splitting, choosing and change, against plain searches; and how much change blanks must hold. @module */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  CREDIT_SLOTS,
  chooseCredits,
  coverUnits,
  DENOMINATION_COUNT,
  formatOpg,
  parseOpg,
  slotsNeeded,
  splitAmount,
  splitChange,
  totalUnits,
  unitsOf,
} from './amounts.ts'
import type { CreditErrorCode } from './creditError.ts'

const TOP = DENOMINATION_COUNT - 1
const exponent = fc.nat({ max: TOP })
const inputs = fc.array(exponent, { minLength: 1, maxLength: CREDIT_SLOTS })

describe('an amount', () => {
  it('splits into its bits, and into as many of the largest as it takes', () => {
    expect(splitAmount(0n, 0)).toEqual([])
    expect(splitAmount(0b1011n, 3)).toEqual([3, 1, 0])
    expect(splitAmount(2n ** 23n - 1n, 23)).toHaveLength(23)
    expect(splitAmount(2n ** 25n + 5n, 6)).toEqual([23, 23, 23, 23, 2, 0])
  })

  it('splits into the fewest credits there can be', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 2n ** 27n }), (units) => {
        const exponents = splitAmount(units, 1_000)
        expect(totalUnits(exponents)).toBe(units)
        expect(exponents).toHaveLength(slotsNeeded(units))
        // Two of one kind below the largest could be one of the next: there are none, so no split is shorter.
        const below = exponents.filter((value) => value < TOP)
        expect(new Set(below).size).toBe(below.length)
        expect(exponents).toEqual(exponents.toSorted((a, b) => b - a))
      }),
      { numRuns: 500, seed: 5 },
    )
  })

  it('that does not fit is refused with the number it takes', () => {
    refuses(() => splitAmount(0b111n, 2), 'TOO_FEW_SLOTS')
    expect(() => splitAmount(0b111n, 2)).toThrow('7 units take 3 credits, and there are 2 slots')
    refuses(() => splitAmount(2n ** 63n, 16), 'TOO_FEW_SLOTS')
  })

  it('is a whole number of 64 bits, an exponent one below 24', () => {
    for (const units of [-1n, 2n ** 64n]) {
      refuses(() => splitAmount(units, 16), 'BAD_AMOUNT')
      refuses(() => chooseCredits([0], units), 'BAD_AMOUNT')
    }
    for (const bad of [-1, 24, 0.5, Number.NaN]) refuses(() => unitsOf(bad), 'BAD_EXPONENT')
  })
})

describe('as people write it', () => {
  it('is decimal OPG with its unit, and reads back as the same units', () => {
    expect(formatOpg(0n)).toBe('0 OPG')
    expect(formatOpg(1n)).toBe('0.000001 OPG')
    expect(formatOpg(10_500_000n)).toBe('10.5 OPG')
    for (const text of ['10.5', '10.5 OPG', '10.50opg', ' 10.5 ']) expect(parseOpg(text)).toBe(10_500_000n)
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 10n ** 18n }), (units) => {
        expect(parseOpg(formatOpg(units))).toBe(units)
      }),
      { numRuns: 200, seed: 10 },
    )
  })

  it('is nothing else', () => {
    for (const text of ['', '.5', '1.', '-1', '1e3', '0x1', '01', '1.0000001', '1,5', '1 ETH', '1 OPG OPG']) {
      expect(parseOpg(text)).toBeUndefined()
    }
  })
})

describe('a choice of credits', () => {
  const wallets = fc.array(fc.nat({ max: 6 }), { minLength: 0, maxLength: 11 })
  const fees = fc.bigInt({ min: 0n, max: 200n })

  it('carries eight credits whenever the wallet has eight, and all of fewer', () => {
    fc.assert(
      fc.property(wallets, fees, (wallet, fee) => {
        const choice = chooseCredits(wallet, fee)
        if (!choice.ok) return
        expect(choice.indices).toHaveLength(Math.min(CREDIT_SLOTS, wallet.length))
        expect(new Set(choice.indices).size).toBe(choice.indices.length)
        expect(totalUnits(choice.indices.map((i) => wallet[i] ?? Number.NaN))).toBe(choice.total)
        expect(choice.total).toBeGreaterThanOrEqual(fee)
      }),
      { numRuns: 300, seed: 6 },
    )
  })

  it('is found where a search through all subsets of at most eight finds one, and ties up less than the fee beside it', () => {
    fc.assert(
      fc.property(wallets, fees, (wallet, fee) => {
        const choice = chooseCredits(wallet, fee)
        const best = smallestCover(wallet, fee)
        expect(choice.ok).toBe(wallet.length > 0 && best !== undefined)
        if (!choice.ok || best === undefined) return
        const smallest = totalUnits(wallet.toSorted((a, b) => a - b).slice(0, CREDIT_SLOTS))
        // Nothing of as many credits is worth less than the smallest ones.
        if (smallest >= fee) expect(choice.total).toBe(smallest)
        else expect(choice.total).toBeLessThan(best + fee)
      }),
      { numRuns: 300, seed: 8 },
    )
  })

  it('says what is missing when eight do not reach, though the balance does', () => {
    expect(
      chooseCredits(
        Array.from({ length: 20 }, () => 1),
        32n,
      ),
    ).toEqual({
      ok: false,
      code: 'INSUFFICIENT',
      needed: 32n,
      spendable: 16n,
      balance: 40n,
    })
    expect(chooseCredits([], 1n)).toEqual({ ok: false, code: 'INSUFFICIENT', needed: 1n, spendable: 0n, balance: 0n })
  })

  it('takes a larger credit when small ones would not fit in eight slots, and fills up with the smallest', () => {
    const wallet = [...Array.from({ length: 9 }, () => 0), 5]
    expect(chooseCredits(wallet, 9n)).toEqual({ ok: true, indices: [9, 2, 3, 4, 5, 6, 7, 8], total: 39n })
    expect(chooseCredits(wallet, 8n)).toMatchObject({ ok: true, total: 8n })
    expect(chooseCredits([9, 3, 1], 5n)).toEqual({ ok: true, indices: [0, 1, 2], total: 522n })
  })

  it('takes the first of equal ones', () => {
    expect(coverUnits([5, 5, 6, 5], 32n)).toEqual([0])
    expect(coverUnits([5, 5, 6, 5], 96n)).toEqual([2, 0])
  })

  it('without a bound on slots is the smallest excess that a search finds', () => {
    fc.assert(
      fc.property(wallets, fees, (wallet, units) => {
        const cover = coverUnits(wallet, units)
        const best = smallestCover(wallet, units, wallet.length)
        expect(cover === undefined ? undefined : totalUnits(cover.map((i) => wallet[i] ?? Number.NaN))).toBe(best)
      }),
      { numRuns: 300, seed: 9 },
    )
  })
})

describe('change', () => {
  it('is what was paid in less the fee', () => {
    expect(splitChange([4, 2], 3n)).toEqual([4, 0])
    expect(splitChange([4], 16n)).toEqual([])
    // A release captures nothing: eight credits come back as at most eight.
    expect(splitChange([3, 3, 1], 0n)).toEqual([4, 1])
  })

  it('is refused for a fee above the credits, or of more than five bits', () => {
    refuses(() => splitChange([4], 17n), 'BAD_AMOUNT')
    refuses(() => splitChange([4], 18n), 'BAD_AMOUNT')
    refuses(() => splitChange([10], 33n), 'BAD_AMOUNT')
    refuses(() => splitChange([10], -1n), 'BAD_AMOUNT')
  })

  it('takes thirty credits at most, two fewer than there are blanks: eight of the largest less one unit take thirty', () => {
    const most = 8n * 2n ** 23n
    expect(slotsNeeded(most - 1n)).toBe(30)
    expect(
      splitChange(
        Array.from({ length: 8 }, () => TOP),
        1n,
      ),
    ).toHaveLength(30)
    // Below 2^26 there are at most seven of the largest and 23 bits, so nothing takes more.
    fc.assert(
      fc.property(inputs, fc.bigInt({ min: 0n, max: most }), (exponents, fee) => {
        const total = totalUnits(exponents)
        if (fee <= total) expect(slotsNeeded(total - fee)).toBeLessThanOrEqual(30)
      }),
      { numRuns: 500, seed: 7 },
    )
  })
})

/** The least that at most `slots` credits of the wallet are worth and that covers `fee`, by trying all subsets. */
function smallestCover(wallet: readonly number[], fee: bigint, slots: number = CREDIT_SLOTS): bigint | undefined {
  let best: bigint | undefined
  for (let subset = 0; subset < 2 ** wallet.length; subset++) {
    const taken = wallet.filter((_, i) => (subset >> i) & 1)
    if (taken.length > slots) continue
    const total = totalUnits(taken)
    if (total >= fee && (best === undefined || total < best)) best = total
  }
  return best
}

function refuses(call: () => unknown, code: CreditErrorCode): void {
  expect(call).toThrow(expect.objectContaining({ name: 'CreditError', code }))
}
