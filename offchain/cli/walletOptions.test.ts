import { expect, it } from 'vitest'
import { depositsOf } from './walletOptions.ts'

const OPG = 1_000_000n

it('an amount takes the fewest deposits, largest first', () => {
  expect(depositsOf('112')).toEqual([100n * OPG, 10n * OPG, OPG, OPG])
})

it('twenty deposits are bought at once, and no more', () => {
  expect(depositsOf('2000')).toHaveLength(20)
  expect(depositsOf('1901')).toHaveLength(20)
  expect(() => depositsOf('1902')).toThrow('buy at most 20 deposits at once')
})

it('an amount that no deposits make up is refused', () => {
  for (const text of ['0', '0.5', '1.5', 'x', '-1']) expect(() => depositsOf(text)).toThrow()
})
