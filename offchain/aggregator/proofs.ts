/**
 * From leaves to everything a contract needs to believe that they settled.
 *
 * A leaf is proven at the smallest settled head that covers it, so that its proof stays the same when more settles, or at the size that is
 * asked for. Each proof reads some groups of nodes, never a log; what leaves of one call share is read once.
 * @module
 */
import { bulkHex } from '#node/bulkHex.ts'
import { equalBytes, fromHex, type Hex, toHex } from '#protocol/bytes.ts'
import type { Keccak256 } from '#protocol/hash.ts'
import { batchLeaves } from '#protocol/log/batch.ts'
import { pathFromNodes, placesOfPath, placesOfRoot, rootFromNodes } from '#protocol/log/nodes.ts'
import { appendLeaves, createRows, type LogRows, pathAt, rootAt, sizeOfRows } from '#protocol/log/rows.ts'
import { BATCH_NODE_TAG } from '#protocol/log/tree.ts'
import type { SettledLeaf } from '#protocol/wire/receiptFile.ts'
import { Remembered } from './proofsMemory.ts'
import type { CoveringHead, ProofStore } from './proofsStore.ts'
import type { LeafPlace } from './store.ts'
import { GroupCache, type LoadedNodes } from './tiles.ts'
import { GROUP_WIDTH } from './tilesStore.ts'

/** `pending` while no settled head (of the size asked for) covers the leaf, `unknown` for a leaf nobody delivered. */
export type LeafState = ProvenLeaf | { readonly state: 'pending' } | { readonly state: 'unknown' }

/** `logPath` leads from the leaf to `head`, lowest sibling first, and `batch` has the paths from there. */
export type ProvenLeaf = {
  readonly state: 'settled'
  readonly enclave: Hex
  readonly index: number
  readonly head: CoveringHead
  readonly logPath: readonly Hex[]
  readonly batch: LogRows
}

/** Settled sizes whose root is remembered, and batches whose tree is. */
const ROOTS_MAX = 65_536
const BATCHES_MAX = 256

export class Prover {
  readonly #store: ProofStore
  readonly #hash: Keccak256
  readonly #groups: GroupCache
  /** Roots of logs held here, by enclave and size: they never change. */
  readonly #roots = new Remembered<Hex>(ROOTS_MAX)
  /** By their root, which states all heads in their order. */
  readonly #batches = new Remembered<LogRows>(BATCHES_MAX)

  /** Keeps up to `nodesMax` nodes in memory, about 80 bytes each with what they hash to. */
  constructor(store: ProofStore, hash: Keccak256, nodesMax: number) {
    this.#store = store
    this.#hash = hash
    this.#groups = new GroupCache(store, Math.ceil(nodesMax / GROUP_WIDTH))
  }

  /** What is known of each leaf (32 bytes), in their order. With `size`, at settled heads of exactly so many leaves. */
  async prove(leaves: readonly Uint8Array[], size?: bigint): Promise<LeafState[]> {
    const candidates = await this.#store.findCandidates(leaves)
    const places = candidates.flatMap((own, n) => own.map((place) => ({ ...place, n })))
    const [nodes, covering] = await Promise.all([
      this.#groups.load(places.map(({ enclave, index }) => ({ enclave, place: { level: 0, index } }))),
      this.#store.readCovering(places, size),
    ])
    const states = leaves.map((): LeafState => ({ state: 'unknown' }))
    const options = leaves.map((): Option[] => [])
    for (const [i, place] of places.entries()) {
      const { n, enclave, index } = place
      if (!equalBytes(nodes(enclave)(0, index), leaves[n] ?? new Uint8Array())) continue
      states[n] = { state: 'pending' }
      for (const head of covering[i] ?? []) options[n]?.push({ n, place, head })
    }
    // One round, unless an enclave forked and settled a root over other leaves than those delivered here.
    for (let round = options.flatMap((own) => own.shift() ?? []); round.length > 0; ) {
      const failed = await this.#proveRound(round, states)
      round = failed.flatMap(({ n }) => options[n]?.shift() ?? [])
    }
    return states
  }

  /** Proves each leaf at the head it is paired with and answers those that cannot be. */
  async #proveRound(round: readonly Option[], states: LeafState[]): Promise<readonly Option[]> {
    const [nodes, batches] = await Promise.all([this.#groups.load(this.#nodesOf(round)), this.#batchesOf(round)])
    const failed: Option[] = []
    const edgesOf = new Map<string, Map<number, Uint8Array>>()
    for (const option of round) {
      const { n, place, head } = option
      const batch = batches.get(head.batchRoot)
      if (batch === undefined || this.#rootOf(option, nodes) !== head.root) {
        failed.push(option)
        continue
      }
      const key = rootKey(place.enclave, head.size)
      const edges = edgesOf.get(key) ?? new Map<number, Uint8Array>()
      edgesOf.set(key, edges)
      const path = pathFromNodes(place.index, Number(head.size), nodes(place.enclave), this.#hash, edges)
      states[n] = {
        state: 'settled',
        enclave: place.enclave,
        index: place.index,
        head,
        logPath: path.map(bulkHex),
        batch,
      }
    }
    return failed
  }

  *#nodesOf(round: readonly Option[]): Iterable<{ enclave: Hex; place: { level: number; index: number } }> {
    const heads = new Set<string>()
    for (const { place, head } of round) {
      const { enclave } = place
      const size = Number(head.size)
      for (const node of placesOfPath(place.index, size)) yield { enclave, place: node }
      const key = rootKey(enclave, head.size)
      if (heads.has(key) || this.#roots.get(key) !== undefined) continue
      heads.add(key)
      for (const node of placesOfRoot(size)) yield { enclave, place: node }
    }
  }

  #rootOf({ place: { enclave }, head: { size } }: Option, nodes: LoadedNodes): Hex {
    return this.#roots.getOr(rootKey(enclave, size), () =>
      toHex(rootFromNodes(Number(size), nodes(enclave), this.#hash)),
    )
  }

  /** Trees of the batches, by their roots. A batch that was reorganised away between two reads is not among them. */
  async #batchesOf(round: readonly Option[]): Promise<Map<Hex, LogRows>> {
    const trees = new Map<Hex, LogRows>()
    const missing = new Map<Hex, bigint>()
    for (const { head } of round) {
      const known = this.#batches.get(head.batchRoot)
      if (known !== undefined) trees.set(head.batchRoot, known)
      else missing.set(head.batchRoot, head.batch)
    }
    const heads = await this.#store.readHeads([...missing.values()])
    for (const [root, batch] of missing) {
      const rows = createRows(BATCH_NODE_TAG)
      appendLeaves(rows, batchLeaves(heads.get(batch) ?? []), this.#hash)
      const size = sizeOfRows(rows)
      if (size === 0 || !equalBytes(rootAt(rows, size, this.#hash), fromHex(root, 32))) continue
      this.#batches.set(root, rows)
      trees.set(root, rows)
    }
    return trees
  }
}

type Option = { readonly n: number; readonly place: LeafPlace; readonly head: CoveringHead }

function rootKey(enclave: Hex, size: bigint): string {
  return `${enclave}/${size}`
}

/** Inclusion path of the head in its batch, lowest sibling first. */
export function batchPathOf({ head, batch }: ProvenLeaf): Hex[] {
  return pathAt(batch, head.batchIndex, sizeOfRows(batch)).map(toHex)
}

/** The proof as clients keep it. */
export function settledLeafOf(proven: ProvenLeaf): SettledLeaf {
  const { enclave, index, head, logPath, batch } = proven
  return {
    enclave,
    index: BigInt(index),
    size: head.size,
    logPath,
    batch: head.batch,
    batchIndex: BigInt(head.batchIndex),
    batchSize: BigInt(sizeOfRows(batch)),
    batchPath: batchPathOf(proven),
    transaction: head.transaction,
    block: head.block,
  }
}
