/** What a model server is sent, by its kind. @module */
import { describe, expect, it } from 'vitest'
import { parseChatRequest } from '../requests/chatRequest.ts'
import { parseCompletionRequest } from '../requests/completionRequest.ts'
import { parseEmbeddingsRequest } from '../requests/embeddingsRequest.ts'
import type { Capability } from './backend.ts'
import { MODEL_SERVERS, type ModelServer } from './modelServers.ts'
import { type BodyOptions, buildChatBody, buildCompletionBody, buildEmbeddingsBody } from './upstreamBody.ts'

function options(server: ModelServer | undefined, change: Partial<BodyOptions> = {}): BodyOptions {
  return {
    server,
    acceptedParameters: [],
    refusedParameters: [],
    model: 'up',
    randomBytes: (length) => new Uint8Array(length).fill(7),
    cacheFields: true,
    ...change,
  }
}

const messages = [{ role: 'user', content: 'x' }]
const build = {
  chat: (options: BodyOptions, fields: Record<string, unknown>) =>
    buildChatBody(options, parseChatRequest({ model: 'm', messages, ...fields })),
  completions: (options: BodyOptions, fields: Record<string, unknown>) =>
    buildCompletionBody(options, parseCompletionRequest({ model: 'm', prompt: 'x', ...fields })),
  embeddings: (options: BodyOptions, fields: Record<string, unknown>) =>
    buildEmbeddingsBody(options, parseEmbeddingsRequest({ model: 'm', input: 'x', ...fields })),
}
const unsupported = (param: string) => expect.objectContaining({ status: 400, code: 'UNSUPPORTED_PARAMETER', param })

/** Each field with a value that is not what happens anyway. */
const FIELDS: Readonly<Record<Capability, Readonly<Record<string, unknown>>>> = {
  chat: {
    temperature: 0.5,
    top_p: 0.5,
    stop: 'x',
    presence_penalty: 1,
    frequency_penalty: 1,
    response_format: { type: 'json_object' },
    tools: [{ type: 'function', function: { name: 'f' } }],
    seed: 1,
    n: 2,
    logprobs: true,
    top_logprobs: 2,
    logit_bias: { 1: 1 },
    tool_choice: 'required',
    parallel_tool_calls: false,
    reasoning_effort: 'low',
    n_predict: 9,
    x_unknown: 1,
  },
  completions: {
    temperature: 0.5,
    stop: 'x',
    seed: 1,
    n: 2,
    best_of: 3,
    logprobs: 1,
    echo: true,
    suffix: 'y',
    logit_bias: { 1: 1 },
    n_predict: 9,
  },
  embeddings: { dimensions: 2, truncate: true },
}

/** What each kind refuses of them; everything else it is sent. */
const REFUSED: Readonly<Record<ModelServer | 'unknown', Readonly<Record<Capability, readonly string[]>>>> = {
  openai: { chat: [], completions: [], embeddings: [] },
  'llama.cpp': {
    chat: ['reasoning_effort', 'n_predict', 'x_unknown'],
    completions: ['best_of', 'logprobs', 'echo', 'suffix', 'n_predict'],
    embeddings: ['dimensions', 'truncate'],
  },
  vllm: {
    chat: ['n_predict', 'x_unknown'],
    completions: ['best_of', 'suffix', 'n_predict'],
    embeddings: ['truncate'],
  },
  sglang: {
    chat: ['seed', 'n_predict', 'x_unknown'],
    completions: ['seed', 'best_of', 'suffix', 'n_predict'],
    embeddings: ['truncate'],
  },
  ollama: {
    chat: [
      'n',
      'logprobs',
      'top_logprobs',
      'logit_bias',
      'tool_choice',
      'parallel_tool_calls',
      'n_predict',
      'x_unknown',
    ],
    completions: ['n', 'best_of', 'logprobs', 'echo', 'logit_bias', 'n_predict'],
    embeddings: ['truncate'],
  },
  unknown: {
    chat: [
      'seed',
      'n',
      'logprobs',
      'top_logprobs',
      'logit_bias',
      'tool_choice',
      'parallel_tool_calls',
      'reasoning_effort',
      'n_predict',
      'x_unknown',
    ],
    completions: ['seed', 'n', 'best_of', 'logprobs', 'echo', 'suffix', 'logit_bias', 'n_predict'],
    embeddings: ['dimensions', 'truncate'],
  },
}

describe.each([...MODEL_SERVERS, 'unknown'] as const)('a server of the kind %s', (kind) => {
  const server = kind === 'unknown' ? undefined : kind
  describe.each(['chat', 'completions', 'embeddings'] as const)('asked for %s', (asks) => {
    it.each(Object.entries(FIELDS[asks]))('is sent %s = %j, or it is refused', (param, value) => {
      // A tool may only be chosen where there are some.
      const tools = param === 'tool_choice' || param === 'parallel_tool_calls' ? { tools: FIELDS.chat.tools } : {}
      const fields = { ...tools, [param]: value }
      if (REFUSED[kind][asks].includes(param)) {
        expect(() => build[asks](options(server), fields)).toThrow(unsupported(param))
        const accepting = options(server, { acceptedParameters: [param] })
        expect(build[asks](accepting, fields)).toMatchObject(fields)
      } else {
        expect(build[asks](options(server), fields)).toMatchObject(fields)
        const refusing = options(server, { refusedParameters: [param] })
        expect(() => build[asks](refusing, fields)).toThrow(unsupported(param))
      }
    })
  })
})

describe('the bound of tokens', () => {
  const tokens = (server: ModelServer | undefined, fields: Record<string, unknown>) => {
    const { max_tokens, max_completion_tokens } = build.chat(options(server), fields)
    return [max_tokens, max_completion_tokens]
  }

  it('goes to OpenAI as it came, to others as max_tokens', () => {
    expect(tokens('openai', { max_completion_tokens: 5 })).toEqual([undefined, 5])
    expect(tokens('openai', { max_tokens: 5 })).toEqual([5, undefined])
    for (const server of [undefined, 'llama.cpp', 'vllm', 'sglang', 'ollama'] as const) {
      expect(tokens(server, { max_completion_tokens: 5, max_tokens: 9 })).toEqual([5, undefined])
      expect(tokens(server, { max_tokens: 9 })).toEqual([9, undefined])
    }
  })

  it('is the gateway’s where none was asked for, for servers that take it as a ceiling', () => {
    for (const server of ['llama.cpp', 'ollama'] as const) expect(tokens(server, {})).toEqual([131_072, undefined])
    for (const server of [undefined, 'openai', 'vllm', 'sglang'] as const) {
      expect(tokens(server, {})).toEqual([undefined, undefined])
    }
  })

  it('of a completion is always there', () => {
    for (const server of MODEL_SERVERS) expect(build.completions(options(server), {})).toMatchObject({ max_tokens: 16 })
  })
})

describe('the fields about the cache', () => {
  const salt = `0x${'07'.repeat(32)}`
  it.each([
    ['openai', {}],
    ['ollama', {}],
    ['llama.cpp', { cache_prompt: false }],
    ['vllm', { cache_salt: salt }],
    ['sglang', { cache_salt: salt }],
    [undefined, { cache_prompt: false, cache_salt: salt }],
  ] as const)('are those that a server of the kind %s knows', (server, fields) => {
    const cacheOf = ({ cache_prompt, cache_salt }: Record<string, unknown>) =>
      Object.fromEntries(Object.entries({ cache_prompt, cache_salt }).filter(([, value]) => value !== undefined))
    for (const asks of ['chat', 'completions'] as const) {
      expect(cacheOf(build[asks](options(server), {}))).toEqual(fields)
      expect(cacheOf(build[asks](options(server, { cacheFields: false }), {}))).toEqual({})
    }
  })
})

describe('the finer points', () => {
  const image = (detail?: string) => ({
    messages: [
      {
        role: 'user',
        content: [{ type: 'image_url', image_url: { url: 'data:,', ...(detail === undefined ? {} : { detail }) } }],
      },
    ],
  })
  const strict = { tools: [{ type: 'function', function: { name: 'f', strict: true } }] }
  const custom = { tools: [{ type: 'custom', custom: { name: 'f' } }] }

  it.each([
    ['messages[0].content[0].image_url.detail', 'detail', image('low'), ['openai']],
    ['tools[0].function.strict', 'strict', strict, ['openai', 'llama.cpp', 'sglang']],
  ] as const)('%s are refused where a server would ignore them', (param, name, fields, honoured) => {
    for (const server of MODEL_SERVERS) {
      const chat = () => build.chat(options(server), fields)
      if ((honoured as readonly string[]).includes(server)) expect(chat()).toMatchObject(fields)
      else expect(chat).toThrow(unsupported(param))
      expect(build.chat(options(server, { acceptedParameters: [name] }), fields)).toMatchObject(fields)
    }
  })

  it('let through what asks for nothing special', () => {
    for (const server of MODEL_SERVERS) {
      expect(build.chat(options(server), image())).toMatchObject(image())
      expect(build.chat(options(server), image('auto'))).toMatchObject(image('auto'))
    }
  })

  it('pass on what a server might do otherwise by its own defaults', () => {
    const tools = [{ type: 'function', function: { name: 'f' } }]
    const fields = { presence_penalty: 0, frequency_penalty: 0, temperature: 1, tools, parallel_tool_calls: true }
    for (const server of [...MODEL_SERVERS, undefined])
      expect(build.chat(options(server), fields)).toMatchObject(fields)
  })

  it('refuse tools that only OpenAI knows', () => {
    expect(build.chat(options('openai'), custom)).toMatchObject(custom)
    for (const server of ['llama.cpp', 'vllm', 'sglang', 'ollama', undefined] as const) {
      expect(() => build.chat(options(server), custom)).toThrow(unsupported('tools[0].type'))
    }
  })

  it('refuse prompts that Ollama cannot take', () => {
    for (const prompt of [
      ['a', 'b'],
      [1, 2],
    ]) {
      expect(() => build.completions(options('ollama'), { prompt })).toThrow(unsupported('prompt'))
      expect(build.completions(options('vllm'), { prompt })).toMatchObject({ prompt })
    }
    expect(build.completions(options('ollama'), { prompt: ['a'] })).toMatchObject({ prompt: 'a' })
  })
})
