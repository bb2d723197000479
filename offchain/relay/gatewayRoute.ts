/** The way to one gateway: its own connections, and how many requests are under way on them. @module */
import { type ClientRequest, Agent as HttpAgent, request as httpRequest } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import type { RelayedGateway, RelayLimits } from './config.ts'

/** Connections kept for the next request, so that clients share them and a gateway cannot tell clients by their connections. */
const FREE_CONNECTIONS_MAX = 256
/** Bytes on their way to a gateway that does not read, before the client has to wait. */
const UPLOAD_BUFFER_BYTES = 65_536

export type GatewayRoute = {
  openRequests: number
  /** Begins a request to the gateway resource with these headers and no others but those of the connection. */
  open(headers: Record<string, string>): ClientRequest
  /** The address of a public document. */
  document(path: string): URL
}

/** Nothing is connected before the first request. Connections are this gateway's alone: those to one that hangs are in nobody's way. */
export function createGatewayRoute({ url }: RelayedGateway, limits: RelayLimits): GatewayRoute {
  const target = new URL('/gateway', url)
  const isTls = target.protocol === 'https:'
  const agentOptions = { keepAlive: true, maxFreeSockets: FREE_CONNECTIONS_MAX, highWaterMark: UPLOAD_BUFFER_BYTES }
  const agent = isTls ? new HttpsAgent(agentOptions) : new HttpAgent(agentOptions)
  return {
    openRequests: 0,
    document: (path) => new URL(`/${path}`, url),
    open(headers) {
      const upstream = (isTls ? httpsRequest : httpRequest)(target, { method: 'POST', agent, headers })
      limitConnecting(upstream, limits.connectTimeoutMs)
      return upstream
    },
  }
}

function limitConnecting(upstream: ClientRequest, timeoutMs: number): void {
  upstream.once('socket', (socket) => {
    if (!socket.connecting) return
    const timer = setTimeout(() => upstream.destroy(new Error('the gateway took too long to connect')), timeoutMs)
    const stop = () => clearTimeout(timer)
    socket.once('connect', stop)
    socket.once('close', stop)
  })
}
