/** The log against a slow recursive reference written from RFC 9162 section 2.1, for every size and index up to 70. @module */
import { expect, test } from 'vitest'
import { concatBytes, encodeUint, joinBytes, toHex } from '../bytes.ts'
import { keccak256 } from '../hash.ts'
import { batchLeaf } from './batch.ts'
import { appendLeaf, EMPTY_EDGE, type LogEdge, LogEdgeError, pathFromEdge, pathsFromEdge, rootOfEdge } from './edge.ts'
import { appendLeaves, createRows, LogRowsError, leafAt, pathAt, rootAt, sizeOfRows } from './rows.ts'
import { BATCH_NODE_TAG, hashNode, LOG_NODE_TAG, type NodeTag, rootFromPath, splitPoint } from './tree.ts'

const SIZE_MAX = 70
const LEAVES: readonly Uint8Array[] = Array.from({ length: SIZE_MAX }, (_, i) => keccak256(encodeUint(BigInt(i), 8)))

/** MTH of RFC 9162 section 2.1.1, on leaves that are hashed already. */
function referenceRoot(leaves: readonly Uint8Array[], tag: NodeTag = LOG_NODE_TAG): Uint8Array {
  const [only] = leaves
  if (only === undefined) throw new Error('expected a leaf')
  if (leaves.length === 1) return only
  const k = largestPowerBelow(leaves.length)
  const left = referenceRoot(leaves.slice(0, k), tag)
  const right = referenceRoot(leaves.slice(k), tag)
  return keccak256(concatBytes(Uint8Array.of(tag), left, right))
}

/** PATH of RFC 9162 section 2.1.3.1. */
function referencePath(index: number, leaves: readonly Uint8Array[]): Uint8Array[] {
  if (leaves.length <= 1) return []
  const k = largestPowerBelow(leaves.length)
  return index < k
    ? [...referencePath(index, leaves.slice(0, k)), referenceRoot(leaves.slice(k))]
    : [...referencePath(index - k, leaves.slice(k)), referenceRoot(leaves.slice(0, k))]
}

function largestPowerBelow(n: number): number {
  return [64, 32, 16, 8, 4, 2, 1].find((power) => power < n) ?? 1
}

function edgeOf(leaves: readonly Uint8Array[]): LogEdge {
  return leaves.reduce((edge, leaf) => appendLeaf(edge, leaf), EMPTY_EDGE)
}

function hexes(path: readonly Uint8Array[]): string[] {
  return path.map(toHex)
}

function flipped(bytes: Uint8Array, bit: number): Uint8Array {
  const copy = bytes.slice()
  copy[bit >> 3] = (copy[bit >> 3] ?? 0) ^ (1 << (bit & 7))
  return copy
}

const WHOLE = createRows()
appendLeaves(WHOLE, joinBytes(LEAVES))

test('has the root of the reference at every size, as an edge and as rows', () => {
  let edge = EMPTY_EDGE
  for (let size = 1; size <= SIZE_MAX; size++) {
    edge = appendLeaf(edge, LEAVES[size - 1] ?? new Uint8Array())
    const root = toHex(referenceRoot(LEAVES.slice(0, size)))
    expect(toHex(rootOfEdge(edge))).toBe(root)
    expect(toHex(rootAt(WHOLE, size))).toBe(root)
    expect(edge.nodes).toHaveLength(size.toString(2).replaceAll('0', '').length)
  }
})

test('has the path of the reference for every index at every size, and each path leads to the root', () => {
  for (let size = 1; size <= SIZE_MAX; size++) {
    const leaves = LEAVES.slice(0, size)
    const root = toHex(referenceRoot(leaves))
    for (const [index, leaf] of leaves.entries()) {
      const path = pathAt(WHOLE, index, size)
      expect(hexes(path)).toEqual(hexes(referencePath(index, leaves)))
      const led = rootFromPath(LOG_NODE_TAG, leaf, index, size - 1, path)
      expect(led && toHex(led)).toBe(root)
    }
  }
})

test('proves every leaf of every group from the edge before the group', () => {
  for (let before = 0; before <= 33; before++) {
    const edge = edgeOf(LEAVES.slice(0, before))
    for (let size = before + 1; size <= before + 20; size++) {
      const group = LEAVES.slice(before, size)
      const together = pathsFromEdge(edge, group)
      expect(together).toHaveLength(group.length)
      for (let index = before; index < size; index++) {
        const path = hexes(pathAt(WHOLE, index, size))
        expect(hexes(pathFromEdge(edge, group, index))).toEqual(path)
        expect(hexes(together[index - before] ?? [])).toEqual(path)
      }
    }
  }
})

test('grows by pieces to the same rows as at once', () => {
  for (const step of [1, 2, 3, 7, 31, 64]) {
    const grown = createRows()
    for (let from = 0; from < SIZE_MAX; from += step) appendLeaves(grown, joinBytes(LEAVES.slice(from, from + step)))
    expect(sizeOfRows(grown)).toBe(SIZE_MAX)
    for (const [level, row] of WHOLE.rows.entries()) {
      expect(grown.rows[level]?.count).toBe(row.count)
      const bytes = grown.rows[level]?.bytes.subarray(0, 32 * row.count) ?? new Uint8Array()
      expect(toHex(bytes)).toBe(toHex(row.bytes.subarray(0, 32 * row.count)))
    }
  }
})

test('proves a complete subtree on its own row with the last index shifted', () => {
  for (let size = 1; size <= SIZE_MAX; size++) {
    const leaves = LEAVES.slice(0, size)
    const root = toHex(referenceRoot(leaves))
    for (let level = 1; 1 << level <= size; level++) {
      for (let node = 0; (node + 1) << level <= size; node++) {
        const subtree = referenceRoot(leaves.slice(node << level, (node + 1) << level))
        const path = pathAt(WHOLE, node << level, size).slice(level)
        const led = rootFromPath(LOG_NODE_TAG, subtree, node, (size - 1) >> level, path)
        expect(led && toHex(led)).toBe(root)
      }
    }
  }
})

test('refuses paths of every other length', () => {
  for (let size = 1; size <= 40; size++) {
    for (let index = 0; index < size; index++) {
      const path = pathAt(WHOLE, index, size)
      for (let length = 0; length < path.length; length++) {
        expect(rootFromPath(LOG_NODE_TAG, leafAt(WHOLE, index), index, size - 1, path.slice(0, length))).toBeUndefined()
      }
      const longer = [...path, new Uint8Array(32)]
      expect(rootFromPath(LOG_NODE_TAG, leafAt(WHOLE, index), index, size - 1, longer)).toBeUndefined()
    }
  }
})

test('leads to another root from another index, or to none', () => {
  for (let size = 2; size <= 20; size++) {
    const root = toHex(rootAt(WHOLE, size))
    for (let index = 0; index < size; index++) {
      for (let other = 0; other < size; other++) {
        if (other === index) continue
        const led = rootFromPath(LOG_NODE_TAG, leafAt(WHOLE, index), other, size - 1, pathAt(WHOLE, index, size))
        expect(led === undefined ? undefined : toHex(led)).not.toBe(root)
      }
    }
  }
})

test.each([-1, 10, 0.5, Number.NaN, 2 ** 53])('has no root for the index %s of ten leaves', (index) => {
  expect(rootFromPath(LOG_NODE_TAG, leafAt(WHOLE, 0), index, 9, pathAt(WHOLE, 0, 10))).toBeUndefined()
})

test('leads elsewhere after any one bit of leaf or path is flipped', () => {
  const size = 13
  const root = toHex(rootAt(WHOLE, size))
  for (const index of [0, 7, 11, 12]) {
    const path = pathAt(WHOLE, index, size)
    const leaf = leafAt(WHOLE, index)
    for (let bit = 0; bit < 256; bit += 17) {
      const fromLeaf = rootFromPath(LOG_NODE_TAG, flipped(leaf, bit), index, size - 1, path)
      expect(fromLeaf && toHex(fromLeaf)).not.toBe(root)
      for (let i = 0; i < path.length; i++) {
        const changed = path.map((node, j) => (i === j ? flipped(node, bit) : node))
        const led = rootFromPath(LOG_NODE_TAG, leaf, index, size - 1, changed)
        expect(led && toHex(led)).not.toBe(root)
      }
    }
  }
})

test('climbs from indices beyond 32 bits', () => {
  const leaf = leafAt(WHOLE, 0)
  const path = Array.from({ length: 41 }, (_, i) => leafAt(WHOLE, i))
  const size = 2 ** 40 + 1
  // The last leaf of a log of 2^40 + 1 has one sibling: the complete subtree to its left.
  const led = rootFromPath(LOG_NODE_TAG, leaf, 2 ** 40, size - 1, path.slice(0, 1))
  expect(led && toHex(led)).toBe(toHex(hashNode(LOG_NODE_TAG, leafAt(WHOLE, 0), leaf)))
  expect(rootFromPath(LOG_NODE_TAG, leaf, 2 ** 40 - 1, size - 1, path)).toBeDefined()
  expect(rootFromPath(LOG_NODE_TAG, leaf, 2 ** 40 - 1, size - 1, path.slice(0, 40))).toBeUndefined()
})

test('keeps logs and batches apart by their tags', () => {
  const batch = createRows(BATCH_NODE_TAG)
  appendLeaves(batch, joinBytes(LEAVES.slice(0, 5)))
  expect(toHex(rootAt(batch, 5))).toBe(toHex(referenceRoot(LEAVES.slice(0, 5), BATCH_NODE_TAG)))
  expect(toHex(rootAt(batch, 5))).not.toBe(toHex(rootAt(WHOLE, 5)))
})

test('hashes a batch leaf as its preimage says', () => {
  const root = LEAVES[0] ?? new Uint8Array()
  const enclave = new Uint8Array(20).fill(0xab)
  const preimage = concatBytes(Uint8Array.of(2), enclave, encodeUint(258n, 8), root)
  expect(preimage).toHaveLength(61)
  expect(toHex(batchLeaf(toHex(enclave), 258n, root))).toBe(toHex(keccak256(preimage)))
})

test('splits at the largest power of two below the count', () => {
  expect([2, 3, 4, 5, 8, 9, 64, 65].map(splitPoint)).toEqual([1, 2, 2, 4, 4, 8, 32, 64])
})

test.each([
  ['EDGE_MALFORMED', 'a size without its nodes', () => appendLeaf({ size: 1, nodes: [] }, new Uint8Array(32))],
  [
    'EDGE_MALFORMED',
    'a path over nodes that are not there',
    () => pathFromEdge({ size: 2, nodes: [] }, LEAVES.slice(0, 1), 2),
  ],
  ['LOG_EMPTY', 'the root of nothing', () => rootOfEdge(EMPTY_EDGE)],
  [
    'INDEX_OUT_OF_RANGE',
    'an index before the edge',
    () => pathFromEdge(edgeOf(LEAVES.slice(0, 2)), LEAVES.slice(2, 3), 1),
  ],
  ['INDEX_OUT_OF_RANGE', 'an index after the last leaf', () => pathFromEdge(EMPTY_EDGE, LEAVES.slice(0, 2), 2)],
  ['INDEX_OUT_OF_RANGE', 'an index between two', () => pathFromEdge(EMPTY_EDGE, LEAVES.slice(0, 2), 0.5)],
])('refuses with %s: %s', (code, _what, call) => {
  expect(call).toThrow(LogEdgeError)
  expect(call).toThrow(expect.objectContaining({ code }))
})

test.each([
  ['LEAVES_MALFORMED', 'leaves that are not whole', () => appendLeaves(createRows(), new Uint8Array(33))],
  ['SIZE_OUT_OF_RANGE', 'the root of nothing', () => rootAt(WHOLE, 0)],
  ['SIZE_OUT_OF_RANGE', 'a size above what is held', () => rootAt(WHOLE, SIZE_MAX + 1)],
  ['SIZE_OUT_OF_RANGE', 'a size between two', () => pathAt(WHOLE, 0, 1.5)],
  ['INDEX_OUT_OF_RANGE', 'a leaf that is not held', () => leafAt(WHOLE, SIZE_MAX)],
  ['INDEX_OUT_OF_RANGE', 'a path for an index at the size', () => pathAt(WHOLE, 5, 5)],
  ['INDEX_OUT_OF_RANGE', 'a path for a negative index', () => pathAt(WHOLE, -1, 5)],
])('refuses with %s: %s', (code, _what, call) => {
  expect(call).toThrow(LogRowsError)
  expect(call).toThrow(expect.objectContaining({ code }))
})
