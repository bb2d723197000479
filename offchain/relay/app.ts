/**
 * The relay: an RFC 9458 relay resource per configured gateway. It sees an address and sealed bytes, and passes on only the bytes.
 *
 *   GET  /gateways                      RelayDirectory
 *   GET  /gateways/{name}/ohttp-keys    the gateway's, unchanged
 *   GET  /gateways/{name}/evidence      the gateway's, unchanged
 *   POST /gateways/{name}               encapsulated request -> encapsulated response, streamed both ways
 *
 * No client header reaches the gateway and no gateway header but the media type reaches the client, so neither end can mark the
 * other. Nothing here is logged per request, and addresses are counted so that they are forgotten (addressLimits.ts).
 * @module
 */
import type { HttpBindings } from '@hono/node-server'
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import { type Context, Hono, type MiddlewareHandler } from 'hono'
import { addHealth } from '#node/server.ts'
import {
  mediaTypeOf,
  OHTTP_CHUNKED_REQUEST,
  OHTTP_KEYS,
  OHTTP_REQUEST,
  PROBLEM_JSON,
} from '#protocol/sealing/mediaTypes.ts'
import { toJson } from '#protocol/wire/json.ts'
import type { RelayDirectory } from '#protocol/wire/relayApi.ts'
import { AddressLimits } from './addressLimits.ts'
import { clientAddress } from './clientAddress.ts'
import type { RelayConfig } from './config.ts'
import { readDocument } from './documents.ts'
import { type ForwardOutcome, forward } from './forward.ts'
import { createGatewayRoute, type GatewayRoute } from './gatewayRoute.ts'

/** When a relay that is full may be asked again: nobody knows when a request ends. */
const BUSY_RETRY_SECONDS = 5

export type RelayState = { openRequests: number; isDraining: boolean }

/** What became of a request: its answer was passed on from its begin, or why not, or the status it was refused with. */
export type RelayOutcome = ForwardOutcome | `REFUSED_${number}`

/**
 * The relay as a Hono app for `@hono/node-server`. `state` counts what is under way and refuses the new while draining. `counted` is told what became
 * of each request to a gateway, and nothing of whose it was; `onTrouble` why a gateway's TLS is not trusted.
 */
export function createRelayApp(
  config: RelayConfig,
  state: RelayState,
  counted: (outcome: RelayOutcome) => void = () => {},
  onTrouble: (gateway: string, why: string) => void = () => {},
): Hono {
  const { limits } = config
  const app = new Hono()
  const gateways = new Map(
    config.gateways.map((gateway) => {
      const route = createGatewayRoute(gateway, limits, (why) => onTrouble(gateway.name, why))
      return [gateway.name, route] as const
    }),
  )
  const addresses = new AddressLimits(limits)

  /** Runs `answer` unless its client's address has asked too often. `answer` calls `release` when the request has ended. */
  async function admitted(
    c: Context,
    answer: (gateway: GatewayRoute, release: () => void) => Promise<Response>,
  ): Promise<Response> {
    const admission = addresses.admit(clientAddress(bindings(c).incoming, config.clientAddressHeader))
    if (!admission.ok) return problem(429, 'too many requests from your address', admission.retryAfterSeconds)
    const gateway = gateways.get(c.req.param('name') ?? '')
    if (gateway !== undefined) return answer(gateway, admission.release)
    admission.release()
    return problem(404, 'no such gateway behind this relay')
  }

  const passDocument = (c: Context, path: string, type: string): Promise<Response> =>
    admitted(c, async (gateway, release) => {
      const bytes = await readDocument(() => gateway.openDocument(path), limits.documentTimeoutMs).finally(release)
      if (bytes === undefined) return problem(502, 'the gateway has no such document now')
      return new Response(bytes, { headers: { 'content-type': type, 'cache-control': 'no-store' } })
    })

  app.use(openToBrowsers)
  addHealth(app, () => (state.isDraining ? ['draining'] : []))
  app.get('/gateways', (c) => {
    const directory: RelayDirectory = {
      operator: config.operator,
      gateways: config.gateways.map(({ name }) => ({ name, path: `/gateways/${name}` })),
    }
    return c.body(toJson(directory), 200, { 'content-type': 'application/json' })
  })
  app.get('/gateways/:name/ohttp-keys', (c) => passDocument(c, 'ohttp-keys', OHTTP_KEYS))
  app.get('/gateways/:name/evidence', (c) => passDocument(c, 'evidence', 'application/json'))
  app.post('/gateways/:name', async (c) => {
    let outcome: ForwardOutcome | undefined
    const answer = await admitted(c, async (gateway, release) => {
      // Only the bare type goes on: a parameter could mark the client.
      const type = mediaTypeOf(c.req.header('content-type') ?? null)
      const refusal = refusalOf(config, state, gateway, type, Number(c.req.header('content-length') ?? '0'))
      if (refusal !== undefined) {
        release()
        return refusal
      }
      state.openRequests++
      gateway.openRequests++
      const ended = () => {
        state.openRequests--
        gateway.openRequests--
        release()
      }
      outcome = await forward(bindings(c), gateway, type, limits, ended)
      return ANSWER_OF[outcome]()
    })
    counted(outcome ?? `REFUSED_${answer.status}`)
    return answer
  })
  app.notFound(() => problem(404, 'no such resource'))
  app.onError(() => problem(500, 'the relay failed'))
  return app
}

/** Why a request to `gateway` may not begin. */
function refusalOf(
  { limits }: RelayConfig,
  state: RelayState,
  gateway: GatewayRoute,
  type: string,
  declaredBytes: number,
): Response | undefined {
  if (state.isDraining) return problem(503, 'the relay is stopping: try another', BUSY_RETRY_SECONDS)
  if (type !== OHTTP_REQUEST && type !== OHTTP_CHUNKED_REQUEST) {
    return problem(415, `expected ${OHTTP_REQUEST} or ${OHTTP_CHUNKED_REQUEST}`)
  }
  if (declaredBytes > limits.requestBytesMax) return tooLarge()
  if (state.openRequests >= limits.openRequestsMax) {
    return problem(503, 'the relay is full: try another', BUSY_RETRY_SECONDS)
  }
  if (gateway.openRequests >= limits.openRequestsPerGatewayMax) {
    return problem(503, 'the relay has too many requests for this gateway: try another gateway', BUSY_RETRY_SECONDS)
  }
  return undefined
}

/** What went wrong between relay and gateway is the relay operator's business: the client learns that there was no answer. */
const ANSWER_OF: Record<ForwardOutcome, () => Response> = {
  PASSED: () => RESPONSE_ALREADY_SENT,
  REQUEST_TOO_LARGE: tooLarge,
  CLIENT_STALLED: () => problem(408, 'the request did not arrive in time'),
  CLIENT_LEFT: () => problem(408, 'the client has left'),
  NO_ANSWER: () => problem(502, 'no answer from the gateway'),
  UNFIT_ANSWER: () => problem(502, 'the gateway answered with something that is not for a client'),
}

function tooLarge(): Response {
  return problem(413, 'the encapsulated request is too large')
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
  // An answer that was passed on has its header already.
  if (c.res !== RESPONSE_ALREADY_SENT) c.header('access-control-allow-origin', '*')
  return undefined
}

function bindings(c: Context): HttpBindings {
  // The only server that the roles run on, and the one that `forward` needs.
  return c.env as HttpBindings
}

function problem(status: number, title: string, retryAfterSeconds?: number): Response {
  const retry =
    retryAfterSeconds === undefined
      ? {}
      : { 'retry-after': String(retryAfterSeconds), 'access-control-expose-headers': 'retry-after' }
  return new Response(toJson({ type: 'about:blank', title, status }), {
    status,
    headers: { 'content-type': PROBLEM_JSON, ...retry },
  })
}
