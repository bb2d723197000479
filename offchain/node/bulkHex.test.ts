import { expect, test } from 'vitest'
import { toHex } from '#protocol/bytes.ts'
import { bulkHex } from './bulkHex.ts'

test('agrees with the plain implementation on every byte, wherever the bytes begin in their buffer', () => {
  const bytes = Uint8Array.from({ length: 256 }, (_, byte) => byte)
  for (let from = 0; from < 256; from += 5) {
    for (const to of [from, from + 1, 256]) {
      expect(bulkHex(bytes.subarray(from, to))).toBe(toHex(bytes.subarray(from, to)))
    }
  }
})
