/** The proxy between apps and a sealed client: who may use it, what it passes on, and what it says when something fails. @module */
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { SealpathError } from '../../sdk/errors.ts'
import type { SealedReceipt } from '../../sdk/sealedReceipt.ts'
import { WalletError } from '../../sdk/wallet/walletError.ts'
import { createProxyApp, type ProxyOptions } from './proxyApp.ts'
import { saveReceipt } from './receiptFolder.ts'
import { readSecret } from './secretFile.ts'

const SECRET = 'sk-sealpath-of-this-test'
const ORIGIN = 'http://localhost:3000'

let asked: Request[]
let receipts: SealedReceipt[]
let faults: unknown[]
let answer: (request: Request) => Promise<Response>
let app: ReturnType<typeof createProxyApp>

beforeEach(() => {
  ;[asked, receipts, faults] = [[], [], []]
  answer = async () => new Response('{"ok":true}', { headers: { 'content-type': 'application/json' } })
  const sealed: ProxyOptions['sealed'] = {
    baseURL: 'https://sealed.invalid/v1',
    async fetch(input, init) {
      const request = new Request(input, init)
      asked.push(request)
      return answer(request)
    },
    receiptOf: async () => ({ leaf: '0x01' }) as unknown as SealedReceipt,
  }
  app = createProxyApp({
    sealed,
    secret: SECRET,
    hosts: ['127.0.0.1:8788', 'localhost:8788'],
    origins: [ORIGIN],
    onReceipt: (receipt) => receipts.push(receipt),
    onFault: (error) => faults.push(error),
  })
})

function send(path = '/v1/chat/completions', init: RequestInit & { headers?: Record<string, string> } = {}) {
  const headers = { host: '127.0.0.1:8788', authorization: `Bearer ${SECRET}`, ...init.headers }
  return app.request(`http://127.0.0.1:8788${path}`, { method: 'POST', body: '{}', ...init, headers })
}

const codeOf = async (response: Response) =>
  [response.status, ((await response.json()) as { error: { code: string } }).error.code] as const

describe('who may use it', () => {
  it('is whoever sends the secret, by the proxy’s own name', async () => {
    expect((await send()).status).toBe(200)
    expect((await send('/v1/chat/completions', { headers: { host: 'localhost:8788' } })).status).toBe(200)
    for (const authorization of ['', `Bearer ${SECRET}x`, `Bearer ${SECRET.slice(1)}`, SECRET, 'Bearer ']) {
      expect(await codeOf(await send('/v1/models', { headers: { authorization } }))).toEqual([401, 'invalid_api_key'])
    }
    expect(asked).toHaveLength(2)
  })

  it('is nobody who reaches it by another name: a page could have its own name point here', async () => {
    for (const host of ['evil.example', '127.0.0.1', '127.0.0.1:8789', '']) {
      expect(await codeOf(await send('/v1/models', { headers: { host } }))).toEqual([403, 'wrong_host'])
    }
    expect(asked).toEqual([])
  })

  it('is no web page but those that were named', async () => {
    const page = { origin: 'https://evil.example' }
    expect(await codeOf(await send('/v1/chat/completions', { headers: page }))).toEqual([403, 'wrong_origin'])
    expect((await send('/v1/chat/completions', { method: 'OPTIONS', body: null, headers: page })).status).toBe(403)
    expect(asked).toEqual([])
    const preflight = await send('/v1/chat/completions', {
      method: 'OPTIONS',
      body: null,
      headers: { origin: ORIGIN, authorization: '' },
    })
    expect([preflight.status, preflight.headers.get('access-control-allow-origin')]).toEqual([204, ORIGIN])
    const allowed = await send('/v1/chat/completions', { headers: { origin: ORIGIN } })
    expect([allowed.status, allowed.headers.get('access-control-allow-origin')]).toEqual([200, ORIGIN])
  })
})

function streamOf(pieces: readonly string[]): ReadableStream<Uint8Array> {
  const left = [...pieces]
  return new ReadableStream({
    pull(controller) {
      const piece = left.shift()
      if (piece === undefined) controller.close()
      else controller.enqueue(new TextEncoder().encode(piece))
    },
  })
}

describe('what passes', () => {
  it('is path, query, body and three headers, and never the secret', async () => {
    const headers = { 'content-type': 'application/json', 'x-app': 'private', cookie: 'a=b', 'sealpath-nonce': '0x01' }
    await send('/v1/chat/completions?x=1', { body: '{"model":"m"}', headers })
    const [request] = asked
    expect(request?.url).toBe('https://sealed.invalid/v1/chat/completions?x=1')
    expect(await request?.text()).toBe('{"model":"m"}')
    expect([...(request?.headers ?? [])].map(([name]) => name).sort()).toEqual(['content-type', 'sealpath-nonce'])
  })

  it('back is the answer as it comes, piece by piece, and its receipt is kept', async () => {
    const pieces = ['data: 1\n\n', 'data: 2\n\n']
    answer = async () =>
      new Response(streamOf(pieces), {
        headers: { 'content-type': 'text/event-stream' },
      })
    const response = await send()
    expect(response.headers.get('content-type')).toBe('text/event-stream')
    expect(await response.text()).toBe(pieces.join(''))
    expect(receipts).toHaveLength(1)
  })

  it('back is an error of the gateway unchanged, without a receipt', async () => {
    answer = async () => Response.json({ error: { code: 'model_not_found' } }, { status: 404 })
    expect(await codeOf(await send())).toEqual([404, 'model_not_found'])
    expect(receipts).toEqual([])
  })

  it('is nothing outside of /v1, and no body without bounds', async () => {
    expect(await codeOf(await send('/'))).toEqual([404, 'not_found'])
    const body = new Uint8Array(16 * 1024 * 1024 + 1)
    expect(await codeOf(await send('/v1/chat/completions', { body }))).toEqual([413, 'request_too_large'])
    expect(asked).toEqual([])
    expect((await send('/v1/chat/completions', { body: body.subarray(1) })).status).toBe(200)
    expect(asked).toHaveLength(1)
  })
})

describe('what fails', () => {
  it.each([
    [new WalletError('INSUFFICIENT', 'too little', { needed: 2n, spendable: 1n }), 402, 'insufficient_credits'],
    [new SealpathError('NO_GATEWAY', 'none'), 502, 'no_gateway'],
    [new SealpathError('BAD_OPTIONS', 'no'), 400, 'bad_options'],
    [new Error('secret detail'), 502, 'sealing_failed'],
  ])('is said in the shape that apps know (%s)', async (error, status, code) => {
    answer = () => Promise.reject(error)
    const response = await send()
    const text = await response.clone().text()
    expect(await codeOf(response)).toEqual([status, code])
    expect(text).not.toContain('secret detail')
    expect(faults).toEqual(code === 'sealing_failed' ? [error] : [])
  })
})

describe('files', () => {
  let folder: string
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'sealpath-proxy-'))
  })
  afterEach(() => rmSync(folder, { recursive: true, force: true }))

  it('the secret is made once, for its owner alone', () => {
    const path = join(folder, 'deep', 'secret')
    const secret = readSecret(path)
    expect(secret).toMatch(/^sk-sealpath-[\w-]{32}$/)
    expect(readSecret(path)).toBe(secret)
    expect(statSync(path).mode & 0o777).toBe(0o600)
    writeFileSync(path, 'short\n')
    expect(() => readSecret(path)).toThrow('holds no secret')
  })

  it('a receipt is written whole, under its time and leaf', () => {
    const leaf = `0x${'ab'.repeat(32)}` as const
    const path = saveReceipt(join(folder, 'receipts'), { leaf, json: '{}', now: new Date('2026-11-21T09:10:11Z') })
    expect(readdirSync(join(folder, 'receipts'))).toEqual(['2026-11-21T09-10-11-abababababababab.json'])
    expect(readFileSync(path, 'utf8')).toBe('{}')
    expect(statSync(path).mode & 0o777).toBe(0o600)
  })
})
