/**
 * The deployed bytecode on a second implementation of the EVM, under Osaka rules: every block of a history on Hardhat's is executed again by the
 * @ethereumjs packages and must come to the same gas, logs and state. @module
 */
import type { JSONRPCBlock } from '@ethereumjs/block'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { Hex } from '#protocol/bytes.ts'
import { deployLocal, type LocalChain } from '../support/chain.ts'
import { makeContractHistory } from '../support/contractHistory.ts'
import type { HistoryCall } from '../support/historySending.ts'
import { type CallOutcome, type Outcome, type Rpc, SecondEvm } from '../support/secondEvm.ts'

const CALL_GAS = 16_000_000n

let chain: LocalChain
let rpc: Rpc
let calls: HistoryCall[]
let second: SecondEvm
const blocks: JSONRPCBlock[] = []

beforeAll(async () => {
  chain = await deployLocal()
  rpc = rpcOf(chain.rpcUrl)
  calls = await makeContractHistory(chain)
  const latest = await chain.client.getBlockNumber()
  for (let number = 1n; number <= latest; number++) {
    blocks.push((await rpc('eth_getBlockByNumber', [`0x${number.toString(16)}`, true])) as JSONRPCBlock)
  }
  second = await openSecond()
})
afterAll(() => chain.close())

it('refuses a block that says another state, gas or time than it comes to', async () => {
  const [first] = blocks
  if (first === undefined) throw new Error('expected blocks')
  const tooMuch = first.transactions.map((transaction) => ({ ...Object(transaction), gas: '0x1000001' }))
  const zero: Hex = `0x${'00'.repeat(32)}`
  const wrongs = [
    { wrong: { stateRoot: zero }, named: /expected the state/ },
    { wrong: { gasUsed: '0x5208' as const }, named: /expected gas/ },
    { wrong: { timestamp: '0x1' as const }, named: /expected the block/ },
    { wrong: { transactions: tooMuch }, named: /EIP-7825/ },
  ]
  for (const { wrong, named } of wrongs) {
    await expect((await openSecond()).replay({ ...first, ...wrong })).rejects.toThrow(named)
  }
})

it('comes to the same gas, logs and state in every block of the history', async () => {
  const outcomes: Outcome[] = []
  for (const block of blocks) {
    // Gas and state of the whole block are compared within.
    const replayed = await second.replay(block)
    for (const outcome of replayed) expect(outcome).toEqual(await outcomeOnNode(outcome.hash))
    outcomes.push(...replayed)
  }
  expect(outcomes.length).toBe(blocks.reduce((count, { transactions }) => count + transactions.length, 0))
  const refused = outcomes.filter(({ isSuccess }) => !isSuccess)
  // A withdrawal too early, an exit under another key, hints with a wrong bit, two wrong P-384 signatures, MODEXP past its bounds.
  expect(refused.length).toBe(6)
  const gasUsed = outcomes.map((outcome) => Number(outcome.gasUsed))
  expect(Math.max(...gasUsed)).toBeGreaterThan(5_000_000)
})

it('answers the same to every question', async () => {
  for (const { name, to, data } of calls) {
    expect(await second.call(to, data, CALL_GAS), name).toEqual(await callOnNode(to, data))
  }
  expect(calls.length).toBeGreaterThan(10)
})

function openSecond(): Promise<SecondEvm> {
  return rpc('eth_accounts', []).then((accounts) => SecondEvm.open(rpc, chain.addresses.chainId, accounts as Hex[]))
}

async function outcomeOnNode(hash: Hex): Promise<Outcome> {
  const { status, gasUsed, logs } = await chain.client.getTransactionReceipt({ hash })
  return {
    hash,
    isSuccess: status === 'success',
    gasUsed,
    logs: logs.map(({ address, topics, data }) => ({ address: address.toLowerCase() as Hex, topics, data })),
  }
}

/** What a call returns, or what it reverts with. */
async function callOnNode(to: Hex, data: Hex): Promise<CallOutcome> {
  try {
    const answer = await rpc('eth_call', [{ to, data, gas: `0x${CALL_GAS.toString(16)}` }, 'latest'])
    return { isSuccess: true, data: answer as Hex }
  } catch (error) {
    if (!(error instanceof NodeError)) throw error
    return { isSuccess: false, data: error.data }
  }
}

/** What a node answers instead of a result, with the data of a revert. */
class NodeError extends Error {
  readonly data: Hex

  constructor(message: string, data: Hex) {
    super(message)
    this.data = data
  }
}

type Answer = { readonly result?: unknown; readonly error?: { readonly message: string; readonly data?: RevertData } }
type RevertData = Hex | { readonly data?: Hex }

/** Throws a `NodeError` where the node has no result. */
function rpcOf(url: string): Rpc {
  return async (method, params) => {
    const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method, params })
    const response = await fetch(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body })
    const { result, error } = (await response.json()) as Answer
    if (error === undefined) return result
    const { data } = error
    throw new NodeError(error.message, typeof data === 'object' ? (data.data ?? '0x') : (data ?? '0x'))
  }
}
