/** The chain as the explorer reads it: the few calls of viem's client that it needs, so that the page stays small. @module */
import { createClient, http, type PublicClient } from 'viem'
import { getBlock, getBlockNumber, getChainId, getLogs, readContract } from 'viem/actions'

/** viem's client is one too. Every call rejects when the endpoint does not answer or refuses. */
export type Reader = Pick<PublicClient, 'getBlock' | 'getBlockNumber' | 'getChainId' | 'getLogs' | 'readContract'>

type LogOptions = Parameters<PublicClient['getLogs']>[0]

const TIMEOUT_MS = 15_000

export function createReader(rpcUrl: string): Reader {
  // No contract may send the browser elsewhere for its answer (ERC-3668).
  const client = createClient({ ccipRead: false, transport: http(rpcUrl, { timeout: TIMEOUT_MS, retryCount: 1 }) })
  return {
    getBlock: (options) => getBlock(client, options),
    getBlockNumber: (options) => getBlockNumber(client, options),
    getChainId: () => getChainId(client),
    // The same by its types, which viem's own client loses in between as well.
    getLogs: ((options: LogOptions) => getLogs(client, options)) as PublicClient['getLogs'],
    readContract: (options) => readContract(client, options),
  }
}
