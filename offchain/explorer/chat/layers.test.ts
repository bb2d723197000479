/** What is shown of an exchange is what its bytes say: also when they say that something leaked. @module */
import { expect, it } from 'vitest'
import { encodeUtf8 } from '#protocol/bytes.ts'
import { OHTTP_CHUNKED_REQUEST } from '#protocol/sealing/mediaTypes.ts'
import type { ChatExchange } from './exchange.ts'
import { type LayerName, layersOf } from './layers.ts'
import type { Recorded } from './recorder.ts'

const PROMPT = 'a "secret" question'

function recorded(request: Uint8Array, response: Uint8Array = new Uint8Array()): Recorded {
  return {
    method: 'POST',
    url: new URL('https://relay.test/gateways/one'),
    contentType: OHTTP_CHUNKED_REQUEST,
    request,
    sentMs: 0,
    status: 200,
    firstByteMs: 5,
    endedMs: 9,
    responseBytes: response.length,
    response: () => response,
  }
}

function entriesOf(exchange: Partial<ChatExchange>, layer: LayerName): Record<string, readonly string[]> {
  const whole: ChatExchange = { prompt: PROMPT, answer: '', recorded: [], sentFrom: 0, isDone: true, ...exchange }
  const entries = layersOf(whole, 'https://page.test').find(({ name }) => name === layer)?.entries ?? []
  return Object.fromEntries(entries.map(({ id, lines }) => [id, lines]))
}

it('says so when the prompt stands in the clear in anything that passed', () => {
  const sealed = recorded(new Uint8Array(3_000).fill(1))
  expect(entriesOf({ recorded: [sealed] }, 'relay').search).toEqual(['your prompt: not found'])
  const body = encodeUtf8(JSON.stringify({ messages: [{ content: PROMPT }] }))
  for (const leak of [recorded(body), recorded(new Uint8Array(9), body)]) {
    const found = entriesOf({ recorded: [leak, sealed], sentFrom: 1 }, 'relay').search
    expect(found).toEqual(['your prompt: FOUND IN THE CLEAR'])
  }
})

it('does not look for what occurs by chance', () => {
  expect(entriesOf({ prompt: 'Hi', recorded: [recorded(encodeUtf8('Hi'))] }, 'relay').search).toBeUndefined()
})

it('shows nothing of what has not happened', () => {
  for (const layer of ['relay', 'gateway', 'chain'] as const) expect(entriesOf({}, layer)).toEqual({})
  expect(entriesOf({ isDone: false }, 'issuer')).toEqual({})
})
