/** Appends many leaves to a log's right edge at once: row by row, one hash a node. @module */
import { bulkParents } from '#node/bulkParents.ts'
import { concatBytes } from '#protocol/bytes.ts'
import { type LogEdge, LogEdgeError } from '#protocol/log/edge.ts'

const NODE_BYTES = 32

/**
 * The edge after `leaves`, the concatenation of 32-byte leaves. The same as `appendLeaf` for each of them, without a new edge for
 * every leaf.
 */
export function extendEdge(edge: LogEdge, leaves: Uint8Array): LogEdge {
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
    if (row.length % (2 * NODE_BYTES) !== 0) smaller.unshift(row.slice(-NODE_BYTES))
    row = bulkParents(row)
    covered = Math.floor(covered / 2)
  }
  return { size: edge.size + leaves.length / NODE_BYTES, nodes: [...subtrees, ...smaller] }
}
