/** What lies there for an operator. Reading it from a chain is in test/e2e/operators.test.ts. @module */
import { expect, it } from 'vitest'
import { idleUnits } from './earnings.ts'

const ACCOUNT = {
  earned: 100n,
  cleared: 100n,
  credited: 100n,
  share: 94n,
  payout: { drawn: 4n, thawing: 30n, readyAt: 0 },
}

it('counts what neither was drawn nor thaws', () => {
  expect(idleUnits(ACCOUNT)).toBe(60n)
})

it('counts the whole of what both sides agree on and the settlement has not credited yet', () => {
  const payout = { drawn: 0n, thawing: 0n, readyAt: 0 }
  expect(idleUnits({ earned: 50n, cleared: 130n, credited: 40n, share: 38n, payout })).toBe(48n)
})
