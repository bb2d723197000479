/** A JSON-RPC endpoint before a real one that can be told to lie, lag, stall or refuse. @module */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

export type RpcCall = { readonly method: string; readonly params: readonly unknown[] }

/**
 * What becomes of one call: `pass` is the real endpoint's answer. `refuse` answers 429, `stall` never answers; anything else is the result.
 */
export type Meddle = (
  call: RpcCall,
  pass: () => Promise<unknown>,
) => Promise<{ readonly result: unknown } | 'refuse' | 'stall'>

export type RpcProxy = { readonly url: string; meddle: Meddle; readonly calls: RpcCall[]; close(): Promise<void> }

export const HONEST: Meddle = async (_, pass) => ({ result: await pass() })

type Message = RpcCall & { readonly id: number }

/** Starts one before `target`. It is honest until told otherwise. */
export async function startRpcProxy(target: string): Promise<RpcProxy> {
  const calls: RpcCall[] = []
  const proxy = { meddle: HONEST }
  const server = createServer(async (request, response) => {
    const parts: Buffer[] = []
    for await (const part of request) parts.push(part as Buffer)
    const body = JSON.parse(Buffer.concat(parts).toString()) as Message | Message[]
    const messages = Array.isArray(body) ? body : [body]
    const answers: unknown[] = []
    for (const message of messages) {
      calls.push({ method: message.method, params: message.params })
      const outcome = await proxy.meddle(message, () => ask(target, message)).catch((error: unknown) => ({ error }))
      if (outcome === 'stall') return
      if (outcome === 'refuse') {
        response.writeHead(429).end()
        return
      }
      answers.push({ jsonrpc: '2.0', id: message.id, ...outcome })
    }
    response.writeHead(200, { 'content-type': 'application/json' })
    response.end(JSON.stringify(Array.isArray(body) ? answers : answers[0]))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return Object.assign(proxy, {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    calls,
    async close() {
      server.closeAllConnections()
      await new Promise<void>((resolve) => server.close(() => resolve()))
    },
  })
}

/** Rejects with the endpoint's own error object, so that it can be passed on. */
async function ask(target: string, message: Message): Promise<unknown> {
  const response = await fetch(target, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ jsonrpc: '2.0', ...message }),
  })
  const answer = (await response.json()) as { result?: unknown; error?: unknown }
  if (answer.error !== undefined) throw answer.error
  return answer.result
}
