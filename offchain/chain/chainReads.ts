/**
 * What a client reads of the chain, over plain JSON-RPC and without a library, for browsers. Several endpoints are
 * believed only where all say the same of one block: then no single one can show a client another registry.
 * @module
 */
import type { Abi, PublicClient } from 'viem'
import { readBodyText } from '#protocol/boundedBody.ts'
import type { Hex } from '#protocol/bytes.ts'
import { decodeResult, encodeCall } from './abiCodec.ts'

/** viem's client is one too. Every call rejects when an endpoint does not answer, refuses, or contradicts another. */
export type ChainReads = {
  getChainId(): Promise<number>
  /** The newest block; of several endpoints, the newest that all have. */
  getBlock(): Promise<{ readonly timestamp: bigint }>
  readonly readContract: PublicClient['readContract']
}

const TIMEOUT_MS = 15_000
/** A page of 500 enclaves is some 300 kB. */
const ANSWER_BYTES_MAX = 8 * 1024 * 1024

/** Reads from these endpoints, one at least. */
export function createChainReads(rpcUrls: readonly string[], timeoutMs: number = TIMEOUT_MS): ChainReads {
  if (rpcUrls.length === 0) throw new ChainReadError('NO_ENDPOINT', 'expected an RPC endpoint')
  const onAll = async (method: string, params: readonly unknown[]): Promise<unknown> => {
    const answers = await Promise.all(rpcUrls.map((url) => call(url, method, params, timeoutMs)))
    const [first, ...others] = answers
    if (others.some((answer) => JSON.stringify(answer) !== JSON.stringify(first))) {
      throw new ChainReadError('CONTRADICTION', `the RPC endpoints contradict each other about ${method}`)
    }
    return first
  }
  /** A block that all have, as the number to read at. */
  const commonBlock = async (): Promise<string> => {
    if (rpcUrls.length === 1) return 'latest'
    const newest = await Promise.all(rpcUrls.map((url) => call(url, 'eth_blockNumber', [], timeoutMs)))
    const [least = 0n] = newest.map(quantity).toSorted((a, b) => (a < b ? -1 : 1))
    return `0x${least.toString(16)}`
  }
  const readContract = async (read: {
    readonly address: Hex
    readonly abi: Abi
    readonly functionName: string
    readonly args?: readonly unknown[]
  }): Promise<unknown> => {
    const { address, abi, functionName, args = [] } = read
    const data = encodeCall(abi, functionName, args)
    const result = await onAll('eth_call', [{ to: address, data }, await commonBlock()])
    if (typeof result !== 'string' || result === '0x') {
      throw new ChainReadError('NO_CONTRACT', `there is no contract with ${functionName} at ${address}`)
    }
    return decodeResult(abi, functionName, result as Hex)
  }
  return {
    async getChainId() {
      return Number(quantity(await onAll('eth_chainId', [])))
    },
    async getBlock() {
      const block = await onAll('eth_getBlockByNumber', [await commonBlock(), false])
      if (typeof block !== 'object' || block === null || !('timestamp' in block)) throw malformed('a block')
      return { timestamp: quantity(block.timestamp) }
    },
    // The same by its types: what they say of the answer is what `decodeResult` makes of the same ABI.
    readContract: readContract as PublicClient['readContract'],
  }
}

async function call(url: string, method: string, params: readonly unknown[], timeoutMs: number): Promise<unknown> {
  let answer: unknown
  try {
    const { body } = await post(url, { method, params }, AbortSignal.timeout(timeoutMs))
    answer = JSON.parse(await readBodyText(body, ANSWER_BYTES_MAX))
  } catch (cause) {
    // The address may hold a key: only the method is named.
    throw new ChainReadError('NO_ANSWER', `an RPC endpoint does not answer ${method}`, { cause })
  }
  if (typeof answer !== 'object' || answer === null) throw malformed(method)
  if ('result' in answer) return answer.result
  throw new ChainReadError('REFUSED', `an RPC endpoint refuses ${method}`)
}

/** Asks again where the connection broke before an answer: an endpoint closes idle connections just when the next question comes. */
async function post(url: string, { method, params }: Question, signal: AbortSignal): Promise<Response> {
  const asking = (): Promise<Response> =>
    fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ jsonrpc: '2.0', id: 1, method, params }),
      signal,
    })
  return asking().catch((error: unknown) => {
    if (signal.aborted) throw error
    return asking()
  })
}

type Question = { readonly method: string; readonly params: readonly unknown[] }

function quantity(value: unknown): bigint {
  if (typeof value !== 'string' || !/^0x[0-9a-f]{1,64}$/i.test(value)) throw malformed('a number')
  return BigInt(value)
}

function malformed(what: string): ChainReadError {
  return new ChainReadError('MALFORMED', `an RPC endpoint answers ${what} as nothing that is one`)
}

export type ChainReadErrorCode = 'NO_ENDPOINT' | 'NO_ANSWER' | 'REFUSED' | 'MALFORMED' | 'CONTRADICTION' | 'NO_CONTRACT'

export class ChainReadError extends Error {
  override readonly name = 'ChainReadError'
  readonly code: ChainReadErrorCode
  constructor(code: ChainReadErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}
