/**
 * The relay: an RFC 9458 relay resource per configured gateway. It sees an address and sealed bytes, and passes on only the bytes.
 *
 *   GET  /gateways                      RelayDirectory
 *   GET  /gateways/{name}/ohttp-keys    the gateway's, unchanged
 *   GET  /gateways/{name}/evidence      the gateway's, unchanged
 *   POST /gateways/{name}               encapsulated request -> encapsulated response, streamed both ways
 *
 * No client header reaches the gateway and no gateway header but the media type reaches the client, so neither end can mark the
 * other. Nothing here is logged per request.
 * @module
 */
import { Hono, type MiddlewareHandler } from 'hono'
import { addHealth } from '#node/server.ts'
import {
  mediaTypeOf,
  OHTTP_CHUNKED_REQUEST,
  OHTTP_CHUNKED_RESPONSE,
  OHTTP_KEYS,
  OHTTP_REQUEST,
  OHTTP_RESPONSE,
  PROBLEM_JSON,
} from '#protocol/sealing/mediaTypes.ts'
import { toJson } from '#protocol/wire/json.ts'
import type { RelayDirectory } from '#protocol/wire/relayApi.ts'
import type { RelayConfig, RelayedGateway } from './config.ts'
import { limitBody } from './limitBody.ts'

/** Media types a gateway may answer with; anything else is not passed on. */
const PASSED_TYPES: ReadonlySet<string> = new Set([OHTTP_RESPONSE, OHTTP_CHUNKED_RESPONSE, PROBLEM_JSON])

export type RelayState = { openRequests: number; isDraining: boolean }

/** The relay as a Hono app. `state` counts what is under way and refuses the new while draining. */
export function createRelayApp(config: RelayConfig, state: RelayState): Hono {
  const app = new Hono()
  const gateways = new Map(config.gateways.map((gateway) => [gateway.name, gateway]))

  app.use(openToBrowsers)
  addHealth(app, () => (state.isDraining ? ['draining'] : []))
  app.get('/gateways', (c) => {
    const directory: RelayDirectory = {
      operator: config.operator,
      gateways: config.gateways.map(({ name }) => ({ name, path: `/gateways/${name}` })),
    }
    return c.body(toJson(directory), 200, { 'content-type': 'application/json' })
  })
  app.get('/gateways/:name/ohttp-keys', (c) =>
    passDocument(gateways.get(c.req.param('name')), 'ohttp-keys', OHTTP_KEYS),
  )
  app.get('/gateways/:name/evidence', (c) =>
    passDocument(gateways.get(c.req.param('name')), 'evidence', 'application/json'),
  )
  app.post('/gateways/:name', async (c) => {
    const gateway = gateways.get(c.req.param('name'))
    if (gateway === undefined) return problem(404, 'no such gateway behind this relay')
    if (state.isDraining || state.openRequests >= config.limits.openRequestsMax) {
      return problem(503, 'the relay is full or stopping: try another')
    }
    // Only the bare type goes on: a parameter could mark the client.
    const type = mediaTypeOf(c.req.header('content-type'))
    if (type !== OHTTP_REQUEST && type !== OHTTP_CHUNKED_REQUEST) {
      return problem(415, `expected ${OHTTP_REQUEST} or ${OHTTP_CHUNKED_REQUEST}`)
    }
    const declared = Number(c.req.header('content-length') ?? '0')
    if (declared > config.limits.requestBytesMax) return problem(413, 'the encapsulated request is too large')
    return forward(c.req.raw, gateway, type, config, state)
  })
  app.notFound(() => problem(404, 'no such resource'))
  app.onError(() => problem(500, 'the relay failed'))
  return app
}

async function forward(
  request: Request,
  gateway: RelayedGateway,
  type: string,
  config: RelayConfig,
  state: RelayState,
): Promise<Response> {
  const abort = new AbortController()
  const timer = setTimeout(() => abort.abort(), config.limits.firstByteTimeoutMs)
  const leave = () => abort.abort()
  request.signal.addEventListener('abort', leave, { once: true })
  state.openRequests++
  let isOpen = true
  const finish = () => {
    // A cancelled stream may see its source fail as well: the request ended only once.
    if (!isOpen) return
    isOpen = false
    clearTimeout(timer)
    request.signal.removeEventListener('abort', leave)
    state.openRequests--
  }
  const body = limitBody(request.body, config.limits.requestBytesMax)
  try {
    const answer = await fetch(new URL('/gateway', gateway.url), {
      method: 'POST',
      headers: type === OHTTP_CHUNKED_REQUEST ? { 'content-type': type, incremental: '?1' } : { 'content-type': type },
      body: body.stream,
      duplex: 'half',
      redirect: 'manual',
      signal: abort.signal,
    } as RequestInit)
    clearTimeout(timer)
    return passOn(answer, abort, finish)
  } catch {
    // What went wrong between relay and gateway is the relay operator's business: the client learns that there was no answer.
    finish()
    return body.isExceeded()
      ? problem(413, 'the encapsulated request is too large')
      : problem(502, 'no answer from the gateway')
  }
}

/** The gateway's answer with nothing of it but status, media type and bytes. */
function passOn(answer: Response, abort: AbortController, finish: () => void): Response {
  const type = mediaTypeOf(answer.headers.get('content-type'))
  if (!PASSED_TYPES.has(type) || answer.body === null) {
    abort.abort()
    finish()
    return problem(502, 'the gateway answered with something that is not for a client')
  }
  const headers: Record<string, string> = { 'content-type': type, 'cache-control': 'no-store' }
  if (type === OHTTP_CHUNKED_RESPONSE) headers.incremental = '?1'
  return new Response(countedStream(answer.body, abort, finish), { status: answer.status, headers })
}

/** `source` chunk by chunk, as fast as the client reads. Ends the gateway's work when the client leaves. */
function countedStream(
  source: ReadableStream<Uint8Array>,
  abort: AbortController,
  finish: () => void,
): ReadableStream<Uint8Array> {
  const reader = source.getReader()
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const { done, value } = await reader.read()
          if (!done) return controller.enqueue(value)
          finish()
          controller.close()
        } catch {
          finish()
          // The client must see a cut: an end that looks regular would hide it. The server prints the error that it is given, so this
          // one says nothing of addresses.
          controller.error(new Error('the gateway broke off its answer'))
        }
      },
      cancel() {
        finish()
        abort.abort()
        // The abort makes this reject; nobody waits for it.
        reader.cancel().catch(() => {})
      },
    },
    { highWaterMark: 0 },
  )
}

/** A public document of the gateway. Fetched by the relay, so that the gateway does not learn who asked. */
async function passDocument(gateway: RelayedGateway | undefined, path: string, type: string): Promise<Response> {
  if (gateway === undefined) return problem(404, 'no such gateway behind this relay')
  const documentBytesMax = 65_536
  try {
    const answer = await fetch(new URL(`/${path}`, gateway.url), {
      redirect: 'manual',
      signal: AbortSignal.timeout(10_000),
    })
    const { stream } = limitBody(answer.body, documentBytesMax)
    const bytes = new Uint8Array(await new Response(stream).arrayBuffer())
    if (!answer.ok) return problem(502, 'the gateway has no such document now')
    return new Response(bytes, { headers: { 'content-type': type, 'cache-control': 'no-store' } })
  } catch {
    // Unreachable, too slow or too large: the client tries another gateway either way.
    return problem(502, 'no answer from the gateway')
  }
}

/** Browsers may use any relay from any page: what they send is sealed, and there are no cookies here. */
const openToBrowsers: MiddlewareHandler = async (c, next) => {
  if (c.req.method === 'OPTIONS') {
    return c.body(null, 204, {
      'access-control-allow-origin': '*',
      'access-control-allow-methods': 'GET, POST',
      'access-control-allow-headers': 'content-type, incremental',
      'access-control-max-age': '86400',
    })
  }
  await next()
  c.header('access-control-allow-origin', '*')
  return undefined
}

function problem(status: number, title: string): Response {
  return new Response(toJson({ type: 'about:blank', title, status }), {
    status,
    headers: { 'content-type': PROBLEM_JSON },
  })
}
