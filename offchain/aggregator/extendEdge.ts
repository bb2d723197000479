/** Appends many leaves to a log's right edge at once: row by row, one hash a node. @module */
import { concatBytes } from '#protocol/bytes.ts'
import type { Keccak256 } from '#protocol/hash.ts'
import { type LogEdge, LogEdgeError } from '#protocol/log/edge.ts'
import { LOG_NODE_TAG } from '#protocol/log/tree.ts'

const NODE_BYTES = 32

/**
 * The edge after `leaves`, the concatenation of 32-byte leaves. The same as `appendLeaf` for each of them, without a new edge for
 * every leaf.
 */
export function extendEdge(edge: LogEdge, leaves: Uint8Array, hash: Keccak256): LogEdge {
  const subtrees = [...edge.nodes]
  const smaller: Uint8Array[] = []
  let row = leaves
  // Complete nodes of the row that the edge already covers; an odd one still waits for its right sibling.
  let covered = edge.size
  while (row.length > 0) {
    if (covered % 2 === 1) {
      const waiting = subtrees.pop()
      if (waiting === undefined) throw new LogEdgeError('EDGE_MALFORMED', 'expected one node per set bit of the size')
      row = concatBytes(waiting, row)
    }
    const pairs = Math.floor(row.length / (2 * NODE_BYTES))
    if (row.length % (2 * NODE_BYTES) !== 0) smaller.unshift(row.slice(2 * NODE_BYTES * pairs))
    row = hashPairs(row, pairs, hash)
    covered = Math.floor(covered / 2)
  }
  return { size: edge.size + leaves.length / NODE_BYTES, nodes: [...subtrees, ...smaller] }
}

function hashPairs(row: Uint8Array, pairs: number, hash: Keccak256): Uint8Array {
  const parents = new Uint8Array(pairs * NODE_BYTES)
  const preimage = new Uint8Array(1 + 2 * NODE_BYTES)
  preimage[0] = LOG_NODE_TAG
  for (let i = 0; i < pairs; i++) {
    preimage.set(row.subarray(2 * i * NODE_BYTES, (2 * i + 2) * NODE_BYTES), 1)
    parents.set(hash(preimage), i * NODE_BYTES)
  }
  return parents
}
