/** Every resource that costs something, asked for by the unmodified OpenAI client, in front of an OpenAI-compatible model server. @module */
import OpenAI, { BadRequestError, NotFoundError } from 'openai'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { decodeUtf8 } from '#protocol/bytes.ts'
import { readAnswer } from '#protocol/receipt/answer.ts'
import type { ReceiptMessage } from '#protocol/wire/receiptFile.ts'
import { EMBEDDING, JSON_WORDS } from '../test/support/modelAnswers.ts'
import {
  COMPLETION_TOKENS,
  type ModelServer,
  type SeenRequest,
  startModelServer,
  TEST_ANSWER,
} from '../test/support/modelServer.ts'
import {
  type Ask,
  expectVerified,
  type SealedTestAnswer,
  send,
  startGateway,
  type TestGateway,
} from '../test/support/sealedTarget.ts'
import type { ModelServer as Kind } from './backends/modelServers.ts'
import { createOpenaiBackend } from './backends/openai.ts'

let server: ModelServer
beforeAll(async () => {
  server = await startModelServer()
})
afterAll(() => server.close())

let last: { ask: Ask; answer: SealedTestAnswer } | undefined
beforeEach(() => {
  last = undefined
})

type Client = { readonly openai: OpenAI; readonly gateway: TestGateway }

/** The OpenAI client over a fetch that seals; every answer's receipt is to be checked by `lastReceipt`. */
function connect(kind: Kind = 'vllm'): Client {
  const backend = createOpenaiBackend({
    url: server.url,
    models: [{ name: 'demo', upstreamName: 'upstream' }],
    claim: 'operator',
    server: kind,
    randomBytes: (length) => new Uint8Array(length),
  })
  const gateway = startGateway(backend)
  const fetch = async (input: string | URL | Request, init: RequestInit = {}): Promise<Response> => {
    const { pathname } = new URL(input instanceof Request ? input.url : input)
    const ask: Ask = {
      method: init.method ?? 'GET',
      path: pathname,
      ...(typeof init.body === 'string' ? { text: init.body } : {}),
    }
    const answer = await send(gateway, ask)
    last = { ask, answer }
    const type = answer.text.startsWith('data: ') ? 'text/event-stream' : 'application/json'
    return new Response(answer.body as Uint8Array<ArrayBuffer>, {
      status: answer.status,
      headers: { 'content-type': type },
    })
  }
  const openai = new OpenAI({ baseURL: 'https://sealed.invalid/v1', apiKey: 'none', fetch, maxRetries: 0 })
  return { openai, gateway }
}

/** The verified receipt of the last answer, and what it says the answer said. */
async function lastReceipt(): Promise<ReceiptMessage & { output: string; toolCalls: string }> {
  if (last === undefined) throw new Error('expected an answer')
  const { ask, answer } = last
  const receipt = await expectVerified(answer, ask)
  const type = answer.text.startsWith('data: ') ? 'text/event-stream' : 'application/json'
  const { output, toolCalls } = readAnswer(answer.body, type)
  return { ...receipt, output: decodeUtf8(output), toolCalls: decodeUtf8(toolCalls) }
}

function lastSeen(): SeenRequest {
  const seen = server.seen.at(-1)
  if (seen === undefined) throw new Error('expected a request')
  return seen
}

const user = (content: OpenAI.ChatCompletionUserMessageParam['content']) => ({ role: 'user', content }) as const
const ASKED = { model: 'demo', messages: [user('hi')] }
const tool = (name: string) => ({ type: 'function', function: { name, parameters: { type: 'object' } } }) as const

describe('a chat', () => {
  test('calls tools, several at once, their arguments in fragments', async () => {
    const { openai } = connect()
    const tools = [tool('weather'), tool('time')]
    const asked = { ...ASKED, tools, tool_choice: 'required' } as const
    const whole = await openai.chat.completions.create(asked)
    const calls = ['weather', 'time'].map((name, i) => ({
      id: `call_${i}`,
      type: 'function',
      function: { name, arguments: '{"city":"Lima"}' },
    }))
    expect(whole.choices[0]).toMatchObject({
      finish_reason: 'tool_calls',
      message: { content: null, tool_calls: calls },
    })
    expect(await lastReceipt()).toMatchObject({
      public: { outcome: 'toolCalls' },
      output: '',
      toolCalls: `${JSON.stringify(calls)}\n`,
    })
    expect(lastSeen().body).toMatchObject({ tools, tool_choice: 'required' })

    const stream = await openai.chat.completions.create({ ...asked, stream: true })
    const fragments: string[] = []
    for await (const { choices } of stream) {
      for (const call of choices[0]?.delta.tool_calls ?? [])
        fragments[call.index] = `${fragments[call.index] ?? ''}${call.function?.arguments}`
    }
    expect(fragments).toEqual(['{"city":"Lima"}', '{"city":"Lima"}'])
    expect((await lastReceipt()).toolCalls.split('\n')).toHaveLength(9)
  })

  test('calls the one tool that was chosen, and one alone where calls may not be parallel', async () => {
    const { openai } = connect()
    const tools = [tool('weather'), tool('time')]
    const chosen = { type: 'function', function: { name: 'time' } } as const
    const [named, single] = [
      await openai.chat.completions.create({ ...ASKED, tools, tool_choice: chosen }),
      await openai.chat.completions.create({ ...ASKED, tools, parallel_tool_calls: false }),
    ]
    const names = [named, single].map(({ choices }) =>
      choices[0]?.message.tool_calls?.map((call) => 'function' in call && call.function.name),
    )
    expect(names).toEqual([['time'], ['weather']])
  })

  test.each([
    { type: 'json_object' },
    { type: 'json_schema', json_schema: { name: 'a', strict: true, schema: { type: 'object' } } },
  ] as const)('answers in the format %j', async (format) => {
    const { openai } = connect()
    const { choices } = await openai.chat.completions.create({ ...ASKED, response_format: format })
    expect(choices[0]?.message.content).toBe(JSON_WORDS.join(''))
    expect(lastSeen().body.response_format).toEqual(format)
    expect((await lastReceipt()).output).toBe(JSON_WORDS.join(''))
  })

  test('passes an image on that stands in the request', async () => {
    const { openai } = connect()
    const image = { type: 'image_url', image_url: { url: 'data:image/png;base64,iVBORw0KGgo=' } } as const
    await openai.chat.completions.create({ model: 'demo', messages: [user([{ type: 'text', text: 'What?' }, image])] })
    expect(lastSeen().body.messages).toEqual([user([{ type: 'text', text: 'What?' }, image])])
    await lastReceipt()
  })

  test('fetches no image, and says why', async () => {
    const { openai } = connect()
    const asked = server.seen.length
    const image = { type: 'image_url', image_url: { url: 'http://127.0.0.1:1/a.png' } } as const
    const refused = openai.chat.completions.create({ model: 'demo', messages: [user([image])] })
    await expect(refused).rejects.toBeInstanceOf(BadRequestError)
    await expect(refused).rejects.toMatchObject({
      code: 'unsupported_parameter',
      param: 'messages[0].content[0].image_url',
      message: expect.stringContaining('their host would learn that you ask about it'),
    })
    expect(server.seen).toHaveLength(asked)
  })

  test('has log probabilities and several choices, whole and streamed', async () => {
    const { openai } = connect()
    const asked = { ...ASKED, n: 2, logprobs: true, top_logprobs: 3, seed: 7, stop: ' on', temperature: 0.5 }
    const { choices, usage } = await openai.chat.completions.create(asked)
    expect(choices.map(({ index }) => index)).toEqual([0, 1])
    for (const { message, logprobs, finish_reason: reason } of choices) {
      expect([message.content, reason]).toEqual(['Nothing that is sealed is read', 'stop'])
      expect(logprobs?.content).toHaveLength(6)
      expect(logprobs?.content?.[5]).toMatchObject({ token: ' read', logprob: -0.5, top_logprobs: [{}, {}, {}] })
    }
    expect(usage).toEqual({ prompt_tokens: 9, completion_tokens: 12, total_tokens: 21 })
    expect(lastSeen().body).toMatchObject({
      n: 2,
      logprobs: true,
      top_logprobs: 3,
      seed: 7,
      stop: ' on',
      temperature: 0.5,
    })
    expect(await lastReceipt()).toMatchObject({
      output: 'Nothing that is sealed is read',
      private: { promptTokens: 9n, completionTokens: 12n, fee: 13n },
    })
    const tokens = [0, 0]
    for await (const chunk of await openai.chat.completions.create({ ...asked, stream: true })) {
      for (const { index, logprobs } of chunk.choices)
        tokens[index] = (tokens[index] ?? 0) + (logprobs?.content?.length ?? 0)
    }
    expect(tokens).toEqual([6, 6])
  })

  test('lets nobody behind the gateway know who asks', async () => {
    const { openai } = connect('openai')
    const who = { user: 'me', safety_identifier: 'me', metadata: { me: 'me' }, prompt_cache_key: 'me', store: false }
    await openai.chat.completions.create({ ...ASKED, ...who, service_tier: 'auto' })
    expect(lastSeen().body).toEqual({
      model: 'upstream',
      messages: ASKED.messages,
      stream: true,
      stream_options: { include_usage: true },
    })
    await lastReceipt()
  })
})

describe('a completion', () => {
  test('goes on with one text, for 16 tokens unless told', async () => {
    const { openai } = connect()
    const whole = await openai.completions.create({ model: 'demo', prompt: 'Once' })
    expect(whole).toMatchObject({
      object: 'text_completion',
      model: 'demo',
      choices: [{ index: 0, text: TEST_ANSWER, logprobs: null, finish_reason: 'stop' }],
      usage: { prompt_tokens: 9, completion_tokens: COMPLETION_TOKENS },
    })
    expect(whole.id).toMatch(/^cmpl-/)
    expect(lastSeen().body).toMatchObject({ prompt: 'Once', max_tokens: 16 })
    expect(await lastReceipt()).toMatchObject({ output: TEST_ANSWER, public: { outcome: 'complete' } })
  })

  test('streams, and its receipt commits to the text', async () => {
    const { openai } = connect()
    const options = { include_usage: true }
    const asked = { model: 'demo', prompt: 'Once', max_tokens: 4, stream: true, stream_options: options } as const
    let text = ''
    let tokens: number | undefined
    for await (const chunk of await openai.completions.create(asked)) {
      text += chunk.choices[0]?.text ?? ''
      tokens = chunk.usage?.completion_tokens ?? tokens
    }
    expect([text, tokens]).toEqual(['Nothing that is sealed', 4])
    const receipt = await lastReceipt()
    expect(receipt).toMatchObject({ output: text, public: { outcome: 'length' }, private: { fee: 5n } })
  })

  test.each([
    ['several texts', ['One', 'Two'], 'One'],
    ['tokens', [1, 2, 3], '1,2,3'],
    ['several lists of tokens', [[1, 2], [3]], '1,2'],
  ])('takes %s, and echoes', async (_, prompt, echoed) => {
    const { openai } = connect()
    const { choices } = await openai.completions.create({
      model: 'demo',
      prompt,
      n: 2,
      echo: true,
      max_tokens: 2,
      logprobs: 1,
    })
    expect(choices).toHaveLength(typeof prompt[0] === 'number' ? 2 : 4)
    expect(choices[0]).toMatchObject({
      text: `${echoed}Nothing that`,
      logprobs: { tokens: [echoed, 'Nothing', ' that'] },
    })
    expect(lastSeen().body).toMatchObject({ prompt, n: 2, echo: true, logprobs: 1 })
    expect((await lastReceipt()).output).toBe(`${echoed}Nothing that`)
  })

  test('takes the best of several candidates, and a suffix', async () => {
    const { openai } = connect('openai')
    const best = await openai.completions.create({ model: 'demo', prompt: 'Once', best_of: 3, max_tokens: 2 })
    expect(best).toMatchObject({ choices: [{ text: 'Nothing that' }], usage: { completion_tokens: 6 } })
    expect(lastSeen().body).toMatchObject({ best_of: 3 })
    expect(lastSeen().body).not.toHaveProperty('stream')
    expect(await lastReceipt()).toMatchObject({ private: { fee: 7n }, output: 'Nothing that' })
    const { choices } = await openai.completions.create({ model: 'demo', prompt: 'Once', suffix: 'end', max_tokens: 1 })
    expect(choices[0]?.text).toBe('Nothingend')
    const streamed = openai.completions.create({ model: 'demo', prompt: 'Once', best_of: 3, stream: true })
    await expect(streamed).rejects.toMatchObject({ status: 400, param: 'best_of' })
  })
})

describe('embeddings', () => {
  test('come for one text and for several, in order, with nothing written', async () => {
    const { openai } = connect()
    // Asked for as base64 by this client unless told.
    const one = await openai.embeddings.create({ model: 'demo', input: 'Hello' })
    expect(one.data).toEqual([{ object: 'embedding', index: 0, embedding: EMBEDDING }])
    expect(lastSeen().body).toEqual({ model: 'upstream', input: 'Hello', encoding_format: 'float' })
    const receipt = await lastReceipt()
    expect(receipt).toMatchObject({
      output: '',
      public: { outcome: 'complete' },
      private: { promptTokens: 5n, completionTokens: 0n, fee: 1n },
    })
    const many = await openai.embeddings.create({ model: 'demo', input: ['a', 'b', 'c'], encoding_format: 'float' })
    expect(many).toMatchObject({ object: 'list', model: 'demo', usage: { prompt_tokens: 3, total_tokens: 3 } })
    expect(many.data.map(({ index, embedding }) => [index, embedding])).toEqual([0, 1, 2].map((i) => [i, EMBEDDING]))
    await lastReceipt()
  })

  test('come for tokens, and with as many dimensions as asked for', async () => {
    const { openai } = connect()
    const { data } = await openai.embeddings.create({ model: 'demo', input: [[1, 2], [3]], dimensions: 2 })
    expect(data.map(({ embedding }) => embedding)).toEqual([EMBEDDING.slice(0, 2), EMBEDDING.slice(0, 2)])
    expect(lastSeen().body).toMatchObject({ input: [[1, 2], [3]], dimensions: 2 })
    await lastReceipt()
  })

  test('of other dimensions than asked for are refused, and cost nothing', async () => {
    const { openai, gateway } = connect()
    const wrong = openai.embeddings.create({ model: 'demo', input: 'x', dimensions: 5 })
    await expect(wrong).rejects.toMatchObject({ status: 502, code: 'upstream_malformed' })
    expect([gateway.log.size, gateway.target.openAnswers]).toEqual([0, 0])
  })
})

describe('a refusal', () => {
  test('of the model server reads as OpenAI would say it', async () => {
    const { openai, gateway } = connect()
    server.refuseNext(400, { error: { message: 'upstream: too hot', type: 'x', param: 'temperature', code: null } })
    const hot = openai.completions.create({ model: 'demo', prompt: 'x', temperature: 9 })
    await expect(hot).rejects.toMatchObject({ status: 400, code: 'invalid_request', param: 'temperature' })
    await expect(hot).rejects.toThrow('demo: too hot')
    server.refuseNext(400, { error: { message: "This model's maximum context length is 8 tokens" } })
    const long = openai.embeddings.create({ model: 'demo', input: 'x' })
    await expect(long).rejects.toMatchObject({ code: 'context_length_exceeded', param: 'input' })
    expect(gateway.log.size).toBe(0)
  })

  test('of an unknown model, and of what this kind of server would ignore', async () => {
    const { openai } = connect('ollama')
    await expect(openai.models.retrieve('none/such')).rejects.toBeInstanceOf(NotFoundError)
    await expect(openai.embeddings.create({ model: 'none', input: 'x' })).rejects.toBeInstanceOf(NotFoundError)
    const asked = server.seen.length
    const ignored = openai.chat.completions.create({ ...ASKED, n: 2 })
    await expect(ignored).rejects.toMatchObject({ status: 400, code: 'unsupported_parameter', param: 'n' })
    await expect(ignored).rejects.toThrow("'n' is not supported by this model: its server would ignore it")
    expect(server.seen).toHaveLength(asked)
    const { data } = await openai.models.list()
    expect(data).toMatchObject([{ id: 'demo', source: 'operator', price: { request_units: '1' } }])
  })

  test('by a server that is not there is a 503 inside the seal, for each resource', async () => {
    const backend = createOpenaiBackend({
      url: 'http://127.0.0.1:9/v1',
      models: [{ name: 'demo' }],
      claim: 'operator',
      randomBytes: (length) => new Uint8Array(length),
    })
    const gateway = startGateway(backend)
    const bodies = { 'chat/completions': ASKED, completions: { prompt: 'x' }, embeddings: { input: 'x' } }
    for (const [path, body] of Object.entries(bodies)) {
      const { status, text } = await send(gateway, { path: `/v1/${path}`, body: { model: 'demo', ...body } })
      expect([status, JSON.parse(text).error.code]).toEqual([503, 'upstream_unavailable'])
    }
    expect([gateway.log.size, gateway.target.openAnswers]).toEqual([0, 0])
  })
})

test('a stream that the model server breaks off is cut for the client, and costs nothing', async () => {
  const { openai, gateway } = connect()
  const pause = server.pauseAfter(3)
  const cut = openai.completions.create({ model: 'demo', prompt: 'x', stream: true })
  await pause.reached
  server.hangUp()
  await expect(cut).rejects.toMatchObject({ cause: { code: 'TRUNCATED' } })
  expect([gateway.log.size, gateway.target.openAnswers]).toEqual([0, 0])
})
