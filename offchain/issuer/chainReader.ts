/**
 * The chain over several RPC endpoints that trust each other no more than we trust them. What counts is read on all of them at one
 * block that all call final, and all must say the same.
 * @module
 */
import { createPublicClient, getAbiItem, getAddress, http, type PublicClient } from 'viem'
import { creditVaultAbi, enclaveRegistryAbi } from '#chain/generated/abis.ts'
import { ENCLAVE_STATES } from '#chain/registry.ts'
import { readLogs } from '#chain/vaultLogs.ts'
import { AppError } from '#node/appError.ts'
import { type Hex, lowerHex } from '#protocol/bytes.ts'
import { DEPOSIT_SIZES } from '#protocol/credits/purchase.ts'
import { ENCLAVE_ROLE } from '#protocol/evidence/statement.ts'
import { toJson } from '#protocol/wire/json.ts'
import { ActiveGateways } from './activeGateways.ts'
import type { ChainReader } from './chain.ts'

export type ChainReaderOptions = {
  /** At least two, of different providers. */
  readonly rpcUrls: readonly string[]
  readonly chainId: number
  readonly registry: Hex
  readonly vault: Hex
  /** Block from which the vault exists. */
  readonly fromBlock: bigint
  /** Milliseconds since some fixed moment. */
  readonly now?: () => number
}

const EXITS_OPENED = getAbiItem({ abi: creditVaultAbi, name: 'ExitsOpened' })
const WRITER_EVENTS = [
  getAbiItem({ abi: creditVaultAbi, name: 'KeysetOpened' }),
  getAbiItem({ abi: creditVaultAbi, name: 'KeysetTakenOver' }),
] as const

/** Of `DepositState`. */
const STATE_NONE = 0
const STATE_OPEN = 1
/** Newest blocks may be replaced: exits are read from a few before the last time. */
const EXIT_OVERLAP_BLOCKS = 64n

/** Connects. Throws `AppError`: `BAD_CONFIG` for one endpoint only, or one of another chain; `RPC_FAILED`. */
export async function connectChain(options: ChainReaderOptions): Promise<ChainReader> {
  if (new Set(options.rpcUrls).size < 2) {
    throw new AppError('BAD_CONFIG', 'an issuer reads the chain from at least two RPC endpoints: one alone could lie')
  }
  const clients: PublicClient[] = options.rpcUrls.map((url) =>
    createPublicClient({ transport: http(url), cacheTime: 0 }),
  )
  for (const chainId of await onAll(clients, (client) => client.getChainId())) {
    if (chainId === options.chainId) continue
    throw new AppError('BAD_CONFIG', `an RPC endpoint is on chain ${chainId}, the deployment on ${options.chainId}`)
  }
  return createChainReader(clients, options)
}

function createChainReader(clients: readonly PublicClient[], options: ChainReaderOptions): ChainReader {
  const { vault, fromBlock } = options
  const now = options.now ?? (() => performance.now())
  const registry = { address: options.registry, abi: enclaveRegistryAbi } as const
  const active = new ActiveGateways(now)
  /** Every naming of a writer in final blocks, oldest first, and the first block that was not read for them. */
  const writers: { readonly keyset: Hex; readonly writer: Hex }[] = []
  let nextWriterBlock = fromBlock
  return {
    async deposit(keyset, claimKey) {
      const deposit = await agreed(clients, (client, blockNumber) =>
        client.readContract({
          address: vault,
          abi: creditVaultAbi,
          functionName: 'depositOf',
          args: [keyset, getAddress(claimKey)],
          blockNumber,
        }),
      )
      if (deposit.state === STATE_NONE) return undefined
      const units = DEPOSIT_SIZES[deposit.size]
      if (units === undefined) throw new AppError('RPC_FAILED', `the vault answers an unknown size ${deposit.size}`)
      return { state: deposit.state === STATE_OPEN ? 'open' : 'closed', units }
    },
    async isActiveGateway(enclave) {
      if (active.has(enclave)) return true
      const [state, role] = await agreed(clients, (client, blockNumber) =>
        client.readContract({ ...registry, functionName: 'standingOf', args: [getAddress(enclave)], blockNumber }),
      )
      const isActive = ENCLAVE_STATES[state] === 'active' && role === ENCLAVE_ROLE.gateway
      if (isActive) active.note(enclave)
      else active.forget(enclave)
      return isActive
    },
    async activeIssuer(enclave) {
      const args = [getAddress(enclave)] as const
      const { standing, entry } = await agreed(clients, async (client, blockNumber) => {
        const [standing, entry] = await Promise.all([
          client.readContract({ ...registry, functionName: 'standingOf', args, blockNumber }),
          client.readContract({ ...registry, functionName: 'enclaveOf', args, blockNumber }),
        ])
        return { standing, entry }
      })
      const [state, role] = standing
      if (ENCLAVE_STATES[state] !== 'active' || role !== ENCLAVE_ROLE.issuer) return undefined
      return { operator: lowerHex(entry.operator), measurement: entry.measurement.toLowerCase() as Hex }
    },
    async writers(keyset) {
      const from = nextWriterBlock
      const { past, named } = await agreed(clients, async (client, to) => {
        const logs = await readLogs(
          { client, fromBlock },
          (range) => client.getLogs({ address: vault, events: WRITER_EVENTS, strict: true, ...range }),
          { from, to },
        )
        return {
          past: to + 1n,
          named: logs.toReversed().map(({ args }) => ({ keyset: args.keyset, writer: lowerHex(args.writer) })),
        }
      })
      // Of two calls at once, the first one notes what both have read.
      if (nextWriterBlock === from && past > from) {
        nextWriterBlock = past
        writers.push(...named)
      }
      return writers.filter((each) => each.keyset === keyset).map(({ writer }) => writer)
    },
    async time() {
      const newest = await onAll(clients, (client) => client.getBlock({ blockTag: 'latest' }))
      return Number(leastOf(newest.map(({ timestamp }) => timestamp)))
    },
    async openedExits(from) {
      const reads = await onAll(clients, async (client) => {
        const toBlock = await client.getBlockNumber({ cacheTime: 0 })
        const logs = await readLogs(
          { client, fromBlock },
          (range) => client.getLogs({ address: vault, event: EXITS_OPENED, strict: true, ...range }),
          { from, to: toBlock },
        )
        return { toBlock, credits: logs.flatMap(({ args }) => args.credits) }
      })
      const newest = leastOf(reads.map(({ toBlock }) => toBlock))
      const next = newest > EXIT_OVERLAP_BLOCKS ? newest - EXIT_OVERLAP_BLOCKS : 0n
      return { credits: reads.flatMap(({ credits }) => credits), next: next > from ? next : from }
    },
  }
}

/** Reads on all endpoints at the newest block that all of them call final. Throws `AppError` (`RPC_FAILED`) when they differ. */
async function agreed<T>(
  clients: readonly PublicClient[],
  read: (client: PublicClient, blockNumber: bigint) => Promise<T>,
): Promise<T> {
  const finals = await onAll(clients, (client) => client.getBlock({ blockTag: 'finalized' }))
  const block = leastOf(finals.map(({ number }) => number))
  const answers = await onAll(clients, async (client) => {
    const [{ hash }, answer] = await Promise.all([client.getBlock({ blockNumber: block }), read(client, block)])
    return { hash, answer }
  })
  const [first] = answers
  if (first === undefined || answers.some((other) => toJson(other) !== toJson(first))) {
    throw new AppError('RPC_FAILED', `the RPC endpoints contradict each other at block ${block}`, { retryable: true })
  }
  return first.answer
}

async function onAll<T>(clients: readonly PublicClient[], read: (client: PublicClient) => Promise<T>): Promise<T[]> {
  try {
    return await Promise.all(clients.map(read))
  } catch (cause) {
    // viem's messages hold the whole URL, which may hold a key.
    throw new AppError('RPC_FAILED', 'an RPC endpoint does not answer', { cause, retryable: true })
  }
}

function leastOf(blocks: readonly bigint[]): bigint {
  return blocks.toSorted((a, b) => (a < b ? -1 : 1))[0] ?? 0n
}
