/** TLS between relay and gateway: what is trusted passes, all else is 502 for the client and a reason in the log. */
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Hono } from 'hono'
import { stream } from 'hono/streaming'
import { afterAll, afterEach, beforeEach, expect, test } from 'vitest'
import { type RunningServer, startServer } from '#node/server.ts'
import { OHTTP_CHUNKED_RESPONSE } from '#protocol/sealing/mediaTypes.ts'
import { makeCertificate, saveCertificate, type TestCertificate } from '../../test/support/certificates.ts'
import { post } from '../../test/support/relayStage.ts'
import { createRelayApp, type RelayState } from './app.ts'
import { RELAY_LIMITS, type RelayedGateway, type RelayLimits } from './config.ts'

const HOST = '127.0.0.1'
const folder = mkdtempSync(join(tmpdir(), 'sealpath-relay-tls-'))
afterAll(() => rmSync(folder, { recursive: true }))

const authority = makeCertificate('an authority')
const itself = makeCertificate('itself', { hosts: [HOST] })
const signed = (more: object = {}): TestCertificate =>
  makeCertificate('a gateway', { by: authority, hosts: [HOST], ...more })

let servers: RunningServer[]
let told: string[]
beforeEach(() => {
  servers = []
  told = []
})
afterEach(async () => {
  for (const server of servers) await server.close(0)
})

/** What a gateway serves, as far as a relay cares: a stream whose end waits for its begin to be read. */
async function startGateway(certificate: TestCertificate | undefined): Promise<{ url: string; go: () => void }> {
  const gate = Promise.withResolvers<void>()
  const app = new Hono()
  app.get('/ohttp-keys', (c) => c.text('keys'))
  app.post('/gateway', async (c) => {
    const body = await c.req.text()
    c.header('content-type', OHTTP_CHUNKED_RESPONSE)
    return stream(c, async (answer) => {
      await answer.write(`${body} begins `)
      await gate.promise
      await answer.write('and ends')
    })
  })
  const tls = certificate === undefined ? {} : { tls: saveCertificate(folder, 'gateway', certificate) }
  const server = await startServer(app, { host: HOST, port: 0, ...tls })
  servers.push(server)
  return { url: server.url, go: gate.resolve }
}

async function startRelay(gateway: Omit<RelayedGateway, 'name'>, limits: RelayLimits = RELAY_LIMITS): Promise<string> {
  const state: RelayState = { openRequests: 0, isDraining: false }
  const listen = { host: HOST, port: 0 }
  const config = { listen, operator: 'a test', gateways: [{ name: 'g', ...gateway }], limits }
  const app = createRelayApp(config, state, undefined, (name, why) => told.push(`${name}: ${why}`))
  const server = await startServer(app, listen)
  servers.push(server)
  return server.url
}

function saved({ certificate }: TestCertificate): string {
  const path = join(folder, 'ca.crt')
  writeFileSync(path, certificate)
  return path
}

test.each([
  ['of a private authority', signed(), authority],
  ['that signed itself', itself, itself],
])('a gateway with a certificate %s is reached, and its stream passes as it comes', async (_what, own, trusted) => {
  const { url, go } = await startGateway(own)
  const relay = await startRelay({ url, caFile: saved(trusted) })
  expect(await (await fetch(`${relay}/gateways/g/ohttp-keys`)).text()).toBe('keys')
  const answer = await post(relay)
  const reader = answer.body?.pipeThrough(new TextDecoderStream()).getReader()
  expect((await reader?.read())?.value).toBe('sealed begins ')
  go()
  expect((await reader?.read())?.value).toBe('and ends')
  expect((await reader?.read())?.done).toBe(true)
  expect(told).toEqual([])
})

const another = makeCertificate('an authority')
test.each([
  ['of another authority', signed(), another, /wrong signature|not trusted/],
  ['of a private authority that nobody named', signed(), undefined, /not trusted/],
  ['that expired', signed({ fromDays: -9, toDays: -1 }), authority, /has expired/],
  ['for another host', signed({ hosts: ['elsewhere.test'] }), authority, /another host name/],
  ['that signed itself, another one pinned', itself, makeCertificate('itself', { hosts: [HOST] }), /itself|signature/],
])('a gateway with a certificate %s gets nothing', async (_what, own, trusted, why) => {
  const { url } = await startGateway(own)
  const relay = await startRelay({ url, ...(trusted === undefined ? {} : { caFile: saved(trusted) }) })
  for (const _ of [1, 2]) {
    expect((await post(relay)).status).toBe(502)
    expect((await fetch(`${relay}/gateways/g/ohttp-keys`)).status).toBe(502)
  }
  // Once for all four: the log speaks of the gateway, not of requests.
  expect(told).toEqual([expect.stringMatching(why)])
  expect(told[0]).toMatch(/^g: /)
})

test('a gateway that speaks TLS where the relay does not, or the other way round, is told apart', async () => {
  const { url } = await startGateway(signed())
  expect((await post(await startRelay({ url: url.replace('https:', 'http:') }))).status).toBe(502)
  expect(told).toEqual(['g: it speaks TLS there: its URL must begin with https'])
  const plain = await startGateway(undefined)
  expect((await post(await startRelay({ url: plain.url.replace('http:', 'https:') }))).status).toBe(502)
  expect(told[1]).toMatch(/^g: it does not speak TLS there/)
})

test('a gateway that takes a connection and never shakes hands gets no more time than to connect', async () => {
  const silent = createServer().listen(0, HOST)
  await once(silent, 'listening')
  const { port } = silent.address() as AddressInfo
  const limits = { ...RELAY_LIMITS, connectTimeoutMs: 50 }
  const relay = await startRelay({ url: `https://${HOST}:${port}` }, limits)
  expect((await post(relay)).status).toBe(502)
  silent.close()
})
