/** An aggregator over RPC endpoints that lie, lag, stall and refuse. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { receiptSettlementAbi } from '#chain/generated/abis.ts'
import { type Hex, toHex } from '#protocol/bytes.ts'
import { connectEndpoints } from '../../offchain/aggregator/chainAccess.ts'
import { Process, type ProcessOptions, until } from '../support/aggregatorProcess.ts'
import { deployLocal, type LocalChain, registerTestEnclave } from '../support/chain.ts'
import { startPostgres, type TestPostgres } from '../support/postgres.ts'
import { HONEST, type Meddle, type RpcProxy, startRpcProxy } from '../support/rpcProxy.ts'
import { TestLog } from '../support/testLog.ts'

let chain: LocalChain
let postgres: TestPostgres
let proxies: RpcProxy[]
let databaseUrl: string
let fromBlock: bigint
let keys = 0

beforeAll(async () => {
  ;[chain, postgres] = await Promise.all([deployLocal(), startPostgres()])
  proxies = await Promise.all([1, 2, 3].map(() => startRpcProxy(chain.rpcUrl)))
})
afterAll(async () => {
  await Promise.all(proxies.map((proxy) => proxy.close()))
  await Promise.all([chain.close(), postgres.close()])
})
beforeEach(async () => {
  databaseUrl = await postgres.createDatabase()
  fromBlock = await chain.client.getBlockNumber()
})
afterEach(() => {
  for (const proxy of proxies) proxy.meddle = HONEST
})

async function newLog(count: number): Promise<TestLog> {
  const privateKey = new Uint8Array(32).fill(0x30 + ++keys)
  await registerTestEnclave(chain, privateKey)
  const { chainId, settlement } = chain.addresses
  return new TestLog(privateKey, { chainId, settlement }).issue(count)
}

/** Through the first `count` proxies. */
const startProcess = (count: number, options: ProcessOptions = {}) =>
  Process.start(chain, databaseUrl, { rpcUrls: proxies.slice(0, count).map(({ url }) => url), fromBlock, ...options })

const settlementsOf = async ({ enclave }: TestLog) =>
  (
    await chain.client.getContractEvents({
      address: chain.addresses.settlement,
      abi: receiptSettlementAbi,
      eventName: 'HeadSettled',
      args: { enclave },
      fromBlock: 0n,
    })
  ).length

const lying =
  (method: string, lie: (honest: unknown) => unknown): Meddle =>
  async (call, pass) => ({ result: call.method === method ? lie(await pass()) : await pass() })

const STRANGE: Hex = `0x${'ab'.repeat(32)}`

describe('one of three endpoints', () => {
  test.each<[string, Meddle]>([
    ['hides receipts', lying('eth_getTransactionReceipt', () => null)],
    [
      'tells of receipts in a block that is not',
      lying('eth_getTransactionReceipt', (honest) => honest && { ...honest, blockHash: STRANGE }),
    ],
    ['tells of reverts', lying('eth_getTransactionReceipt', (honest) => honest && { ...honest, status: '0x0' })],
    ['counts nonces too high', lying('eth_getTransactionCount', () => '0xffff')],
    ['counts nonces too low', lying('eth_getTransactionCount', () => '0x0')],
    ['hides events', lying('eth_getLogs', () => [])],
    ['is far behind', lying('eth_getBlockByNumber', (honest) => honest && { ...honest, number: '0x1', hash: STRANGE })],
    ['asks for absurd tips', lying('eth_maxPriorityFeePerGas', () => '0xffffffffffff')],
    [
      'says that calls would revert',
      async (call, pass) => {
        if (call.method !== 'eth_estimateGas') return { result: await pass() }
        throw { code: 3, message: 'execution reverted', data: '0x' }
      },
    ],
    ['takes transactions and forgets them', lying('eth_sendRawTransaction', () => STRANGE)],
    ['refuses everything', async () => 'refuse'],
    ['never answers', async () => 'stall'],
  ])('that %s changes nothing', async (_, meddle) => {
    const log = await newLog(3)
    const process = await startProcess(3)
    const [liar] = proxies
    if (liar !== undefined) liar.meddle = meddle
    await process.deliver(log.delivery())
    const settled = await until(async () => {
      await process.round()
      return process.proof(log, 1)
    })
    expect(settled.enclave).toBe(log.enclave)
    expect(await process.states()).toEqual(['final'])
    expect(await settlementsOf(log)).toBe(1)
    const [row] = await process.database.sql<{ hash: Uint8Array; tip: string }[]>`select hash, tip::text from attempts`
    expect(settled.transaction).toBe(toHex(row?.hash ?? new Uint8Array()))
    expect(BigInt(row?.tip ?? 0)).toBeLessThan(10n ** 12n)
    await process.kill()
  })
})

describe('one of two endpoints', () => {
  test('that contradicts the other stops settling until it does not, and nothing is lost', async () => {
    const log = await newLog(3)
    const process = await startProcess(2)
    const [liar] = proxies
    if (liar === undefined) throw new Error('expected a proxy')
    liar.meddle = lying('eth_getTransactionReceipt', () => null)
    await process.deliver(log.delivery())
    await expect(process.round()).rejects.toMatchObject({ code: 'RPC_DISAGREES', retryable: true })
    liar.meddle = HONEST
    await until(async () => {
      await process.round()
      return process.proof(log, 2)
    })
    expect(await settlementsOf(log)).toBe(1)
    await process.kill()
  })
})

test('endpoints of another chain, or fewer than the quorum, are refused at the start', async () => {
  const [stray, second] = proxies
  if (stray === undefined || second === undefined) throw new Error('expected proxies')
  const options = { deployment: chain.addresses, rpcUrls: [stray.url, second.url] }
  await expect(connectEndpoints({ ...options, rpcQuorum: 3 })).rejects.toMatchObject({ code: 'BAD_CONFIG' })
  await expect(connectEndpoints({ ...options, rpcUrls: [stray.url, stray.url] })).rejects.toMatchObject({
    code: 'BAD_CONFIG',
  })
  stray.meddle = lying('eth_chainId', () => '0x1')
  await expect(connectEndpoints(options)).rejects.toMatchObject({ code: 'BAD_CONFIG' })
  stray.meddle = async () => 'refuse'
  await expect(connectEndpoints(options)).rejects.toMatchObject({ code: 'RPC_FAILED', retryable: true })
})

test('one endpoint that is behind, or has no receipt yet, is read again until it has everything', async () => {
  const log = await newLog(3)
  const [only] = proxies
  if (only === undefined) throw new Error('expected a proxy')
  const process = await startProcess(1)
  await process.deliver(log.delivery())
  // A node that lacks a block knows nothing of it, at first.
  const asked = new Map<string, number>()
  only.meddle = async (call, pass) => {
    const key = `${call.method} ${JSON.stringify(call.params)}`
    const count = (asked.get(key) ?? 0) + 1
    asked.set(key, count)
    if (call.method === 'eth_getTransactionReceipt' && count <= 2) return { result: null }
    if (call.method === 'eth_getLogs' && key.includes('blockHash') && count <= 2) {
      throw { code: -32_000, message: 'unknown block' }
    }
    return { result: await pass() }
  }
  await until(async () => {
    await process.round().catch((error: { code?: string }) => {
      if (error.code !== 'RPC_FAILED' && error.code !== 'RPC_DISAGREES') throw error
    })
    return process.proof(log, 2)
  })
  expect(await settlementsOf(log)).toBe(1)
  await process.kill()
})
