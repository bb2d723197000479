/** Parsing of chat requests. @module */
import { describe, expect, it } from 'vitest'
import { parseChatRequest } from './chatRequest.ts'

const messages = [{ role: 'user', content: 'hello', name: 'x' }]
const parse = (fields: Record<string, unknown>) => parseChatRequest({ model: 'm', messages, ...fields })
const part = (content: unknown) => parse({ messages: [{ role: 'user', content: [content] }] })
const refused = (code: string, param: string | null) =>
  expect.objectContaining({ name: 'BackendError', status: 400, code, param })

describe('parseChatRequest', () => {
  it('keeps every field it does not know, in the request and in its messages', () => {
    expect(parse({ temperature: 0.5, x_new_field: { a: 1 }, stream: true })).toEqual({
      model: 'm',
      messages,
      stream: true,
      includeUsage: false,
      choices: 1,
      tokensMax: 131_072,
      isBounded: false,
      parameters: { temperature: 0.5, x_new_field: { a: 1 } },
    })
  })

  it('reads whether the client wants a stream and its usage', () => {
    const asked = parse({ stream: true, stream_options: { include_usage: true, include_obfuscation: true } })
    expect(asked).toMatchObject({ stream: true, includeUsage: true, parameters: {} })
    expect(parse({ stream: null, stream_options: null })).toMatchObject({ stream: false, includeUsage: false })
  })

  it('reads how many choices and tokens, max_completion_tokens first', () => {
    expect(parse({ n: 3, max_tokens: 5 })).toMatchObject({ choices: 3, tokensMax: 5, isBounded: true })
    expect(parse({ max_completion_tokens: 6, max_tokens: 5 })).toMatchObject({ tokensMax: 6, isBounded: true })
  })

  it.each([
    [null, null],
    [[], null],
    ['text', null],
    [{ messages }, 'model'],
    [{ model: '', messages }, 'model'],
    [{ model: 'm' }, 'messages'],
    [{ model: 'm', messages: [] }, 'messages'],
    [{ model: 'm', messages: ['hello'] }, 'messages[0]'],
    [{ model: 'm', messages: [...messages, { content: 'x' }] }, 'messages[1]'],
    [{ model: 'm', messages: [{ role: 'user', content: 7 }] }, 'messages[0].content'],
  ])('refuses %j and names the field at fault', (body, param) => {
    expect(() => parseChatRequest(body)).toThrow(refused('INVALID_REQUEST', param))
  })

  it.each([
    ['stream', 'yes', 'stream'],
    ['stream_options', [], 'stream_options'],
    ['n', 0, 'n'],
    ['n', 1.5, 'n'],
    ['n', '2', 'n'],
    ['max_tokens', 0, 'max_tokens'],
    ['max_tokens', -1, 'max_tokens'],
    ['max_completion_tokens', 2.5, 'max_completion_tokens'],
    ['tools', {}, 'tools'],
    ['tools', [{ type: 'web_search' }], 'tools[0]'],
    ['tools', [{ type: 'function' }], 'tools[0]'],
    ['response_format', 'json', 'response_format'],
    ['response_format', { type: 'grammar' }, 'response_format'],
    ['response_format', { type: 'json_schema' }, 'response_format'],
    ['response_format', { type: 'json_schema', json_schema: {} }, 'response_format'],
  ])('refuses %s = %j', (field, value, param) => {
    expect(() => parse({ [field]: value })).toThrow(refused('INVALID_REQUEST', param))
  })
})

describe('fields that are not about the answer', () => {
  it('are taken out where they only say who asks, or ask for what happens anyway', () => {
    const fields = {
      user: 'me',
      safety_identifier: 'me',
      metadata: { who: 'me' },
      prompt_cache_key: 'me',
      prompt_cache_retention: '24h',
      cache_salt: 'me',
      store: false,
      service_tier: 'auto',
      n: 1,
      logprobs: false,
      top_logprobs: 0,
      tools: [],
      tool_choice: 'none',
      parallel_tool_calls: true,
      response_format: { type: 'text' },
      modalities: ['text'],
      logit_bias: {},
      seed: null,
    }
    expect(parse(fields).parameters).toEqual({})
  })

  it.each([
    ['store', true],
    ['service_tier', 'priority'],
    ['web_search_options', {}],
    ['modalities', ['text', 'audio']],
    ['audio', { voice: 'x' }],
    ['functions', []],
    ['function_call', 'auto'],
    ['models', ['a']],
    ['lora', [{ id: 0 }]],
    ['id_slot', 0],
    ['kv_transfer_params', {}],
    ['rid', 'x'],
    ['priority', 1],
  ])('are refused where dropping them would break a promise: %s = %j', (param, value) => {
    expect(() => parse({ [param]: value })).toThrow(refused('UNSUPPORTED_PARAMETER', param))
  })

  it('are refused within stream_options too', () => {
    const options = { continuous_usage_stats: true }
    expect(() => parse({ stream_options: options })).toThrow(
      refused('UNSUPPORTED_PARAMETER', 'stream_options.continuous_usage_stats'),
    )
  })
})

describe('the choice of tools', () => {
  const tools = [{ type: 'function', function: { name: 'f' } }]
  it.each([
    ['none', { tool_choice: 'none' }],
    ['required', { tool_choice: 'required' }],
    ['auto', {}],
  ])('stays with tools, unless it is what happens anyway: %s', (choice, kept) => {
    expect(parse({ tools, tool_choice: choice }).parameters).toEqual({ tools, ...kept })
  })
})

describe('the parts of a message', () => {
  it.each([
    { type: 'text', text: 'x' },
    { type: 'refusal', refusal: 'x' },
    { type: 'image_url', image_url: { url: 'data:image/png;base64,AA==', detail: 'high' } },
    { type: 'image_url', image_url: 'DATA:image/png;base64,AA==' },
    { type: 'input_audio', input_audio: { data: 'AA==', format: 'wav' } },
    { type: 'file', file: { file_data: 'data:application/pdf;base64,AA==', filename: 'a.pdf' } },
  ])('may be %j', (content) => {
    expect(part(content).messages).toEqual([{ role: 'user', content: [content] }])
  })

  it.each([
    [{ type: 'image_url', image_url: { url: 'https://example.com/a.png' } }, 'messages[0].content[0].image_url'],
    [{ type: 'image_url', image_url: 'http://127.0.0.1/a.png' }, 'messages[0].content[0].image_url'],
    [{ type: 'image_url', image_url: { url: 'file:///etc/passwd' } }, 'messages[0].content[0].image_url'],
    [{ type: 'image_url', image_url: { url: ' data:x' } }, 'messages[0].content[0].image_url'],
    [{ type: 'video_url', video_url: { url: '//example.com' } }, 'messages[0].content[0].video_url'],
  ])('may not be at another address: %j', (content, param) => {
    expect(() => part(content)).toThrow(refused('UNSUPPORTED_PARAMETER', param))
  })

  it.each([
    ['text', 'messages[0].content[0]'],
    [{ text: 'x' }, 'messages[0].content[0]'],
    [{ type: 'image', image: 'https://example.com' }, 'messages[0].content[0]'],
    [{ type: 'text', text: 'x', image_url: { url: 'https://example.com' } }, 'messages[0].content[0]'],
    [{ type: 'image_url', uuid: 'x' }, 'messages[0].content[0]'],
    [{ type: 'image_url', image_url: {} }, 'messages[0].content[0].image_url'],
    [{ type: 'file', file: { file_id: 'file-1' } }, 'messages[0].content[0].file'],
    [{ type: 'file', file: { file_data: 'x', file_id: 'file-1' } }, 'messages[0].content[0].file'],
  ])('may not be %j', (content, param) => {
    expect(() => part(content)).toThrow(refused('INVALID_REQUEST', param))
  })
})
