import { expect, test } from 'vitest'
import { concatBytes, toHex } from '#protocol/bytes.ts'
import { keccak256 } from '#protocol/hash.ts'
import { createBulkKeccak } from './bulkKeccak.ts'

test('agrees with the plain implementation on every length around the block size', async () => {
  const bulk = await createBulkKeccak()
  let data: Uint8Array = new Uint8Array()
  for (let length = 0; length <= 300; length++) {
    expect(toHex(bulk(data))).toBe(toHex(keccak256(data)))
    data = concatBytes(data, keccak256(data).subarray(0, 1))
  }
})

test('gives a digest that later calls leave alone', async () => {
  const bulk = await createBulkKeccak()
  const first = bulk(Uint8Array.of(1))
  const before = toHex(first)
  bulk(Uint8Array.of(2))
  expect(toHex(first)).toBe(before)
})
