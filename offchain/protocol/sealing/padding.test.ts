import fc from 'fast-check'
import { expect, it } from 'vitest'
import { requestSizeClass } from './padding.ts'

it.each([
  [0, 1024],
  [1, 1024],
  [1024, 1024],
  [1025, 2048],
  [32_769, 65_536],
  [65_536, 65_536],
  [65_537, 131_072],
  [131_073, 196_608],
])('puts %i bytes into the class of %i', (length, size) => {
  expect(requestSizeClass(length)).toBe(size)
})

it('never shrinks, wastes at most half or 64 KiB, and is its own class', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1024, max: 2 ** 30 }), (length) => {
      const size = requestSizeClass(length)
      expect(size).toBeGreaterThanOrEqual(length)
      expect(size - length).toBeLessThan(Math.max(length, 1) > 65_536 ? 65_536 : length)
      expect(requestSizeClass(size)).toBe(size)
    }),
  )
})
