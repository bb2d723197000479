/**
 * Follows the chain: every batch and clearing that anybody settled, ours or not. This is where proofs come from, and what makes the database a
 * cache: lost, it is read again; settled by another aggregator, a head or a clearing is known here without a transaction of ours.
 *
 * A reorganisation is seen by the hash of the last block read. Everything above the last final block is then read again, in one commit.
 * @module
 */
import type { Hex } from '#protocol/bytes.ts'
import { readSettlementEvents } from './batchEvents.ts'
import type { BlockId, SettlementChain } from './chainAccess.ts'
import type { ChainCursor, ChainEvents, SettledBatch, SettledClearing, SettlementStore } from './store.ts'

/** Blocks in one query for events: providers bound it, mostly at 2,000 or above. */
const BLOCKS_MAX = 2_000n

export type FollowerPorts = {
  readonly chain: SettlementChain
  readonly store: SettlementStore
  readonly fromBlock: bigint
  readonly depth?: { readonly safe: number; readonly final: number } | undefined
}

/** Reads the next blocks. Answers whether there was anything to read, so that a caller can go on until there is not. */
export async function follow(ports: FollowerPorts): Promise<boolean> {
  const { chain, store, fromBlock } = ports
  const cursor = await store.readCursor()
  const newest = await chain.readBlock('latest')
  if (newest === undefined || newest.number < fromBlock) return false
  if (cursor !== undefined && newest.number === cursor.block && newest.hash === cursor.hash) return false
  // An endpoint that lags behind the one asked before; a chain that really became shorter grows again.
  if (cursor !== undefined && newest.number < cursor.block) return false
  const from = cursor === undefined ? fromBlock : await nextBlock(chain, cursor, fromBlock)
  const last = from + BLOCKS_MAX - 1n < newest.number ? await chain.readBlock(from + BLOCKS_MAX - 1n) : newest
  if (last === undefined) return false
  const events = from <= last.number ? await readEvents(chain, from, last.number) : { batches: [], clearings: [] }
  const final = await finalBlock(ports, newest, last)
  // Read while blocks were reorganised: what was read may be of either chain.
  if ((await chain.readBlock(last.number))?.hash !== last.hash) return true
  const next = { block: last.number, hash: last.hash, finalBlock: final.number, finalHash: final.hash }
  await store.record(cursor, next, from, events)
  return true
}

/** The block after the last one that still is what was read. */
async function nextBlock(chain: SettlementChain, cursor: ChainCursor, fromBlock: bigint): Promise<bigint> {
  const isSame = async (number: bigint, hash: Hex) => (await chain.readBlock(number))?.hash === hash
  if (await isSame(cursor.block, cursor.hash)) return cursor.block + 1n
  // What a node called final has changed only on test chains, and then nothing read before counts.
  return (await isSame(cursor.finalBlock, cursor.finalHash)) ? cursor.finalBlock + 1n : fromBlock
}

async function readEvents(chain: SettlementChain, from: bigint, to: bigint): Promise<ChainEvents> {
  const batches: SettledBatch[] = []
  const clearings: SettledClearing[] = []
  for (const transaction of await chain.readSettleTransactions(from, to)) {
    const receipt = await chain.readReceipt(transaction)
    if (receipt === undefined) continue
    const events = readSettlementEvents(receipt, chain.domain)
    batches.push(...events.batches)
    for (const outcome of events.clearings) {
      if (outcome.isSettled) clearings.push({ id: outcome.id, transaction, block: receipt.blockNumber })
    }
  }
  return { batches, clearings }
}

async function finalBlock(
  { chain, depth, fromBlock }: FollowerPorts,
  newest: BlockId,
  last: BlockId,
): Promise<BlockId> {
  const number =
    depth === undefined
      ? ((await chain.readBlock('finalized'))?.number ?? fromBlock)
      : newest.number - BigInt(depth.final)
  if (number >= last.number) return last
  return (await chain.readBlock(number < fromBlock ? fromBlock : number)) ?? last
}
