/** What one client, one gateway or a storm of both can take from the others. @module */
import { once } from 'node:events'
import { type ClientRequest, type IncomingMessage, request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { OHTTP_CHUNKED_REQUEST, OHTTP_CHUNKED_RESPONSE, PROBLEM_JSON } from '#protocol/sealing/mediaTypes.ts'
import { bodyOf, echo, type GatewayHandler, post, RelayStage } from '../../test/support/relayStage.ts'
import { until } from '../../test/support/until.ts'

let stage: RelayStage

beforeEach(() => {
  stage = new RelayStage()
})

afterEach(() => stage.close())

type Asked = { readonly path?: string; readonly from?: string; readonly headers?: Record<string, string> }

function ask(url: string, { path = '/gateways/g', from = '127.0.0.1', headers = {} }: Asked = {}): ClientRequest {
  const { hostname, port } = new URL(url)
  const isPost = !path.includes('ohttp-keys')
  const asked = request({
    hostname,
    port,
    path,
    method: isPost ? 'POST' : 'GET',
    localAddress: from,
    agent: false,
    headers: { ...(isPost ? { 'content-type': OHTTP_CHUNKED_REQUEST } : {}), ...headers },
  })
  asked.on('error', () => {})
  return asked
}

async function statusOf(url: string, asked: Asked = {}): Promise<number> {
  const outgoing = ask(url, asked)
  outgoing.end(outgoing.method === 'POST' ? 'sealed' : undefined)
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
  response.resume()
  await once(response, 'end')
  return response.statusCode ?? 0
}

/** Answers only when `open` is called. */
function gated(): { handler: GatewayHandler; open: () => void } {
  const gate = Promise.withResolvers<void>()
  const handler: GatewayHandler = async (message, response) => {
    await bodyOf(message)
    await gate.promise
    response.writeHead(200, { 'content-type': OHTTP_CHUNKED_RESPONSE }).end('answer')
  }
  return { handler, open: gate.resolve }
}

describe('limits each client address', () => {
  test('to so many requests a minute, of whatever kind, and says so to browsers too', async () => {
    const { url } = await stage.start(echo, { requestsPerMinute: 3 })
    expect(await statusOf(url)).toBe(200)
    expect(await statusOf(url, { path: '/gateways/none' })).toBe(404)
    // The gateway has no such document.
    expect(await statusOf(url, { path: '/gateways/g/ohttp-keys' })).not.toBe(429)
    const refused = await post(url)
    expect([refused.status, refused.headers.get('content-type')]).toEqual([429, PROBLEM_JSON])
    expect(refused.headers.get('retry-after')).toBe('20')
    expect(refused.headers.get('access-control-allow-origin')).toBe('*')
    expect(refused.headers.get('access-control-expose-headers')).toBe('retry-after')
    expect(await refused.json()).toMatchObject({ status: 429 })
    expect(await statusOf(url, { path: '/gateways/g/ohttp-keys' })).toBe(429)
    // Another address, and what costs nothing.
    expect(await statusOf(url, { from: '127.0.0.2' })).toBe(200)
    expect((await fetch(`${url}/gateways`)).status).toBe(200)
    expect((await fetch(`${url}/gateways/g`, { method: 'OPTIONS' })).status).toBe(204)
    expect((await fetch(`${url}/readyz`)).status).toBe(200)
  })

  test('to so many requests at once, until one of its own ends', async () => {
    const { handler, open } = gated()
    const { url, state } = await stage.start(handler, { openRequestsPerAddressMax: 2 })
    const waiting = [statusOf(url), statusOf(url)]
    await until(() => state.openRequests === 2)
    expect(await statusOf(url)).toBe(429)
    const other = statusOf(url, { from: '127.0.0.2' })
    await until(() => state.openRequests === 3)
    open()
    expect(await Promise.all([...waiting, other])).toEqual([200, 200, 200])
    await until(() => state.openRequests === 0)
    expect(await statusOf(url)).toBe(200)
  })

  test('and frees the place of a request that was refused or cut', async () => {
    const { url, state } = await stage.start(gated().handler, { openRequestsPerAddressMax: 1 })
    for (let i = 0; i < 3; i++) {
      expect(await statusOf(url, { headers: { 'content-type': 'text/plain' } })).toBe(415)
      const outgoing = ask(url)
      outgoing.end('sealed')
      await until(() => state.openRequests === 1)
      outgoing.destroy()
      await until(() => state.openRequests === 0)
    }
  })

  test('behind a TLS terminator by the address that it states, otherwise by none that a client states', async () => {
    const gateways = [{ name: 'g', url: await stage.gateway(echo) }]
    const limits = { requestsPerMinute: 1 }
    const behind = await stage.relay(gateways, limits, { clientAddressHeader: 'x-forwarded-for' })
    const stated = (value: string): Promise<number> => statusOf(behind.url, { headers: { 'x-forwarded-for': value } })
    expect(await stated('203.0.113.1')).toBe(200)
    expect(await stated('203.0.113.2')).toBe(200)
    expect(await stated('203.0.113.1')).toBe(429)
    // A client may put what it likes in front of what the terminator adds.
    expect(await stated('198.51.100.99, 203.0.113.1')).toBe(429)
    // One IPv6 host has a /64 of addresses.
    expect(await stated('2001:db8:1:2::1')).toBe(200)
    expect(await stated('2001:db8:1:2:ffff::2')).toBe(429)
    expect(await stated('2001:db8:1:3::1')).toBe(200)

    const bare = await stage.relay(gateways, limits)
    const claimed = (value: string): Promise<number> => statusOf(bare.url, { headers: { 'x-forwarded-for': value } })
    expect([await claimed('203.0.113.1'), await claimed('203.0.113.2')]).toEqual([200, 429])
  })

  test('and has forgotten it a while later', async () => {
    const { url } = await stage.start(echo, { requestsPerMinute: 1, addressMemoryMs: 2_000 })
    expect([await statusOf(url), await statusOf(url)]).toEqual([200, 429])
    await sleep(2_100)
    expect(await statusOf(url)).toBe(200)
  })
})

describe('serves many gateways', () => {
  test('one that hangs and one that is dead hurt nobody behind the others', async () => {
    const { handler, open } = gated()
    const gateways = [
      { name: 'g', url: await stage.gateway(echo) },
      { name: 'hangs', url: await stage.gateway(handler) },
      { name: 'dead', url: 'http://127.0.0.1:1' },
    ]
    const { url, state } = await stage.relay(gateways, { openRequestsPerGatewayMax: 5, openRequestsMax: 8 })
    const hanging = Array.from({ length: 5 }, () => statusOf(url, { path: '/gateways/hangs' }))
    await until(() => state.openRequests === 5)
    expect(await statusOf(url, { path: '/gateways/hangs' })).toBe(503)
    for (let i = 0; i < 20; i++) {
      expect(await statusOf(url, { path: '/gateways/dead' })).toBe(502)
      expect(await statusOf(url)).toBe(200)
    }
    // All of them before the one that hangs is let go.
    expect(await Promise.all([statusOf(url), statusOf(url), statusOf(url)])).toEqual([200, 200, 200])
    open()
    expect(await Promise.all(hanging)).toEqual([200, 200, 200, 200, 200])
    await until(() => state.openRequests === 0)
    expect(await statusOf(url, { path: '/gateways/hangs' })).toBe(200)
  })

  test('and has every place back after a storm of resets from both ends', async () => {
    let turn = 0
    let isCalm = false
    const calm = gated()
    const { url, state } = await stage.start(
      async (message, response) => {
        if (isCalm) return calm.handler(message, response)
        const mood = turn++ % 5
        if (mood === 0) return void message.socket.resetAndDestroy()
        await bodyOf(message)
        if (mood === 1) return void message.socket.resetAndDestroy()
        response.writeHead(200, { 'content-type': OHTTP_CHUNKED_RESPONSE })
        response.write('beginning')
        if (mood === 2) return void response.destroy()
        if (mood === 3) await sleep(15)
        response.end('end')
      },
      {
        openRequestsMax: 100,
        openRequestsPerGatewayMax: 100,
        openRequestsPerAddressMax: 100,
        requestsPerMinute: 100_000,
      },
    )
    const storm = async (i: number): Promise<void> => {
      const outgoing = ask(url)
      const ended = new Promise<void>((resolve) => outgoing.once('close', () => resolve()))
      outgoing.on('response', (response) => {
        response.on('error', () => {})
        if (i % 4 === 0) outgoing.destroy()
        else response.resume()
      })
      outgoing.write('sea')
      if (i % 4 === 1) await sleep(i % 7)
      if (i % 4 === 1) outgoing.socket?.resetAndDestroy()
      else outgoing.end('led')
      await ended
    }
    for (let round = 0; round < 8; round++) await Promise.all(Array.from({ length: 60 }, (_, i) => storm(i)))
    await until(() => state.openRequests === 0)
    await sleep(20)
    expect(state.openRequests).toBe(0)
    // The places of the gateway and of the address as well: all of them can be taken at once.
    isCalm = true
    const waiting = Array.from({ length: 100 }, () => statusOf(url))
    await until(() => state.openRequests === 100)
    expect(await statusOf(url)).toBe(429)
    calm.open()
    expect(new Set(await Promise.all(waiting))).toEqual(new Set([200]))
  })
})
