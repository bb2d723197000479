/** The relay between real sockets: what passes, what does not, and what happens when an end goes away. @module */
import { once } from 'node:events'
import { createServer, type IncomingMessage, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  OHTTP_CHUNKED_REQUEST,
  OHTTP_CHUNKED_RESPONSE,
  OHTTP_KEYS,
  OHTTP_REQUEST,
  OHTTP_RESPONSE,
  PROBLEM_JSON,
} from '#protocol/sealing/mediaTypes.ts'
import { parseJson } from '#protocol/wire/json.ts'
import { RelayDirectorySchema } from '#protocol/wire/relayApi.ts'
import { bodyOf, echo, type GatewayHandler, post, RelayStage, type StagedRelay } from '../../test/support/relayStage.ts'
import { until } from '../../test/support/until.ts'
import type { RelayLimits } from './config.ts'

let stage: RelayStage

beforeEach(() => {
  stage = new RelayStage()
})

// Whatever happened, nothing is left under way.
afterEach(() => stage.close())

function start(handler: GatewayHandler, limits: Partial<RelayLimits> = {}): Promise<StagedRelay> {
  return stage.start(handler, limits)
}

/** Where nothing listens. */
async function unusedAddress(): Promise<string> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return `http://127.0.0.1:${port}`
}

test.each([
  [OHTTP_REQUEST, OHTTP_RESPONSE],
  [OHTTP_CHUNKED_REQUEST, OHTTP_CHUNKED_RESPONSE],
])('passes every byte of %s there and back', async (requestType, responseType) => {
  let seen: string | undefined
  const { url } = await start(async (message, response) => {
    seen = message.headers['content-type']
    const body = await bodyOf(message)
    response.writeHead(200, { 'content-type': responseType }).end(body.reverse())
  })
  const bytes = Uint8Array.from({ length: 300_000 }, (_, i) => (i * 131) >> 3)
  const response = await post(url, { headers: { 'content-type': requestType }, body: bytes })
  expect(seen).toBe(requestType)
  expect(response.headers.get('content-type')).toBe(responseType)
  expect(new Uint8Array(await response.arrayBuffer())).toEqual(bytes.toReversed())
})

test('streams the answer: a chunk arrives before the next is made', async () => {
  const steps = Array.from({ length: 3 }, () => Promise.withResolvers<void>())
  const { url } = await start(async (_message, response) => {
    response.writeHead(200, { 'content-type': OHTTP_CHUNKED_RESPONSE })
    for (const [i, step] of steps.entries()) {
      response.write(`chunk ${i}`)
      await step.promise
    }
    response.end()
  })
  const seen: string[] = []
  for await (const part of (await post(url)).body ?? []) {
    seen.push(Buffer.from(part).toString())
    steps[seen.length - 1]?.resolve()
  }
  expect(seen).toEqual(['chunk 0', 'chunk 1', 'chunk 2'])
})

test('streams the request: the gateway gets its beginning before its end exists', async () => {
  const first = Promise.withResolvers<string>()
  const { url } = await start((message, response) => {
    message.once('data', (data: Buffer) => first.resolve(data.toString()))
    message.on('end', () => response.writeHead(200, { 'content-type': OHTTP_CHUNKED_RESPONSE }).end('done'))
  })
  const rest = Promise.withResolvers<void>()
  const body = new ReadableStream<Uint8Array>({
    async start(controller) {
      controller.enqueue(Buffer.from('beginning'))
      await rest.promise
      controller.enqueue(Buffer.from('end'))
      controller.close()
    },
  })
  const answered = post(url, { body, duplex: 'half' })
  expect(await first.promise).toBe('beginning')
  rest.resolve()
  expect(await (await answered).text()).toBe('done')
})

test('passes no header of the client, and of the gateway only the media type', async () => {
  let seen: IncomingMessage['headers'] = {}
  const { url } = await start(async (message, response) => {
    seen = message.headers
    await bodyOf(message)
    response.writeHead(200, {
      'content-type': `${OHTTP_CHUNKED_RESPONSE}; mark=gateway`,
      'set-cookie': 'mark=1',
      server: 'mark',
      etag: '"mark"',
      'x-mark': 'mark',
      'cache-control': 'max-age=7, mark=1',
    })
    response.end('answer')
  })
  const response = await post(url, {
    headers: {
      'content-type': `${OHTTP_CHUNKED_REQUEST}; mark=client`,
      'x-forwarded-for': '192.0.2.7',
      forwarded: 'for=192.0.2.7',
      cookie: 'mark=client',
      'user-agent': 'mark-client',
      authorization: 'Bearer mark-client',
      'accept-language': 'mark-client',
      referer: 'https://mark-client.example/',
      'x-mark': 'mark-client',
    },
  })
  expect(await response.text()).toBe('answer')
  expect(JSON.stringify(seen)).not.toMatch(/mark|192\.0\.2\.7/)
  expect(seen['content-type']).toBe(OHTTP_CHUNKED_REQUEST)
  expect(seen.incremental).toBe('?1')
  const passed = Object.fromEntries(response.headers)
  expect(JSON.stringify(passed)).not.toContain('mark')
  expect(passed).toMatchObject({
    'content-type': OHTTP_CHUNKED_RESPONSE,
    'cache-control': 'no-store',
    incremental: '?1',
  })
  const ours = ['access-control-allow-origin', 'cache-control', 'content-type', 'incremental']
  const ofTheConnection = ['connection', 'content-length', 'date', 'keep-alive', 'transfer-encoding']
  expect(
    Object.keys(passed)
      .filter((name) => !ofTheConnection.includes(name))
      .sort(),
  ).toEqual(ours)
})

test('passes the problem of a gateway that could not open the request', async () => {
  const { url } = await start(async (message, response) => {
    await bodyOf(message)
    response.writeHead(400, { 'content-type': PROBLEM_JSON }).end('{"status":400}')
  })
  const response = await post(url)
  expect([response.status, response.headers.get('content-type')]).toEqual([400, PROBLEM_JSON])
  expect(await response.json()).toEqual({ status: 400 })
})

describe('answers for itself', () => {
  async function problemOf(response: Response): Promise<number> {
    expect(response.headers.get('content-type')).toBe(PROBLEM_JSON)
    expect(await response.json()).toMatchObject({ status: response.status })
    return response.status
  }

  test('404 for a gateway that it does not serve', async () => {
    const { url } = await start(echo)
    for (const path of ['/gateways/other', '/gateways/other/evidence', '/gateways/other/ohttp-keys', '/nothing']) {
      const method = path === '/gateways/other' ? 'POST' : 'GET'
      expect(await problemOf(await fetch(`${url}${path}`, { method }))).toBe(404)
    }
  })

  test('415 for every other media type', async () => {
    const { url } = await start(echo)
    for (const type of ['application/json', 'text/plain', OHTTP_RESPONSE, `${OHTTP_REQUEST}x`]) {
      expect(await problemOf(await post(url, { headers: { 'content-type': type } }))).toBe(415)
    }
  })

  test('413 for a body that is declared too large, before it is sent', async () => {
    let isAsked = false
    const { url } = await start(
      (_message, response) => {
        isAsked = true
        response.end()
      },
      { requestBytesMax: 1_000 },
    )
    expect(await problemOf(await post(url, { body: new Uint8Array(1_001) }))).toBe(413)
    expect(isAsked).toBe(false)
    // Announced and never sent: the answer does not wait for it.
    const { hostname, port } = new URL(url)
    const headers = { 'content-type': OHTTP_REQUEST, 'content-length': '1001' }
    const outgoing = request({ hostname, port, path: '/gateways/g', method: 'POST', headers })
    outgoing.flushHeaders()
    const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
    expect(response.statusCode).toBe(413)
    outgoing.on('error', () => {})
    outgoing.destroy()
  })

  test('413 for a streamed body once it is too large, and takes one of exactly the bound', async () => {
    const { url } = await start(echo, { requestBytesMax: 1_000 })
    const streamed = (bytes: number): ReadableStream<Uint8Array> => {
      let sent = 0
      return new ReadableStream({
        pull(controller) {
          if (sent >= bytes) return controller.close()
          const length = Math.min(100, bytes - sent)
          sent += length
          controller.enqueue(new Uint8Array(length))
        },
      })
    }
    expect(await problemOf(await post(url, { body: streamed(1_001), duplex: 'half' }))).toBe(413)
    const taken = await post(url, { body: streamed(1_000), duplex: 'half' })
    expect([taken.status, (await taken.arrayBuffer()).byteLength]).toEqual([200, 1_000])
  })

  test('503 when it is full, until a request ends', async () => {
    const gate = Promise.withResolvers<void>()
    const { url, state } = await start(
      async (message, response) => {
        await bodyOf(message)
        await gate.promise
        response.writeHead(200, { 'content-type': OHTTP_RESPONSE }).end()
      },
      { openRequestsMax: 2 },
    )
    const waiting = [post(url), post(url)]
    await until(() => state.openRequests === 2)
    expect(await problemOf(await post(url))).toBe(503)
    gate.resolve()
    for (const answer of await Promise.all(waiting)) await answer.arrayBuffer()
    await until(() => state.openRequests === 0)
    expect((await post(url)).status).toBe(200)
  })

  test('503 while draining, and says so to whom asks for readiness', async () => {
    const { url, state } = await start(echo)
    expect((await fetch(`${url}/readyz`)).status).toBe(200)
    state.isDraining = true
    expect(await problemOf(await post(url))).toBe(503)
    expect((await fetch(`${url}/readyz`)).status).toBe(503)
    expect((await fetch(`${url}/healthz`)).status).toBe(200)
  })

  test('502 when the gateway is down', async () => {
    const { url } = await stage.relay([{ name: 'g', url: await unusedAddress() }])
    expect(await problemOf(await post(url))).toBe(502)
    expect(await problemOf(await fetch(`${url}/gateways/g/evidence`))).toBe(502)
  })

  test('502 when the gateway takes too long to begin', async () => {
    const gone = Promise.withResolvers<void>()
    const { url } = await start((_message, response) => void response.on('close', () => gone.resolve()), {
      firstByteTimeoutMs: 30,
    })
    expect(await problemOf(await post(url))).toBe(502)
    await gone.promise
  })

  test.each(['text/html', '', 'application/json'])('502 when the gateway answers with %j', async (type) => {
    const { url } = await start(async (message, response) => {
      await bodyOf(message)
      response.writeHead(200, type === '' ? {} : { 'content-type': type }).end('<p>mark</p>')
    })
    const response = await post(url)
    expect(await response.clone().text()).not.toContain('mark')
    expect(await problemOf(response)).toBe(502)
  })

  test('502 when the gateway redirects', async () => {
    const { url } = await start(async (message, response) => {
      await bodyOf(message)
      response.writeHead(307, { location: 'http://127.0.0.1:9/' }).end()
    })
    expect(await problemOf(await post(url))).toBe(502)
  })
})

test('shows the client a cut, not an end, when the gateway dies mid-answer', async () => {
  const begun = Promise.withResolvers<void>()
  const { url } = await start(async (message, response) => {
    await bodyOf(message)
    response.writeHead(200, { 'content-type': OHTTP_CHUNKED_RESPONSE })
    response.write('beginning')
    await begun.promise
    response.destroy()
  })
  const response = await post(url)
  begun.resolve()
  await expect(response.text()).rejects.toThrow()
})

test('ends the request to the gateway when the client leaves mid-answer', async () => {
  const gone = Promise.withResolvers<void>()
  const { url, state } = await start(async (message, response) => {
    response.on('close', () => gone.resolve())
    await bodyOf(message)
    response.writeHead(200, { 'content-type': OHTTP_CHUNKED_RESPONSE })
    const timer = setInterval(() => response.write('more'), 1)
    response.on('close', () => clearInterval(timer))
  })
  const abort = new AbortController()
  const reader = (await post(url, { signal: abort.signal })).body?.getReader()
  await reader?.read()
  abort.abort()
  await gone.promise
  await until(() => state.openRequests === 0)
  await sleep(20)
  expect(state.openRequests).toBe(0)
})

test('ends the request to the gateway when the client leaves while the gateway is silent mid-answer', async () => {
  const gone = Promise.withResolvers<void>()
  const { url, state } = await start(async (message, response) => {
    response.on('close', () => gone.resolve())
    await bodyOf(message)
    response.writeHead(200, { 'content-type': OHTTP_CHUNKED_RESPONSE })
    response.write('beginning')
  })
  const abort = new AbortController()
  const reader = (await post(url, { signal: abort.signal })).body?.getReader()
  await reader?.read()
  abort.abort()
  await gone.promise
  await until(() => state.openRequests === 0)
  await sleep(20)
  // Counted down once, although both the stream and its source ended.
  expect(state.openRequests).toBe(0)
})

test('ends the request to the gateway when the client leaves before the answer', async () => {
  const asked = Promise.withResolvers<void>()
  const gone = Promise.withResolvers<void>()
  const { url, state } = await start(async (message, response) => {
    response.on('close', () => gone.resolve())
    await bodyOf(message)
    asked.resolve()
  })
  const abort = new AbortController()
  const answered = post(url, { signal: abort.signal })
  await asked.promise
  abort.abort()
  await expect(answered).rejects.toThrow()
  await gone.promise
  await until(() => state.openRequests === 0)
})

test('lists its gateways and serves their documents without telling who asked', async () => {
  const seen: IncomingMessage['headers'][] = []
  const { url } = await start((message, response) => {
    seen.push(message.headers)
    if (message.url === '/ohttp-keys')
      response.writeHead(200, { 'content-type': 'mark/mark', 'x-mark': '1' }).end('keys')
    else if (message.url === '/evidence') response.writeHead(200, { 'set-cookie': 'mark=1' }).end('{}')
    else response.writeHead(404).end()
  })
  const directory = parseJson(RelayDirectorySchema, await (await fetch(`${url}/gateways`)).text(), 'directory')
  expect(directory).toEqual({ operator: 'a test', gateways: [{ name: 'g', path: '/gateways/g' }] })
  const headers = { cookie: 'mark=1', 'user-agent': 'mark' }
  const keys = await fetch(`${url}/gateways/g/ohttp-keys`, { headers })
  expect([keys.headers.get('content-type'), await keys.text()]).toEqual([OHTTP_KEYS, 'keys'])
  const evidence = await fetch(`${url}/gateways/g/evidence`, { headers })
  expect([evidence.headers.get('content-type'), await evidence.text()]).toEqual(['application/json', '{}'])
  expect(JSON.stringify([...keys.headers, ...evidence.headers, seen])).not.toContain('mark')
})

test('is open to pages of any origin', async () => {
  const { url } = await start(echo)
  const preflight = await fetch(`${url}/gateways/g`, { method: 'OPTIONS' })
  expect([preflight.status, preflight.headers.get('access-control-allow-headers')]).toEqual([
    204,
    'content-type, incremental',
  ])
  for (const response of [await post(url), await fetch(`${url}/gateways`), await fetch(`${url}/nothing`)]) {
    expect(response.headers.get('access-control-allow-origin')).toBe('*')
    await response.arrayBuffer()
  }
})
