/**
 * An OpenAI-compatible model server that says the same to everybody, counts exactly, stops amid an answer when it is told to, and remembers what it was
 * asked. What it says: modelAnswers.ts. @module
 */
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { answerChat, answerCompletion, answerEmbeddings, type Chunk, WORDS } from './modelAnswers.ts'

export const TEST_MODEL = 'test-model'
/** What every whole answer says. */
export const TEST_ANSWER: string = WORDS.join('')
export const PROMPT_TOKENS = 9
export const COMPLETION_TOKENS: number = WORDS.length

export type Pause = {
  /** Resolves when so many words have left. */
  readonly reached: Promise<void>
  goOn(): void
}

export type SeenRequest = {
  readonly path: string
  readonly headers: IncomingHttpHeaders
  readonly body: Readonly<Record<string, unknown>>
}

export type ModelServer = {
  /** Base URL with the version. */
  readonly url: string
  /** Every request, in order. */
  readonly seen: readonly SeenRequest[]
  /** The next answer stops behind its first `words` words. */
  pauseAfter(words: number): Pause
  /** The next request is refused with this. */
  refuseNext(status: number, body: unknown): void
  /** Hangs up on everybody. */
  hangUp(): void
  close(): Promise<void>
}

type NextAnswer = { readonly words: number; reach(): void; readonly released: Promise<void> }

export async function startModelServer(): Promise<ModelServer> {
  const seen: SeenRequest[] = []
  let next: NextAnswer | undefined
  let refusal: { readonly status: number; readonly body: unknown } | undefined
  const server = createServer((request, response) => {
    const parts: Buffer[] = []
    request.on('data', (part: Buffer) => parts.push(part))
    request.on('end', () => {
      const body = parseBody(Buffer.concat(parts).toString())
      const { url: path = '', headers } = request
      seen.push({ path, headers, body })
      const pause = next
      const refused = refusal
      next = undefined
      refusal = undefined
      if (refused !== undefined) return sendJson(response, refused.status, refused.body)
      void answer(path, body, response, pause)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}/v1`,
    seen,
    pauseAfter(words) {
      const reached = Promise.withResolvers<void>()
      const released = Promise.withResolvers<void>()
      next = { words, reach: reached.resolve, released: released.promise }
      return { reached: reached.promise, goOn: released.resolve }
    },
    refuseNext(status, body) {
      refusal = { status, body }
    },
    hangUp: () => server.closeAllConnections(),
    close() {
      server.closeAllConnections()
      return new Promise((resolve) => server.close(() => resolve()))
    },
  }
}

async function answer(
  path: string,
  body: SeenRequest['body'],
  response: ServerResponse,
  pause: NextAnswer | undefined,
): Promise<void> {
  response.on('error', () => undefined)
  if (path === '/v1/embeddings') return sendJson(response, 200, answerEmbeddings(body))
  if (path !== '/v1/chat/completions' && path !== '/v1/completions') {
    return sendJson(response, 404, { error: { message: 'File Not Found', type: 'not_found_error', code: 404 } })
  }
  const { chunks, whole } = path === '/v1/completions' ? answerCompletion(body) : answerChat(body)
  if (body.stream !== true) return sendJson(response, 200, whole)
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  let words = 0
  for (const chunk of chunks) {
    if (words === pause?.words && chunk.isWord) {
      pause.reach()
      await pause.released
    }
    if (chunk.isWord) words++
    say(response, chunk)
  }
  const usage = { prompt_tokens: PROMPT_TOKENS, completion_tokens: words }
  response.write(`data: ${JSON.stringify({ choices: [], usage })}\n\n`)
  response.end('data: [DONE]\n\n')
}

function say(response: ServerResponse, { choice }: Chunk): void {
  response.write(`data: ${JSON.stringify({ choices: [choice] })}\n\n`)
}

function sendJson(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' })
  response.end(JSON.stringify(body))
}

function parseBody(text: string): Record<string, unknown> {
  return text === '' ? {} : (JSON.parse(text) as Record<string, unknown>)
}
