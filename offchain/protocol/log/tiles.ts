/**
 * Tiles: a log's tree cut into pieces that never change once they are complete, so that anyone can cache them and make proofs alone.
 *
 * The tile (level, index) of height h holds up to 2^h nodes of the tree's row h * level, from `index * 2^h` on, 32 bytes each; the tile
 * (0, index) holds leaves. The rows between are hashed from it. Served tiles have the height 8 of c2sp.org/tlog-tiles; a tile that is not
 * full yet is named with its width, and with that width it never changes either.
 * @module
 */
import { type Keccak256, keccak256 } from '../hash.ts'
import { type NodePlace, pathFromNodes, placesOfPath, placesOfRoot, rootFromNodes } from './nodes.ts'
import { LOG_NODE_TAG } from './tree.ts'

/** Height of the tiles that aggregators serve. */
export const TILE_HEIGHT = 8
/** Nodes in a full one. */
export const TILE_WIDTH = 256

const NODE_BYTES = 32

/** A tile of `width` nodes, 1 to 2^height. */
export type TilePlace = { readonly level: number; readonly index: number; readonly width: number }

/** A tile's bytes: `width` nodes of 32 bytes. */
export type TileReader = (tile: TilePlace) => Promise<Uint8Array>

/** A proof that somebody made alone: to be compared with a settled root. */
export type TiledProof = { readonly path: readonly Uint8Array[]; readonly root: Uint8Array }

/**
 * Inclusion path (lowest sibling first) of the leaf at `index` in the log's first `size` leaves, and the root that it leads to, from served
 * tiles alone: about one for each eight levels. What `read` answers is not trusted: a wrong tile makes a wrong root.
 * Throws `LogTilesError` (`TILE_MALFORMED`) for a tile of another length, and `LogNodesError` for an index that is not below the size.
 */
export async function proveFromTiles(
  index: number,
  size: number,
  read: TileReader,
  hash: Keccak256 = keccak256,
): Promise<TiledProof> {
  const needed = new Map<string, TilePlace>()
  for (const place of [...placesOfPath(index, size), ...placesOfRoot(size)]) {
    const tile = locateNode(place, TILE_HEIGHT)
    const width = tileWidthAt(tile.level, tile.index, size, TILE_HEIGHT)
    needed.set(nameOf(tile), { level: tile.level, index: tile.index, width })
  }
  const tiles = new Map<string, TileNodes>()
  await Promise.all(
    [...needed].map(async ([name, tile]) => {
      const bytes = await read(tile)
      if (bytes.length !== tile.width * NODE_BYTES) {
        throw new LogTilesError('TILE_MALFORMED', `expected ${tile.width} nodes of 32 bytes`)
      }
      tiles.set(name, expandTile(bytes, hash))
    }),
  )
  const nodeAt = (level: number, at: number): Uint8Array => {
    const location = locateNode({ level, index: at }, TILE_HEIGHT)
    const tile = tiles.get(nameOf(location))
    const node = tile && nodeOfTile(tile, location.row, location.position)
    if (node === undefined) throw new LogTilesError('TILE_MALFORMED', 'expected a tile that covers the node')
    return node
  }
  return { path: pathFromNodes(index, size, nodeAt, hash), root: rootFromNodes(size, nodeAt, hash) }
}

function nameOf(tile: { readonly level: number; readonly index: number }): string {
  return `${tile.level}/${tile.index}`
}

/** Rows of a tile: row 0 as it is stored, row r the complete nodes 2^r of those are below; 32 bytes each. */
export type TileNodes = readonly Uint8Array[]

/** The complete nodes of a tile, from its stored ones (32 bytes each, at least one). */
export function expandTile(nodes: Uint8Array, hash: Keccak256 = keccak256): TileNodes {
  const rows = [nodes]
  for (let row = nodes; row.length >= 2 * NODE_BYTES; ) {
    row = parentsOf(row, hash)
    rows.push(row)
  }
  return rows
}

/** The node at `position` of a tile's row, a view of 32 bytes; `undefined` when the tile does not have it. */
export function nodeOfTile(tile: TileNodes, row: number, position: number): Uint8Array | undefined {
  const nodes = tile[row]
  const start = position * NODE_BYTES
  return nodes === undefined || start >= nodes.length ? undefined : nodes.subarray(start, start + NODE_BYTES)
}

/** The complete parents of a stretch of nodes that begins at an even index; an odd last node has none yet. */
export function parentsOf(nodes: Uint8Array, hash: Keccak256 = keccak256): Uint8Array {
  const pairs = Math.floor(nodes.length / (2 * NODE_BYTES))
  const parents = new Uint8Array(pairs * NODE_BYTES)
  const preimage = new Uint8Array(1 + 2 * NODE_BYTES)
  preimage[0] = LOG_NODE_TAG
  for (let i = 0; i < pairs; i++) {
    preimage.set(nodes.subarray(2 * i * NODE_BYTES, (2 * i + 2) * NODE_BYTES), 1)
    parents.set(hash(preimage), i * NODE_BYTES)
  }
  return parents
}

/** Where a node is in tiles of a height: in which tile, in which of its rows, and where in that row. */
export type NodeLocation = {
  readonly level: number
  readonly index: number
  readonly row: number
  readonly position: number
}

export function locateNode(node: NodePlace, height: number): NodeLocation {
  const level = Math.floor(node.level / height)
  const row = node.level % height
  const rowWidth = 2 ** (height - row)
  const index = Math.floor(node.index / rowWidth)
  return { level, index, row, position: node.index - index * rowWidth }
}

/** Nodes that the tile (level, index) of a height has in a log of `size` leaves; 0 or less when it has none yet. */
export function tileWidthAt(level: number, index: number, size: number, height: number): number {
  const complete = Math.floor(size / 2 ** (height * level))
  return Math.min(2 ** height, complete - index * 2 ** height)
}

export type LogTilesErrorCode = 'TILE_MALFORMED'

export class LogTilesError extends Error {
  override readonly name = 'LogTilesError'
  readonly code: LogTilesErrorCode
  constructor(code: LogTilesErrorCode, message: string) {
    super(message)
    this.code = code
  }
}
