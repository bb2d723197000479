/**
 * Nodes of logs in memory: the groups that proofs ask for, read together and kept while there is room.
 *
 * A group is sixteen nodes of a stored row (tilesStore.ts) and what they hash to. Nodes never change once complete, so what is here is
 * never wrong, at most narrower than what is stored by now.
 * @module
 */
import { strict as assert } from 'node:assert'
import { bulkParents } from '#node/bulkParents.ts'
import type { Hex } from '#protocol/bytes.ts'
import type { NodePlace, NodeReader } from '#protocol/log/nodes.ts'
import { locateNode } from '#protocol/log/tiles.ts'
import { Remembered } from './proofsMemory.ts'
import { GROUP_HEIGHT, GROUP_WIDTH, type GroupPlace } from './tilesStore.ts'

const NODE_BYTES = 32
/** Nodes of a full group and of the three rows that it hashes to: 16 + 8 + 4 + 2. */
const GROUP_NODES = 30

export type GroupStore = {
  /** The nodes of each place, in its order: 32 bytes for each node that is stored. */
  readGroups(places: readonly GroupPlace[]): Promise<Uint8Array[]>
  /** Returns once all complete nodes of the log are stored. */
  catchUp(enclave: Hex): Promise<void>
}

/** Reads the nodes of one log that were asked for. */
export type LoadedNodes = (enclave: Hex) => NodeReader

/** By `level + index * 16`: there are at most 14 levels. */
type LogGroups = Map<number, Group>
const LEVELS = 16

/** `nodes` has room for all rows of a full group; `width` of the first row are there. */
type Group = { readonly width: number; readonly nodes: Uint8Array }

export class GroupCache {
  readonly #store: GroupStore
  readonly #groups: Remembered<Group>

  /** Keeps up to `groupsMax` groups, about 1.2 kB each. */
  constructor(store: GroupStore, groupsMax: number) {
    this.#store = store
    this.#groups = new Remembered(groupsMax)
  }

  /** Reads what the nodes need that is not here, at once. All of them must be complete in logs that are held. */
  async load(wanted: Iterable<{ readonly enclave: Hex; readonly place: NodePlace }>): Promise<LoadedNodes> {
    const loaded = new Map<Hex, LogGroups>()
    const missing = new Map<string, MissingGroup>()
    for (const { enclave, place } of wanted) {
      const { level, index, row, position } = locateNode(place, GROUP_HEIGHT)
      const width = (position + 1) * 2 ** row
      const groups = groupsOf(loaded, enclave)
      const known = groups.get(level + index * LEVELS)
      if (known !== undefined && known.width >= width) continue
      const key = `${enclave}/${level}/${index}`
      const kept = this.#groups.get(key)
      if (kept !== undefined && kept.width >= width) {
        groups.set(level + index * LEVELS, kept)
        continue
      }
      const other = missing.get(key)
      if (other === undefined) missing.set(key, { place: { enclave, level, index }, width })
      else other.width = Math.max(other.width, width)
    }
    if (missing.size > 0) await this.#read(missing, loaded)
    return (enclave) => nodeReader(groupsOf(loaded, enclave))
  }

  async #read(missing: ReadonlyMap<string, MissingGroup>, loaded: Map<Hex, LogGroups>): Promise<void> {
    const wanted = [...missing]
    let parts = await this.#store.readGroups(wanted.map(([, { place }]) => place))
    const isShort = ([, { width }]: (typeof wanted)[number], i: number) => (parts[i]?.length ?? 0) < width * NODE_BYTES
    const behind = new Set(wanted.filter(isShort).map(([, { place }]) => place.enclave))
    if (behind.size > 0) {
      // The leaves came a moment ago, and the nodes above them are not stored yet.
      for (const enclave of behind) await this.#store.catchUp(enclave)
      parts = await this.#store.readGroups(wanted.map(([, { place }]) => place))
      assert(!wanted.some(isShort), 'complete nodes are stored once a log is caught up')
    }
    for (const [i, [key, { place }]] of wanted.entries()) {
      const group = expand(parts[i] ?? new Uint8Array())
      groupsOf(loaded, place.enclave).set(place.level + place.index * LEVELS, group)
      this.#groups.set(key, group)
    }
  }
}

type MissingGroup = { readonly place: GroupPlace; width: number }

function expand(part: Uint8Array): Group {
  // A copy: what the database's client answers is a view of something larger.
  const nodes = new Uint8Array(GROUP_NODES * NODE_BYTES)
  nodes.set(part)
  for (let row = 1, below = part; row < GROUP_HEIGHT; row++) {
    below = bulkParents(below)
    nodes.set(below, offsetOfRow(row) * NODE_BYTES)
  }
  return { width: part.length / NODE_BYTES, nodes }
}

function groupsOf(loaded: Map<Hex, LogGroups>, enclave: Hex): LogGroups {
  const known = loaded.get(enclave)
  if (known !== undefined) return known
  const groups: LogGroups = new Map()
  loaded.set(enclave, groups)
  return groups
}

function nodeReader(groups: LogGroups): NodeReader {
  return (level, index) => {
    const location = locateNode({ level, index }, GROUP_HEIGHT)
    const group = groups.get(location.level + location.index * LEVELS)
    assert(group !== undefined && location.position < group.width >> location.row, 'a node that was asked for')
    const at = (offsetOfRow(location.row) + location.position) * NODE_BYTES
    return group.nodes.subarray(at, at + NODE_BYTES)
  }
}

/** Nodes of a full group before its row `row`. */
function offsetOfRow(row: number): number {
  return 2 * GROUP_WIDTH - 2 ** (GROUP_HEIGHT + 1 - row)
}
