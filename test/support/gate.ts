/**
 * An HTTP proxy that can hold one message: a whole request that has left its sender and not reached its receiver, or a whole response likewise. Whoever
 * holds it is told when it is there, may end either side meanwhile, and then passes it on or drops it.
 * @module
 */
import { Agent, createServer, type IncomingMessage, type ServerResponse, request as send } from 'node:http'
import type { AddressInfo } from 'node:net'

/** What tells messages apart although all of them are sealed. `bytes` of the request's body. */
export type GateRequest = { readonly method: string; readonly path: string; readonly bytes: number }

export type HoldOptions = {
  readonly part: 'request' | 'response'
  /** Which requests are meant, by themselves or for their responses; all of them unless told. */
  readonly of?: (request: GateRequest) => boolean
  /** The first of those unless told. */
  readonly number?: number
}

export type Hold = {
  /** Resolves when the whole message is here. */
  readonly arrived: Promise<void>
  /** Lets the message go where it was going, if anybody is still there. */
  pass(): void
  /** The message is lost: its sender sees the connection end, and so does the receiver of a response. */
  drop(): void
}

export type Gate = {
  readonly url: string
  /** Holds one message that has not come yet. What was held before and did not come is not waited for any more. */
  hold(options: HoldOptions): Hold
  close(): Promise<void>
}

type Verdict = 'pass' | 'drop'
type Armed = {
  readonly options: HoldOptions
  left: number
  arrive(): void
  readonly verdict: Promise<Verdict>
}

export async function openGate(targetUrl: string): Promise<Gate> {
  // A connection for each request: one that was kept may lead to a process that was killed.
  const agent = new Agent({ keepAlive: false })
  let armed: Armed | undefined

  /** The hold, if it is this request that it means. */
  const heldBy = (request: GateRequest): Armed | undefined => {
    const candidate = armed
    if (candidate === undefined || !(candidate.options.of ?? (() => true))(request)) return undefined
    if (--candidate.left > 0) return undefined
    armed = undefined
    return candidate
  }

  const answer = async (incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> => {
    const { method = '', url: path = '/' } = incoming
    const body = await readAll(incoming)
    const hold = heldBy({ method, path, bytes: body.length })
    if (hold?.options.part === 'request') {
      hold.arrive()
      if ((await hold.verdict) === 'drop') {
        outgoing.destroy()
        return
      }
    }
    const { 'transfer-encoding': _, connection: __, ...headers } = incoming.headers
    const onward = send(
      new URL(path, targetUrl),
      { method, agent, headers: { ...headers, 'content-length': body.length } },
      (response) => void passBack(response, outgoing, hold).catch(() => outgoing.destroy()),
    )
    onward.on('error', () => outgoing.destroy())
    // Whoever leaves ends the work for them; but what was held and passed on arrives, whoever has left meanwhile.
    outgoing.on('close', () => {
      if (hold === undefined && !outgoing.writableFinished) onward.destroy()
    })
    onward.end(body)
  }

  const server = createServer((incoming, outgoing) => {
    outgoing.on('error', () => undefined)
    answer(incoming, outgoing).catch(() => outgoing.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    hold(options) {
      const arrived = Promise.withResolvers<void>()
      const verdict = Promise.withResolvers<Verdict>()
      armed = { options, left: options.number ?? 1, arrive: arrived.resolve, verdict: verdict.promise }
      return {
        arrived: arrived.promise,
        pass: () => verdict.resolve('pass'),
        drop: () => verdict.resolve('drop'),
      }
    },
    close() {
      agent.destroy()
      server.closeAllConnections()
      return new Promise((resolve) => server.close(() => resolve()))
    },
  }
}

async function passBack(response: IncomingMessage, outgoing: ServerResponse, hold: Armed | undefined): Promise<void> {
  const status = response.statusCode ?? 502
  if (hold?.options.part !== 'response') {
    outgoing.writeHead(status, response.headers)
    // A sender that was killed amid its answer: the receiver must see that it was cut.
    response.on('error', () => outgoing.destroy())
    response.pipe(outgoing)
    return
  }
  const body = await readAll(response)
  hold.arrive()
  if ((await hold.verdict) === 'drop') {
    outgoing.destroy()
    return
  }
  outgoing.writeHead(status, response.headers)
  outgoing.end(body)
}

async function readAll(message: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = []
  for await (const part of message) parts.push(part as Buffer)
  return Buffer.concat(parts)
}
