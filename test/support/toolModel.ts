/**
 * An OpenAI-compatible model server that uses tools: asked for the weather, it calls the tool that it was offered; given the tool's result, it says it.
 * Everything else it echoes, a word a piece. @module
 */
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export const TOOL_MODEL = 'tool-model'

type Message = { readonly role: string; readonly content: unknown; readonly tool_call_id?: string }
type ChatBody = {
  readonly model: string
  readonly messages: readonly Message[]
  readonly tools?: readonly { readonly function: { readonly name: string } }[]
}

export type ToolModel = {
  /** Base URL with the version. */
  readonly url: string
  close(): Promise<void>
}

export async function startToolModel(): Promise<ToolModel> {
  const server = createServer((request, response) => {
    const parts: Buffer[] = []
    request.on('data', (part: Buffer) => parts.push(part))
    request.on('end', () => void answer(JSON.parse(Buffer.concat(parts).toString()) as ChatBody, response))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    close() {
      server.closeAllConnections()
      return new Promise((resolve) => server.close(() => resolve()))
    },
  }
}

/** Gateways always ask for a stream. */
async function answer({ model, messages, tools }: ChatBody, response: ServerResponse): Promise<void> {
  const say = (choice: Record<string, unknown>) => {
    const chunk = { id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1, model }
    response.write(`data: ${JSON.stringify({ ...chunk, choices: [{ index: 0, finish_reason: null, ...choice }] })}\n\n`)
  }
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  say({ delta: { role: 'assistant', content: '' } })
  const pieces = piecesFor(messages, tools?.[0]?.function.name)
  for (const delta of pieces) {
    say({ delta })
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
  const isCall = pieces.some((delta) => 'tool_calls' in delta)
  say({ delta: {}, finish_reason: isCall ? 'tool_calls' : 'stop' })
  const usage = { prompt_tokens: 7, completion_tokens: pieces.length, total_tokens: 7 + pieces.length }
  response.write(`data: ${JSON.stringify({ id: 'chatcmpl-1', choices: [], usage })}\n\n`)
  response.end('data: [DONE]\n\n')
}

function piecesFor(messages: readonly Message[], tool: string | undefined): readonly Record<string, unknown>[] {
  const last = messages.at(-1)
  const text = textOf(last?.content)
  if (last?.role === 'tool') return wordsOf(`The tool says: ${text}`)
  if (tool === undefined || !text.includes('weather')) return wordsOf(`You said: ${text}`)
  // The name and the identifier first, the arguments in fragments, as servers do.
  const call = (fields: Record<string, unknown>) => ({ tool_calls: [{ index: 0, ...fields }] })
  return [
    call({ id: 'call_1', type: 'function', function: { name: tool, arguments: '' } }),
    call({ function: { arguments: '{"city":' } }),
    call({ function: { arguments: '"Lima"}' } }),
  ]
}

function wordsOf(text: string): readonly Record<string, unknown>[] {
  return text.split(/(?<= )/).map((content) => ({ content }))
}

/** Content is a text, or a list of parts. */
function textOf(content: unknown): string {
  if (!Array.isArray(content)) return String(content ?? '')
  return content.map((part: { text?: string }) => part.text ?? '').join('')
}
