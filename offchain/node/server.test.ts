import { once } from 'node:events'
import { createServer } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { Hono } from 'hono'
import { expect, test } from 'vitest'
import { AppError } from './appError.ts'
import { createLogger, errorFields } from './log.ts'
import { addHealth, SERVER_LIMITS, startServer } from './server.ts'

const LOCAL = { host: '127.0.0.1', port: 0 }

function slowApp(): { app: Hono; begun: Promise<void>; go: () => void } {
  const app = new Hono()
  const begun = Promise.withResolvers<void>()
  const gate = Promise.withResolvers<void>()
  app.get('/fast', (c) => c.text('fast'))
  app.get('/slow', async (c) => {
    begun.resolve()
    await gate.promise
    return c.text('done')
  })
  return { app, begun: begun.promise, go: gate.resolve }
}

test('listens where it says, also on an IPv6 address', async () => {
  const { app } = slowApp()
  for (const [host, pattern] of [
    ['127.0.0.1', /^http:\/\/127\.0\.0\.1:\d+$/],
    ['::1', /^http:\/\/\[::1\]:\d+$/],
  ] as const) {
    const server = await startServer(app, { host, port: 0 })
    expect(server.url).toMatch(pattern)
    expect(await (await fetch(`${server.url}/fast`)).text()).toBe('fast')
    await server.close(1_000)
  }
})

test('names the address that is taken, and the one that is not its own', async () => {
  const other = createServer().listen(0, '127.0.0.1')
  await once(other, 'listening')
  const { port } = other.address() as AddressInfo
  await expect(startServer(new Hono(), { host: '127.0.0.1', port })).rejects.toMatchObject({
    code: 'PORT_TAKEN',
    message: expect.stringContaining(`127.0.0.1:${port}`),
  })
  await expect(startServer(new Hono(), { host: '192.0.2.1', port: 1 })).rejects.toMatchObject({ code: 'LISTEN_FAILED' })
  other.close()
})

test('finishes what is under way before it closes, and takes nothing new', async () => {
  const { app, begun, go } = slowApp()
  // With the keep-alive time of the connection it would take longer than a test may.
  const server = await startServer(app, LOCAL, { keepAliveTimeoutMs: 120_000 })
  const answer = fetch(`${server.url}/slow`)
  await begun
  let isClosed = false
  const closing = server.close(120_000).then(() => {
    isClosed = true
  })
  await sleep(10)
  expect(isClosed).toBe(false)
  await expect(fetch(`${server.url}/fast`)).rejects.toThrow()
  go()
  expect(await (await answer).text()).toBe('done')
  await closing
})

test('cuts what is not done when the time to drain is over', async () => {
  const { app, begun } = slowApp()
  const server = await startServer(app, LOCAL)
  const answer = fetch(`${server.url}/slow`)
  const failed = expect(answer).rejects.toThrow()
  await begun
  await server.close(20)
  await failed
})

test('is not kept open by a connection that is idle', async () => {
  const { app } = slowApp()
  const server = await startServer(app, LOCAL, { keepAliveTimeoutMs: 120_000 })
  await (await fetch(`${server.url}/fast`)).text()
  await server.close(120_000)
})

test('ends connections that take longer over a request than they may', async () => {
  const { app } = slowApp()
  app.post('/body', async (c) => c.text(await c.req.text()))
  app.onError((_error, c) => c.text('the body broke off', 500))
  const server = await startServer(app, LOCAL, { headersTimeoutMs: 500, uploadTimeoutMs: 700, keepAliveTimeoutMs: 40 })
  const { port } = new URL(server.url)
  const say = async (text: string): Promise<string> => {
    const socket = connect(Number(port), LOCAL.host)
    let said = ''
    socket.on('data', (data: Buffer) => {
      said += data.toString()
    })
    socket.write(text)
    await once(socket, 'close')
    return said
  }
  const [silent, head, body, done] = await Promise.all([
    say(''),
    say('GET /fast HTTP/1.1\r\n'),
    say('POST /body HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nbegin'),
    say('GET /fast HTTP/1.1\r\nhost: x\r\n\r\n'),
  ])
  for (const said of [silent, head, body]) expect(said).toMatch(/^HTTP\/1\.1 408 /)
  expect(done).toMatch(/^HTTP\/1\.1 200 /)
  expect(done.endsWith('fast')).toBe(true)
  await server.close(1_000)
})

test('has 10,000 connections at once unless told otherwise, and closes those above its bound unread', async () => {
  expect(SERVER_LIMITS.connectionsMax).toBe(10_000)
  const server = await startServer(slowApp().app, LOCAL, { ...SERVER_LIMITS, connectionsMax: 2 })
  const { port } = new URL(server.url)
  const sockets = [1, 2, 3].map(() => connect(Number(port), LOCAL.host))
  const [first, second, third] = sockets
  await Promise.all(sockets.map((socket) => once(socket, 'connect')))
  if (third !== undefined) await once(third, 'close')
  expect([first?.closed, second?.closed, third?.bytesRead]).toEqual([false, false, 0])
  for (const socket of sockets) socket.destroy()
  await server.close(1_000)
})

test('is ready when there is no reason not to be', async () => {
  const reasons: string[] = []
  const app = new Hono()
  addHealth(app, async () => reasons)
  expect((await app.request('/readyz')).status).toBe(200)
  reasons.push('a reason')
  expect(await (await app.request('/readyz')).json()).toEqual({ state: 'not ready', reasons: ['a reason'] })
  expect((await app.request('/healthz')).status).toBe(200)
})

test('logs one line of JSON with bigints as text', () => {
  const lines: string[] = []
  const log = createLogger('relay', (line) => lines.push(line))
  log.info('one', { count: 2n ** 70n, on: true, name: 'a\nb', none: undefined })
  log.warn('two')
  log.error('three')
  expect(lines.every((line) => !line.includes('\n'))).toBe(true)
  const entries = lines.map((line) => JSON.parse(line))
  expect(entries.map(({ level, event, role }) => [level, event, role])).toEqual([
    ['info', 'one', 'relay'],
    ['warn', 'two', 'relay'],
    ['error', 'three', 'relay'],
  ])
  expect(entries[0]).toMatchObject({ count: '1180591620717411303424', on: true, name: 'a\nb' })
  expect(new Date(entries[0].time).getTime()).toBeGreaterThan(0)
})

test('says of an error its class and code, never its message', () => {
  expect(errorFields(new AppError('RPC_FAILED', 'SECRET'))).toEqual({ error: 'AppError', code: 'RPC_FAILED' })
  expect(errorFields(new TypeError('SECRET'))).toEqual({ error: 'TypeError' })
  expect(errorFields(Object.assign(new Error('SECRET'), { code: 7 }))).toEqual({ error: 'Error' })
  expect(errorFields('SECRET')).toEqual({ error: 'unknown' })
})

test('takes no failure for one that passes by itself unless it is said to', () => {
  expect(new AppError('BAD_CONFIG', 'x').retryable).toBe(false)
  expect(new AppError('RPC_FAILED', 'x', { retryable: true }).retryable).toBe(true)
})
