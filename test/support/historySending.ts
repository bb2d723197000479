/** Transactions of a history that is replayed elsewhere, and the questions that are asked of it at its end. @module */
import { type Abi, encodeFunctionData } from 'viem'
import type { Hex } from '#protocol/bytes.ts'
import type { LocalChain, TestAccount } from './chain.ts'

/** A question to ask at the end. */
export type HistoryCall = { readonly name: string; readonly to: Hex; readonly data: Hex }

export type Sending = {
  readonly from?: TestAccount
  readonly gas?: bigint
  /** Whether it must revert. A node has it in a block all the same. */
  readonly isRefused?: boolean
}

/** Enough for anything but evidence, and told, so that nobody estimates it and finds out that it reverts. */
export const HISTORY_GAS = 3_000_000n

export function ask(name: string, to: Hex, abi: Abi, functionName: string, args: readonly unknown[]): HistoryCall {
  return { name, to, data: encodeFunctionData({ abi, functionName, args: [...args] }) }
}

export async function send(
  chain: LocalChain,
  from: TestAccount,
  to: Hex,
  abi: Abi,
  functionName: string,
  args: readonly unknown[],
  sending: Sending = {},
): Promise<void> {
  await sendData(chain, to, encodeFunctionData({ abi, functionName, args: [...args] }), { from, ...sending })
}

/** Sends it, and looks that it ended as it should. */
export async function sendData(chain: LocalChain, to: Hex, data: Hex, sending: Sending = {}): Promise<void> {
  const { from = 'stranger', gas = HISTORY_GAS, isRefused = false } = sending
  const before = await chain.client.getBlockNumber()
  await chain
    .wallet(from)
    .sendTransaction({ to, data, gas })
    .catch(() => undefined)
  const { transactions } = await chain.client.getBlock({ blockNumber: before + 1n })
  const [hash] = transactions
  if (hash === undefined) throw new Error('the transaction is in no block')
  const { status } = await chain.client.getTransactionReceipt({ hash })
  const expected = isRefused ? 'reverted' : 'success'
  if (status !== expected) throw new Error(`expected ${expected}, got ${status}: ${data.slice(0, 10)} to ${to}`)
}
