import { expect, test } from 'vitest'
import { concatBytes, toHex } from '#protocol/bytes.ts'
import { keccak256 } from '#protocol/hash.ts'
import { appendLeaf, EMPTY_EDGE, type LogEdge } from '#protocol/log/edge.ts'
import { extendEdge } from './extendEdge.ts'

const leaves = Array.from({ length: 70 }, (_, i) => keccak256(Uint8Array.of(i)))
const plain = (edge: LogEdge) => ({ size: edge.size, nodes: edge.nodes.map(toHex) })

test('agrees with leaf by leaf for every size before and every count after', () => {
  const edges = [EMPTY_EDGE]
  for (const leaf of leaves) edges.push(appendLeaf(edges.at(-1) ?? EMPTY_EDGE, leaf))
  for (const [before, edge] of edges.entries()) {
    for (let after = before; after <= leaves.length; after++) {
      const extended = extendEdge(edge, concatBytes(...leaves.slice(before, after)))
      expect(plain(extended)).toEqual(plain(edges[after] ?? EMPTY_EDGE))
    }
  }
})
