import fc from 'fast-check'
import { expect, it } from 'vitest'
import { BLANK_SLOTS, isRoundedFee, slotsNeeded } from '#protocol/credits/amounts.ts'
import { fiveBitsRoundedUp } from '#protocol/prices.ts'
import { blanksNeeded } from './blanksNeeded.ts'

it('is what the worst fee that can be captured leaves, tried one by one', () => {
  const range = fc.tuple(
    fc.oneof(fc.integer({ min: 0, max: 300 }), fc.integer({ min: 2 ** 23 - 150, max: 2 ** 23 + 150 })),
  )
  fc.assert(
    fc.property(range, fc.integer({ min: 0, max: 300 }), ([total], fee) => {
      const maximumFee = Math.min(total, fee)
      let worst = 0
      for (let taken = 0; taken <= maximumFee; taken++)
        if (isRoundedFee(BigInt(taken))) worst = Math.max(worst, slotsNeeded(BigInt(total - taken)))
      expect(blanksNeeded(BigInt(total), BigInt(maximumFee))).toBe(worst)
    }),
    { seed: 9, numRuns: 500 },
  )
})

it('is enough for every fee that can be captured, however large', () => {
  const units = fc.bigInt({ min: 0n, max: 8n << 23n })
  fc.assert(
    fc.property(units, units, units, (total, bound, taken) => {
      const maximumFee = bound % (total + 1n)
      const fee = fiveBitsRoundedUp(taken % (maximumFee + 1n))
      if (fee > maximumFee) return
      expect(slotsNeeded(total - fee)).toBeLessThanOrEqual(blanksNeeded(total, maximumFee))
    }),
    { seed: 10, numRuns: 1_000 },
  )
})

it('never exceeds the blanks there are, whatever eight credits pay', () => {
  expect(blanksNeeded(8n << 23n, 8n << 23n)).toBe(30)
  expect(blanksNeeded(8n << 23n, 1n)).toBe(30)
  expect(30).toBeLessThanOrEqual(BLANK_SLOTS)
})

it('is one for a single credit that is given back whole', () => {
  expect(blanksNeeded(1n << 20n, 0n)).toBe(1)
})

it('refuses what no payment can be', () => {
  expect(() => blanksNeeded(1n, 2n)).toThrow()
  expect(() => blanksNeeded((8n << 23n) + 1n, 0n)).toThrow()
})
