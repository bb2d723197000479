/** Proofs from nodes and from tiles, against a whole log in memory. @module */
import { expect, test } from 'vitest'
import { encodeUint, joinBytes, toHex } from '../bytes.ts'
import { keccak256 } from '../hash.ts'
import { LogNodesError, pathFromNodes, placesOfPath, placesOfRoot, rootFromNodes } from './nodes.ts'
import { appendLeaves, createRows, leafAt, pathAt, rootAt } from './rows.ts'
import {
  expandTile,
  LogTilesError,
  locateNode,
  nodeOfTile,
  proveFromTiles,
  TILE_HEIGHT,
  type TilePlace,
  tileWidthAt,
} from './tiles.ts'
import { LOG_NODE_TAG, rootFromPath } from './tree.ts'

const SIZE_MAX = 65_793
const LEAVES = Array.from({ length: SIZE_MAX }, (_, i) => keccak256(encodeUint(BigInt(i), 8)))
const LOG = createRows()
appendLeaves(LOG, joinBytes(LEAVES))

function nodeAt(level: number, index: number): Uint8Array {
  const row = LOG.rows[level]
  if (row === undefined || index >= row.count) throw new Error('the node is not complete')
  return row.bytes.subarray(index * 32, index * 32 + 32)
}

/** A tile as a server has it, cut out of the rows. */
function tileBytes({ level, index, width }: TilePlace): Uint8Array {
  const start = index * 256
  return joinBytes(Array.from({ length: width }, (_, i) => nodeAt(level * TILE_HEIGHT, start + i)))
}

const readTile = async (tile: TilePlace) => tileBytes(tile)

const hexes = (path: readonly Uint8Array[]) => path.map(toHex)

test('nodes give the path and the root that the whole log gives, at every size and index up to 70', () => {
  for (let size = 1; size <= 70; size++) {
    const edges = new Map<number, Uint8Array>()
    expect(toHex(rootFromNodes(size, nodeAt))).toBe(toHex(rootAt(LOG, size)))
    for (let index = 0; index < size; index++) {
      const asked: string[] = []
      const path = pathFromNodes(index, size, (level, at) => {
        expect((at + 1) * 2 ** level).toBeLessThanOrEqual(size)
        asked.push(`${level}/${at}`)
        return nodeAt(level, at)
      })
      expect(hexes(path)).toEqual(hexes(pathAt(LOG, index, size)))
      expect(pathFromNodes(index, size, nodeAt, keccak256, edges)).toEqual(path)
      expect(placesOfPath(index, size).map(({ level, index: at }) => `${level}/${at}`)).toEqual(asked)
    }
  }
})

test.each([1, 2, 255, 256, 257, 511, 65_535, 65_536, 65_537, SIZE_MAX])(
  'tiles alone prove leaves of a log of %i leaves',
  async (size) => {
    const indices = [0, 1, 254, 255, 256, 257, Math.floor(size / 2), size - 2, size - 1]
    for (const index of new Set(indices.filter((each) => each >= 0 && each < size))) {
      const asked: TilePlace[] = []
      const { path, root } = await proveFromTiles(index, size, (tile) => {
        asked.push(tile)
        return readTile(tile)
      })
      expect(hexes(path)).toEqual(hexes(pathAt(LOG, index, size)))
      expect(toHex(root)).toBe(toHex(rootAt(LOG, size)))
      expect(rootFromPath(LOG_NODE_TAG, leafAt(LOG, index), index, size - 1, path)).toEqual(root)
      // One a level for the path, one a level for the right edge.
      expect(asked.length).toBeLessThanOrEqual(2 * Math.ceil((Math.log2(size) + 1) / TILE_HEIGHT))
    }
  },
)

test('a flipped bit in a tile leads to another root', async () => {
  const whole = toHex(rootAt(LOG, 1_000))
  const { root } = await proveFromTiles(300, 1_000, async (tile) => {
    const bytes = tileBytes(tile)
    if (tile.level === 0 && tile.index === 1) bytes[77] = (bytes[77] ?? 0) ^ 4
    return bytes
  })
  // The flipped leaf is below a node that level 1 states, so the root stays and the path no longer leads there.
  expect(toHex(root)).toBe(whole)
  const { path } = await proveFromTiles(300, 1_000, async (tile) => {
    const bytes = tileBytes(tile)
    if (tile.level === 0 && tile.index === 1) bytes[77] = (bytes[77] ?? 0) ^ 4
    return bytes
  })
  expect(rootFromPath(LOG_NODE_TAG, leafAt(LOG, 300), 300, 999, path)).not.toEqual(root)
  const upper = await proveFromTiles(300, 1_000, async (tile) => {
    const bytes = tileBytes(tile)
    if (tile.level === 1) bytes[5] = (bytes[5] ?? 0) ^ 1
    return bytes
  })
  expect(toHex(upper.root)).not.toBe(whole)
})

test('refuses a tile of another length, an index outside and an empty log', async () => {
  const short = proveFromTiles(3, 300, async (tile) => tileBytes(tile).subarray(32))
  await expect(short).rejects.toThrow(LogTilesError)
  // What it holds too much is not needed for any node, and is refused all the same.
  for (const more of [1, 32]) {
    const long = proveFromTiles(3, 300, async (tile) => joinBytes([tileBytes(tile), new Uint8Array(more)]))
    await expect(long).rejects.toMatchObject({ name: 'LogTilesError', code: 'TILE_MALFORMED' })
  }
  await expect(proveFromTiles(300, 300, readTile)).rejects.toThrow(LogNodesError)
  expect(() => placesOfPath(-1, 5)).toThrow(LogNodesError)
  expect(() => placesOfRoot(0)).toThrow(LogNodesError)
})

test('a tile of any width holds exactly the complete nodes below its own', () => {
  for (let width = 1; width <= 256; width++) {
    const rows = expandTile(tileBytes({ level: 0, index: 1, width }))
    for (const [row, nodes] of rows.entries()) {
      expect(nodes.length / 32).toBe(Math.floor(width / 2 ** row))
      for (let i = 0; i < nodes.length / 32; i++) {
        expect(nodeOfTile(rows, row, i)).toEqual(nodeAt(row, 2 ** (8 - row) + i))
      }
    }
    expect(nodeOfTile(rows, 0, width)).toBeUndefined()
  }
})

test('a node is located in the tile that covers it, for both heights in use', () => {
  expect(locateNode({ level: 0, index: 300 }, 8)).toEqual({ level: 0, index: 1, row: 0, position: 44 })
  expect(locateNode({ level: 7, index: 5 }, 8)).toEqual({ level: 0, index: 2, row: 7, position: 1 })
  expect(locateNode({ level: 8, index: 300 }, 8)).toEqual({ level: 1, index: 1, row: 0, position: 44 })
  expect(locateNode({ level: 6, index: 9 }, 4)).toEqual({ level: 1, index: 2, row: 2, position: 1 })
  expect(tileWidthAt(1, 0, 65_535, 8)).toBe(255)
  expect(tileWidthAt(1, 0, 65_536, 8)).toBe(256)
  expect(tileWidthAt(1, 1, 65_536, 8)).toBe(0)
})
