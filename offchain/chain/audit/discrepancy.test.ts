import { expect, it } from 'vitest'
import { Discrepancies, type Discrepancy } from './discrepancy.ts'

const at = (i: number): Discrepancy => ({
  kind: 'LOG',
  what: 'root',
  where: { batch: BigInt(i) },
  expected: 'a',
  found: 'b',
})

it('keeps 10,000 discrepancies, and counts those that come after', () => {
  const found = new Discrepancies()
  for (let i = 0; i < 10_000; i++) found.add(at(i))
  expect([found.all.length, found.count]).toEqual([10_000, 10_000])
  found.add(at(10_000))
  found.add(at(0))
  expect([found.all.length, found.count]).toEqual([10_000, 10_001])
  expect(found.has('LOG', { batch: 10_000n })).toBe(false)
})
