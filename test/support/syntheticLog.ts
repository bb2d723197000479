/** Logs of any length without receipts: leaves that look like hashes, heads signed by a key the test holds, and batches of them. @module */
import type { Hex } from '#protocol/bytes.ts'
import { toHex } from '#protocol/bytes.ts'
import type { Keccak256 } from '#protocol/hash.ts'
import { type BatchedHead, batchRootOf } from '#protocol/log/batch.ts'
import { type LogEdge, rootOfEdge } from '#protocol/log/edge.ts'
import { enclaveOfKey, type SettlementDomain, signHead } from '#protocol/receipt/head.ts'
import type { EarningsHeadMessage } from '#protocol/wire/agentApi.ts'
import type { SettledBatch, SettlementStore } from '../../offchain/aggregator/store.ts'

/** `count` leaves from `from` on, 32 bytes each, the same for the same seed. */
export function syntheticLeaves(seed: number, from: number, count: number): Uint8Array {
  const leaves = new Uint8Array(count * 32)
  const words = new Uint32Array(leaves.buffer)
  for (let i = 0; i < words.length; i++) {
    // A counter through the finalizer of MurmurHash3: evenly spread.
    let word = (Math.imul(from * 8 + i + 1, 0x9e3779b9) ^ Math.imul(seed + 1, 0x85ebca6b)) >>> 0
    word = Math.imul(word ^ (word >>> 16), 0x85ebca6b)
    word = Math.imul(word ^ (word >>> 13), 0xc2b2ae35)
    words[i] = word ^ (word >>> 16)
  }
  return leaves
}

/** The head over what `edge` covers. */
export function signEdge(
  edge: LogEdge,
  privateKey: Uint8Array,
  domain: SettlementDomain,
  hash: Keccak256,
): EarningsHeadMessage {
  const enclave = enclaveOfKey(privateKey).toLowerCase() as Hex
  const stated = { enclave, size: BigInt(edge.size), root: toHex(rootOfEdge(edge, hash)), fees: BigInt(edge.size) }
  return { ...stated, signature: signHead({ kind: 'earnings', ...stated }, domain, privateKey).signature }
}

/** The batch that these heads would settle in: one block and one transaction a batch. */
export function syntheticBatch(batch: bigint, heads: readonly BatchedHead[]): SettledBatch {
  return {
    batch,
    root: batchRootOf(heads),
    transaction: toHex(new Uint8Array(32).fill(Number(batch % 255n) + 1)),
    block: 10n + batch,
    gasUsed: 60_000n,
    heads: heads.map(({ enclave, size, root }) => ({ enclave, size, root, earned: size })),
  }
}

/** Writes batches as a follower of the chain would have read them. Everything from the first one's block on is replaced. */
export async function recordBatches(
  store: SettlementStore,
  batches: readonly SettledBatch[],
  finalBlock = 0n,
): Promise<void> {
  const cursor = await store.readCursor()
  const from = batches[0]?.block ?? (cursor?.block ?? 0n) + 1n
  const last = batches.at(-1)?.block ?? cursor?.block ?? 0n
  const block = toHex(new Uint8Array(32).fill(Number(last % 256n)))
  const next = { block: last, hash: block, finalBlock, finalHash: block }
  if (!(await store.record(cursor, next, from, { batches, clearings: [] }))) throw new Error('the cursor moved')
}
