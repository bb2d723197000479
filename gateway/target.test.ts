/** The target behind a real sealed server and a real client: what it answers, lists and refuses. @module */
import { describe, expect, test, vi } from 'vitest'
import { decodeUtf8, encodeUtf8 } from '#protocol/bytes.ts'
import { readAnswer } from '#protocol/receipt/answer.ts'
import type { Field } from '#protocol/sealing/binaryHttpFields.ts'
import type { PaddingMode } from '#protocol/shape.ts'
import { NONCE_FIELD } from '#protocol/wire/receiptFile.ts'
import {
  type Ask,
  chat,
  delta,
  expectVerified,
  finish,
  hello,
  PRICE_LIST,
  receiptIn,
  send,
  startGateway,
  USAGE,
} from '../test/support/sealedTarget.ts'
import { until } from '../test/support/until.ts'

describe('a chat', () => {
  test.each(['off', 'balanced', 'private'] as const)(
    'streams, and ends with a receipt that verifies: %s',
    async (padding) => {
      const gateway = startGateway(hello)
      const ask = { body: chat({ stream: true }), padding, headers: [[NONCE_FIELD, '0xABcd']] } as const
      const answer = await send(gateway, ask)
      expect(answer.status).toBe(200)
      const events = answer.text.split('\n\n')
      expect(events.at(-2)).toBe('data: [DONE]')
      expect(answer.text).not.toContain('usage')
      const receipt = await expectVerified(answer, ask, '0xabcd')
      expect(receipt.public.outcome).toBe('complete')
      expect(receipt.private).toMatchObject({ promptTokens: 7n, completionTokens: 20n, fee: 21n })
      expect(decodeUtf8(readAnswer(answer.body, 'text/event-stream').output)).toBe('Hello')
      expect(gateway.target.openAnswers).toBe(0)
      expect(gateway.log.size).toBe(1)
      expect(gateway.faults).toEqual([])
    },
  )

  test('asks the model before it prepares the receipt, and issues it when the last words have left', async () => {
    const order: string[] = []
    const gateway = startGateway(() => {
      order.push('asked')
      return hello()
    })
    const exchange = {
      get encapsulatedHash() {
        order.push('prepared')
        return new Uint8Array(32)
      },
      exportSecret: async (_label: string, lengthBytes: number) => new Uint8Array(lengthBytes),
      signal: new AbortController().signal,
    }
    const body = encodeUtf8(JSON.stringify(chat({ stream: true })))
    const inner = { method: 'POST', scheme: 'https', authority: 'g', path: '/v1/chat/completions', headers: [], body }
    const answer = await gateway.target.handle(inner, exchange)
    if (answer.body instanceof Uint8Array) throw new Error('expected a body that comes piece by piece')
    for await (const _ of answer.body);
    const issue = vi.spyOn(gateway.log, 'issue')
    const trailers = answer.trailers?.()
    // Of a turn of the event loop that would write the last words, everything else is over then.
    await new Promise((resolve) => process.nextTick(resolve))
    for (let i = 0; i < 100; i++) await undefined
    expect(issue).not.toHaveBeenCalled()
    expect(await trailers).toHaveLength(1)
    expect(issue).toHaveBeenCalledOnce()
    expect(order).toEqual(['asked', 'prepared'])
  })

  test('tells the usage in a stream only to clients that asked', async () => {
    const gateway = startGateway(hello)
    const ask = { body: chat({ stream: true, stream_options: { include_usage: true } }) }
    const answer = await send(gateway, ask)
    expect(answer.text).toContain('"usage":{"prompt_tokens":7,"completion_tokens":20,"total_tokens":27}')
    await expectVerified(answer, ask)
  })

  test.each([true, false])('answers whole with a receipt that verifies, to a chunked request: %s', async (chunked) => {
    const gateway = startGateway(hello)
    const ask = { body: chat(), chunked }
    const answer = await send(gateway, ask)
    expect(JSON.parse(answer.text)).toMatchObject({
      object: 'chat.completion',
      model: 'demo',
      choices: [{ message: { content: 'Hello' }, finish_reason: 'stop' }],
    })
    await expectVerified(answer, ask)
    expect(gateway.target.openAnswers).toBe(0)
  })

  test('answers a stream to a request that is not chunked', async () => {
    const gateway = startGateway(hello)
    const ask = { body: chat({ stream: true }), chunked: false }
    await expectVerified(await send(gateway, ask), ask)
    expect(gateway.target.openAnswers).toBe(0)
  })

  test.each([
    ['length', 'length'],
    ['tool_calls', 'toolCalls'],
    ['content_filter', 'filtered'],
    ['stop', 'complete'],
  ])('that ends by %s has the outcome %s', async (reason, outcome) => {
    const gateway = startGateway(async function* () {
      yield delta('a')
      yield finish(reason)
      yield USAGE
    })
    const ask = { body: chat({ stream: true }) }
    expect((await expectVerified(await send(gateway, ask), ask)).public.outcome).toBe(outcome)
  })

  test('commits to tool calls, streamed and whole', async () => {
    const calls = [{ index: 0, id: 'c', type: 'function', function: { name: 'f', arguments: '{}' } }]
    const gateway = startGateway(async function* () {
      yield {
        kind: 'delta',
        choice: 0,
        content: '',
        raw: { index: 0, delta: { tool_calls: calls }, finish_reason: null },
      }
      yield finish('tool_calls')
      yield USAGE
    })
    for (const stream of [true, false]) {
      const ask = { body: chat({ stream }) }
      const answer = await send(gateway, ask)
      await expectVerified(answer, ask)
      expect(answer.text).toContain('"name":"f"')
    }
    expect(gateway.log.size).toBe(2)
  })

  test('is signed together with its neighbours, each proven on its own', async () => {
    const gateway = startGateway(hello, { limits: { answersMax: 10 } })
    const asks = Array.from({ length: 8 }, (_, i) => ({
      body: chat({ messages: [{ role: 'user', content: `${i}` }] }),
    }))
    const answers = await Promise.all(asks.map((ask) => send(gateway, ask)))
    for (const [i, answer] of answers.entries()) await expectVerified(answer, asks[i] ?? {})
    expect(new Set(answers.map((answer) => receiptIn(answer).index)).size).toBe(8)
    expect(gateway.log.size).toBe(8)
  })
})

const DEMO_ENTRY = {
  id: 'demo',
  object: 'model',
  created: 0,
  owned_by: 'sealpath',
  source: 'operator',
  serves: ['chat', 'completions', 'embeddings'],
  context_length: 128,
  price: { request_units: '1', prompt_units_per_million: '0', completion_units_per_million: '1000000' },
}

test('lists models and serves the exact price list', async () => {
  const gateway = startGateway(hello)
  const models = await send(gateway, { method: 'GET', path: '/v1/models' })
  expect(JSON.parse(models.text)).toEqual({
    object: 'list',
    data: [DEMO_ENTRY],
  })
  const prices = await send(gateway, { method: 'GET', path: '/v1/prices' })
  expect(prices.text).toBe(PRICE_LIST)
  expect([models.trailers, prices.trailers]).toEqual([[], []])
})

test('describes one model, and says when there is none of that name', async () => {
  const gateway = startGateway(hello)
  const get = async (id: string) => {
    const { status, text } = await send(gateway, { method: 'GET', path: `/v1/models/${id}` })
    return { status, body: JSON.parse(text) }
  }
  for (const id of ['demo', '%64emo']) expect(await get(id)).toEqual({ status: 200, body: DEMO_ENTRY })
  for (const id of ['', 'other', 'demo/', '%E0%A4%A']) {
    expect(await get(id)).toMatchObject({ status: 404, body: { error: { code: 'model_not_found', param: 'model' } } })
  }
})

const FETCHED = { role: 'user', content: [{ type: 'image_url', image_url: { url: 'https://example.com/a.png' } }] }

const REFUSED: readonly (readonly [string, number, string, Ask])[] = [
  ['an unknown resource', 404, 'not_found', { method: 'GET', path: '/v1/nothing', body: chat() }],
  ['another method', 404, 'not_found', { method: 'DELETE', body: chat() }],
  ['an unknown model', 404, 'model_not_found', { body: chat({ model: 'other' }) }],
  ['a body that is no JSON', 400, 'invalid_request', { text: '{"model":' }],
  ['a body that is no object', 400, 'invalid_request', { body: [1] }],
  ['a model without vectors', 400, 'wrong_model', { path: '/v1/embeddings', body: { model: 'demo', input: 'x' } }],
  [
    'a completion of a chat model',
    400,
    'wrong_model',
    { path: '/v1/completions', body: { model: 'demo', prompt: 'x' } },
  ],
  ['a body too deep', 400, 'invalid_request', { text: `{"model":${'['.repeat(100_000)}` }],
  ['an address to fetch', 400, 'unsupported_parameter', { body: chat({ messages: [FETCHED] }) }],
  ['no messages', 400, 'invalid_request', { body: { model: 'demo', messages: [] } }],
  ['a nonce that is no hex', 400, 'invalid_request', { body: chat(), headers: [[NONCE_FIELD, '0x1']] }],
  ['a nonce of 65 bytes', 400, 'invalid_request', { body: chat(), headers: [[NONCE_FIELD, `0x${'00'.repeat(65)}`]] }],
]

describe.each(REFUSED)('refuses %s', (_what, status, code, ask) => {
  test.each(['off', 'balanced', 'private'] as const)('without a receipt: %s', async (padding) => {
    const gateway = startGateway(hello, { serves: ['chat'] })
    const answer = await send(gateway, { ...ask, padding })
    expect(answer.status).toBe(status)
    expect(JSON.parse(answer.text).error.code).toBe(code)
    expect(answer.trailers).toEqual([])
    expect(gateway.log.size).toBe(0)
    expect(gateway.target.openAnswers).toBe(0)
    expect(gateway.model.begun).toBe(0)
  })
})

test('gives every refusal one size, unless padding is off: one full cell, or the smallest class of them', async () => {
  const sizes = async (padding: PaddingMode): Promise<Set<number>> => {
    const answers = await Promise.all(
      REFUSED.map(([, , , ask]) => send(startGateway(hello, { serves: ['chat'] }), { ...ask, padding })),
    )
    const busy = await send(startGateway(hello, { refusal: 'stopping' }), { body: chat(), padding })
    return new Set([...answers, busy].map(({ sealedBytes }) => sealedBytes))
  }
  const [nonce, tag, cell] = [16, 16, 4_096]
  // The length in front of each chunk takes two bytes, that of the final one a single byte.
  expect(await sizes('private')).toEqual(new Set([nonce + 8 * (2 + cell + tag) - 1]))
  expect(await sizes('balanced')).toEqual(new Set([nonce + 1 + cell + tag]))
  expect((await sizes('off')).size).toBeGreaterThan(1)
})

test('takes a nonce of 64 bytes', async () => {
  const nonce = `0x${'7f'.repeat(64)}`
  const ask = { body: chat(), headers: [[NONCE_FIELD, nonce]] as Field[] }
  await expectVerified(await send(startGateway(hello), ask), ask, nonce)
})

test('refuses new answers with the reason while it must not start any', async () => {
  const gateway = startGateway(hello, { refusal: 'the gateway is stopping: try another one' })
  const answer = await send(gateway, { body: chat() })
  expect(answer.status).toBe(503)
  expect(JSON.parse(answer.text).error).toMatchObject({
    code: 'overloaded',
    message: 'the gateway is stopping: try another one',
  })
  expect((await send(gateway, { method: 'GET', path: '/v1/models' })).status).toBe(200)
})

test('answers as many at once as it may, refuses one more, and takes it when one is done', async () => {
  const gate = Promise.withResolvers<void>()
  const gateway = startGateway(
    async function* () {
      yield delta('a')
      await gate.promise
      yield finish('stop')
      yield USAGE
    },
    { limits: { answersMax: 2 } },
  )
  const waiting = [send(gateway, { body: chat({ stream: true }) }), send(gateway, { body: chat() })]
  await until(() => gateway.target.openAnswers === 2)
  const refused = await send(gateway, { body: chat() })
  expect(refused.status).toBe(503)
  expect(gateway.target.openAnswers).toBe(2)
  gate.resolve()
  expect((await Promise.all(waiting)).map(({ status }) => status)).toEqual([200, 200])
  expect(gateway.target.openAnswers).toBe(0)
  expect((await send(gateway, { body: chat() })).status).toBe(200)
})
