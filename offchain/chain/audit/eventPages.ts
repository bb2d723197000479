/** All events of some contracts in the order of the chain, a page of blocks at a time, whatever an endpoint answers at once. @module */
import type { Address, Log, PublicClient } from 'viem'
import { VaultError } from '../vaultErrors.ts'
import type { BlockRange } from '../vaultLogs.ts'

/** All logs of the blocks up to `toBlock` that earlier pages did not have. */
export type EventPage = { readonly toBlock: bigint; readonly logs: readonly MinedLog[] }

export type MinedLog = Log<bigint, number, false>

/** Blocks asked for at first and at most, and logs in an answer that make the next range shorter: what bounds the memory of a page. */
const SPAN_FIRST = 2_000n
const SPAN_MAX = 100_000n
const LOGS_ENOUGH = 5_000
/** Pages after a refusal before a longer range is tried again. */
const PATIENCE_PAGES = 16

/** Ranges become half as long when the endpoint refuses, and longer while pages stay small. Throws `VaultError` (`CHAIN_FAILED`). */
export async function* readEventPages(
  client: PublicClient,
  address: readonly Address[],
  { fromBlock, toBlock: last }: BlockRange,
): AsyncGenerator<EventPage> {
  let span = SPAN_FIRST
  let patience = 0
  for (let from = fromBlock; from <= last; ) {
    const toBlock = from + span - 1n < last ? from + span - 1n : last
    let logs: MinedLog[]
    try {
      logs = await client.getLogs({ address: [...address], fromBlock: from, toBlock })
    } catch (cause) {
      if (span === 1n) {
        throw new VaultError('CHAIN_FAILED', 'the RPC endpoint does not answer with the events: check --rpc', { cause })
      }
      span = span / 2n
      patience = PATIENCE_PAGES
      continue
    }
    yield { toBlock, logs: inOrder(logs) }
    from = toBlock + 1n
    if (logs.length > LOGS_ENOUGH && span > 1n) span = span / 2n
    else if (patience > 0) patience--
    else if (span < SPAN_MAX) span = span * 2n
  }
}

function inOrder(logs: readonly MinedLog[]): MinedLog[] {
  return logs.toSorted((a, b) =>
    a.blockNumber === b.blockNumber ? a.logIndex - b.logIndex : a.blockNumber < b.blockNumber ? -1 : 1,
  )
}
