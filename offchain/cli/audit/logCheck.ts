/**
 * Recomputes logs from their leaves and compares every settled root. A log's right edge is all that is kept: leaves come tile by tile and go again.
 * @module
 */
import { inTurns } from '#chain/audit/auditedBlock.ts'
import type { Discrepancies } from '#chain/audit/discrepancy.ts'
import type { ReplayedHead } from '#chain/audit/settlementReplay.ts'
import { bulkParents } from '#node/bulkParents.ts'
import { type Hex, toHex } from '#protocol/bytes.ts'
import type { Keccak256 } from '#protocol/hash.ts'
import { appendLeaf, EMPTY_EDGE, type LogEdge, rootOfEdge } from '#protocol/log/edge.ts'
import { TILE_WIDTH } from '#protocol/log/tiles.ts'
import type { LeafSource, LeafTile } from './leafSource.ts'

const LEAF_BYTES = 32
/** Tiles asked for before they are needed, and logs checked at once. */
const TILES_AHEAD = 8
const LOGS_AT_ONCE = 4

export type LogCheckPorts = {
  /** Asked in this order. */
  readonly sources: readonly LeafSource[]
  readonly hash: Keccak256
  readonly discrepancies: Discrepancies
  /** Told of leaves that were read. */
  onLeaves(count: number): void
}

/** Edges of logs up to which every head was compared, by enclave. */
export type LogEdges = Map<Hex, LogEdge>

/** Compares the root of each head, and moves `edges` on. */
export async function checkLogs(ports: LogCheckPorts, edges: LogEdges, heads: readonly ReplayedHead[]): Promise<void> {
  const byEnclave = new Map<Hex, ReplayedHead[]>()
  for (const head of heads) {
    const own = byEnclave.get(head.enclave)
    if (own === undefined) byEnclave.set(head.enclave, [head])
    else own.push(head)
  }
  await inTurns(
    [...byEnclave],
    async ([enclave, own]) => {
      const sorted = own.toSorted((a, b) => Number(a.size - b.size))
      const edge = edges.get(enclave) ?? EMPTY_EDGE
      // Older heads settle late when two aggregators have the same log: their roots are below the edge, so the log is read once more.
      const late = sorted.filter(({ size }) => Number(size) <= edge.size)
      if (late.length > 0) await checkLog(ports, enclave, EMPTY_EDGE, late)
      const newer = sorted.slice(late.length)
      if (newer.length > 0) edges.set(enclave, await checkLog(ports, enclave, edge, newer))
    },
    LOGS_AT_ONCE,
  )
}

/** Where one aggregator's leaves ended: behind the last of the heads, before missing leaves, or at a root that they do not make. */
type Followed = {
  /** At the last head that was right. */
  readonly edge: LogEdge
  readonly right: number
  readonly trouble?: { readonly head: ReplayedHead; readonly root?: Hex; readonly reason?: string }
}

/** `heads` in the order of their sizes, all above the edge. Answers the edge at the last of them that is right. */
async function checkLog(
  ports: LogCheckPorts,
  enclave: Hex,
  start: LogEdge,
  heads: readonly ReplayedHead[],
): Promise<LogEdge> {
  const { sources, discrepancies } = ports
  let edge = start
  let rest = heads
  let differing: { readonly source: LeafSource; readonly head: ReplayedHead; readonly root: Hex }[] = []
  const reasons: string[] = []
  for (const source of sources) {
    if (rest.length === 0) break
    const followed = await follow(ports, source, enclave, edge, rest)
    if (followed.right > 0) {
      for (const { source: wrong, head, root } of differing) {
        const what = 'an aggregator shows leaves that did not settle'
        const where = { enclave, size: head.size, aggregator: wrong.url }
        discrepancies.add({ kind: 'LEAVES', what, where, expected: `root ${head.root}`, found: `root ${root}` })
      }
      differing = []
    }
    edge = followed.edge
    rest = rest.slice(followed.right)
    const { trouble } = followed
    if (trouble?.root !== undefined) differing.push({ source, head: trouble.head, root: trouble.root })
    else if (trouble?.reason !== undefined) reasons.push(`${source.url}: ${trouble.reason}`)
  }
  const [first] = rest
  if (first === undefined) return edge
  const { size, root, batch, block } = first
  const where = { enclave, size, batch, block }
  const others = rest.length === 1 ? '' : `; ${rest.length - 1} later heads cannot be checked`
  const [wrong] = differing
  if (wrong !== undefined) {
    const found = `root ${wrong.root} of the leaves at ${wrong.source.url}${others}`
    const what = 'log root recomputed from its leaves'
    discrepancies.add({ kind: 'LOG', what, where, expected: `root ${root}`, found })
  } else {
    const found = `${reasons.join('; ') || 'no aggregator was named'}${others}`
    const what = 'cannot be checked: no aggregator has the leaves'
    discrepancies.add({ kind: 'UNCHECKED', what, where, expected: `${size} leaves`, found })
  }
  return edge
}

/** Follows a log through one aggregator's leaves up to the last of the heads. */
async function follow(
  { hash, onLeaves }: LogCheckPorts,
  source: LeafSource,
  enclave: Hex,
  start: LogEdge,
  heads: readonly ReplayedHead[],
): Promise<Followed> {
  const end = Number(heads.at(-1)?.size ?? 0n)
  let edge = start
  let rightEdge = start
  let right = 0
  for await (const { first, tile } of readAhead(source, enclave, start.size, end)) {
    const next = heads[right]
    if (next === undefined) break
    if (!tile.ok) return { edge: rightEdge, right, trouble: { head: next, reason: tile.reason } }
    const past = first + tile.leaves.length / LEAF_BYTES
    while (edge.size < past) {
      const head = heads[right]
      const until = head === undefined ? past : Math.min(past, Number(head.size))
      const leaves = tile.leaves.subarray((edge.size - first) * LEAF_BYTES, (until - first) * LEAF_BYTES)
      onLeaves(until - edge.size)
      edge = grow(edge, leaves, hash)
      // Two heads of one size, in different batches, must have the same root.
      for (let at = heads[right]; at !== undefined && Number(at.size) === edge.size; at = heads[right]) {
        const root = toHex(rootOfEdge(edge, hash))
        if (root !== at.root) return { edge: rightEdge, right, trouble: { head: at, root } }
        rightEdge = edge
        right++
      }
    }
  }
  return { edge: rightEdge, right }
}

/** Tiles with the leaves from `from` to `end`, some asked for ahead of time. `first` is the number of a tile's first leaf. */
async function* readAhead(
  source: LeafSource,
  enclave: Hex,
  from: number,
  end: number,
): AsyncGenerator<{ readonly first: number; readonly tile: LeafTile }> {
  const waiting: { readonly first: number; readonly tile: Promise<LeafTile> }[] = []
  let next = Math.floor(from / TILE_WIDTH)
  const ask = () => {
    const first = next * TILE_WIDTH
    if (first >= end) return
    waiting.push({ first, tile: source.read(enclave, next, Math.min(TILE_WIDTH, end - first)) })
    next++
  }
  for (let i = 0; i < TILES_AHEAD; i++) ask()
  for (let entry = waiting.shift(); entry !== undefined; entry = waiting.shift()) {
    yield { first: entry.first, tile: await entry.tile }
    ask()
  }
}

/** The edge after `leaves` (32 bytes each). A whole tile on whole tiles is hashed at once and appended as the one node that it is. */
function grow(edge: LogEdge, leaves: Uint8Array, hash: Keccak256): LogEdge {
  if (edge.size % TILE_WIDTH === 0 && leaves.length === TILE_WIDTH * LEAF_BYTES) {
    let node = leaves
    while (node.length > LEAF_BYTES) node = bulkParents(node)
    const { size, nodes } = appendLeaf({ size: edge.size / TILE_WIDTH, nodes: edge.nodes }, node, hash)
    return { size: size * TILE_WIDTH, nodes }
  }
  let grown = edge
  for (let at = 0; at < leaves.length; at += LEAF_BYTES) {
    grown = appendLeaf(grown, leaves.slice(at, at + LEAF_BYTES), hash)
  }
  return grown
}
