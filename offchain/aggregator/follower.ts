/**
 * Follows the chain: every batch and clearing that anybody settled, ours or not. This is where proofs come from, and what makes the database a
 * cache: lost, it is read again; settled by another aggregator, a head or a clearing is known here without a transaction of ours.
 *
 * A reorganisation is seen by the hash of the last block read. Everything above the last final block is then read again, in one commit.
 *
 * The newest blocks are asked for by their hashes, one by one, each the parent of the next: a node that lacks one of them says so, where to a range of
 * numbers it would answer with what it has, and what it lacks would be missed for ever.
 * @module
 */
import { AppError } from '#node/appError.ts'
import type { Hex } from '#protocol/bytes.ts'
import { readSettlementEvents } from './batchEvents.ts'
import type { BlockId, SettlementChain } from './chainAccess.ts'
import type { ChainCursor, ChainEvents, SettledBatch, SettledClearing, SettlementStore } from './store.ts'

/** Blocks in one query for events: providers bound it, mostly at 2,000 or above. */
const BLOCKS_MAX = 2_000n
/** No node that answers at all is so many blocks behind another. */
const NEWEST_BLOCKS = 64n

export type FollowerPorts = {
  readonly chain: SettlementChain
  readonly store: SettlementStore
  readonly fromBlock: bigint
  readonly depth?: { readonly safe: number; readonly final: number } | undefined
}

/**
 * Reads the next blocks. Answers whether there was anything to read, so that a caller can go on until there is not. Throws what the chain throws, and
 * `AppError` (`RPC_DISAGREES`) for blocks that do not follow one another.
 */
export async function follow(ports: FollowerPorts): Promise<boolean> {
  const { chain, store, fromBlock } = ports
  const cursor = await store.readCursor()
  const newest = await chain.readBlock('latest')
  if (newest === undefined || newest.number < fromBlock) return false
  if (cursor !== undefined && newest.number === cursor.block && newest.hash === cursor.hash) return false
  // An endpoint that lags behind the one asked before; a chain that really became shorter grows again.
  if (cursor !== undefined && newest.number < cursor.block) return false
  const from = cursor === undefined ? fromBlock : await nextBlock(chain, cursor, fromBlock)
  const isOld = from + NEWEST_BLOCKS <= newest.number
  const parent = from - 1n === cursor?.block ? cursor.hash : undefined
  const read = isOld ? await readRange(chain, from, newest) : await readNewest(chain, from, newest, parent)
  // Read while blocks were reorganised, or from a node that is behind: what was read may be of another chain, or not all.
  if (read === undefined || (await chain.readBlock(read.last.number))?.hash !== read.last.hash) {
    throw new AppError('RPC_DISAGREES', 'the blocks that were read are not one chain', { retryable: true })
  }
  const { last } = read
  const events = await readEvents(chain, read, from)
  const final = await finalBlock(ports, newest, last)
  const next = { block: last.number, hash: last.hash, finalBlock: final.number, finalHash: final.hash }
  await store.record(cursor, next, from, events)
  return true
}

/** Transactions that settled something, with the hash of their block where it is known, and the block up to which these are all. */
type ReadBlocks = { readonly last: BlockId; readonly transactions: readonly FoundTransaction[] }
type FoundTransaction = { readonly transaction: Hex; readonly blockHash?: Hex }

/** Blocks that are old, many at once. */
async function readRange(chain: SettlementChain, from: bigint, newest: BlockId): Promise<ReadBlocks | undefined> {
  const until = newest.number - NEWEST_BLOCKS
  const to = from + BLOCKS_MAX - 1n < until ? from + BLOCKS_MAX - 1n : until
  const [last, transactions] = await Promise.all([chain.readBlock(to), chain.readSettleTransactions(from, to)])
  return last && { last, transactions: transactions.map((transaction) => ({ transaction })) }
}

/** The blocks from `from` to `newest`, if they are one chain that follows the block `parent`. */
async function readNewest(
  chain: SettlementChain,
  from: bigint,
  newest: BlockId,
  parent: Hex | undefined,
): Promise<ReadBlocks | undefined> {
  const numbers = Array.from({ length: Number(newest.number - from) }, (_, i) => from + BigInt(i))
  const older = await Promise.all(numbers.map((number) => chain.readBlock(number)))
  let before = parent
  for (const block of [...older, newest]) {
    if (block === undefined || (before !== undefined && block.parent !== before)) return undefined
    before = block.hash
  }
  const hashes = [...older, newest].flatMap((block) => block?.hash ?? [])
  const found = await Promise.all(
    hashes.map(async (blockHash) =>
      (await chain.readSettleTransactionsOf(blockHash)).map((transaction) => ({ transaction, blockHash })),
    ),
  )
  return { last: newest, transactions: found.flat() }
}

/** The block after the last one that still is what was read. */
async function nextBlock(chain: SettlementChain, cursor: ChainCursor, fromBlock: bigint): Promise<bigint> {
  const isSame = async (number: bigint, hash: Hex) => (await chain.readBlock(number))?.hash === hash
  if (await isSame(cursor.block, cursor.hash)) return cursor.block + 1n
  // What a node called final has changed only on test chains, and then nothing read before counts.
  return (await isSame(cursor.finalBlock, cursor.finalHash)) ? cursor.finalBlock + 1n : fromBlock
}

async function readEvents(
  chain: SettlementChain,
  { last, transactions }: ReadBlocks,
  from: bigint,
): Promise<ChainEvents> {
  const batches: SettledBatch[] = []
  const clearings: SettledClearing[] = []
  for (const { transaction, blockHash } of transactions) {
    const receipt = await chain.readReceipt(transaction)
    // Going on without it would lose its batch for ever; with another branch's, it would stay for ever.
    const isThere =
      receipt !== undefined &&
      (blockHash === undefined
        ? from <= receipt.blockNumber && receipt.blockNumber <= last.number
        : receipt.blockHash === blockHash)
    if (!isThere) {
      throw new AppError('RPC_DISAGREES', 'an RPC endpoint has not the receipt that a block names', { retryable: true })
    }
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
