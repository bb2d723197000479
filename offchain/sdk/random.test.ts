/** Uniform choice: no number is likelier than another, whatever the bound. @module */
import { describe, expect, it } from 'vitest'
import { seededWords } from '../../test/support/seededWords.ts'
import { cryptoWord, randomBelow, shuffled } from './random.ts'

function script(...values: number[]): () => number {
  return () => values.shift() ?? Number.NaN
}

describe('a random number', () => {
  it('is the remainder of a word, unless the word lies beyond the last whole multiple', () => {
    expect(randomBelow(3, script(0))).toBe(0)
    expect(randomBelow(3, script(5))).toBe(2)
    // 2^32 = 3 * 1,431,655,765 + 1: the last word would make 0 likelier.
    expect(randomBelow(3, script(2 ** 32 - 2))).toBe(2)
    expect(randomBelow(3, script(2 ** 32 - 1, 7))).toBe(1)
    // Nearly half of all words are thrown away here.
    expect(randomBelow(2 ** 31 + 1, script(2 ** 31 + 1, 2 ** 32 - 1, 2 ** 31))).toBe(2 ** 31)
    expect(randomBelow(2 ** 32, script(2 ** 32 - 1))).toBe(2 ** 32 - 1)
    expect(randomBelow(1, script(2 ** 32 - 1))).toBe(0)
  })

  it.each([0, -1, 1.5, 2 ** 32 + 1, Number.NaN])('has no bound of %s', (bound) => {
    expect(() => randomBelow(bound, () => 0)).toThrow(RangeError)
  })

  it('comes from the cryptographic generator, 32 bits wide', () => {
    const drawn = Array.from({ length: 200 }, cryptoWord)
    expect(drawn.every((word) => Number.isInteger(word) && word >= 0 && word < 2 ** 32)).toBe(true)
    expect(new Set(drawn).size).toBeGreaterThan(190)
    expect(drawn.some((word) => word >= 2 ** 31)).toBe(true)
  })
})

describe('a random order', () => {
  it('holds the same things and leaves the list alone', () => {
    const list = [1, 2, 3, 4, 5]
    expect(shuffled(list, seededWords(1)).toSorted()).toEqual(list)
    expect(list).toEqual([1, 2, 3, 4, 5])
    expect(shuffled([], seededWords(1))).toEqual([])
  })

  it('is each order as likely: chi-square of 24 orders in 48,000 draws', () => {
    const word = seededWords(20_251_121)
    const counts = new Map<string, number>()
    for (let i = 0; i < 48_000; i++) {
      const order = shuffled(['a', 'b', 'c', 'd'], word).join('')
      counts.set(order, (counts.get(order) ?? 0) + 1)
    }
    expect(counts.size).toBe(24)
    const chiSquare = [...counts.values()].reduce((sum, count) => sum + (count - 2_000) ** 2 / 2_000, 0)
    // 23 degrees of freedom: above 49.7 once in a thousand.
    expect(chiSquare).toBeLessThan(49.7)
  })
})
