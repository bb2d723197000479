/** A request finds its way to a gateway that answers it: real gateways and relays on real sockets, and everything that can go wrong before the first byte. @module */
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { InnerResponse } from '#node/sealing/innerResponse.ts'
import { encodeUtf8 } from '#protocol/bytes.ts'
import { ClientStage, chat, expectHello, idOf } from '../../test/support/clientStage.ts'
import { type Stage, type StageGateway, sayHello } from '../../test/support/gatewayStage.ts'

let client: ClientStage
let stage: Stage

beforeEach(async () => {
  client = await ClientStage.start()
  stage = client.stage
})
afterEach(() => stage.close())

const NOISE = new Uint8Array(9_000).fill(7)
const CHUNKED = { 'content-type': 'message/ohttp-chunked-res' }
const bad =
  (status: number, type = 'text/html') =>
  async () =>
    new Response('x', { status, headers: { 'content-type': type } })
const sealedAnswer = (status: number, body: unknown) => (): InnerResponse => ({
  status,
  headers: [['content-type', 'application/json']],
  body: encodeUtf8(JSON.stringify(body)),
})

describe('another gateway answers when the first', () => {
  test.each<[string, string, Partial<StageGateway>]>([
    ['RELAY_FAILED', 'cannot be reached', { outside: bad(502) }],
    ['ANSWER_CUT', 'ends before the head', { outside: async () => new Response('', { headers: CHUNKED }) }],
    [
      'ANSWER_CUT',
      'answers with what does not open',
      { outside: async () => new Response(NOISE, { headers: CHUNKED }) },
    ],
    ['UNAVAILABLE', 'is full', { refusal: 'full' }],
    ['UNAVAILABLE', 'has failed', { inside: sealedAnswer(500, { error: {} }) }],
    ['UNAVAILABLE', 'is at its limit', { inside: sealedAnswer(429, { error: {} }) }],
    [
      'MODEL_NOT_FOUND',
      'no longer serves the model',
      { inside: sealedAnswer(404, { error: { code: 'model_not_found' } }) },
    ],
  ])('%s: %s', async (reason, _what, spoil) => {
    const { sealed, first, second } = await client.twoGateways()
    await (await chat(sealed)).text()
    expect([first.asked, second.asked]).toEqual([1, 0])
    Object.assign(first, spoil)
    await expectHello(sealed, await chat(sealed))
    expect(sealed.gateway.enclave).toBe(idOf(second))
    expect(client.failovers).toEqual([{ kind: 'failed-over', from: idOf(first), to: idOf(second), reason }])
    // And from then on it is asked first.
    await expectHello(sealed, await chat(sealed))
    expect(client.failovers).toHaveLength(1)
    expect(second.asked).toBe(2)
  })

  test('does not begin its answer in time', async () => {
    const { sealed, first, second } = await client.twoGateways({ timeoutMs: 3_000 })
    await (await chat(sealed)).text()
    const left = Promise.withResolvers<void>()
    first.outside = async ({ signal }) => {
      await once(signal, 'abort')
      left.resolve()
      return new Response()
    }
    await expectHello(sealed, await chat(sealed))
    expect(client.failovers).toMatchObject([{ to: idOf(second), reason: 'TIMED_OUT' }])
    // The gateway that was given up saw the client leave.
    await left.promise
  })

  test('does not tell what it serves', async () => {
    const { sealed, first, second } = await client.twoGateways()
    first.outside = bad(502)
    await expectHello(sealed, await chat(sealed))
    expect(client.failovers).toEqual([
      { kind: 'failed-over', from: idOf(first), to: idOf(second), reason: 'RELAY_FAILED' },
    ])
  })

  test('cannot open the request: registry and keys are read again, once, and only then another is tried', async () => {
    const { sealed, first, second } = await client.twoGateways()
    await (await chat(sealed)).text()
    const readsBefore = client.reads
    for (const gateway of [first, second]) gateway.outside = bad(400, 'application/problem+json')
    await expect(chat(sealed)).rejects.toMatchObject({ code: 'REQUEST_NOT_OPENED' })
    expect(client.reads).toBe(readsBefore + 1)
    for (const gateway of [first, second]) gateway.outside = undefined
    await expectHello(sealed, await chat(sealed))
  })
})

test('a key that rotated costs one more look at the registry, and no failover', async () => {
  const { gateway, url } = await stage.addGateway()
  const sealed = await client.connect(await stage.addRelay([url]), { attemptsMax: 1 })
  let refused = 0
  gateway.outside = async () => {
    refused++
    gateway.outside = undefined
    return bad(400, 'application/problem+json')()
  }
  await expectHello(sealed, await chat(sealed))
  expect(refused).toBe(1)
  expect(client.failovers).toEqual([])
  expect(client.reads).toBe(2)
})

describe('several relays', () => {
  test('stand in for each other', async () => {
    const { gateway, url } = await stage.addGateway()
    const relays = [await stage.addRelay([url]), await stage.addRelay([url])]
    const sealed = await client.connect(relays)
    await expectHello(sealed, await chat(sealed))
    const used = sealed.gateway.url.origin
    await stage.stop(used)
    await expectHello(sealed, await chat(sealed))
    expect(sealed.gateway.url.origin).toBe(relays.find((relay) => relay !== used))
    // The same gateway by another way.
    expect(client.failovers).toMatchObject([{ from: idOf(gateway), to: idOf(gateway), reason: 'RELAY_FAILED' }])
  })

  test('one of which is down from the beginning are no harm, and all of them are', async () => {
    const { url } = await stage.addGateway()
    const sealed = await client.connect(['http://127.0.0.1:9', await stage.addRelay([url])])
    await expectHello(sealed, await chat(sealed))
    await expect(client.connect(['http://127.0.0.1:9'])).rejects.toMatchObject({ code: 'RELAY_FAILED' })
  })
})

describe('nobody else is asked', () => {
  test('once the body has begun: what broke off stays broken off', async () => {
    const [a, b] = [await stage.addGateway({ chat: breaking }), await stage.addGateway({ chat: breaking })]
    const sealed = await client.connect(await stage.addRelay([a.url, b.url]))
    const response = await chat(sealed, { stream: true })
    await expect(response.text()).rejects.toMatchObject({ code: 'ANSWER_CUT' })
    expect(a.gateway.asked + b.gateway.asked).toBe(1)
  })

  test.each([400, 401, 402, 403, 404, 422])('when the request is at fault: %s', async (status) => {
    const { sealed, first, second } = await client.twoGateways()
    const answer = sealedAnswer(status, { error: { code: 'not_found' } })
    for (const gateway of [first, second])
      gateway.inside = (response, inner) => (inner.method === 'GET' ? response : answer())
    const response = await chat(sealed)
    expect(response.status).toBe(status)
    expect(await response.json()).toEqual({ error: { code: 'not_found' } })
    expect(first.asked + second.asked).toBe(1)
  })

  test('when the relay says that the request is too large', async () => {
    const { sealed, first, second } = await client.twoGateways()
    await (await chat(sealed)).text()
    let asked = 0
    for (const gateway of [first, second]) {
      gateway.outside = async () => {
        asked++
        return bad(413, 'application/problem+json')()
      }
    }
    await expect(chat(sealed)).rejects.toMatchObject({ code: 'RELAY_FAILED' })
    expect(asked).toBe(1)
  })

  test('when the caller has left, who gets the own reason back', async () => {
    const { sealed, first, second } = await client.twoGateways()
    await (await chat(sealed)).text()
    const begun = Promise.withResolvers<void>()
    first.outside = async ({ signal }) => {
      begun.resolve()
      await once(signal, 'abort')
      return bad(502)()
    }
    const abort = new AbortController()
    const reason = new Error('mine')
    const asked = chat(sealed, {}, { signal: abort.signal })
    await begun.promise
    abort.abort(reason)
    await expect(asked).rejects.toBe(reason)
    expect(second.asked).toBe(0)
  })

  test('when the caller had left before anything was known', async () => {
    const { sealed, first, second } = await client.twoGateways()
    const hanging = Promise.withResolvers<Response>()
    for (const gateway of [first, second]) gateway.outside = () => hanging.promise
    const abort = new AbortController()
    // It waits for prices and models here.
    const asked = chat(sealed, {}, { signal: abort.signal })
    await sleep(50)
    abort.abort(new Error('mine'))
    await expect(asked).rejects.toThrow('mine')
    hanging.resolve(new Response('', { status: 502 }))
  })

  test('with attemptsMax of 1', async () => {
    const { sealed, first, second } = await client.twoGateways({ attemptsMax: 1 })
    await (await chat(sealed)).text()
    first.refusal = 'full'
    expect((await chat(sealed)).status).toBe(503)
    expect(second.asked).toBe(0)
  })

  test('beyond the bound', async () => {
    const gateways = await Promise.all(Array.from({ length: 5 }, () => stage.addGateway()))
    const sealed = await client.connect(await stage.addRelay(gateways.map(({ url }) => url)))
    for (const { gateway } of gateways) gateway.refusal = 'full'
    const response = await chat(sealed)
    expect(response.status).toBe(503)
    expect(await response.json()).toMatchObject({ error: { message: 'full' } })
    expect(gateways.reduce((sum, { gateway }) => sum + gateway.asked, 0)).toBe(3)
    expect(client.failovers).toHaveLength(2)
  })
})

describe('when every gateway fails', () => {
  test('the last failure is told, and the next request looks at the registry again', async () => {
    const { sealed, first, second } = await client.twoGateways()
    await (await chat(sealed)).text()
    first.refusal = 'full'
    second.outside = bad(502)
    await expect(chat(sealed)).rejects.toMatchObject({ code: 'RELAY_FAILED' })
    const before = client.reads
    first.refusal = undefined
    second.outside = undefined
    await expectHello(sealed, await chat(sealed))
    expect(client.reads).toBe(before + 1)
  })
})

async function* breaking(): AsyncGenerator<never> {
  for await (const event of sayHello()) {
    yield event as never
    throw new Error('broken')
  }
}
