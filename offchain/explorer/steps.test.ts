/** What many steps say together. @module */
import { expect, it } from 'vitest'
import { failed, open, passed, skipped, verdictOf } from './steps.ts'

const good = passed('a', 'First', '')
const missing = skipped('b', 'Second', '')
const waiting = open('c', 'Third', '')
const bad = failed('d', 'Fourth', '')

it('holds only where nothing failed and nothing is open, and says what was not in the file', () => {
  expect(verdictOf('It', [good])).toEqual({ state: 'holds', says: 'It holds: every step passed.' })
  expect(verdictOf('It', [good, missing])).toEqual({ state: 'holds', says: 'It holds. Not in the file: “Second”.' })
})

it('is undecided while a step is open, and refused by the first that failed, whatever else there is', () => {
  expect(verdictOf('It', [good, missing, waiting])).toMatchObject({ state: 'undecided' })
  expect(verdictOf('It', [good, missing, waiting, bad])).toEqual({
    state: 'refused',
    says: 'It does NOT hold: “Fourth” failed.',
  })
})
