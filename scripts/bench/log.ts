/** Building and verifying logs on one core, beside OpenZeppelin's tree of the same leaves and beside one signature for each leaf. @module */
import { createBulkKeccak } from '#node/bulkKeccak.ts'
import { equalBytes, toHex } from '#protocol/bytes.ts'
import { keccak256 } from '#protocol/hash.ts'
import { EMPTY_EDGE, rootOfEdge } from '#protocol/log/edge.ts'
import { appendLeaves, createRows, rootAt } from '#protocol/log/rows.ts'
import { enclaveOfKey, isSignedByEnclave, signHead } from '#protocol/receipt/head.ts'
import { extendEdge } from '../../offchain/aggregator/extendEdge.ts'
import { measureOtherTrees } from './peers/otherTrees.ts'
import { measureSignatures } from './peers/signatures.ts'
import { type Row, summarize, timesMs } from './row.ts'

const MILLION = 1_000_000
const RUNS = 5

export async function measureLog(): Promise<Row[]> {
  const hash = await createBulkKeccak()
  const leaves = pseudoLeaves(MILLION)
  const buildMs = await timesMs(RUNS, () => appendLeaves(createRows(), leaves, hash))
  const root = rootAt(rowsOf(leaves, hash), MILLION, hash)

  const privateKey = keccak256(leaves.subarray(0, 32))
  const domain = { chainId: 31_337, settlement: `0x${'11'.repeat(20)}` } as const
  const head = signHead(
    { kind: 'earnings', enclave: enclaveOfKey(privateKey), size: BigInt(MILLION), root: toHex(root), fees: 1n },
    domain,
    privateKey,
  )
  const verifyMs = await timesMs(RUNS, () => {
    const recomputed = rootOfEdge(extendEdge(EMPTY_EDGE, leaves), hash)
    if (!equalBytes(recomputed, root) || !isSignedByEnclave(head, domain)) throw new Error('the log does not verify')
  })
  const trees = await measureOtherTrees(leaves)
  return [
    {
      id: 'log.build.1m',
      name: 'tree of 1,000,000 leaves, all nodes kept',
      ...summarize(
        buildMs.map((ms) => ms / 1000),
        3,
      ),
      unit: 's',
      target: { value: 2, direction: 'at most' },
      others: trees.million,
      published: 'OpenZeppelin merkle-tree about 305 s (extrapolated, leaves of five fields)',
    },
    ...trees.rows,
    {
      id: 'log.verify',
      name: 'leaves verified by root and one signature, one core',
      ...summarize(verifyMs.map((ms) => MILLION / (ms / 1000))),
      unit: '1/s',
      target: { value: 600_000, direction: 'at least' },
      others: await measureSignatures(leaves),
      published: 'one signature each: 900 noble, 23,500 native',
    },
  ]
}

function rowsOf(leaves: Uint8Array, hash: (data: Uint8Array) => Uint8Array): ReturnType<typeof createRows> {
  const rows = createRows()
  appendLeaves(rows, leaves, hash)
  return rows
}

/** Leaves that look like hashes, the same in every run. */
function pseudoLeaves(count: number): Uint8Array {
  const leaves = new Uint8Array(count * 32)
  const words = new Uint32Array(leaves.buffer)
  let state = 0x9e3779b9
  for (let i = 0; i < words.length; i++) {
    state = (Math.imul(state ^ (state >>> 15), 0x85ebca6b) + i) >>> 0
    words[i] = state
  }
  return leaves
}
