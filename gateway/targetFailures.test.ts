/** The target when the model fails, or the client leaves: nobody pays for a fault that is not theirs, and everybody for what they took. @module */
import { once } from 'node:events'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { serve } from '@hono/node-server'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createPublicApp } from '#node/enclave/publicApp.ts'
import { decodeUtf8 } from '#protocol/bytes.ts'
import { feeRoundedUp } from '#protocol/prices.ts'
import { FillerStripper } from '#protocol/shape.ts'
import {
  chat,
  DEMO_PRICE,
  delta,
  enclave,
  endless,
  hello,
  NOW,
  outer,
  type Script,
  seal,
  send,
  startGateway,
  type TestGateway,
} from '../test/support/sealedTarget.ts'
import { until } from '../test/support/until.ts'
import { BackendError } from './backends/backendError.ts'

const servers: Server[] = []
const rejections: unknown[] = []
const onRejection = (reason: unknown): void => void rejections.push(reason)

beforeEach(() => {
  rejections.length = 0
  process.on('unhandledRejection', onRejection)
})

afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections()
    server.close()
    await once(server, 'close')
  }
  await sleep(1)
  process.off('unhandledRejection', onRejection)
  expect(rejections).toEqual([])
})

describe('a model server that fails', () => {
  const failing: Script = async function* () {
    yield delta('Hel')
    throw new BackendError(502, 'UPSTREAM_CUT', 'server_error', 'the model server failed')
  }

  test.each(['off', 'balanced', 'private'] as const)(
    'mid-stream leaves a truncated answer and no receipt: %s',
    async (padding) => {
      const gateway = startGateway(failing)
      await expect(send(gateway, { body: chat({ stream: true }), padding })).rejects.toMatchObject({
        code: 'TRUNCATED',
      })
      await until(() => gateway.target.openAnswers === 0)
      // A receipt would come a moment later.
      await sleep(10)
      expect(gateway.log.size).toBe(0)
      expect(gateway.model.ended).toBe(1)
      expect(gateway.faults).toHaveLength(1)
    },
  )

  test.each([
    { stream: false, chunked: true },
    { stream: false, chunked: false },
  ])('before a whole answer is done is an error inside the seal: %o', async ({ stream, chunked }) => {
    const gateway = startGateway(failing)
    const answer = await send(gateway, { body: chat({ stream }), chunked })
    expect(answer.status).toBe(502)
    expect(JSON.parse(answer.text).error.code).toBe('upstream_cut')
    expect([gateway.log.size, gateway.target.openAnswers, gateway.model.ended]).toEqual([0, 0, 1])
  })

  test('in a stream to a request that is not chunked is an error inside the seal', async () => {
    const gateway = startGateway(failing)
    expect((await send(gateway, { body: chat({ stream: true }), chunked: false })).status).toBe(500)
    await until(() => gateway.target.openAnswers === 0)
    expect(gateway.log.size).toBe(0)
  })

  test.each([true, false])('before its first word is an error of its own, streamed: %s', async (stream) => {
    // biome-ignore lint/correctness/useYield: a refusal comes before the first event.
    const gateway = startGateway(async function* () {
      throw new BackendError(429, 'RATE_LIMITED', 'rate_limit_error', 'come back later')
    })
    const answer = await send(gateway, { body: chat({ stream }) })
    expect([answer.status, JSON.parse(answer.text).error.code]).toEqual([429, 'rate_limited'])
    expect([gateway.log.size, gateway.target.openAnswers]).toEqual([0, 0])
  })

  test('in a way nobody expected is an opaque error', async () => {
    // biome-ignore lint/correctness/useYield: it fails before the first event.
    const gateway = startGateway(async function* () {
      throw new TypeError('SECRET')
    })
    const answer = await send(gateway, { body: chat({ stream: true }) })
    expect(answer.status).toBe(500)
    expect(answer.text).not.toContain('SECRET')
    expect(gateway.target.openAnswers).toBe(0)
  })
})

test('cuts the answer when the log has no room for its receipt', async () => {
  const gateway = startGateway(hello, { leavesMax: 1 })
  expect((await send(gateway, { body: chat({ stream: true }) })).status).toBe(200)
  await expect(send(gateway, { body: chat({ stream: true }) })).rejects.toMatchObject({ code: 'TRUNCATED' })
  expect((await send(gateway, { body: chat() })).status).toBe(500)
  expect([gateway.log.size, gateway.target.openAnswers]).toEqual([1, 0])
})

describe('a client that leaves', () => {
  /** The fee as the settlement would see it. */
  function feesOf({ log }: TestGateway): bigint | undefined {
    log.tick(NOW)
    return log.read(0, 100).head?.head.fees
  }

  test.each(['off', 'balanced', 'private'] as const)(
    'mid-stream is charged for what was produced, and the model stops: %s',
    async (padding) => {
      const gateway = startGateway(endless)
      const response = await gateway.sealed(outer(await seal({ body: chat({ stream: true }), padding })))
      const reader = response.body?.getReader()
      await reader?.read()
      await reader?.read()
      await reader?.cancel()
      await until(() => gateway.log.size === 1)
      await until(() => gateway.target.openAnswers === 0)
      const [receipt] = gateway.issued
      if (receipt === undefined) throw new Error('expected a receipt')
      expect(receipt.public.outcome).toBe('cut')
      expect(receipt.private.promptTokens).toBe(0n)
      const completionTokens = Number(receipt.private.completionTokens)
      expect(completionTokens).toBeGreaterThan(0)
      expect(feesOf(gateway)).toBe(feeRoundedUp(DEMO_PRICE, { promptTokens: 0, completionTokens }))
      expect(gateway.model.ended).toBe(1)
      expect(gateway.faults).toEqual([])
    },
  )

  test.each(['off', 'balanced', 'private'] as const)(
    'with everything but the receipt is charged all the same: %s',
    async (padding) => {
      const gateway = startGateway(hello)
      const sealed = await seal({ body: chat({ stream: true }), padding })
      const response = await gateway.sealed(outer(sealed))
      const reader = response.body?.getReader()
      const opener = sealed.openResponse()
      const stripper = new FillerStripper()
      let text = ''
      while (!text.includes('[DONE]')) {
        const next = await reader?.read()
        if (next?.value === undefined) throw new Error('expected more')
        for (const event of await opener.push(next.value)) {
          if (event.type === 'body') text += decodeUtf8(stripper.push(event.bytes))
        }
      }
      await reader?.cancel()
      await until(() => gateway.log.size === 1)
      expect(gateway.issued[0]?.public.outcome).toBe('cut')
      expect(feesOf(gateway)).toBe(21n)
      expect(gateway.target.openAnswers).toBe(0)
    },
  )

  test.each(['off', 'balanced', 'private'] as const)(
    'before the first byte frees its place and stops the model: %s',
    async (padding) => {
      const gateway = startGateway(endless)
      const response = await gateway.sealed(outer(await seal({ body: chat({ stream: true }), padding })))
      expect(gateway.target.openAnswers).toBe(1)
      await response.body?.cancel()
      await until(() => gateway.target.openAnswers === 0)
      expect(gateway.model.ended).toBe(1)
      expect(gateway.log.size).toBe(0)
    },
  )

  test('while its receipt is being signed is charged once', async () => {
    const gateway = startGateway(hello)
    const response = await gateway.sealed(outer(await seal({ body: chat({ stream: true }), padding: 'off' })))
    const reader = response.body?.getReader()
    // Three events and the end marker; what comes then is the receipt.
    for (let i = 0; i < 4; i++) await reader?.read()
    const last = reader?.read()
    for (let turn = 0; turn < 30; turn++) await Promise.resolve()
    await reader?.cancel()
    await last
    await until(() => gateway.log.size > 0)
    await sleep(10)
    expect(gateway.log.size).toBe(1)
  })

  test('while the model thinks frees its place', async () => {
    const abort = new AbortController()
    const begun = Promise.withResolvers<void>()
    // biome-ignore lint/correctness/useYield: it never gets to its first event.
    const gateway = startGateway(async function* (_request, signal) {
      begun.resolve()
      await once(signal, 'abort')
      throw new BackendError(499, 'ABORTED', 'aborted', 'the request was cancelled')
    })
    const answered = gateway.sealed(outer(await seal({ body: chat({ stream: true }) }), abort.signal))
    await begun.promise
    abort.abort()
    await answered
    expect([gateway.target.openAnswers, gateway.log.size, gateway.model.ended]).toEqual([0, 0, 1])
    expect(gateway.faults).toEqual([])
  })

  test('a real connection is noticed, charged once and freed', async () => {
    const gateway = startGateway(endless)
    const app = createPublicApp(enclave, gateway.sealed, () => [])
    const server = serve({ fetch: app.fetch, hostname: '127.0.0.1', port: 0 }) as Server
    servers.push(server)
    await once(server, 'listening')
    const sealed = await seal({ body: chat({ stream: true }), padding: 'private' })
    const abort = new AbortController()
    const response = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/gateway`, {
      method: 'POST',
      headers: { 'content-type': sealed.contentType },
      body: sealed.body,
      signal: abort.signal,
    })
    const reader = response.body?.getReader()
    await reader?.read()
    abort.abort()
    await until(() => gateway.log.size === 1)
    await until(() => gateway.target.openAnswers === 0)
    await sleep(20)
    expect(gateway.log.size).toBe(1)
    expect(gateway.issued.map((receipt) => receipt.public.outcome)).toEqual(['cut'])
    expect(gateway.model.ended).toBe(1)
  })

  test('is charged for tool calls as for text', async () => {
    const gateway = startGateway(async function* (_request, signal) {
      const calls = [{ index: 0, function: { name: 'f', arguments: '{}' } }]
      yield {
        kind: 'delta',
        choice: 0,
        content: '',
        raw: { index: 0, delta: { role: 'assistant' }, finish_reason: null },
      }
      yield {
        kind: 'delta',
        choice: 0,
        content: '',
        raw: { index: 0, delta: { tool_calls: calls }, finish_reason: null },
      }
      if (!signal.aborted) await once(signal, 'abort')
    })
    const response = await gateway.sealed(outer(await seal({ body: chat({ stream: true }), padding: 'off' })))
    const reader = response.body?.getReader()
    await reader?.read()
    await reader?.read()
    await reader?.cancel()
    await until(() => gateway.log.size === 1)
    expect(gateway.issued[0]?.private.completionTokens).toBe(1n)
  })
})

test('serves keys, health and evidence once there is some', async () => {
  const gateway = startGateway(hello)
  const app = createPublicApp(enclave, gateway.sealed, () => ['a reason'])
  const keys = await app.request('/ohttp-keys')
  expect(keys.headers.get('content-type')).toBe('application/ohttp-keys')
  expect(new Uint8Array(await keys.arrayBuffer())).toEqual(enclave.keyConfigs)
  expect((await app.request('/evidence')).status).toBe(503)
  await enclave.renewEvidence(new Uint8Array(32))
  expect((await app.request('/evidence')).status).toBe(200)
  expect((await app.request('/healthz')).status).toBe(200)
  const ready = await app.request('/readyz')
  expect([ready.status, await ready.json()]).toEqual([503, { state: 'not ready', reasons: ['a reason'] }])
  expect((await app.request('/gateway')).status).toBe(405)
})
