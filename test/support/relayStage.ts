/** Relays and gateways on real sockets, for the tests of the relay. Whatever a test does, `close` leaves nothing under way. @module */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { type RunningServer, startServer } from '#node/server.ts'
import { OHTTP_CHUNKED_REQUEST, OHTTP_CHUNKED_RESPONSE } from '#protocol/sealing/mediaTypes.ts'
import { createRelayApp, type RelayState } from '../../offchain/relay/app.ts'
import { RELAY_LIMITS, type RelayConfig, type RelayLimits } from '../../offchain/relay/config.ts'
import { until } from './until.ts'

export type GatewayHandler = (request: IncomingMessage, response: ServerResponse) => void

export type StagedRelay = { readonly url: string; readonly state: RelayState; readonly server: RunningServer }

export class RelayStage {
  readonly #servers: Server[] = []
  readonly #relays: StagedRelay[] = []
  readonly #rejections: unknown[] = []
  readonly #onRejection = (reason: unknown): void => void this.#rejections.push(reason)

  constructor() {
    process.on('unhandledRejection', this.#onRejection)
  }

  /** Its base URL. */
  async gateway(handler: GatewayHandler): Promise<string> {
    const server = createServer(handler).listen(0, '127.0.0.1')
    this.#servers.push(server)
    await once(server, 'listening')
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  }

  /** A relay as main.ts wires it, before these gateways. */
  async relay(
    gateways: RelayConfig['gateways'],
    limits: Partial<RelayLimits> = {},
    more: Partial<RelayConfig> = {},
  ): Promise<StagedRelay> {
    const state: RelayState = { openRequests: 0, isDraining: false }
    const listen = { host: '127.0.0.1', port: 0 }
    const config = { listen, operator: 'a test', gateways, limits: { ...RELAY_LIMITS, ...limits }, ...more }
    const server = await startServer(createRelayApp(config, state), listen, config.limits)
    const relay = { url: server.url, state, server }
    this.#relays.push(relay)
    return relay
  }

  /** A relay before one gateway, named g. */
  async start(handler: GatewayHandler, limits: Partial<RelayLimits> = {}): Promise<StagedRelay> {
    return this.relay([{ name: 'g', url: await this.gateway(handler) }], limits)
  }

  /** Waits until nothing is under way, stops everything, and throws what was left unhandled. */
  async close(): Promise<void> {
    for (const { state } of this.#relays) await until(() => state.openRequests === 0)
    for (const { server } of this.#relays) await server.close(0)
    for (const server of this.#servers) {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    }
    await sleep(1)
    process.off('unhandledRejection', this.#onRejection)
    if (this.#rejections.length > 0) throw new AggregateError(this.#rejections, 'rejections were left unhandled')
    for (const { state } of this.#relays) {
      if (state.openRequests !== 0) throw new Error(`expected no open request, the relay counts ${state.openRequests}`)
    }
  }
}

/** Posts a sealed request, or what passes for one, to the gateway named g. */
export function post(url: string, init: RequestInit & { duplex?: 'half' } = {}): Promise<Response> {
  return fetch(`${url}/gateways/g`, {
    method: 'POST',
    headers: { 'content-type': OHTTP_CHUNKED_REQUEST },
    body: 'sealed',
    ...init,
  })
}

/** The request's body; never settles when it breaks off. */
export async function bodyOf(message: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = []
  message.on('data', (part: Buffer) => parts.push(part))
  message.on('error', () => {})
  await once(message, 'end').catch(() => new Promise(() => {}))
  return Buffer.concat(parts)
}

/** Answers with the request's body. */
export const echo: GatewayHandler = async (message, response) => {
  const body = await bodyOf(message)
  response.writeHead(200, { 'content-type': OHTTP_CHUNKED_RESPONSE }).end(body)
}

/** Answers with bytes as fast as they are taken, until `bytesMax`; `told` is called with the sum of those handed to the socket. */
export function flood(bytesMax: number, told: (bytes: number) => void): GatewayHandler {
  return async (message, response) => {
    await bodyOf(message)
    response.writeHead(200, { 'content-type': OHTTP_CHUNKED_RESPONSE })
    const chunk = Buffer.alloc(65_536)
    const closed = once(response, 'close')
    for (let written = 0; !response.destroyed && written < bytesMax; ) {
      written += chunk.length
      told(written)
      if (!response.write(chunk)) await Promise.race([once(response, 'drain'), closed])
    }
    response.end()
  }
}

/** Waits until `value` has stood still for `ms`. */
export async function settled(value: () => number, ms: number): Promise<number> {
  for (let before = -1; before !== value(); ) {
    before = value()
    await sleep(ms)
  }
  return value()
}
