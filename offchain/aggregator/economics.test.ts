import { expect, test } from 'vitest'
import { createLogger } from '#node/log.ts'
import { costInUnits, Economics } from './economics.ts'

const policy = { opgPerCoin: '20000', patienceSeconds: 600 }

test('waits while a call does not pay, and looks again later', () => {
  let now = 0
  const lines: string[] = []
  const log = createLogger('test', (line) => lines.push(line))
  const economics = new Economics(
    policy,
    async () => 1n,
    log,
    () => now,
  )
  expect(economics.isResting(1)).toBe(false)
  expect(economics.approves({ fee: 9n, costWei: 1n, cost: 10n }, 1)).toBe(false)
  expect(economics.isResting(2)).toBe(true)
  now = 10_000
  expect(economics.isResting(12)).toBe(false)
  expect(economics.approves({ fee: 9n, costWei: 1n, cost: 10n }, 12)).toBe(false)
  expect(lines).toHaveLength(1)
  expect(economics.isResting(600)).toBe(false)
  expect(economics.approves({ fee: 9n, costWei: 1n, cost: 10n }, 600)).toBe(true)
})

test('goes on when it pays, and when nobody knows what a coin is worth', () => {
  const economics = new Economics(
    policy,
    async () => 1n,
    createLogger('test', () => {}),
    () => 0,
  )
  expect(economics.approves({ fee: 10n, costWei: 1n, cost: 10n }, 0)).toBe(true)
  expect(economics.approves({ fee: 0n, costWei: 1n }, 0)).toBe(true)
})

test('a cost is rounded up to a unit', () => {
  expect(costInUnits(1n, 20_000_000_000n)).toBe(1n)
  expect(costInUnits(10n ** 18n, 20_000_000_000n)).toBe(20_000_000_000n)
  expect(costInUnits(0n, 20_000_000_000n)).toBe(0n)
})
