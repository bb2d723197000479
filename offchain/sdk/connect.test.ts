/** What a caller asks of its gateways, and what is refused before anything is sealed: real gateways and relays on real sockets. @module */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { encodeUtf8 } from '#protocol/bytes.ts'
import { ClientStage, chat, expectHello, idOf } from '../../test/support/clientStage.ts'
import { type Stage, stagePrice } from '../../test/support/gatewayStage.ts'
import type { ConnectOptions } from './options.ts'

let client: ClientStage
let stage: Stage

beforeEach(async () => {
  client = await ClientStage.start()
  stage = client.stage
})
afterEach(() => stage.close())

describe('a policy on models and prices', () => {
  test('leads each request to a gateway that serves its model as the policy wants it', async () => {
    const dear = await stage.addGateway({ prices: [stagePrice('demo', { requestUnits: 50n }), stagePrice('rare')] })
    const cheap = await stage.addGateway({ prices: [stagePrice('demo', { requestUnits: 2n })] })
    const relay = await stage.addRelay([dear.url, cheap.url])
    const priceLimit = { requestUnits: 10n }
    for (let i = 0; i < 4; i++) {
      const sealed = await client.connect(relay, { policy: { priceLimit } })
      await expectHello(sealed, await chat(sealed))
      expect(sealed.gateway.enclave).toBe(idOf(cheap.gateway))
      await expectHello(sealed, await chat(sealed, { model: 'rare' }))
      expect(sealed.gateway.enclave).toBe(idOf(dear.gateway))
    }
    expect([dear.gateway.asked, cheap.gateway.asked]).toEqual([4, 4])
  })

  test('that nobody meets refuses the request before it is sealed, and at once if it can be known', async () => {
    const { gateway, url } = await stage.addGateway()
    const relay = await stage.addRelay([url])
    const sealed = await client.connect(relay, { policy: { models: { demo: {} } } })
    await expect(chat(sealed, { model: 'other' })).rejects.toMatchObject({
      code: 'NO_GATEWAY',
      reason: 'MODEL_NOT_NAMED',
    })
    expect(gateway.asked).toBe(0)
    for (const [reason, policy] of [
      ['MODEL_NOT_NAMED', { models: { other: {} } }],
      ['SOURCE_REFUSED', { models: { demo: { sources: ['measured'] } } }],
      ['PRICE_TOO_HIGH', { models: { demo: { priceLimit: { requestUnits: 2n } } } }],
    ] as const) {
      await expect(client.connect(relay, { policy })).rejects.toMatchObject({ code: 'NO_GATEWAY', reason })
    }
  })

  test('is held against the receipt: who vouches, the price list, and the fee', async () => {
    const { gateway, url } = await stage.addGateway()
    const relay = await stage.addRelay([url])
    const sealed = await client.connect(relay, { policy: { models: { demo: { sources: ['operator'] } } } })
    await expectHello(sealed, await chat(sealed))
    // The same enclave, having told another list than it charges by.
    const told = stagePrice('demo', { requestUnits: 1n })
    gateway.inside = (response, inner) =>
      inner.path === '/v1/prices'
        ? { ...response, body: encodeUtf8(JSON.stringify({ format: 'sealpath-prices/1', models: [toPlain(told)] })) }
        : response
    const deceived = await client.connect(relay, { policy: { models: { demo: {} } } })
    const response = await chat(deceived)
    await expect(response.text()).rejects.toMatchObject({ code: 'RECEIPT_REJECTED', reason: 'WRONG_PRICES' })
  })

  test('of a model that nobody serves leaves the refusal to a gateway, where the policy says nothing of models', async () => {
    const { sealed } = await client.twoGateways()
    const response = await chat(sealed, { model: 'unknown' })
    expect(response.status).toBe(404)
    expect(await response.json()).toMatchObject({ error: { code: 'model_not_found' } })
  })
})

test.each<[string, Partial<ConnectOptions>]>([
  ['no relay', { relayUrl: [] }],
  ['an address that is none', { relayUrl: 'relay' }],
  ['no attempt', { attemptsMax: 0 }],
  ['half an attempt', { attemptsMax: 1.5 }],
  ['no time', { timeoutMs: 0 }],
  ['no patience', { idleTimeoutMs: Number.NaN }],
])('options with %s are refused', async (_what, options) => {
  await expect(client.connect('http://127.0.0.1:9', options)).rejects.toMatchObject({ code: 'BAD_OPTIONS' })
})

test('every question to a relay goes through the fetch that is given', async () => {
  const { url } = await stage.addGateway()
  const relay = await stage.addRelay([url])
  const nowhere = 'http://relay.invalid'
  const asked: string[] = []
  const sealed = await client.connect(nowhere, {
    // Prices and models are asked for as well.
    policy: { models: { demo: {} } },
    fetch: (input, init) => {
      asked.push(`${init?.method ?? 'GET'} ${new URL(String(input)).pathname}`)
      return fetch(String(input).replace(nowhere, relay), init)
    },
  })
  await expectHello(sealed, await chat(sealed))
  const documents = ['GET /gateways', 'GET /gateways/g0/evidence', 'GET /gateways/g0/ohttp-keys']
  expect(asked.toSorted()).toEqual([...documents, ...Array(3).fill('POST /gateways/g0')])
})

test('a response that came from elsewhere has no receipt here', async () => {
  const { url } = await stage.addGateway()
  const sealed = await client.connect(await stage.addRelay([url]))
  await expect(sealed.receiptOf(new Response())).rejects.toMatchObject({ code: 'BAD_OPTIONS' })
})

test('whoever leaves while it connects gets the own reason, and nothing is asked for whoever had left before', async () => {
  const asked = Promise.withResolvers<void>()
  let count = 0
  const relay = (): Promise<Response> => {
    count++
    asked.resolve()
    return new Promise(() => {})
  }
  const reason = new Error('mine')
  const abort = new AbortController()
  const connecting = client.connect('http://relay.invalid', { signal: abort.signal, fetch: relay })
  await asked.promise
  abort.abort(reason)
  await expect(connecting).rejects.toBe(reason)
  const { reads } = client
  await expect(client.connect('http://relay.invalid', { signal: abort.signal, fetch: relay })).rejects.toBe(reason)
  expect([count, client.reads]).toEqual([1, reads])
})

test('what ends a connection later does not end what is asked on it', async () => {
  const { url } = await stage.addGateway()
  const abort = new AbortController()
  const sealed = await client.connect(await stage.addRelay([url]), { signal: abort.signal })
  abort.abort()
  await expectHello(sealed, await chat(sealed))
})

test('a chain that does not answer is said so', async () => {
  for (const rpcUrl of ['http://127.0.0.1:9', []]) {
    await expect(client.connect('http://127.0.0.1:9', { rpcUrl })).rejects.toMatchObject({ code: 'CHAIN_FAILED' })
  }
})

function toPlain(price: object): unknown {
  return Object.fromEntries(
    Object.entries(price).map(([key, value]) => [key, typeof value === 'bigint' ? `${value}` : value]),
  )
}
