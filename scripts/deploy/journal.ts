/** Ignition's journal of one deployment: what it says about where a deployment began, and about transactions that a killed process left behind. @module */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { trackTransaction } from '@nomicfoundation/ignition-core'
import type { PublicClient } from 'viem'
import type { Hex } from '#protocol/bytes.ts'
import { DeployError } from './deployError.ts'

/** What of a journal's lines we read. */
type Entry = {
  readonly type: string
  readonly futureId?: string
  readonly networkInteractionId?: number
  readonly nonce?: number
  readonly from?: Hex
  readonly receipt?: { readonly blockNumber: number; readonly contractAddress?: Hex }
  readonly result?: { readonly type: string; readonly address?: Hex }
}

/** What of Ignition's modules we read. */
type Module = {
  readonly futures: ReadonlySet<{ readonly id: string }>
  readonly results: Readonly<Record<string, { readonly id: string }>>
}

type Provider = Parameters<typeof trackTransaction>[2]

const MINED_MS_MAX = 300_000
const POLL_MS = 1_000

export function isBegun(folder: string): boolean {
  return readEntries(folder).length > 0
}

/**
 * Where a module's contracts are, if the journal tells that it was deployed to its end. Ignition must not be asked for a module again while a later
 * one of the same journal is cut: it counts the later one's unfinished parts as failures of the first.
 */
export function finishedModule<M extends Module>(
  folder: string,
  module: M,
): { [Name in keyof M['results']]: Hex } | undefined {
  const done = new Map(
    readEntries(folder).flatMap(({ type, futureId, result }) =>
      type === 'DEPLOYMENT_EXECUTION_STATE_COMPLETE' && futureId && result?.type === 'SUCCESS' && result.address
        ? [[futureId, result.address] as const]
        : [],
    ),
  )
  if ([...module.futures].some(({ id }) => !done.has(id))) return undefined
  const addresses = Object.entries(module.results).map(([name, { id }]) => [name, done.get(id)])
  // Every result is one of the futures, and all of those are there.
  return Object.fromEntries(addresses) as { [Name in keyof M['results']]: Hex }
}

/** The block of the first contract of a deployment, however often it was cut since. Undefined before there is one. */
export function firstBlock(folder: string): bigint | undefined {
  const blocks = readEntries(folder).flatMap(({ receipt }) => (receipt?.contractAddress ? [receipt.blockNumber] : []))
  return blocks.length === 0 ? undefined : BigInt(Math.min(...blocks))
}

/** Throws `DeployError` when a journal tells of contracts that are not on this chain: another chain had the same id. */
export async function requireSameChain(client: PublicClient, folder: string): Promise<void> {
  const address = readEntries(folder).find(({ receipt }) => receipt?.contractAddress)?.receipt?.contractAddress
  if (address === undefined || (await client.getCode({ address })) !== undefined) return
  throw new DeployError(
    `${folder} tells of contracts that this chain does not have: it was another chain with the same id. Move the folder away, or give --id`,
  )
}

/**
 * Ignition notes that it is about to send, sends, and notes the hash. A process that dies between the last two leaves a transaction that Ignition
 * would take for a stranger's and send again: a second contract. This finds each of them on the chain, by its sender and nonce, and writes its hash
 * down. Answers how many there were. Throws `DeployError`, and what the RPC endpoint throws.
 */
export async function adoptUnrecorded(client: PublicClient, folder: string, provider: Provider): Promise<number> {
  const entries = readEntries(folder)
  const keyOf = ({ futureId, networkInteractionId }: Entry) => `${futureId} ${networkInteractionId}`
  const noted = new Set(entries.filter(({ type }) => type === 'TRANSACTION_SEND').map(keyOf))
  const senders = new Map(entries.flatMap(({ futureId, from }) => (futureId && from ? [[futureId, from]] : [])))
  let adopted = 0
  for (const entry of entries) {
    if (entry.type !== 'TRANSACTION_PREPARE_SEND' || noted.has(keyOf(entry))) continue
    const sender = senders.get(entry.futureId ?? '')
    if (sender === undefined || entry.nonce === undefined) continue
    // Sent after everything that the journal saw mined.
    const from = BigInt(Math.max(0, ...entries.map(({ receipt }) => receipt?.blockNumber ?? 0)))
    const hash = await findTransaction(client, sender, entry.nonce, from)
    if (hash === undefined) continue
    await trackTransaction(folder, hash, provider)
    noted.add(keyOf(entry))
    adopted++
  }
  return adopted
}

/** The transaction of `sender` with this nonce; waits for one that is not mined yet. Undefined when it never left. */
async function findTransaction(
  client: PublicClient,
  sender: Hex,
  nonce: number,
  from: bigint,
): Promise<Hex | undefined> {
  const deadline = performance.now() + MINED_MS_MAX
  while ((await client.getTransactionCount({ address: sender, blockTag: 'latest' })) <= nonce) {
    const pending = await client.getTransactionCount({ address: sender, blockTag: 'pending' })
    if (pending <= nonce) return undefined
    if (performance.now() > deadline) {
      throw new DeployError(`transaction ${nonce} of ${sender} waits to be mined: run the same command again later`)
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }
  const block = await blockUsing(client, sender, nonce, from).catch((cause) => {
    throw new DeployError(
      `transaction ${nonce} of ${sender} was sent before this was cut, and the RPC endpoint does not keep the past that tells its hash: look it up in a block explorer, run npx hardhat ignition track-tx with it, and then this again`,
      { cause },
    )
  })
  const { transactions } = await client.getBlock({ blockNumber: block, includeTransactions: true })
  const own = transactions.find(
    (transaction) => transaction.from.toLowerCase() === sender.toLowerCase() && transaction.nonce === nonce,
  )
  return own?.hash
}

/** The first block after which a nonce is used. */
async function blockUsing(client: PublicClient, address: Hex, nonce: number, from: bigint): Promise<bigint> {
  let low = from
  let high = await client.getBlockNumber({ cacheTime: 0 })
  while (low < high) {
    const middle = (low + high) / 2n
    if ((await client.getTransactionCount({ address, blockNumber: middle })) > nonce) high = middle
    else low = middle + 1n
  }
  return low
}

function readEntries(folder: string): readonly Entry[] {
  const path = join(folder, 'journal.jsonl')
  if (!existsSync(path)) return []
  const lines = readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
  return lines.map((line) => JSON.parse(line) as Entry)
}
