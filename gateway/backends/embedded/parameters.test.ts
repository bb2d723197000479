import { describe, expect, it } from 'vitest'
import { parseChatRequest } from '../../requests/chatRequest.ts'
import type { Parameters } from '../../requests/request.ts'
import { parseParameters, parseTurns } from './parameters.ts'

function request(fields: Record<string, unknown>): Parameters {
  return parseChatRequest({ model: 'm', messages: [{ role: 'user', content: 'x' }], ...fields }).parameters
}

const defaults = { temperature: 0, topP: 1, seed: undefined, stop: [] }

describe('parseParameters', () => {
  it('has defaults, and null means the default', () => {
    expect(parseParameters(request({}))).toEqual(defaults)
    const nothing = { temperature: null, top_p: null, seed: null, max_tokens: null, stop: null, tools: null }
    expect(parseParameters(request(nothing))).toEqual(defaults)
  })

  it('reads what the model honours', () => {
    const fields = { temperature: 0.7, top_p: 0.9, seed: -3, max_tokens: 5, stop: 'x' }
    expect(parseParameters(request(fields))).toEqual({
      temperature: 0.7,
      topP: 0.9,
      seed: -3,
      stop: ['x'],
    })
  })

  it('takes stop strings of up to 256 characters', () => {
    expect(parseParameters(request({ stop: 'x'.repeat(256) })).stop).toEqual(['x'.repeat(256)])
  })

  it('takes values that ask for what happens anyway', () => {
    const neutral = {
      n: 1,
      logprobs: false,
      top_logprobs: 0,
      presence_penalty: 0,
      frequency_penalty: 0,
      logit_bias: {},
      response_format: { type: 'text' },
      modalities: ['text'],
      tools: [],
      tool_choice: 'none',
      store: false,
      user: 'somebody',
    }
    expect(parseParameters(request(neutral))).toEqual(defaults)
  })

  it.each([
    ['tools', [{ type: 'function', function: { name: 'f' } }]],
    ['tool_choice', 'required'],
    ['logprobs', true],
    ['top_logprobs', 3],
    ['response_format', { type: 'json_object' }],
    ['response_format', { type: 'json_schema', json_schema: { schema: {} } }],
    ['presence_penalty', 0.5],
    ['frequency_penalty', -0.5],
    ['logit_bias', { '5': 100 }],
    ['modalities', ['text', 'audio']],
    ['store', true],
    ['top_k', 40],
    ['reasoning_effort', 'high'],
    ['an_unknown_field', 0],
  ])('refuses %s = %j and names it', (param, value) => {
    expect(() => parseParameters(request({ [param]: value }))).toThrow(
      expect.objectContaining({ status: 400, code: 'UNSUPPORTED_PARAMETER', param }),
    )
  })

  it.each([
    ['temperature', -0.1],
    ['temperature', 2.1],
    ['temperature', '1'],
    ['top_p', 0],
    ['top_p', 1.1],
    ['seed', 1.5],
    ['seed', 2 ** 60],
    ['stop', 7],
    ['stop', ['']],
    ['stop', ['a', 'b', 'c', 'd', 'e']],
    ['stop', 'x'.repeat(257)],
  ])('refuses %s = %j as out of range', (param, value) => {
    expect(() => parseParameters(request({ [param]: value }))).toThrow(
      expect.objectContaining({ status: 400, code: 'INVALID_REQUEST', param }),
    )
  })
})

describe('parseTurns', () => {
  it('reads texts and lists of texts, and what an answer echoed back holds empty', () => {
    expect(
      parseTurns([
        { role: 'developer', content: 'Be brief.' },
        {
          role: 'user',
          content: [
            { type: 'text', text: 'Hel' },
            { type: 'text', text: 'lo' },
          ],
        },
        { role: 'assistant', content: 'Hi', refusal: null, annotations: [] },
      ]),
    ).toEqual([
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: 'Hello' },
      { role: 'assistant', content: 'Hi' },
    ])
  })

  it.each([
    [{ role: 'user', content: [{ type: 'image_url', image_url: { url: 'data:' } }] }, 'messages[0].content[0]'],
    [{ role: 'user', content: 'x', name: 'me' }, 'messages[0].name'],
    [{ role: 'assistant', content: 'x', tool_calls: [{}] }, 'messages[0].tool_calls'],
    [{ role: 'tool', content: 'x' }, 'messages[0].role'],
  ])('refuses %j as unsupported', (message, param) => {
    expect(() => parseTurns([message])).toThrow(expect.objectContaining({ code: 'UNSUPPORTED_PARAMETER', param }))
  })

  it.each([{ role: 'user' }, { role: 'user', content: null }, { role: 'user', content: [{ type: 'text' }] }])(
    'refuses %j as malformed',
    (message) => {
      expect(() => parseTurns([message])).toThrow(expect.objectContaining({ code: 'INVALID_REQUEST' }))
    },
  )
})
