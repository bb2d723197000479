/** What the settlement contract told in its events, newest first and page by page, and how it grew over time. @module */
import type { GetLogsReturnType } from 'viem'
import { getAbiItem } from 'viem/utils'
import { receiptSettlementAbi } from '#chain/generated/abis.ts'
import type { Hex } from '#protocol/bytes.ts'
import type { Reader } from './reader.ts'

export type SettledHead = {
  readonly enclave: Hex
  readonly size: bigint
  readonly root: Hex
  /** Cumulative, in units; 0 for a log head. */
  readonly fees: bigint
}

export type SettledBatch = {
  readonly batch: bigint
  readonly root: Hex
  readonly settler: Hex
  readonly block: bigint
  readonly transaction: Hex
  readonly heads: readonly SettledHead[]
}

/** `batches` oldest first, all of blocks `fromBlock` to `toBlock`. */
export type History = {
  readonly batches: readonly SettledBatch[]
  readonly fromBlock: bigint
  readonly toBlock: bigint
  /** False where only the newest part could be read. */
  readonly isComplete: boolean
}

/** One point of a chart: seconds since the epoch, and how much there was by then. */
export type Point = { readonly time: number; readonly value: number }

const EVENTS = [
  getAbiItem({ abi: receiptSettlementAbi, name: 'BatchSettled' }),
  getAbiItem({ abi: receiptSettlementAbi, name: 'HeadSettled' }),
] as const

/** The smallest range that every endpoint answers, and how often one visit may ask. */
const RANGE_BLOCKS_MIN = 500n
const REQUESTS_MAX = 60
/** Blocks whose time is asked for: as many as a chart needs. */
const POINTS_MAX = 48
const AT_ONCE = 8
/** As deep as any chain is reorganised before a block is final. */
const REORGANISED_BLOCKS_MAX = 64n

/**
 * Everything since `fromBlock`, or as much of the newest as `REQUESTS_MAX` requests give: asks for ranges half as long each time the endpoint refuses. Throws
 * what the endpoint throws when it answers nothing at all.
 */
export async function readHistory(reader: Reader, settlement: Hex, fromBlock: bigint): Promise<History> {
  const newest = await reader.getBlockNumber({ cacheTime: 0 })
  const logs = []
  let toBlock = newest
  let span = newest - fromBlock + 1n
  for (let requests = 0; toBlock >= fromBlock && requests < REQUESTS_MAX; requests++) {
    const start = toBlock - span + 1n > fromBlock ? toBlock - span + 1n : fromBlock
    try {
      const page = await reader.getLogs({
        address: settlement,
        events: EVENTS,
        strict: true,
        fromBlock: start,
        toBlock,
      })
      logs.unshift(...page)
      toBlock = start - 1n
    } catch (cause) {
      if (span <= RANGE_BLOCKS_MIN) throw cause
      span = (span + 1n) / 2n
    }
  }
  return { batches: batchesOf(logs), fromBlock: toBlock + 1n, toBlock: newest, isComplete: toBlock < fromBlock }
}

/** `history` with what came since, and its newest blocks read again: they may have been reorganised. */
export async function continueHistory(reader: Reader, settlement: Hex, history: History): Promise<History> {
  const overlap = history.toBlock - REORGANISED_BLOCKS_MAX
  const start = overlap > history.fromBlock ? overlap : history.fromBlock
  const more = await readHistory(reader, settlement, start)
  // An endpoint of many machines may answer from one that is behind.
  if (more.toBlock < start) return history
  if (!more.isComplete) return more
  const kept = history.batches.filter(({ block }) => block < start)
  return { ...history, batches: [...kept, ...more.batches], toBlock: more.toBlock }
}

type SettlementLog = GetLogsReturnType<undefined, typeof EVENTS, true>[number]

function batchesOf(logs: readonly SettlementLog[]): SettledBatch[] {
  const heads = new Map<bigint, SettledHead[]>()
  for (const log of logs) {
    if (log.eventName !== 'HeadSettled') continue
    const { enclave, batch, size, root, fees } = log.args
    heads.set(batch, [...(heads.get(batch) ?? []), { enclave: lower(enclave), size, root, fees }])
  }
  return logs.flatMap((log) => {
    if (log.eventName !== 'BatchSettled') return []
    const { batch, root, settler } = log.args
    const { blockNumber, transactionHash } = log
    return [
      {
        batch,
        root,
        settler: lower(settler),
        block: blockNumber,
        transaction: transactionHash,
        heads: heads.get(batch) ?? [],
      },
    ]
  })
}

export type Totals = { readonly receipts: bigint; readonly fees: bigint }

/** Receipts and fees settled by the end of `batches`; of `enclave` alone where one is given. Logs only grow, so each counts with its largest head. */
export function totalsOf(batches: readonly SettledBatch[], enclave?: Hex): Totals {
  return growthOf(batches, enclave).at(-1)?.totals ?? { receipts: 0n, fees: 0n }
}

/** The totals after each batch, oldest first. */
export function growthOf(batches: readonly SettledBatch[], enclave?: Hex): { block: bigint; totals: Totals }[] {
  const largest = new Map<Hex, Totals>()
  let sum: Totals = { receipts: 0n, fees: 0n }
  return batches.map(({ block, heads }) => {
    for (const head of heads) {
      if (enclave !== undefined && head.enclave !== enclave) continue
      const before = largest.get(head.enclave) ?? { receipts: 0n, fees: 0n }
      const after = { receipts: max(before.receipts, head.size), fees: max(before.fees, head.fees) }
      largest.set(head.enclave, after)
      sum = { receipts: sum.receipts + after.receipts - before.receipts, fees: sum.fees + after.fees - before.fees }
    }
    return { block, totals: sum }
  })
}

/** Receipts settled over time as a chart's points: the last total of each of at most `POINTS_MAX` blocks, evenly picked, after the history's first block. */
export async function readPoints(reader: Reader, { batches, fromBlock }: History, enclave?: Hex): Promise<Point[]> {
  const growth = growthOf(batches, enclave)
  const first = growth[0]
  if (first === undefined) return []
  const start = first.block > fromBlock ? [{ block: fromBlock, value: 0 }] : []
  const byBlock = new Map(growth.map(({ block, totals }) => [block, Number(totals.receipts)]))
  const picked = pickEvenly(
    [...byBlock].map(([block, value]) => ({ block, value })),
    POINTS_MAX,
  )
  const points: Point[] = []
  const wanted = [...start, ...picked]
  for (let from = 0; from < wanted.length; from += AT_ONCE) {
    const page = wanted.slice(from, from + AT_ONCE)
    points.push(
      ...(await Promise.all(
        page.map(async ({ block, value }) => ({
          time: Number((await reader.getBlock({ blockNumber: block })).timestamp),
          value,
        })),
      )),
    )
  }
  return points
}

/** At most `count` of `values` in their order, the last always among them. */
export function pickEvenly<T>(values: readonly T[], count: number): T[] {
  if (values.length <= count) return [...values]
  const step = (values.length - 1) / (count - 1)
  return Array.from({ length: count }, (_, i) => values[Math.round(i * step)]).filter((value) => value !== undefined)
}

function max(a: bigint, b: bigint): bigint {
  return a > b ? a : b
}

function lower(address: string): Hex {
  return address.toLowerCase() as Hex
}
