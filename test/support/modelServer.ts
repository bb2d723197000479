/** An OpenAI-compatible model server that says the same to everybody, counts exactly, and stops amid an answer when it is told to. @module */
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export const TEST_MODEL = 'test-model'
const WORDS = ['Nothing', ' that', ' is', ' sealed', ' is', ' read', ' on', ' the', ' way', '.']
/** What every whole answer says. */
export const TEST_ANSWER: string = WORDS.join('')
export const PROMPT_TOKENS = 9
export const COMPLETION_TOKENS: number = WORDS.length

export type Pause = {
  /** Resolves when so many words have left. */
  readonly reached: Promise<void>
  goOn(): void
}

export type ModelServer = {
  /** Base URL with the version. */
  readonly url: string
  /** The next answer stops behind its first `words` words. */
  pauseAfter(words: number): Pause
  close(): Promise<void>
}

export async function startModelServer(): Promise<ModelServer> {
  let next: { readonly words: number; reach(): void; readonly released: Promise<void> } | undefined
  const server = createServer((request, response) => {
    request.resume()
    request.on('end', () => {
      const pause = next
      next = undefined
      void answer(response, pause?.words, async () => {
        pause?.reach()
        await pause?.released
      })
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}/v1`,
    pauseAfter(words) {
      const reached = Promise.withResolvers<void>()
      const released = Promise.withResolvers<void>()
      next = { words, reach: reached.resolve, released: released.promise }
      return { reached: reached.promise, goOn: released.resolve }
    },
    close() {
      server.closeAllConnections()
      return new Promise((resolve) => server.close(() => resolve()))
    },
  }
}

async function answer(
  response: ServerResponse,
  pauseAt: number | undefined,
  pause: () => Promise<void>,
): Promise<void> {
  const say = (event: unknown) => response.write(`data: ${JSON.stringify(event)}\n\n`)
  response.on('error', () => undefined)
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  for (const [i, content] of WORDS.entries()) {
    if (i === pauseAt) await pause()
    say({ choices: [{ index: 0, delta: { content }, finish_reason: null }] })
  }
  say({ choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] })
  say({ choices: [], usage: { prompt_tokens: PROMPT_TOKENS, completion_tokens: COMPLETION_TOKENS } })
  response.end('data: [DONE]\n\n')
}
