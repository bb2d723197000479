/**
 * The client as a new user tries it: the `openai` package, the Vercel AI SDK and LangChain, each plain, streaming and with a tool, over a network of
 * real processes. Every call ends with a verified receipt. @module
 */
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { type AIMessageChunk, type BaseMessage, HumanMessage, ToolMessage } from '@langchain/core/messages'
import { tool as langchainTool } from '@langchain/core/tools'
import { ChatOpenAI } from '@langchain/openai'
import { generateText, isStepCount, jsonSchema, streamText, tool } from 'ai'
import OpenAI from 'openai'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { connect, type SealedClient } from '../../offchain/sdk/connect.ts'
import type { SealedReceipt } from '../../offchain/sdk/sealedReceipt.ts'
import { type FreeNetwork, startFreeNetwork } from '../support/freeNetwork.ts'
import { startToolModel, TOOL_MODEL, type ToolModel } from '../support/toolModel.ts'

const WEATHER = 'What is the weather in Lima?'
const REPORT = '19 degrees and grey'
const CITY = {
  type: 'object',
  properties: { city: { type: 'string' } },
  required: ['city'],
  additionalProperties: false,
} as const

let model: ToolModel
let network: FreeNetwork
let sealed: SealedClient
const receipts: SealedReceipt[] = []

beforeAll(async () => {
  model = await startToolModel()
  network = await startFreeNetwork({ url: model.url, models: [TOOL_MODEL] })
  const { rpcUrl, relayUrl, registry } = network
  sealed = await connect({ rpcUrl, relayUrl, registry, onReceipt: (receipt) => void receipts.push(receipt) })
}, 180_000)

afterAll(async () => {
  await network?.stop()
  await model?.close()
})

beforeEach(() => {
  receipts.length = 0
})

/** So many answers were given, and each is proven: `outcomes` in order. */
function expectReceipts(...outcomes: readonly string[]): void {
  expect(receipts.map(({ file }) => file.public.outcome)).toEqual(outcomes)
  for (const { file } of receipts) {
    expect(file.public.enclave).toBe(sealed.gateway.enclave)
    expect(file.openings).toBeDefined()
  }
}

describe('the openai package', () => {
  const tools = [
    {
      type: 'function',
      function: { name: 'get_weather', description: 'The weather in a city', parameters: CITY },
    },
  ] as const
  const client = () => new OpenAI({ baseURL: sealed.baseURL, apiKey: 'none', fetch: sealed.fetch })
  const question = { role: 'user', content: WEATHER } as const

  it('answers', async () => {
    const messages = [{ role: 'user', content: 'hello' }] as const
    const { choices, usage } = await client().chat.completions.create({ model: TOOL_MODEL, messages: [...messages] })
    expect(choices[0]?.message.content).toBe('You said: hello')
    expect(usage?.total_tokens).toBe(10)
    expectReceipts('complete')
  })

  it('streams', async () => {
    const messages = [{ role: 'user', content: 'hello there' }] as const
    const stream = await client().chat.completions.create({ model: TOOL_MODEL, messages: [...messages], stream: true })
    const pieces: string[] = []
    for await (const { choices } of stream) pieces.push(choices[0]?.delta.content ?? '')
    expect(pieces.join('')).toBe('You said: hello there')
    expect(pieces.filter((piece) => piece !== '').length).toBeGreaterThan(1)
    expectReceipts('complete')
  })

  it('calls a tool and answers with its result', async () => {
    const ask = { model: TOOL_MODEL, tools: [...tools] }
    const asked = await client().chat.completions.create({ ...ask, messages: [question] })
    const message = asked.choices[0]?.message
    const [call] = message?.tool_calls ?? []
    expect(asked.choices[0]?.finish_reason).toBe('tool_calls')
    expect(call).toMatchObject({ type: 'function', function: { name: 'get_weather', arguments: '{"city":"Lima"}' } })
    if (message === undefined || call === undefined) throw new Error('expected a tool call')
    const result = { role: 'tool', tool_call_id: call.id, content: REPORT } as const
    const answered = await client().chat.completions.create({ ...ask, messages: [question, message, result] })
    expect(answered.choices[0]?.message.content).toBe(`The tool says: ${REPORT}`)
    expectReceipts('toolCalls', 'complete')
  })

  it('collects a tool call from a stream', async () => {
    const runner = client().chat.completions.stream({ model: TOOL_MODEL, tools: [...tools], messages: [question] })
    const { choices } = await runner.finalChatCompletion()
    expect(choices[0]?.message.tool_calls?.[0]).toMatchObject({ function: { arguments: '{"city":"Lima"}' } })
    expectReceipts('toolCalls')
  })

  it('is told what is wrong in the words that it knows', async () => {
    const asked = client().chat.completions.create({ model: 'unknown', messages: [question] })
    await expect(asked).rejects.toBeInstanceOf(OpenAI.NotFoundError)
    expect((await client().models.list()).data.map(({ id }) => id)).toEqual([TOOL_MODEL])
  })

  it('stops when it is told to, and has no receipt of what it did not read', async () => {
    const messages = [{ role: 'user', content: 'word '.repeat(2_000) }] as const
    const stream = await client().chat.completions.create({ model: TOOL_MODEL, messages: [...messages], stream: true })
    let pieces = 0
    for await (const _ of stream) if (++pieces > 3) break
    expect(pieces).toBe(4)
    expectReceipts()
  })
})

describe('the Vercel AI SDK', () => {
  const languageModel = () =>
    createOpenAICompatible({ name: 'sealpath', baseURL: sealed.baseURL, fetch: sealed.fetch, includeUsage: true })(
      TOOL_MODEL,
    )
  const weather = () =>
    tool({
      description: 'The weather in a city',
      inputSchema: jsonSchema<{ city: string }>({ ...CITY, required: [...CITY.required] }),
      execute: async ({ city }) => `${city}: ${REPORT}`,
    })

  it('answers', async () => {
    const { text, usage } = await generateText({ model: languageModel(), prompt: 'hello' })
    expect(text).toBe('You said: hello')
    expect(usage.totalTokens).toBe(10)
    expectReceipts('complete')
  })

  it('streams', async () => {
    const { textStream } = streamText({ model: languageModel(), prompt: 'hello there' })
    const pieces: string[] = []
    for await (const piece of textStream) pieces.push(piece)
    expect(pieces.join('')).toBe('You said: hello there')
    expect(pieces.length).toBeGreaterThan(1)
    expectReceipts('complete')
  })

  it('calls a tool and answers with its result', async () => {
    const tools = { get_weather: weather() }
    const ask = { model: languageModel(), tools, stopWhen: isStepCount(3), prompt: WEATHER }
    const { text, steps } = await generateText(ask)
    expect(steps[0]?.toolCalls).toMatchObject([{ toolName: 'get_weather', input: { city: 'Lima' } }])
    expect(text).toContain(`Lima: ${REPORT}`)
    expectReceipts('toolCalls', 'complete')
  })

  it('calls a tool amid a stream', async () => {
    const tools = { get_weather: weather() }
    const { text } = streamText({ model: languageModel(), tools, stopWhen: isStepCount(3), prompt: WEATHER })
    expect(await text).toContain(`Lima: ${REPORT}`)
    expectReceipts('toolCalls', 'complete')
  })
})

describe('LangChain', () => {
  const chat = () =>
    new ChatOpenAI({
      model: TOOL_MODEL,
      apiKey: 'none',
      configuration: { baseURL: sealed.baseURL, fetch: sealed.fetch },
    })
  const report = async ({ city }: { city: string }) => `${city}: ${REPORT}`
  const weather = langchainTool(report, {
    name: 'get_weather',
    description: 'The weather in a city',
    schema: { ...CITY, required: [...CITY.required] },
  })

  it('answers', async () => {
    const message = await chat().invoke('hello')
    expect(message.text).toBe('You said: hello')
    expect(message.usage_metadata).toMatchObject({ total_tokens: 10 })
    expectReceipts('complete')
  })

  it('streams', async () => {
    const pieces: string[] = []
    for await (const { text } of await chat().stream('hello there')) pieces.push(text)
    expect(pieces.join('')).toBe('You said: hello there')
    expect(pieces.filter((piece) => piece !== '').length).toBeGreaterThan(1)
    expectReceipts('complete')
  })

  it.each([true, false])('calls a tool and answers with its result, streaming: %s', async (streaming) => {
    const bound = chat().bindTools([weather])
    const question = new HumanMessage(WEATHER)
    const ask = async (messages: BaseMessage[]): Promise<AIMessageChunk> => {
      if (!streaming) return bound.invoke(messages)
      let whole: AIMessageChunk | undefined
      for await (const piece of await bound.stream(messages)) whole = whole?.concat(piece) ?? piece
      if (whole === undefined) throw new Error('expected an answer')
      return whole
    }
    const asked = await ask([question])
    expect(asked.tool_calls).toMatchObject([{ name: 'get_weather', args: { city: 'Lima' } }])
    const results = await Promise.all(
      (asked.tool_calls ?? []).map(
        async ({ id = '', args }) =>
          new ToolMessage({ tool_call_id: id, content: await report({ city: String(args.city) }) }),
      ),
    )
    const answered = await ask([question, asked, ...results])
    expect(answered.text).toBe(`The tool says: Lima: ${REPORT}`)
    expectReceipts('toolCalls', 'complete')
  })
})
