import fc from 'fast-check'
import { expect, it } from 'vitest'
import { splitFees } from './feeSplit.ts'

const SHARES = { settlerBps: 100n, bothBps: 600n }

it.each([
  [0n, { operator: 0n, protocol: 0n, settler: 0n }],
  [1n, { operator: 0n, protocol: 1n, settler: 0n }],
  // 6 % of 17 units is 1.02: what is begun belongs to both.
  [17n, { operator: 15n, protocol: 2n, settler: 0n }],
  [100n, { operator: 94n, protocol: 5n, settler: 1n }],
  [10_000n, { operator: 9_400n, protocol: 500n, settler: 100n }],
  [10_001n, { operator: 9_400n, protocol: 501n, settler: 100n }],
])('splits %i units', (credited, parts) => {
  expect(splitFees(credited, SHARES)).toEqual(parts)
})

it('gives the settler all of both where the protocol takes nothing, and nothing where nobody does', () => {
  expect(splitFees(1_000n, { settlerBps: 100n, bothBps: 100n })).toEqual({ operator: 990n, protocol: 0n, settler: 10n })
  expect(splitFees(1_000n, { settlerBps: 0n, bothBps: 0n })).toEqual({ operator: 1_000n, protocol: 0n, settler: 0n })
})

it('adds up to what was credited, and no part is below zero', () => {
  const bps = fc.bigInt({ min: 0n, max: 1_000n })
  const units = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })
  fc.assert(
    fc.property(units, bps, bps, (credited, a, b) => {
      const [settlerBps, bothBps] = a < b ? [a, b] : [b, a]
      const { operator, protocol, settler } = splitFees(credited, { settlerBps, bothBps })
      expect(operator + protocol + settler).toBe(credited)
      expect([operator, protocol, settler].every((part) => part >= 0n)).toBe(true)
    }),
  )
})
