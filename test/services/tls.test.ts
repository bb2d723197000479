/**
 * TLS all the way: a gateway and a relay as processes with certificates of a private authority, and a sealed answer through both as it is made.
 * @module
 */
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import type { IncomingMessage } from 'node:http'
import { request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { createNodeSuites } from '#node/sealing/nodeSuites.ts'
import { decodeUtf8, encodeUtf8 } from '#protocol/bytes.ts'
import { sealHttpRequest } from '#protocol/sealing/client.ts'
import { parseKeyConfigList } from '#protocol/sealing/keyConfig.ts'
import { preferredConfig } from '../../offchain/sdk/gateway.ts'
import { REPOSITORY } from '../../scripts/local/contracts.ts'
import { DEMO_MODEL, demoPrices } from '../../scripts/local/demoPrices.ts'
import { type Child, Processes, waitFor } from '../../scripts/local/processes.ts'
import { makeCertificate, saveCertificate } from '../support/certificates.ts'
import { freePort } from '../support/freePort.ts'

const HOST = '127.0.0.1'
const authority = makeCertificate('a private authority')
let folder: string
let processes: Processes
let ports: { gateway: number; agent: number; relay: number }
let relay: Child

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sealpath-tls-'))
  processes = new Processes(folder, (error) => {
    throw error
  })
  ports = { gateway: await freePort(), agent: await freePort(), relay: await freePort() }
  const caFile = join(folder, 'ca.crt')
  writeFileSync(caFile, authority.certificate)
  const address = `0x${'0a'.repeat(20)}`
  const tls = (name: string) => ({
    tls: saveCertificate(folder, name, makeCertificate(name, { by: authority, hosts: [HOST] })),
  })
  start('gateway', 'gateway/main.ts', {
    listen: { host: HOST, port: ports.gateway, ...tls('gateway') },
    agentListen: { host: HOST, port: ports.agent },
    chain: { chainId: 31_337, registry: address, settlement: address, operator: address },
    attester: { kind: 'development', rootFile: join(folder, 'root.json') },
    backends: [{ kind: 'embedded' }],
    prices: demoPrices([DEMO_MODEL], 'measured'),
  })
  relay = start('relay', 'offchain/relay/main.ts', {
    listen: { host: HOST, port: ports.relay, ...tls('relay') },
    operator: 'a test',
    gateways: [{ name: 'g', url: `https://${HOST}:${ports.gateway}`, caFile }],
  })
  await waitFor('the keys', async () => (await get('/gateways/g/ohttp-keys')).length > 0, 30_000)
})
afterAll(async () => {
  await processes?.stopAll(10_000)
  rmSync(folder, { recursive: true, force: true })
})

function start(name: string, main: string, config: unknown): Child {
  const file = join(folder, `${name}.json`)
  writeFileSync(file, JSON.stringify(config))
  return processes.start(name, process.execPath, [join(REPOSITORY, main)], { SEALPATH_CONFIG: file })
}

async function open(path: string, init: { type?: string; body?: Uint8Array } = {}): Promise<IncomingMessage> {
  const asked = request(`https://${HOST}:${ports.relay}${path}`, {
    ca: authority.certificate,
    agent: false,
    method: init.body === undefined ? 'GET' : 'POST',
    headers: init.type === undefined ? {} : { 'content-type': init.type },
  })
  asked.end(init.body)
  const [answer] = (await once(asked, 'response')) as [IncomingMessage]
  expect(answer.statusCode).toBe(200)
  return answer
}

async function get(path: string): Promise<Uint8Array> {
  const parts: Buffer[] = []
  for await (const part of await open(path)) parts.push(part as Buffer)
  return Buffer.concat(parts)
}

it('an answer streams from the gateway through the relay to the client', async () => {
  const config = preferredConfig(parseKeyConfigList(await get('/gateways/g/ohttp-keys')))
  const messages = [{ role: 'user', content: 'What is it?' }]
  const sealed = await sealHttpRequest(createNodeSuites(), config, {
    method: 'POST',
    scheme: 'https',
    authority: 'gateway.sealpath.invalid',
    path: '/v1/chat/completions',
    headers: [
      ['content-type', 'application/json'],
      ['date', new Date().toUTCString()],
    ],
    body: encodeUtf8(JSON.stringify({ model: DEMO_MODEL, messages, stream: true, max_tokens: 40 })),
  })
  const answer = await open('/gateways/g', { type: sealed.contentType, body: sealed.body })
  sealed.checkResponseType(answer.headers['content-type'])
  const reader = sealed.openResponse()
  const events = []
  let pieces = 0
  for await (const part of answer) {
    pieces++
    events.push(...(await reader.push(part as Buffer)))
  }
  events.push(...(await reader.end()))
  const text = events.map((event) => (event.type === 'body' ? decodeUtf8(event.bytes) : '')).join('')
  expect(events.find(({ type }) => type === 'head')).toMatchObject({ status: 200 })
  expect(text).toContain('data: [DONE]')
  expect(pieces).toBeGreaterThan(1)
  // Nothing was wrong with anybody's TLS.
  expect(readFileSync(relay.logFile, 'utf8')).not.toContain('not trusted')
})
