/** The way to one gateway: its own connections, and how many requests are under way on them. @module */
import { type ClientRequest, Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import { readAuthorities, tlsTroubleOf } from '#node/tls.ts'
import type { RelayedGateway, RelayLimits } from './config.ts'

/** Connections kept for the next request, so that clients share them and a gateway cannot tell clients by their connections. */
const FREE_CONNECTIONS_MAX = 256
/** How long a connection is kept, in milliseconds, unless the gateway says less. Without it Node does not heed what the gateway says. */
const IDLE_MS = 60_000
/** How long before the gateway would close an idle connection it is used no more, in milliseconds: the next request must not meet the end of it. */
const IDLE_MARGIN_MS = 2_000
/** Bytes on their way to a gateway that does not read, before the client has to wait. */
const UPLOAD_BUFFER_BYTES = 65_536

export type GatewayRoute = {
  openRequests: number
  /** Begins a request to the gateway resource with these headers and no others but those of the connection. */
  open(headers: Record<string, string>): ClientRequest
  /** Begins to ask for a public document. */
  openDocument(path: string): ClientRequest
}

/** How often the same trouble of one gateway is told: nothing here speaks of single requests. */
const TROUBLE_SILENCE_MS = 60_000

/**
 * Nothing is connected before the first request. Connections are this gateway's alone: those to one that hangs are in nobody's way. `onTrouble` is
 * told why its TLS is not trusted, now and then. Throws `AppError` (`BAD_CONFIG`) for a `caFile` without a certificate.
 */
export function createGatewayRoute(
  { url, caFile }: RelayedGateway,
  limits: RelayLimits,
  onTrouble: (why: string) => void = () => {},
): GatewayRoute {
  const target = new URL('/gateway', url)
  const isTls = target.protocol === 'https:'
  const agentOptions = {
    keepAlive: true,
    maxFreeSockets: FREE_CONNECTIONS_MAX,
    timeout: IDLE_MS,
    agentKeepAliveTimeoutBuffer: IDLE_MARGIN_MS,
    highWaterMark: UPLOAD_BUFFER_BYTES,
  }
  const authorities = caFile === undefined ? {} : { ca: readAuthorities(caFile) }
  const agent = isTls ? new HttpsAgent({ ...agentOptions, ...authorities }) : new HttpAgent(agentOptions)
  const told = new Map<string, number>()
  const tell = (why: string) => {
    const now = performance.now()
    if (now - (told.get(why) ?? Number.NEGATIVE_INFINITY) < TROUBLE_SILENCE_MS) return
    told.set(why, now)
    onTrouble(why)
  }
  const open = (address: URL, method: string, headers: Record<string, string>): ClientRequest => {
    const upstream = (isTls ? httpsRequest : httpRequest)(address, { method, agent, headers })
    limitConnecting(upstream, isTls, limits.connectTimeoutMs)
    upstream.on('error', (error) => {
      const why = tlsTroubleOf(error)
      if (why !== undefined) tell(why)
    })
    upstream.once('response', (answer: IncomingMessage) => {
      if (answer.statusCode === 426 && !isTls) tell('it speaks TLS there: its URL must begin with https')
    })
    return upstream
  }
  return {
    openRequests: 0,
    open: (headers) => open(target, 'POST', headers),
    openDocument: (path) => open(new URL(`/${path}`, url), 'GET', {}),
  }
}

/** With TLS a gateway has connected only after the handshake. */
function limitConnecting(upstream: ClientRequest, isTls: boolean, timeoutMs: number): void {
  upstream.once('socket', (socket) => {
    if (!socket.connecting) return
    const timer = setTimeout(() => upstream.destroy(new Error('the gateway took too long to connect')), timeoutMs)
    const stop = () => clearTimeout(timer)
    socket.once(isTls ? 'secureConnect' : 'connect', stop)
    socket.once('close', stop)
  })
}
