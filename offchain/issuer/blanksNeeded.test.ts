import fc from 'fast-check'
import { expect, it } from 'vitest'
import { BLANK_SLOTS, slotsNeeded } from '#protocol/credits/amounts.ts'
import { blanksNeeded } from './blanksNeeded.ts'

it('is what the worst amount of the range takes, tried one by one', () => {
  const range = fc.tuple(
    fc.oneof(fc.integer({ min: 0, max: 300 }), fc.integer({ min: 2 ** 23 - 150, max: 2 ** 23 + 150 })),
  )
  fc.assert(
    fc.property(range, fc.integer({ min: 0, max: 300 }), ([total], fee) => {
      const maximumFee = Math.min(total, fee)
      let worst = 0
      for (let amount = total - maximumFee; amount <= total; amount++)
        worst = Math.max(worst, slotsNeeded(BigInt(amount)))
      expect(blanksNeeded(BigInt(total), BigInt(maximumFee))).toBe(worst)
    }),
    { seed: 9, numRuns: 500 },
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
