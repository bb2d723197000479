import { expect, it } from 'vitest'
import { concatBytes, fromHex, type Hex, toHex } from '../bytes.ts'
import { keccak256 } from '../hash.ts'
import { type BatchedHead, batchLeaf, batchLeaves, batchRootOf } from './batch.ts'

const HEADS: readonly BatchedHead[] = [1, 2, 3].map((i) => ({
  enclave: `0x${`e${i}`.repeat(20)}`,
  size: BigInt(i * 1_000),
  root: `0x${`a${i}`.repeat(32)}`,
}))
const leafOf = ({ enclave, size, root }: BatchedHead): Hex => toHex(batchLeaf(enclave, size, fromHex(root)))
const node = (left: Hex, right: Hex): Hex =>
  toHex(keccak256(concatBytes(Uint8Array.of(0x03), fromHex(left), fromHex(right))))

it('puts the leaves of heads one behind the other', () => {
  expect(toHex(batchLeaves(HEADS))).toBe(`0x${HEADS.map((head) => leafOf(head).slice(2)).join('')}`)
})

it('is the leaf of one head, and the tree over several in their order', () => {
  const [a, b, c] = HEADS.map(leafOf) as [Hex, Hex, Hex]
  expect(batchRootOf(HEADS.slice(0, 1))).toBe(a)
  expect(batchRootOf(HEADS.slice(0, 2))).toBe(node(a, b))
  expect(batchRootOf(HEADS)).toBe(node(node(a, b), c))
  expect(batchRootOf(HEADS.toReversed())).toBe(node(node(c, b), a))
  expect(() => batchRootOf([])).toThrow()
})
