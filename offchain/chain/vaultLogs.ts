/** Events of the vault, whatever range of blocks an endpoint answers at once. @module */
import type { PublicClient } from 'viem'
import { fromChain, VaultError } from './vaultErrors.ts'

/** `fromBlock`: the block from which the vault exists, or any before. */
export type LogAccess = { readonly client: PublicClient; readonly fromBlock: bigint }

export type BlockRange = { readonly fromBlock: bigint; readonly toBlock: bigint }

/** The smallest range that every endpoint answers, and how many of them we ask for at most. */
const RANGE_BLOCKS_MIN = 500n
const REQUESTS_MAX = 4_000

/**
 * The logs that `read` answers for all blocks from `from` up to `to` (the newest block unless told), newest first, or the newest `count` of them. Asks for everything at once, and for ranges
 * half as long each time the endpoint refuses. Throws `VaultError` (`CHAIN_FAILED`).
 */
export async function readLogs<Log extends { readonly blockNumber: bigint; readonly logIndex: number }>(
  { client, fromBlock }: LogAccess,
  read: (range: BlockRange) => Promise<readonly Log[]>,
  options: { readonly from?: bigint; readonly to?: bigint; readonly count?: number } = {},
): Promise<Log[]> {
  const { from = fromBlock, count } = options
  const logs: Log[] = []
  let toBlock = options.to ?? (await fromChain(client.getBlockNumber({ cacheTime: 0 })))
  let span = toBlock - from + 1n
  for (let requests = 0; toBlock >= from && (count === undefined || logs.length < count); requests++) {
    if (requests === REQUESTS_MAX) {
      throw new VaultError('CHAIN_FAILED', 'the RPC endpoint answers too few blocks at once: give --from-block')
    }
    const start = toBlock - span + 1n > from ? toBlock - span + 1n : from
    try {
      logs.push(...newestFirst(await read({ fromBlock: start, toBlock })))
      toBlock = start - 1n
    } catch (cause) {
      if (span <= RANGE_BLOCKS_MIN) {
        throw new VaultError('CHAIN_FAILED', "the RPC endpoint does not answer with the vault's events", { cause })
      }
      span = (span + 1n) / 2n
    }
  }
  return logs
}

function newestFirst<Log extends { readonly blockNumber: bigint; readonly logIndex: number }>(
  logs: readonly Log[],
): Log[] {
  return logs.toSorted((a, b) =>
    a.blockNumber === b.blockNumber ? b.logIndex - a.logIndex : a.blockNumber > b.blockNumber ? -1 : 1,
  )
}
