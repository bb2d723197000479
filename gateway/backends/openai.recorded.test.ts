import { existsSync, readFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { fromBase64 } from '#protocol/bytes.ts'
import { isRecord } from '#protocol/isRecord.ts'
import { isPaidPath } from '#protocol/requestCost.ts'
import { REQUEST_LIMITS } from '../requests/request.ts'
import { parseQuestion } from '../resources.ts'
import { createOpenaiBackend } from './openai.ts'

interface Exchange {
  readonly name: string
  readonly request: { readonly path: string; readonly body: unknown }
  readonly status: number
  readonly content_type: string
  readonly body: string
}

const file = new URL('../../../shared/vectors/openai-upstream/llama-server-debian-0.7.0.json', import.meta.url)
const exchanges: Exchange[] = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')).exchanges : []
if (exchanges.length === 0) console.log('skipped: the recorded exchanges of a llama-server are not here')

describe.skipIf(exchanges.length === 0)('exchanges recorded with a real llama-server', () => {
  let server: Server
  let recorded: Exchange | undefined

  beforeAll(async () => {
    server = createServer((request, response) => {
      request.resume()
      request.on('end', () => {
        response.writeHead(recorded?.status ?? 500, { 'content-type': recorded?.content_type })
        response.end(recorded?.body)
      })
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  })

  afterAll(async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })

  async function replay(name: string, added: Record<string, unknown> = {}): ReturnType<typeof run> {
    recorded = exchanges.find((exchange) => exchange.name === name)
    if (recorded === undefined) throw new Error(`expected a recorded exchange ${name}`)
    const { path, body } = recorded.request
    return run({ ...(isRecord(body) ? body : {}), ...added }, path)
  }

  async function run(
    body: unknown,
    path = '/v1/chat/completions',
  ): Promise<{ completion: unknown; chunks: Record<string, unknown>[] }> {
    const backend = createOpenaiBackend({
      url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
      models: [{ name: 'x', upstreamName: 'words.gguf' }],
      claim: 'operator',
      server: 'llama.cpp',
      acceptedParameters: ['best_of'],
      randomBytes: (length) => new Uint8Array(length),
    })
    if (!isPaidPath(path)) throw new Error(`expected a path of the gateway, got ${path}`)
    const question = parseQuestion(path, body, REQUEST_LIMITS)
    const frame = { id: 'ours', created: 1, model: 'x' }
    const builder = question.format.createBuilder()
    const chunks: Record<string, unknown>[] = []
    for await (const event of question.ask(backend, new AbortController().signal) ?? []) {
      builder.add(event)
      const chunk = question.format.chunk?.(frame, event)
      if (isRecord(chunk)) chunks.push(chunk)
    }
    return { completion: builder.build(frame), chunks }
  }

  it('give the whole answer, its usage, and neither file name, nor cached tokens, nor timings', async () => {
    const { completion, chunks } = await replay('chat-stream-usage')
    expect(completion).toEqual({
      id: 'ours',
      object: 'chat.completion',
      created: 1,
      model: 'x',
      choices: [{ index: 0, message: { role: 'assistant', content: ' had not live had' }, finish_reason: 'length' }],
      usage: { prompt_tokens: 33, completion_tokens: 4, total_tokens: 37 },
    })
    expect(chunks).toHaveLength(7)
    expect(JSON.stringify(chunks)).not.toMatch(/words|cached|timings|Debian/)
  })

  it('give the chunks that llama-server sent, but for the frame', async () => {
    const { chunks } = await replay('chat-stream')
    const sent = (recorded?.body ?? '')
      .split('\n\n')
      .filter((line) => line.startsWith('data: {'))
      .map((line): unknown => JSON.parse(line.slice(6)))
    const choices = sent.map((chunk) => (isRecord(chunk) ? chunk.choices : undefined))
    expect(chunks.slice(0, -1).map((chunk) => chunk.choices)).toEqual(choices)
    // This one was recorded without asking for usage: what we count ourselves agrees with its four tokens.
    expect(chunks.at(-1)).toMatchObject({ usage: { completion_tokens: 4 } })
  })

  it('give the text of a completion that came whole', async () => {
    const { completion } = await replay('completions', { best_of: 2 })
    expect(completion).toMatchObject({
      id: 'ours',
      object: 'text_completion',
      model: 'x',
      choices: [{ text: ' them be live water', index: 0, logprobs: null, finish_reason: 'length' }],
    })
    expect(JSON.stringify(completion)).not.toMatch(/words|cached|timings|Debian/)
  })

  it('give the vectors of embeddings, as numbers and as base64', async () => {
    const { data } = JSON.parse(exchanges.find(({ name }) => name === 'embeddings')?.body ?? '') as {
      data: { embedding: number[] }[]
    }
    const { completion } = await replay('embeddings')
    expect(completion).toEqual({
      object: 'list',
      model: 'x',
      data: data.map(({ embedding }, index) => ({ object: 'embedding', index, embedding })),
      usage: { prompt_tokens: 14, total_tokens: 14 },
    })
    const encoded = await replay('embeddings', { encoding_format: 'base64' })
    const [first] = (encoded.completion as { data: { embedding: string }[] }).data
    const bytes = fromBase64(first?.embedding ?? '')
    expect([...new Float32Array(bytes.buffer)]).toEqual([...new Float32Array(data[0]?.embedding ?? [])])
  })

  it.each([
    ['error-stream-context', 400, 'CONTEXT_LENGTH_EXCEEDED', /1024 tokens/],
    ['error-context', 400, 'CONTEXT_LENGTH_EXCEEDED', /6022 tokens/],
    ['error-unauthorized', 502, 'UPSTREAM_REFUSED', /refused the gateway/],
  ])('map %s to %i %s', async (name, status, code, message) => {
    await expect(replay(name)).rejects.toMatchObject({ status, code, message: expect.stringMatching(message) })
  })

  it.each([
    ['error-bad-json', 400, 'INVALID_REQUEST'],
    ['error-missing-messages', 400, 'INVALID_REQUEST'],
    ['not-found', 502, 'UPSTREAM_REFUSED'],
    ['chat', 502, 'UPSTREAM_CUT'],
  ])('map the answer %s to %i %s, whatever was asked', async (name, status, code) => {
    recorded = exchanges.find((exchange) => exchange.name === name)
    const asked = run({ model: 'x', messages: [{ role: 'user', content: 'hello there' }] })
    await expect(asked).rejects.toMatchObject({ status, code })
  })
})
