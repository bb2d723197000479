/** How much a model server may say at once unless the configuration says otherwise. What it says: openai.test.ts. @module */
import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { parseChatRequest } from '../requests/chatRequest.ts'
import { parseCompletionRequest } from '../requests/completionRequest.ts'
import type { AnswerEvent } from './backend.ts'
import { createOpenaiBackend, type OpenaiBackendOptions } from './openai.ts'

const never = new AbortController().signal
const chat = parseChatRequest({ model: 'm', messages: [{ role: 'user', content: 'hello' }] })
/** Not streamed: nothing is known of the best before all are there. */
const completion = parseCompletionRequest({ model: 'm', prompt: 'hello', best_of: 2 })

let server: Server
let answer: (response: ServerResponse) => void
beforeAll(async () => {
  server = createServer((request, response) => {
    request.resume().on('end', () => answer(response))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
})
afterAll(() => {
  server.closeAllConnections()
  server.close()
})

async function* none(): AsyncGenerator<AnswerEvent> {}

type Backend = ReturnType<typeof createOpenaiBackend>

/** The text of the answer, or the words with which it is refused. */
async function outcome(
  ask: (backend: Backend) => AsyncIterable<AnswerEvent>,
  options: Partial<OpenaiBackendOptions> = {},
): Promise<string> {
  const backend = createOpenaiBackend({
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/`,
    apiKey: 'upstream-key',
    models: [{ name: 'm' }],
    claim: 'operator',
    acceptedParameters: ['best_of'],
    randomBytes: (length) => new Uint8Array(length),
    ...options,
  })
  let text = ''
  try {
    for await (const event of ask(backend)) if (event.kind === 'delta') text += event.content
  } catch (error) {
    const { code, message } = error as { code?: string; message: string }
    return `${code}: ${message}`
  }
  return text
}

it('an event of 4,194,304 characters is read and none with one more', async () => {
  const event = (value: object): string => `data: ${JSON.stringify(value)}`
  const piece = (content: string): string => event({ choices: [{ index: 0, delta: { content } }] })
  const end = event({ choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] })
  const withEvent = (chars: number): Promise<string> => {
    answer = (response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.end(`${piece('x'.repeat(chars - piece('').length))}\n\n${end}\n\ndata: [DONE]\n\n`)
    }
    return outcome((backend) => backend.chat(chat, never))
  }
  expect(await withEvent(4_194_304)).toBe('x'.repeat(4_194_304 - piece('').length))
  expect(await withEvent(4_194_305)).toContain('UPSTREAM_MALFORMED')
})

it('an answer that is not streamed is read to 134,217,728 bytes and no further', async () => {
  const mebibyte = Buffer.alloc(1_048_576)
  const withBytes = (more: number): Promise<string> => {
    answer = (response) => {
      response.writeHead(200, { 'content-type': 'application/json' })
      for (let i = 0; i < 128; i++) response.write(mebibyte)
      response.end(mebibyte.subarray(0, more))
    }
    return outcome(({ completions }) => completions?.(completion, never) ?? none())
  }
  expect(await withBytes(0)).toContain('UPSTREAM_MALFORMED')
  expect(await withBytes(1)).toContain('more than an answer may have')
})

it('a refusal is read to 65,536 characters and no further', async () => {
  const withChars = (chars: number): Promise<string> => {
    answer = (response) => {
      response.writeHead(400, { 'content-type': 'application/json' })
      response.end('{"error":{"message":"too hot"}}'.padEnd(chars))
    }
    return outcome((backend) => backend.chat(chat, never))
  }
  expect(await withChars(65_536)).toContain('too hot')
  expect(await withChars(65_537)).toContain('the model server refused the request')
})
