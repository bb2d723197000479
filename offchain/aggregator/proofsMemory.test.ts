/** The bounded memory. @module */
import { expect, test } from 'vitest'
import { Remembered } from './proofsMemory.ts'

test('keeps what is used often and never more than it was told', () => {
  const memory = new Remembered<number>(8)
  memory.set('often', -1)
  for (let i = 0; i < 100; i++) {
    memory.set(`${i}`, i)
    expect(memory.get('often')).toBe(-1)
    expect(memory.get(`${i}`)).toBe(i)
  }
  const kept = Array.from({ length: 100 }, (_, i) => `${i}`).filter((key) => memory.get(key) !== undefined)
  expect(kept.length).toBeGreaterThan(0)
  expect(kept.length).toBeLessThan(8)
  expect(memory.get('0')).toBeUndefined()
})

test('makes what it does not have, once', () => {
  const memory = new Remembered<number>(4)
  let made = 0
  const make = () => ++made
  expect([memory.getOr('a', make), memory.getOr('a', make), memory.getOr('b', make)]).toEqual([1, 1, 2])
})
