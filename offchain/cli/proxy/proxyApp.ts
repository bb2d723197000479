/**
 * An OpenAI-compatible server on this machine's own address, for programs in any language: what arrives in the clear is sealed here and answered from an
 * enclave. It spends from a wallet, so it asks for a secret, answers only to its own name, and to no web page that was not named.
 * @module
 */
import { timingSafeEqual } from 'node:crypto'
import { sha256 } from '@noble/hashes/sha2.js'
import { type Context, Hono } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import { encodeUtf8 } from '#protocol/bytes.ts'
import type { SealedClient } from '../../sdk/connect.ts'
import { SealpathError } from '../../sdk/errors.ts'
import type { SealedReceipt } from '../../sdk/sealedReceipt.ts'
import { WalletError } from '../../sdk/wallet/walletError.ts'

export type ProxyOptions = {
  readonly sealed: Pick<SealedClient, 'fetch' | 'baseURL' | 'receiptOf'>
  /** What apps send as their API key. */
  readonly secret: string
  /** Names that this server is reached by, with their port: `127.0.0.1:8788`. A page that had its own name point here would send another one. */
  readonly hosts: readonly string[]
  /** Web pages that may use it, like `http://localhost:3000`. */
  readonly origins: readonly string[]
  /** Told of each verified receipt, and of what failed where nobody waits. */
  readonly onReceipt: (receipt: SealedReceipt) => void
  readonly onFault: (error: unknown) => void
}

/** Headers of an app that mean something to a gateway. Its API key is for us alone. */
const PASSED_HEADERS = ['content-type', 'accept', 'sealpath-nonce'] as const
const BODY_BYTES_MAX = 16 * 1024 * 1024

export function createProxyApp(options: ProxyOptions): Hono {
  const app = new Hono()
  app.use(async (c, next) => {
    const host = c.req.header('host') ?? ''
    if (!options.hosts.includes(host)) {
      return refuse(
        c,
        403,
        'invalid_request_error',
        'wrong_host',
        `this is not ${host.slice(0, 100)}: use ${options.hosts[0]}`,
      )
    }
    const origin = c.req.header('origin')
    if (origin !== undefined) {
      if (!options.origins.includes(origin)) {
        const message = `pages of ${origin.slice(0, 100)} may not use this wallet: start the proxy with --origin for them`
        return refuse(c, 403, 'invalid_request_error', 'wrong_origin', message)
      }
      c.header('Access-Control-Allow-Origin', origin)
      c.header('Vary', 'Origin')
      c.header('Access-Control-Allow-Headers', 'authorization, content-type')
      c.header('Access-Control-Allow-Methods', 'GET, POST')
    }
    if (c.req.method === 'OPTIONS' && origin !== undefined) return c.body(null, 204)
    return next()
  })
  app.use('/v1/*', async (c, next) => {
    if (isSecret(c.req.header('authorization'), options.secret)) return next()
    const message = 'send the secret that `sealpath proxy` shows as the API key'
    return refuse(c, 401, 'invalid_request_error', 'invalid_api_key', message)
  })
  const tooLarge = (c: Context) =>
    refuse(c, 413, 'invalid_request_error', 'request_too_large', `expected at most ${BODY_BYTES_MAX} bytes`)
  app.all('/v1/*', bodyLimit({ maxSize: BODY_BYTES_MAX, onError: tooLarge }), (c) => forward(c, options))
  app.notFound((c) => refuse(c, 404, 'invalid_request_error', 'not_found', 'the OpenAI interface is under /v1'))
  return app
}

async function forward(c: Context, { sealed, onReceipt, onFault }: ProxyOptions): Promise<Response> {
  const url = new URL(c.req.url)
  const headers = new Headers()
  for (const name of PASSED_HEADERS) {
    const value = c.req.header(name)
    if (value !== undefined) headers.set(name, value)
  }
  const { method, signal } = c.req.raw
  const hasBody = method !== 'GET' && method !== 'HEAD'
  try {
    const target = `${sealed.baseURL}${url.pathname.slice('/v1'.length)}${url.search}`
    const init = { method, headers, signal, ...(hasBody ? { body: await c.req.arrayBuffer() } : {}) }
    const response = await sealed.fetch(target, init)
    if (response.ok && url.pathname.endsWith('/completions')) sealed.receiptOf(response).then(onReceipt, onFault)
    for (const [name, value] of response.headers) c.header(name, value)
    const status = response.status as 200
    return response.body === null ? c.body(null, status) : c.body(response.body, status)
  } catch (error) {
    return refusal(c, error, onFault)
  }
}

/** In constant time, whatever the lengths are. */
function isSecret(header: string | undefined, secret: string): boolean {
  const given = /^Bearer (.+)$/i.exec(header ?? '')?.[1] ?? ''
  return timingSafeEqual(sha256(encodeUtf8(given)), sha256(encodeUtf8(secret)))
}

/** What did not come from the gateway, in the shape that apps know. */
function refusal(c: Context, error: unknown, onFault: (error: unknown) => void): Response {
  if (error instanceof WalletError && error.code === 'INSUFFICIENT') {
    return refuse(c, 402, 'insufficient_quota', 'insufficient_credits', error.message)
  }
  if (error instanceof SealpathError) {
    const isOurs = error.code === 'NOT_OURS' || error.code === 'BAD_OPTIONS'
    return refuse(c, isOurs ? 400 : 502, 'server_error', error.code.toLowerCase(), error.message)
  }
  onFault(error)
  return refuse(c, 502, 'server_error', 'sealing_failed', 'the request could not be sealed or answered')
}

type Status = 400 | 401 | 402 | 403 | 404 | 413 | 502

function refuse(c: Context, status: Status, type: string, code: string, message: string): Response {
  return c.json({ error: { message, type, code, param: null } }, status)
}
