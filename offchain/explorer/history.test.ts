/** Events of the settlement contract, from an endpoint that answers only so many blocks at once. @module */
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { encodeAbiParameters, encodeEventTopics } from 'viem'
import { afterEach, expect, it } from 'vitest'
import { receiptSettlementAbi } from '#chain/generated/abis.ts'
import type { Hex } from '#protocol/bytes.ts'
import {
  continueHistory,
  growthOf,
  pickEvenly,
  readHistory,
  readPoints,
  type SettledBatch,
  totalsOf,
} from './history.ts'
import { createReader } from './reader.ts'

const A: Hex = `0x${'0a'.repeat(20)}`
const B: Hex = `0x${'0b'.repeat(20)}`
const ROOT: Hex = `0x${'11'.repeat(32)}`

const head = (enclave: Hex, size: bigint, fees: bigint) => ({ enclave, size, root: ROOT, fees })
const batch = (number: bigint, block: bigint, ...heads: SettledBatch['heads'][number][]): SettledBatch => ({
  batch: number,
  root: ROOT,
  settler: A,
  block,
  transaction: ROOT,
  heads,
})
const BATCHES = [
  batch(1n, 10n, head(A, 4n, 40n), head(B, 1n, 5n)),
  // A head older than one that settled before, and a log head, which says no fees.
  batch(2n, 1_700n, head(A, 3n, 30n), head(B, 6n, 0n)),
  batch(3n, 2_900n, head(A, 9n, 90n)),
]

let server: Server | undefined
afterEach(stopEndpoint)

function stopEndpoint(): void {
  server?.closeAllConnections()
  server?.close()
}

/** An endpoint that answers events for at most `rangeMax` blocks at once; a block's time is ten times its number. */
async function startEndpoint(batches: readonly SettledBatch[], newest: bigint, rangeMax: bigint) {
  const asked: string[] = []
  server = createServer(async (request, response) => {
    let text = ''
    for await (const part of request) text += String(part)
    const { id, method, params } = JSON.parse(text) as { id: number; method: string; params: [Record<string, Hex>] }
    asked.push(method)
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify({ jsonrpc: '2.0', id, ...answer(method, params) }))
  })
  const answer = (method: string, params: readonly unknown[]): object => {
    if (method === 'eth_blockNumber') return { result: hex(newest) }
    if (method === 'eth_getBlockByNumber') return { result: { timestamp: hex(10n * BigInt(String(params[0]))) } }
    const { fromBlock = '0x0', toBlock = '0x0' } = params[0] as Record<string, string>
    const [from, to] = [BigInt(fromBlock), BigInt(toBlock)]
    if (to - from >= rangeMax) return { error: { code: -32_000, message: 'too many blocks' } }
    return { result: batches.filter(({ block }) => block >= from && block <= to).flatMap(logsOf) }
  }
  const own = server
  await new Promise<void>((resolve) => own.listen(0, '127.0.0.1', resolve))
  return { reader: createReader(`http://127.0.0.1:${(own.address() as AddressInfo).port}`), asked }
}

const hex = (value: bigint): Hex => `0x${value.toString(16)}`

function logsOf({ batch: number, block, heads, settler, root }: SettledBatch): object[] {
  const log = (index: number, topics: unknown, data: Hex) => ({
    address: B,
    blockNumber: hex(block),
    blockHash: ROOT,
    transactionHash: ROOT,
    transactionIndex: '0x0',
    logIndex: hex(BigInt(index)),
    removed: false,
    topics,
    data,
  })
  const topics = encodeEventTopics({
    abi: receiptSettlementAbi,
    eventName: 'BatchSettled',
    args: { batch: number, settler },
  })
  const settledHeads = heads.map(({ enclave, size, fees }, i) =>
    log(
      i,
      encodeEventTopics({ abi: receiptSettlementAbi, eventName: 'HeadSettled', args: { enclave } }),
      encodeAbiParameters(
        [{ type: 'uint64' }, { type: 'uint64' }, { type: 'bytes32' }, { type: 'uint64' }],
        [number, size, ROOT, fees],
      ),
    ),
  )
  const data = encodeAbiParameters([{ type: 'bytes32' }, { type: 'uint256' }], [root, BigInt(heads.length)])
  return [...settledHeads, log(heads.length, topics, data)]
}

it('counts every enclave by its largest head', () => {
  expect(growthOf(BATCHES).map(({ totals }) => totals.receipts)).toEqual([5n, 10n, 15n])
  expect(totalsOf(BATCHES)).toEqual({ receipts: 15n, fees: 95n })
  expect(totalsOf(BATCHES, B)).toEqual({ receipts: 6n, fees: 5n })
  expect(totalsOf([])).toEqual({ receipts: 0n, fees: 0n })
})

it('reads the same events whatever range the endpoint answers at once', async () => {
  const { reader } = await startEndpoint(BATCHES, 3_000n, 600n)
  const history = await readHistory(reader, B, 5n)
  expect(history).toEqual({ batches: BATCHES, fromBlock: 5n, toBlock: 3_000n, isComplete: true })
  expect(await readPoints(reader, history)).toEqual([
    { time: 50, value: 0 },
    { time: 100, value: 5 },
    { time: 17_000, value: 10 },
    { time: 29_000, value: 15 },
  ])
})

it('stops after sixty requests, and says that this is not all', async () => {
  const { reader, asked } = await startEndpoint(BATCHES, 1_000_000n, 600n)
  const { isComplete, fromBlock, toBlock } = await readHistory(reader, B, 0n)
  expect(isComplete).toBe(false)
  expect(toBlock).toBe(1_000_000n)
  expect(fromBlock).toBeGreaterThan(900_000n)
  expect(asked.filter((method) => method === 'eth_getLogs')).toHaveLength(60)
})

it('goes on from what it has, and takes back what a reorganisation took', async () => {
  const first = await startEndpoint([...BATCHES.slice(0, 2), batch(9n, 1_990n, head(A, 99n, 99n))], 2_000n, 5_000n)
  const before = await readHistory(first.reader, B, 5n)
  expect(before.batches).toHaveLength(3)
  stopEndpoint()
  const { reader, asked } = await startEndpoint(BATCHES, 3_000n, 1_100n)
  expect(await continueHistory(reader, B, before)).toEqual({
    batches: BATCHES,
    fromBlock: 5n,
    toBlock: 3_000n,
    isComplete: true,
  })
  expect(asked.filter((method) => method === 'eth_getLogs')).toHaveLength(1)
})

it('rejects where the endpoint answers no range', async () => {
  const { reader } = await startEndpoint(BATCHES, 3_000n, 0n)
  await expect(readHistory(reader, B, 5n)).rejects.toThrow()
})

it('picks evenly, the last always among them', () => {
  const values = Array.from({ length: 100 }, (_, i) => i)
  expect(pickEvenly(values, 4)).toEqual([0, 33, 66, 99])
  expect(pickEvenly(values, 100)).toEqual(values)
  expect(pickEvenly([], 4)).toEqual([])
})
