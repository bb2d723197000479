/** HTTP servers of the roles: listening, health, and a drain that loses no request. @module */
import type { Server, ServerOptions } from 'node:http'
import { serve } from '@hono/node-server'
import type { Hono } from 'hono'
import { AppError } from './appError.ts'

const IDLE_SWEEP_MS = 50

export type ServerAddress = { readonly host: string; readonly port: number }

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

/** Listens. Throws `AppError` (`PORT_TAKEN`, `LISTEN_FAILED`) with a sentence that names the address. */
export function startServer(app: Hono, address: ServerAddress, limits: ServerLimits = {}): Promise<RunningServer> {
  return new Promise((resolve, reject) => {
    const options = {
      fetch: app.fetch,
      hostname: address.host,
      port: address.port,
      serverOptions: serverOptions(limits),
    }
    const server = serve(options, (info) => {
      server.off('error', onError)
      resolve({ url: `http://${urlHost(address.host)}:${info.port}`, close: (drainMs) => closeServer(server, drainMs) })
    }) as Server
    if (limits.connectionsMax !== undefined) server.maxConnections = limits.connectionsMax
    const onError = (cause: NodeJS.ErrnoException) => {
      const place = `${address.host}:${address.port}`
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

function closeServer(server: Server, drainMs: number): Promise<void> {
  return new Promise((resolve) => {
    const deadline = setTimeout(() => server.closeAllConnections(), drainMs)
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
