import { expect, test } from 'vitest'
import { encodeUint, joinBytes, toHex } from '#protocol/bytes.ts'
import { keccak256 } from '#protocol/hash.ts'
import { parentsOf } from '#protocol/log/tiles.ts'
import { bulkParents } from './bulkParents.ts'

const nodes = joinBytes(Array.from({ length: 4_100 }, (_, i) => keccak256(encodeUint(BigInt(i), 8))))

test('agrees with the plain implementation for every number of nodes up to some, and around what is hashed at once', () => {
  for (const count of [...Array(40).keys(), 2_047, 2_048, 2_049, 2_050, 2_051, 4_096, 4_099]) {
    const some = nodes.subarray(0, 32 * count)
    expect(toHex(bulkParents(some))).toBe(toHex(parentsOf(some)))
  }
})

test('agrees with it for nodes of every single bit', () => {
  for (let bit = 0; bit < 512; bit++) {
    const pair = new Uint8Array(64)
    pair[bit >> 3] = 1 << (bit & 7)
    expect(toHex(bulkParents(pair))).toBe(toHex(parentsOf(pair)))
  }
})

test('reads nodes that begin anywhere in their buffer, and leaves earlier answers alone', () => {
  const shifted = new Uint8Array(1 + 128)
  shifted.set(nodes.subarray(0, 128), 1)
  const first = bulkParents(shifted.subarray(1))
  bulkParents(nodes)
  expect(toHex(first)).toBe(toHex(parentsOf(nodes.subarray(0, 128))))
})
