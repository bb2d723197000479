/** TLS of the roles' servers: what they serve, how it is renewed, and what they say to plain HTTP. */
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { type Agent, request } from 'node:https'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TLSSocket } from 'node:tls'
import { Hono } from 'hono'
import { afterAll, afterEach, beforeEach, expect, test } from 'vitest'
import { makeCertificate, saveCertificate, type TestCertificate } from '../../test/support/certificates.ts'
import { until } from '../../test/support/until.ts'
import type { LogFields } from './log.ts'
import { type RunningServer, startServer } from './server.ts'
import { readAuthorities, tlsTroubleOf } from './tls.ts'

const HOST = '127.0.0.1'
const folder = mkdtempSync(join(tmpdir(), 'sealpath-tls-'))
afterAll(() => rmSync(folder, { recursive: true }))

const authority = makeCertificate('an authority')
const signed = (more: object = {}): TestCertificate =>
  makeCertificate('a server', { by: authority, hosts: [HOST], ...more })
let server: RunningServer | undefined
let told: string[]
const log = {
  info: (event: string) => void told.push(event),
  warn: (event: string, fields?: LogFields) => void told.push(`${event}: ${fields?.reason}`),
  error: () => {},
}
beforeEach(() => {
  told = []
})
afterEach(async () => {
  await server?.close(0)
  server = undefined
})

async function start(certificate: TestCertificate): Promise<{ url: string; tls: ReturnType<typeof saveCertificate> }> {
  const app = new Hono()
  app.get('/', (c) => c.text('sealed in transit'))
  const tls = saveCertificate(folder, 'server', certificate)
  server = await startServer(app, { host: HOST, port: 0, tls }, {}, { log, renewalPollMs: 5 })
  return { url: server.url, tls }
}

async function get(url: string, ca: string, agent?: Agent): Promise<{ text: string; serial: string }> {
  const asked = request(url, { ca, ...(agent === undefined ? { agent: false } : { agent }) }).end()
  const [answer] = (await once(asked, 'response')) as [IncomingMessage]
  const serial = (answer.socket as TLSSocket).getPeerCertificate().serialNumber
  let text = ''
  for await (const part of answer) text += String(part)
  return { text, serial }
}

test('a server with a certificate speaks HTTPS and says so in its address', async () => {
  const { url } = await start(signed())
  expect(url).toMatch(/^https:\/\/127\.0\.0\.1:\d+$/)
  expect((await get(url, authority.certificate)).text).toBe('sealed in transit')
})

test.each([
  ['another authority', signed(), makeCertificate('an authority'), /wrong signature|not trusted/],
  ['an expired certificate', signed({ fromDays: -9, toDays: -1 }), authority, /has expired/],
  ['a certificate of tomorrow', signed({ fromDays: 1 }), authority, /not valid yet/],
  ['another host name', signed({ hosts: ['elsewhere.test'] }), authority, /another host name/],
  ['nobody but itself', makeCertificate('itself', { hosts: [HOST] }), authority, /signed by itself/],
])('the trouble with %s has words', async (_what, certificate, trusted, words) => {
  const { url } = await start(certificate)
  const error: unknown = await get(url, trusted.certificate).catch((reason: unknown) => reason)
  expect(tlsTroubleOf(error)).toMatch(words)
})

test('the trouble with a port that speaks no TLS has words, and no TLS is no trouble of TLS', async () => {
  server = await startServer(new Hono(), { host: HOST, port: 0 })
  const error: unknown = await get(server.url.replace('http:', 'https:'), '').catch((reason: unknown) => reason)
  expect(tlsTroubleOf(error)).toContain('does not speak TLS')
  expect(tlsTroubleOf(Object.assign(new Error(), { code: 'ECONNREFUSED' }))).toBeUndefined()
})

test('plain HTTP is told to come with TLS, and others are served on', async () => {
  const { url } = await start(signed())
  for (const _ of [1, 2]) {
    const asked = httpRequest(url.replace('https:', 'http:'), { agent: false }).end()
    const [answer] = (await once(asked, 'response')) as [IncomingMessage]
    let text = ''
    for await (const part of answer) text += String(part)
    expect([answer.statusCode, text]).toEqual([426, expect.stringContaining('begins https://')])
  }
  expect((await get(url, authority.certificate)).text).toBe('sealed in transit')
})

test('a renewed certificate is served without a restart, and one half of it is waited out', async () => {
  const { url, tls } = await start(signed())
  const first = await get(url, authority.certificate)
  const renewed = signed()
  writeFileSync(tls.certificateFile, renewed.certificate)
  await until(() => told.length > 0)
  expect(told[0]).toContain('certificate not renewed')
  expect((await get(url, authority.certificate)).serial).toBe(first.serial)
  writeFileSync(tls.keyFile, renewed.key)
  await until(() => told.includes('certificate renewed'))
  const second = await get(url, authority.certificate)
  expect([second.text, second.serial === first.serial]).toEqual(['sealed in transit', false])
  expect(told).toHaveLength(2)
})

test('a certificate without its key is refused at the start, naming both files', async () => {
  const tls = saveCertificate(folder, 'odd', { ...signed(), key: signed().key })
  await expect(startServer(new Hono(), { host: HOST, port: 0, tls })).rejects.toMatchObject({
    code: 'BAD_CONFIG',
    message: expect.stringMatching(/odd\.crt and .*odd\.key are no certificate and the key of it/),
  })
})

test('a connection that never shakes hands holds up no end, and is cut after the time for a request head', async () => {
  const tls = saveCertificate(folder, 'silent', signed())
  for (const headersTimeoutMs of [undefined, 30]) {
    const limits = headersTimeoutMs === undefined ? {} : { headersTimeoutMs }
    const silent = await startServer(new Hono(), { host: HOST, port: 0, tls }, limits, { log })
    const socket = connect(Number(new URL(silent.url).port), HOST)
    socket.on('error', () => {})
    const closed = once(socket, 'close')
    await once(socket, 'connect')
    if (headersTimeoutMs !== undefined) await closed
    await silent.close(20)
    await closed
  }
})

test('a file without a certificate is no authority', () => {
  const file = join(folder, 'junk.crt')
  writeFileSync(file, 'junk')
  expect(() => readAuthorities(file)).toThrow(`${file} holds no certificate`)
  expect(() => readAuthorities(join(folder, 'none.crt'))).toThrow('holds no certificate')
  writeFileSync(file, authority.certificate + signed().certificate)
  expect(readAuthorities(file)).toContain('BEGIN CERTIFICATE')
})
