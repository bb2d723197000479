import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { parseChatRequest } from '../requests/chatRequest.ts'
import type { ChatRequest } from '../requests/request.ts'
import type { AnswerEvent } from './backend.ts'
import { BackendError } from './backendError.ts'
import { createOpenaiBackend, type OpenaiBackendOptions } from './openai.ts'

/** What the model server does with a request. */
type Answer = (response: ServerResponse) => void

let server: Server
let answer: Answer
const seen: { headers: IncomingMessage['headers']; body: Record<string, unknown> }[] = []
const rejections: unknown[] = []
const onRejection = (reason: unknown): void => void rejections.push(reason)

beforeEach(async () => {
  seen.length = 0
  rejections.length = 0
  process.on('unhandledRejection', onRejection)
  server = createServer((request, response) => {
    let text = ''
    request.on('data', (part: Buffer) => {
      text += part.toString()
    })
    request.on('end', () => {
      const body = JSON.parse(text) as Record<string, unknown>
      seen.push({ headers: request.headers, body })
      answer(response)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
})

afterEach(async () => {
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
  // A rejection nobody handles is reported once the queue of microtasks is empty.
  await new Promise((resolve) => setImmediate(resolve))
  process.off('unhandledRejection', onRejection)
  expect(rejections).toEqual([])
})

function backend(options: Partial<OpenaiBackendOptions> = {}): ReturnType<typeof createOpenaiBackend> {
  let call = 0
  return createOpenaiBackend({
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/`,
    apiKey: 'upstream-key',
    models: [{ name: 'public-name', upstreamName: '/models/secret-file.gguf' }],
    claim: 'operator',
    randomBytes: (length) => new Uint8Array(length).fill(++call),
    ...options,
  })
}

function requestWith(fields: Record<string, unknown>): ChatRequest {
  return parseChatRequest({ model: 'public-name', messages: [{ role: 'user', content: 'hello' }], ...fields })
}
const request = requestWith({})

const never = new AbortController().signal

async function collect(parameters: Record<string, unknown> = {}, options = {}): Promise<AnswerEvent[]> {
  return toArray(backend(options).chat(requestWith(parameters), never))
}

async function toArray(events: AsyncIterable<AnswerEvent>): Promise<AnswerEvent[]> {
  const all: AnswerEvent[] = []
  for await (const event of events) all.push(event)
  return all
}

async function refusal(parameters: Record<string, unknown> = {}, options = {}): Promise<BackendError> {
  try {
    await collect(parameters, options)
  } catch (error) {
    if (error instanceof BackendError) return error
    throw error
  }
  throw new Error('expected a refusal')
}

const event = (value: unknown): string => `data: ${JSON.stringify(value)}\n\n`
const piece = (content: string, index = 0): string => event({ choices: [{ index, delta: { content } }] })
const end = (reason = 'stop', index = 0): string => event({ choices: [{ index, delta: {}, finish_reason: reason }] })
const counted = event({ choices: [], usage: { prompt_tokens: 5, completion_tokens: 2 } })
const DONE = 'data: [DONE]\n\n'

function stream(...parts: string[]): Answer {
  return (response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    for (const part of parts) response.write(part)
    response.end()
  }
}

function status(code: number, body: string): Answer {
  return (response) => {
    response.writeHead(code, { 'content-type': 'application/json' })
    response.end(body)
  }
}

const text = (events: AnswerEvent[]): string => events.map((e) => (e.kind === 'delta' ? e.content : '')).join('')

describe('what the model server gets', () => {
  beforeEach(() => {
    answer = stream(piece('x'), end(), counted, DONE)
  })

  it('is always asked for a stream with usage, under its own name for the model', async () => {
    await collect({ stream_options: { include_usage: false }, temperature: 0.3, top_p: 0.5 })
    expect(seen[0]?.body).toMatchObject({
      model: '/models/secret-file.gguf',
      messages: request.messages,
      stream: true,
      stream_options: { include_usage: true },
      temperature: 0.3,
      top_p: 0.5,
    })
  })

  it('has a fresh cache salt and no cache of prompts, whatever the client wanted', async () => {
    const server = backend()
    const cached = requestWith({ cache_prompt: true, cache_salt: 'shared', prompt_cache_key: 'mine' })
    await toArray(server.chat(cached, never))
    await toArray(server.chat(cached, never))
    expect(seen.map(({ body }) => body.cache_prompt)).toEqual([false, false])
    expect(seen.map(({ body }) => body.cache_salt)).toEqual([`0x${'01'.repeat(32)}`, `0x${'02'.repeat(32)}`])
    expect(seen[0]?.body).not.toHaveProperty('prompt_cache_key')
  })

  it('has no cache fields where the host would refuse them', async () => {
    await collect({ cache_salt: 'x' }, { cacheFields: false })
    expect(seen[0]?.body).not.toHaveProperty('cache_salt')
    expect(seen[0]?.body).not.toHaveProperty('cache_prompt')
  })

  it('has our key and our headers, and nothing else but what HTTP needs', async () => {
    await collect()
    const { authorization, host, connection, ...headers } = seen[0]?.headers ?? {}
    expect(authorization).toBe('Bearer upstream-key')
    expect([host, connection]).toEqual([expect.stringContaining('127.0.0.1'), 'keep-alive'])
    expect(headers).toEqual({
      accept: 'text/event-stream',
      'accept-encoding': 'identity',
      'content-length': expect.any(String),
      'content-type': 'application/json',
      'user-agent': 'sealpath-gateway',
    })
  })

  it.each(['id_slot', 'kv_transfer_params', 'rid', 'return_progress', 'timings_per_token'])(
    'is never asked with %s, which reaches into what users share',
    async (param) => {
      expect(await refusal({ [param]: 1 })).toMatchObject({ status: 400, code: 'UNSUPPORTED_PARAMETER', param })
      expect(seen).toHaveLength(0)
      await collect({ [param]: null })
      expect(seen[0]?.body).not.toHaveProperty(param)
    },
  )

  it('is not asked for a model that is not listed', async () => {
    const chat = toArray(backend().chat({ ...request, model: '/models/secret-file.gguf' }, never))
    await expect(chat).rejects.toMatchObject({ status: 404, code: 'MODEL_NOT_FOUND' })
    expect(seen).toHaveLength(0)
  })
})

describe('the events of an answer', () => {
  it('are the same however the bytes are cut and the lines end', async () => {
    const parts = [piece('Grüße '), ': alive\n\n', piece('😀'), end('length'), counted, DONE].join('')
    const expected: AnswerEvent[] = [
      {
        kind: 'delta',
        choice: 0,
        content: 'Grüße ',
        raw: { index: 0, delta: { content: 'Grüße ' }, finish_reason: null },
      },
      { kind: 'delta', choice: 0, content: '😀', raw: { index: 0, delta: { content: '😀' }, finish_reason: null } },
      { kind: 'finish', choice: 0, reason: 'length', raw: { index: 0, delta: {}, finish_reason: 'length' } },
      { kind: 'usage', promptTokens: 5, completionTokens: 2, reported: true },
    ]
    for (const whole of [parts, parts.replaceAll('\n', '\r\n')]) {
      answer = async (response) => {
        response.writeHead(200)
        for (const byte of Buffer.from(whole)) {
          response.write(Uint8Array.of(byte))
          await new Promise((resolve) => setImmediate(resolve))
        }
        response.end()
      }
      expect(await collect()).toEqual(expected)
    }
  })

  it('carry one delta of 200 kB whole', async () => {
    answer = stream(piece('x'.repeat(200_000)), end(), counted, DONE)
    expect(text(await collect())).toHaveLength(200_000)
  })

  it('carry tool calls and log probabilities as they came, and nothing of cache or timing', async () => {
    const call = { index: 0, id: 'c', type: 'function', function: { name: 'f', arguments: '{}' } }
    const choice = { index: 0, delta: { tool_calls: [call] }, logprobs: { content: [] }, timings: { cache_n: 59 } }
    const usage = { prompt_tokens: 60, completion_tokens: 1, prompt_tokens_details: { cached_tokens: 59 } }
    answer = stream(
      event({
        choices: [choice],
        timings: { prompt_ms: 1 },
        system_fingerprint: 'b1',
        model: '/models/secret-file.gguf',
      }),
      end('tool_calls'),
      event({ choices: [], usage, timings: { prompt_ms: 1 } }),
      DONE,
    )
    const events = await collect()
    expect(events[0]).toEqual({
      kind: 'delta',
      choice: 0,
      content: '',
      raw: { index: 0, delta: { tool_calls: [call] }, logprobs: { content: [] }, finish_reason: null },
    })
    expect(events[1]).toMatchObject({ kind: 'finish', reason: 'tool_calls' })
    expect(JSON.stringify(events)).not.toMatch(/cache|timings|secret|59|b1/)
  })

  it('split a chunk that has both the last words and the reason, without repeating either', async () => {
    const last = {
      index: 0,
      delta: { content: 'bye' },
      finish_reason: 'stop',
      logprobs: { content: [1] },
      stop_reason: 9,
    }
    answer = stream(event({ choices: [last] }), counted, DONE)
    expect((await collect()).slice(0, 2)).toEqual([
      { kind: 'delta', choice: 0, content: 'bye', raw: { ...last, finish_reason: null } },
      {
        kind: 'finish',
        choice: 0,
        reason: 'stop',
        raw: { index: 0, delta: {}, finish_reason: 'stop', logprobs: null, stop_reason: 9 },
      },
    ])
  })

  it('count continuous usage once, by its last value', async () => {
    const running = (n: number): string =>
      event({ choices: [{ index: 0, delta: { content: 'x' } }], usage: { prompt_tokens: 7, completion_tokens: n } })
    answer = stream(running(1), running(2), running(3), end(), DONE)
    expect((await collect()).filter(({ kind }) => kind === 'usage')).toEqual([
      { kind: 'usage', promptTokens: 7, completionTokens: 3, reported: true },
    ])
  })

  it('mark usage as an estimate when the server reports none', async () => {
    answer = stream(
      event({ choices: [{ index: 0, delta: { role: 'assistant' } }] }),
      piece('a'),
      piece('b'),
      end(),
      DONE,
    )
    expect((await collect()).at(-1)).toMatchObject({ kind: 'usage', completionTokens: 2, reported: false })
  })

  it('tell the choices of n > 1 apart', async () => {
    answer = stream(piece('a', 0), piece('b', 1), end('stop', 0), end('stop', 1), counted, DONE)
    const events = await collect({ n: 2 }, { server: 'vllm' })
    expect(events.map((e) => ('choice' in e ? `${e.kind}${e.choice}` : e.kind))).toEqual([
      'delta0',
      'delta1',
      'finish0',
      'finish1',
      'usage',
    ])
  })
})

describe('a refusal of the model server', () => {
  const error = (fields: Record<string, unknown>): string => JSON.stringify({ error: fields })

  it.each([
    [400, error({ message: 'bad top_p', type: 'x', param: 'top_p' }), 400, 'INVALID_REQUEST', 'bad top_p'],
    [422, '{"error":"no such role"}', 400, 'INVALID_REQUEST', 'no such role'],
    [400, 'nonsense', 400, 'INVALID_REQUEST', 'the model server refused the request'],
    [
      400,
      error({ message: "This model's maximum context length is 8 tokens" }),
      400,
      'CONTEXT_LENGTH_EXCEEDED',
      /8 tokens/,
    ],
    [500, error({ code: 'context_length_exceeded' }), 400, 'CONTEXT_LENGTH_EXCEEDED', /exceeds the context/],
    [429, error({ message: 'org-123 is over its quota' }), 429, 'RATE_LIMITED', /^the model server is at its limit/],
    [503, error({ message: 'Loading model' }), 503, 'UPSTREAM_UNAVAILABLE', /^the model server is not ready/],
    [
      401,
      error({ message: 'Invalid API Key upstream-key' }),
      502,
      'UPSTREAM_REFUSED',
      /^the model server refused the gateway/,
    ],
    [
      404,
      error({ message: 'no /models/secret-file.gguf' }),
      502,
      'UPSTREAM_REFUSED',
      /^the model server refused the gateway/,
    ],
    [
      500,
      error({ message: 'Traceback in /srv/model' }),
      502,
      'UPSTREAM_REFUSED',
      /^the model server refused the gateway/,
    ],
    [200, '', 502, 'UPSTREAM_CUT', /before its answer was complete/],
  ])('of status %i and body %s becomes %i %s', async (code, body, expectedStatus, expectedCode, message) => {
    answer = status(code, body)
    const refused = await refusal()
    expect(refused).toMatchObject({ status: expectedStatus, code: expectedCode })
    expect(refused.message).toMatch(message)
  })

  it('is not followed to another address', async () => {
    answer = (response) => {
      response.writeHead(302, { location: '/elsewhere' })
      response.end()
    }
    expect(await refusal()).toMatchObject({ status: 502, code: 'UPSTREAM_REFUSED' })
    expect(seen).toHaveLength(1)
  })

  it('names the public model, not the file', async () => {
    answer = status(400, error({ message: '/models/secret-file.gguf has no vision' }))
    expect((await refusal()).message).toBe('public-name has no vision')
  })

  it('is bounded in length', async () => {
    answer = status(400, error({ message: 'x'.repeat(5_000) }))
    expect((await refusal()).message).toHaveLength(500)
    answer = status(400, error({ message: 'x'.repeat(500_000) }))
    expect((await refusal()).message).toBe('the model server refused the request')
  })

  it('inside a stream that has not begun counts like any other', async () => {
    answer = stream(event({ error: { code: 400, message: 'too hot', type: 'x' } }), DONE)
    expect(await refusal()).toMatchObject({ status: 400, code: 'INVALID_REQUEST', message: 'too hot' })
  })

  it('is a 503 when nobody listens', async () => {
    const closed = createServer()
    await new Promise<void>((resolve) => closed.listen(0, '127.0.0.1', resolve))
    const url = `http://127.0.0.1:${(closed.address() as AddressInfo).port}/v1`
    await new Promise((resolve) => closed.close(resolve))
    expect(await refusal({}, { url })).toMatchObject({ status: 503, code: 'UPSTREAM_UNAVAILABLE' })
  })

  it('is a 503 when the server says nothing for too long', async () => {
    answer = () => {}
    const refused = await refusal({}, { idleTimeoutMs: 50 })
    expect(refused).toMatchObject({
      status: 503,
      code: 'UPSTREAM_UNAVAILABLE',
      message: expect.stringMatching(/in time/),
    })
  })
})

describe('an answer that is cut', () => {
  const cuts: [string, Answer, number?][] = [
    ['by the connection', (response) => void response.write(piece('x'), () => response.destroy())],
    ['before any reason to finish', stream(piece('x'))],
    ['after the reason, before [DONE]', stream(piece('x'), end(), counted)],
    ['by a [DONE] without a reason', stream(piece('x'), DONE)],
    ['in one of two choices', stream(piece('x', 0), piece('y', 1), end('stop', 0), counted, DONE), 2],
    ['by a choice too many', stream(piece('x', 0), piece('z', 1), end('stop', 0), end('stop', 1), counted, DONE)],
    ['by an error inside the stream', stream(piece('x'), event({ error: { message: 'out of memory' } }), DONE)],
    ['by bytes that are no JSON', stream(piece('x'), 'data: {"choi\n\n', DONE)],
    ['by an event over the bound', stream(piece('x'), piece('y'.repeat(2_000)), end(), DONE)],
    ['by silence', (response) => void response.write(piece('x'))],
  ]

  it.each(cuts)('%s throws UPSTREAM_CUT after the events that came', async (_, cut, n = 1) => {
    answer = cut
    const events: AnswerEvent[] = []
    const chat = async (): Promise<void> => {
      const asked = requestWith({ n })
      const options = { eventCharsMax: 1_000, idleTimeoutMs: 2_000, server: 'vllm' } as const
      for await (const e of backend(options).chat(asked, never)) events.push(e)
    }
    await expect(chat()).rejects.toMatchObject({ status: 502, code: 'UPSTREAM_CUT' })
    expect(text(events)).toMatch(/^xy?$/)
    expect(events.filter(({ kind }) => kind === 'usage')).toEqual([])
  })

  it.each([
    ['no JSON', 'data: hello\n\n'],
    ['JSON that is no chunk', 'data: 7\n\n'],
    ['choices that are no list', event({ choices: 7 })],
    ['usage that is no count', event({ choices: [], usage: { prompt_tokens: -1, completion_tokens: 1 } })],
    ['an endless line', `data: ${'x'.repeat(2_000)}`],
  ])('before it began, by %s, throws UPSTREAM_MALFORMED', async (_, bytes) => {
    answer = stream(bytes)
    expect(await refusal({}, { eventCharsMax: 1_000 })).toMatchObject({ status: 502, code: 'UPSTREAM_MALFORMED' })
  })
})

describe('the connection of an answer', () => {
  it('serves the next one, although the response ends some time behind its last word', async () => {
    let connections = 0
    server.on('connection', () => connections++)
    const whole = [piece('x'), end(), counted, DONE].join('')
    let last: ServerResponse | undefined
    answer = (response) => {
      last = response
      response.write(whole)
    }
    for (let i = 0; i < 3; i++) {
      expect(text(await collect())).toBe('x')
      await new Promise<void>((resolve) => last?.end(resolve))
      // What is written on this machine is read in the next turns of the event loop.
      for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve))
    }
    expect(seen).toHaveLength(3)
    expect(connections).toBe(1)
  })

  it('is closed when the response does not end behind its last word', { timeout: 5_000 }, async () => {
    const hungUp = new Promise<void>((resolve) => {
      answer = (response) => {
        response.on('close', resolve)
        response.write([piece('x'), end(), counted, DONE].join(''))
      }
    })
    await collect()
    await hungUp
  })
})

describe('a client that leaves', () => {
  /** Sends one piece and then waits; `closed` settles when the gateway hangs up. */
  function waitForHangUp(): Promise<void> {
    return new Promise((resolve) => {
      answer = (response) => {
        response.on('close', resolve)
        response.writeHead(200)
        response.write(piece('x'))
      }
    })
  }

  it('cancels the model server by its signal, at once', async () => {
    const hungUp = waitForHangUp()
    const controller = new AbortController()
    const events = backend().chat(request, controller.signal)[Symbol.asyncIterator]()
    await events.next()
    const next = events.next()
    controller.abort(new Error('the client left'))
    await expect(next).rejects.toMatchObject({ status: 499, code: 'ABORTED' })
    await hungUp
  })

  it('cancels the model server by not reading on', async () => {
    const hungUp = waitForHangUp()
    for await (const e of backend().chat(request, never)) {
      expect(e).toMatchObject({ kind: 'delta', content: 'x' })
      break
    }
    await hungUp
  })

  it('cancels by both at the same time, and no rejection is left unhandled', async () => {
    const hungUp = waitForHangUp()
    const controller = new AbortController()
    for await (const _ of backend().chat(request, controller.signal)) {
      controller.abort()
      break
    }
    await hungUp
  })

  it('cancels before the server has answered, or before it was asked', async () => {
    const controller = new AbortController()
    answer = () => controller.abort()
    await expect(toArray(backend().chat(request, controller.signal))).rejects.toMatchObject({ code: 'ABORTED' })
    const late = toArray(backend().chat(request, AbortSignal.abort()))
    await expect(late).rejects.toMatchObject({ code: 'ABORTED' })
    expect(seen).toHaveLength(1)
  })
})

describe('the claim of a model', () => {
  it('takes the origin of a proxied one from the URL that TLS checks', () => {
    const models = backend({ url: 'https://api.example.com:8443/v1', claim: 'proxied' }).models
    const claim = { source: 'proxied', origin: 'api.example.com' }
    expect(models).toEqual([{ name: 'public-name', claim, serves: ['chat', 'completions'] }])
  })

  it('cannot be more than the URL carries', () => {
    expect(() => backend({ claim: 'proxied' })).toThrow(TypeError)
    expect(() => backend({ url: 'https://api.example.com/v1', claim: 'measured' })).toThrow(TypeError)
    expect(() => backend({ models: [] })).toThrow(TypeError)
    expect(backend({ claim: 'measured' }).models[0]?.claim).toEqual({ source: 'measured' })
  })

  it('stands beside the context, where that is known', () => {
    const models = [{ name: 'a', contextTokens: 8192 }, { name: 'b' }]
    expect(backend({ models }).models).toEqual([
      { name: 'a', contextTokens: 8192, claim: { source: 'operator' }, serves: ['chat', 'completions'] },
      { name: 'b', claim: { source: 'operator' }, serves: ['chat', 'completions'] },
    ])
  })

  it('stands beside what the model serves, which for a hosted one is chat unless told', () => {
    const models = [{ name: 'a' }, { name: 'b', serves: ['embeddings'] as const }]
    const served = backend({ models, server: 'openai' }).models.map(({ serves }) => serves)
    expect(served).toEqual([['chat'], ['embeddings']])
  })
})
