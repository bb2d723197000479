/** HTTP and HTTPS servers of the roles: listening, health, and a drain that loses no request. @module */
import type { Server, ServerOptions } from 'node:http'
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https'
import type { Socket } from 'node:net'
import { serve } from '@hono/node-server'
import type { Hono } from 'hono'
import { AppError } from './appError.ts'
import type { PublicListen } from './config/listen.ts'
import { createLogger, type Logger } from './log.ts'
import { answerPlainHttp, followRenewals, readCertificate } from './tls.ts'

const IDLE_SWEEP_MS = 50

export type RunningServer = {
  /** Where it listens; the port is the real one when 0 was asked for. */
  readonly url: string
  /** Stops taking connections, waits for what is under way, then closes. Cuts what is left after `drainMs`. */
  close(drainMs: number): Promise<void>
}

/** How long clients may take, and how many there may be. What is left out is as Node has it. */
export type ServerLimits = {
  /** From a connection's or a request's begin to the end of the request's head; then 408 and the end of the connection. */
  readonly headersTimeoutMs?: number
  /** From a request's begin to the end of its body; the same then. */
  readonly uploadTimeoutMs?: number
  /** From the end of an answer to the connection's next request. */
  readonly keepAliveTimeoutMs?: number
  /** Connections at once; above it new ones are closed unread. */
  readonly connectionsMax?: number
}

/**
 * What a role's server allows unless told otherwise: patience with slow links, and an end to whoever holds connections for their own sake. Node
 * would wait a minute for a head and take connections until the process has no file left.
 */
export const SERVER_LIMITS: ServerLimits = {
  headersTimeoutMs: 10_000,
  uploadTimeoutMs: 300_000,
  connectionsMax: 10_000,
}

export type ServerReports = {
  /** Told of renewed certificates. */
  readonly log?: Logger
  /** How often certificates are looked at. */
  readonly renewalPollMs?: number
}

/**
 * Listens. Throws `AppError` (`PORT_TAKEN`, `LISTEN_FAILED`, for TLS also `BAD_CONFIG`) with a sentence that names the address or the files.
 */
export async function startServer(
  app: Hono,
  address: PublicListen,
  limits: ServerLimits = SERVER_LIMITS,
  reports: ServerReports = {},
): Promise<RunningServer> {
  const { host, port, tls } = address
  const certificate = tls && readCertificate(tls)
  const base = { fetch: app.fetch, hostname: host, port }
  const options = serverOptions(limits)
  const handshakes = limits.headersTimeoutMs === undefined ? {} : { handshakeTimeout: limits.headersTimeoutMs }
  const [server, realPort] = await listening(address, (onListening) =>
    certificate === undefined
      ? serve({ ...base, serverOptions: options }, onListening)
      : serve(
          { ...base, createServer: createTlsServer, serverOptions: { ...options, ...handshakes, ...certificate } },
          onListening,
        ),
  )
  if (limits.connectionsMax !== undefined) server.maxConnections = limits.connectionsMax
  let stopFollowing = () => {}
  let cut = () => server.closeAllConnections()
  if (tls !== undefined && certificate !== undefined) {
    const tlsServer = server as TlsServer
    answerPlainHttp(tlsServer)
    cut = cutterOf(tlsServer)
    stopFollowing = followRenewals(
      tlsServer,
      tls,
      certificate,
      reports.log ?? createLogger('tls'),
      reports.renewalPollMs,
    )
  }
  return {
    url: `${tls === undefined ? 'http' : 'https'}://${urlHost(host)}:${realPort}`,
    close(drainMs) {
      stopFollowing()
      return closeServer(server, drainMs, cut)
    },
  }
}

/** What `start` made, once it listens, with its port. */
function listening(
  { host, port }: PublicListen,
  start: (onListening: (info: { port: number }) => void) => unknown,
): Promise<readonly [Server, number]> {
  return new Promise((resolve, reject) => {
    // All that `serve` was asked to make is a server of node:http or node:https.
    const server = start((info) => {
      server.off('error', onError)
      resolve([server, info.port])
    }) as Server
    const onError = (cause: NodeJS.ErrnoException) => {
      const place = `${host}:${port}`
      reject(
        cause.code === 'EADDRINUSE'
          ? new AppError('PORT_TAKEN', `${place} is taken by another program: stop it or choose another port`, {
              cause,
            })
          : new AppError('LISTEN_FAILED', `cannot listen on ${place} (${cause.code ?? cause.message})`, { cause }),
      )
    }
    server.once('error', onError)
  })
}

function serverOptions({ headersTimeoutMs, uploadTimeoutMs, keepAliveTimeoutMs }: ServerLimits): ServerOptions {
  return {
    ...(headersTimeoutMs === undefined ? {} : { headersTimeout: headersTimeoutMs }),
    ...(uploadTimeoutMs === undefined ? {} : { requestTimeout: uploadTimeoutMs }),
    ...(keepAliveTimeoutMs === undefined ? {} : { keepAliveTimeout: keepAliveTimeoutMs }),
    // Node looks for connections that took too long only so often: every 30 seconds unless told.
    ...(headersTimeoutMs === undefined ? {} : { connectionsCheckingInterval: Math.ceil(headersTimeoutMs / 4) }),
  }
}

/** Cuts every connection, also those in a handshake that may never end: the server's own list has them only after it. */
function cutterOf(server: TlsServer): () => void {
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  return () => {
    for (const socket of sockets) socket.destroy()
  }
}

function closeServer(server: Server, drainMs: number, cut: () => void): Promise<void> {
  return new Promise((resolve) => {
    const deadline = setTimeout(cut, drainMs)
    // A connection is kept alive after its last answer, and would hold up the end for seconds.
    const sweep = setInterval(() => server.closeIdleConnections(), IDLE_SWEEP_MS)
    server.close(() => {
      clearTimeout(deadline)
      clearInterval(sweep)
      resolve()
    })
    server.closeIdleConnections()
  })
}

function urlHost(host: string): string {
  return host.includes(':') ? `[${host}]` : host
}

/** Adds `/healthz` (the process answers) and `/readyz` (it can do its work; 503 with the reasons when not). */
export function addHealth(app: Hono, notReady: () => readonly string[] | Promise<readonly string[]>): void {
  app.get('/healthz', (c) => c.json({ state: 'ok' }))
  app.get('/readyz', async (c) => {
    const reasons = await notReady()
    return c.json({ state: reasons.length === 0 ? 'ready' : 'not ready', reasons }, reasons.length === 0 ? 200 : 503)
  })
}
