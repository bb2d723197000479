/** The sealed server behind a real HTTP server, and clients that leave. @module */
import { once } from 'node:events'
import { createServer, request, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { serve } from '@hono/node-server'
import { Hono } from 'hono'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { concatBytes, decodeUtf8, encodeUtf8 } from '#protocol/bytes.ts'
import { type SealedHttpRequest, sealHttpRequest } from '#protocol/sealing/client.ts'
import { KEM_X_WING } from '#protocol/sealing/suite.ts'
import type { InnerResponse } from './innerResponse.ts'
import { generateGatewayKey, KeyRing } from './keyRing.ts'
import { createNodeSuites } from './nodeSuites.ts'
import { ReplayMemory } from './replayMemory.ts'
import { createSealedServer, type SealedExchange } from './sealedServer.ts'

const suites = createNodeSuites()
const keys = new KeyRing()
const servers: Server[] = []
const rejections: unknown[] = []
const faults: unknown[] = []
const onRejection = (reason: unknown): void => void rejections.push(reason)

beforeEach(() => {
  process.on('unhandledRejection', onRejection)
  rejections.length = 0
  faults.length = 0
})

afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections()
    server.close()
    await once(server, 'close')
  }
  // A rejection that nobody handles is reported once the microtasks of its turn are done.
  await new Promise((resolve) => setImmediate(resolve))
  process.off('unhandledRejection', onRejection)
  expect(rejections).toEqual([])
})

async function listen(server: Server): Promise<number> {
  servers.push(server)
  if (!server.listening) await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

async function startGateway(handle: (exchange: SealedExchange) => Promise<InnerResponse>): Promise<number> {
  const sealed = createSealedServer({
    keys,
    suites,
    replay: new ReplayMemory(Date.now),
    handle: async (_inner, exchange) => handle(exchange),
    onFault: (error) => faults.push(error),
  })
  const app = new Hono()
  app.post('/gateway', (c) => sealed(c.req.raw))
  return listen(serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' }) as Server)
}

/** A model server that streams an event every few milliseconds until its client goes. */
async function startUpstream(): Promise<{ port: number; closed: Promise<void> }> {
  const { promise: closed, resolve } = Promise.withResolvers<void>()
  const server = createServer((_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    const timer = setInterval(() => response.write('data: token\n\n'), 2)
    response.on('close', () => {
      clearInterval(timer)
      resolve()
    })
  })
  server.listen(0, '127.0.0.1')
  return { port: await listen(server), closed }
}

async function seal(chunked = true): Promise<SealedHttpRequest> {
  if (keys.get(1) === undefined) keys.add(await generateGatewayKey(suites, 1, KEM_X_WING))
  const inner = { method: 'POST', scheme: 'https', authority: 'g', path: '/', headers: [], body: encodeUtf8('hi') }
  const [config] = keys.configs()
  if (config === undefined) throw new Error('expected a live key')
  return sealHttpRequest(suites, config, inner, { chunked })
}

function post(port: number, sealed: SealedHttpRequest, signal?: AbortSignal): Promise<Response> {
  return fetch(`http://127.0.0.1:${port}/gateway`, {
    method: 'POST',
    headers: { 'content-type': sealed.contentType },
    body: sealed.body,
    ...(signal && { signal }),
  })
}

function left(exchange: SealedExchange): Promise<unknown> {
  return exchange.signal.aborted ? Promise.resolve() : once(exchange.signal, 'abort')
}

it('streams through a real server, each piece arriving before the next is made', async () => {
  const steps: PromiseWithResolvers<void>[] = Array.from({ length: 3 }, () => Promise.withResolvers<void>())
  async function* body(): AsyncGenerator<Uint8Array> {
    for (const [i, step] of steps.entries()) {
      yield encodeUtf8(`event ${i}`)
      await step.promise
    }
  }
  const port = await startGateway(async () => ({
    status: 200,
    headers: [],
    body: body(),
    trailers: () => [['t', 'u']],
  }))
  const sealed = await seal()
  const response = await post(port, sealed)
  sealed.checkResponseType(response.headers.get('content-type'))
  expect(response.headers.get('incremental')).toBe('?1')
  const reader = sealed.openResponse()
  const seen: string[] = []
  for await (const part of response.body ?? []) {
    for (const event of await reader.push(part)) {
      if (event.type !== 'body') continue
      seen.push(decodeUtf8(event.bytes))
      steps[seen.length - 1]?.resolve()
    }
  }
  expect(seen).toEqual(['event 0', 'event 1', 'event 2'])
  expect(await reader.end()).toEqual([{ type: 'trailers', trailers: [['t', 'u']] }])
})

it('aborts the signal, the upstream request and the body when the client leaves mid-stream', async () => {
  const upstream = await startUpstream()
  const { promise: started, resolve } = Promise.withResolvers<SealedExchange>()
  let trailersMade = 0
  const port = await startGateway(async (exchange) => {
    const response = await fetch(`http://127.0.0.1:${upstream.port}/`, { signal: exchange.signal })
    if (response.body === null) throw new Error('expected a body')
    resolve(exchange)
    const trailers = (): [] => {
      trailersMade++
      return []
    }
    return { status: 200, headers: [], body: response.body, trailers }
  })
  const controller = new AbortController()
  const sealed = await seal()
  const response = await post(port, sealed, controller.signal)
  const reader = response.body?.getReader()
  const first = await reader?.read()
  expect(first?.value?.length).toBeGreaterThan(0)
  const exchange = await started
  controller.abort()
  await expect(reader?.read()).rejects.toThrow()
  await left(exchange)
  await upstream.closed
  expect(trailersMade).toBe(0)
  expect(faults).toEqual([])
})

it('stops a body that is waiting for its next piece, and its late rejection harms nobody', async () => {
  const { promise: stopped, resolve } = Promise.withResolvers<void>()
  const late = Promise.withResolvers<IteratorResult<Uint8Array>>()
  let exchange: SealedExchange | undefined
  let calls = 0
  const port = await startGateway(async (given) => {
    exchange = given
    const iterator: AsyncIterator<Uint8Array> = {
      next: () => (calls++ === 0 ? Promise.resolve({ done: false, value: encodeUtf8('one') }) : late.promise),
      return() {
        resolve()
        return Promise.reject(new Error('the reader could not be cancelled'))
      },
    }
    return { status: 200, headers: [], body: { [Symbol.asyncIterator]: () => iterator } }
  })
  const controller = new AbortController()
  const response = await post(port, await seal(), controller.signal)
  const reader = response.body?.getReader()
  await reader?.read()
  controller.abort()
  await expect(reader?.read()).rejects.toThrow()
  await stopped
  expect(exchange?.signal.aborted).toBe(true)
  late.reject(new Error('aborted upstream, late'))
  expect(faults).toEqual([])
})

it.each([true, false])('tells a handler that is still at work that the client left, chunked %s', async (chunked) => {
  const { promise: started, resolve } = Promise.withResolvers<SealedExchange>()
  const { promise: finished, resolve: finish } = Promise.withResolvers<void>()
  const port = await startGateway(async (exchange) => {
    resolve(exchange)
    await left(exchange)
    finish()
    throw new Error('gave up')
  })
  const controller = new AbortController()
  const response = post(port, await seal(chunked), controller.signal)
  const aborted = expect(response).rejects.toThrow()
  await started
  controller.abort()
  await Promise.all([aborted, finished])
  expect(faults).toEqual([])
})

it.each([true, false])('stops a body that is handed over after the client left, chunked %s', async (chunked) => {
  const { promise: started, resolve } = Promise.withResolvers<SealedExchange>()
  const { promise: stopped, resolve: stop } = Promise.withResolvers<void>()
  const port = await startGateway(async (exchange) => {
    resolve(exchange)
    await left(exchange)
    const iterator: AsyncIterator<Uint8Array> = {
      next: async () => ({ done: true, value: undefined }),
      return: async () => {
        stop()
        return { done: true, value: undefined }
      },
    }
    return { status: 200, headers: [], body: { [Symbol.asyncIterator]: () => iterator } }
  })
  const controller = new AbortController()
  const response = post(port, await seal(chunked), controller.signal)
  const aborted = expect(response).rejects.toThrow()
  await started
  controller.abort()
  await Promise.all([aborted, stopped])
})

it('survives a client that leaves in the middle of its request', async () => {
  let calls = 0
  const port = await startGateway(async () => {
    calls++
    return { status: 200, headers: [], body: encodeUtf8('still here') }
  })
  const cut = await seal()
  const outgoing = request({
    port,
    host: '127.0.0.1',
    path: '/gateway',
    method: 'POST',
    headers: { 'content-type': cut.contentType, 'content-length': cut.body.length },
  })
  outgoing.on('error', () => undefined)
  outgoing.write(cut.body.subarray(0, 1000))
  await once(outgoing, 'socket')
  await new Promise((resolve) => outgoing.write(cut.body.subarray(1000, 1100), resolve))
  const closed = new Promise((resolve) => outgoing.on('close', resolve))
  outgoing.destroy()
  await closed
  const sealed = await seal()
  const response = await post(port, sealed)
  const reader = sealed.openResponse()
  const events = [...(await reader.push(new Uint8Array(await response.arrayBuffer()))), ...(await reader.end())]
  const body = concatBytes(...events.flatMap((event) => (event.type === 'body' ? [event.bytes] : [])))
  expect(decodeUtf8(body)).toBe('still here')
  expect(calls).toBe(1)
})

it('stops producing when a real client does not read', async () => {
  let produced = 0
  async function* body(): AsyncGenerator<Uint8Array> {
    for (;;) {
      produced++
      yield new Uint8Array(65_536)
    }
  }
  const port = await startGateway(async () => ({ status: 200, headers: [], body: body() }))
  const controller = new AbortController()
  await post(port, await seal(), controller.signal)
  // Buffers of kernel and client fill up; then nothing is made in a thousand turns of the event loop.
  for (let [turns, before] = [0, produced]; turns < 1000; turns++) {
    await new Promise((resolve) => setImmediate(resolve))
    if (produced !== before) turns = 0
    before = produced
  }
  expect(produced).toBeGreaterThan(0)
  expect(produced).toBeLessThan(1000)
  controller.abort()
})
