/** OpenZeppelin's `@openzeppelin/merkle-tree` over the same leaves as ours, at sizes that its speed allows. @module */
import { SimpleMerkleTree, StandardMerkleTree } from '@openzeppelin/merkle-tree'
import { toHex } from '#protocol/bytes.ts'
import { type Other, type Row, round, summarize, timesMs } from '../row.ts'

const RUNS = 5
const MILLION = 1_000_000
const SMALL = 10_000
const LARGE = 100_000

export type OtherTrees = {
  /** What was measured, at its size. */
  readonly rows: readonly Row[]
  /** The same at a million leaves, extrapolated as n log n. */
  readonly million: readonly Other[]
}

/** `leaves` are 32 bytes each; the first ones are taken. */
export async function measureOtherTrees(leaves: Uint8Array): Promise<OtherTrees> {
  const values = Array.from({ length: LARGE }, (_, i) => toHex(leaves.subarray(32 * i, 32 * (i + 1))))
  const small = await timesMs(RUNS, () => SimpleMerkleTree.of(values.slice(0, SMALL)))
  const large = await timesMs(RUNS, () => SimpleMerkleTree.of(values))
  // The standard tree encodes and hashes each leaf twice: here one word.
  const rows = values.slice(0, SMALL).map((value) => [value])
  const standard = await timesMs(RUNS, () => StandardMerkleTree.of(rows, ['bytes32']))
  return {
    rows: [
      rowOf('simple.10k', 'OpenZeppelin SimpleMerkleTree of 10,000 of the same leaves', small),
      rowOf('simple.100k', 'OpenZeppelin SimpleMerkleTree of 100,000 of the same leaves', large),
      rowOf('standard.10k', 'OpenZeppelin StandardMerkleTree of 10,000 of the same leaves, each one word', standard),
    ],
    million: [
      extrapolated('SimpleMerkleTree, extrapolated from 100,000 as n log n,', large, LARGE),
      extrapolated('StandardMerkleTree, extrapolated from 10,000 as n log n,', standard, SMALL),
    ],
  }
}

function rowOf(id: string, name: string, timesMs: readonly number[]): Row {
  const seconds = timesMs.map((ms) => ms / 1000)
  return { id: `peer.tree.${id}`, name, ...summarize(seconds, 3), unit: 's' }
}

function extrapolated(name: string, timesMs: readonly number[], count: number): Other {
  const { value } = summarize(
    timesMs.map((ms) => ms / 1000),
    3,
  )
  const factor = (MILLION * Math.log2(MILLION)) / (count * Math.log2(count))
  return { name, value: round(value * factor, 1), unit: 's' }
}
