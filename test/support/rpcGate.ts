/** A JSON-RPC endpoint before a real one that can hold one call, or the answer to one, that can lie, and that remembers every raw transaction that went through it. @module */
import { type Hex, keccak256, parseTransaction } from 'viem'
import type { Hold } from './gate.ts'
import { HONEST, type Meddle, type RpcCall, startRpcProxy } from './rpcProxy.ts'

/** A raw transaction that reached the node. `refusal` is the node's sentence, absent when it took the bytes. */
export type Broadcast = {
  readonly nonce: number
  readonly hash: Hex
  /** The most that is offered for gas, in wei. */
  readonly fee: bigint
  readonly refusal?: string
}

export type CallHold = {
  readonly method: string
  readonly part: 'request' | 'response'
  /** Which results are meant, of `response`; all unless told. */
  readonly of?: (result: unknown) => boolean
}

export type RpcGate = {
  readonly url: string
  readonly broadcasts: readonly Broadcast[]
  /** What else becomes of a call that is not held. Honest until told otherwise. */
  meddle: Meddle
  /** Holds one call that has not come yet; `drop` never answers it. */
  hold(options: CallHold): Hold
  close(): Promise<void>
}

type Armed = CallHold & { arrive(): void; readonly verdict: Promise<'pass' | 'drop'> }

export async function startRpcGate(target: string): Promise<RpcGate> {
  const proxy = await startRpcProxy(target)
  const broadcasts: Broadcast[] = []
  let armed: Armed | undefined
  const take = (): Armed | undefined => {
    const hold = armed
    armed = undefined
    hold?.arrive()
    return hold
  }
  const gate = { meddle: HONEST }
  proxy.meddle = async (call) => {
    if (armed?.part === 'request' && armed.method === call.method) {
      if ((await take()?.verdict) === 'drop') return 'stall'
    }
    const outcome = await gate.meddle(call, () => remembered(call, () => ask(target, call), broadcasts))
    if (typeof outcome === 'string') return outcome
    if (armed?.part === 'response' && armed.method === call.method && (armed.of ?? (() => true))(outcome.result)) {
      if ((await take()?.verdict) === 'drop') return 'stall'
    }
    return outcome
  }
  return Object.assign(gate, {
    url: proxy.url,
    broadcasts,
    hold(options: CallHold): Hold {
      const arrived = Promise.withResolvers<void>()
      const verdict = Promise.withResolvers<'pass' | 'drop'>()
      armed = { ...options, arrive: arrived.resolve, verdict: verdict.promise }
      return {
        arrived: arrived.promise,
        pass: () => verdict.resolve('pass'),
        drop: () => verdict.resolve('drop'),
      }
    },
    close: () => proxy.close(),
  })
}

async function remembered(call: RpcCall, pass: () => Promise<unknown>, broadcasts: Broadcast[]): Promise<unknown> {
  if (call.method !== 'eth_sendRawTransaction') return pass()
  const raw = call.params[0] as Hex
  const { nonce = 0, maxFeePerGas: fee = 0n } = parseTransaction(raw)
  const sent = { nonce, hash: keccak256(raw), fee }
  try {
    const result = await pass()
    broadcasts.push(sent)
    return result
  } catch (error) {
    broadcasts.push({ ...sent, refusal: String(Object(error).message) })
    throw error
  }
}

/** With the content type, which anvil wants and other nodes do not. Rejects with the node's own error object. */
async function ask(target: string, { method, params }: RpcCall): Promise<unknown> {
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method, params })
  const response = await fetch(target, { method: 'POST', headers: { 'content-type': 'application/json' }, body })
  const answer = (await response.json()) as { result?: unknown; error?: unknown }
  if (answer.error !== undefined) throw answer.error
  return answer.result
}
