import { expect, test } from 'vitest'
import { printable } from './printable.ts'

test('lets nothing through that a terminal obeys', () => {
  expect(printable('a\u001b[2Jb\u0007\nü~ ', 40)).toBe('a?[2Jb???~ ')
})

test('shows a text at its bound whole, and says that one past it was cut', () => {
  expect(printable('x'.repeat(5), 5)).toBe('xxxxx')
  expect(printable('x'.repeat(6), 5)).toBe('xxxxx...')
})
