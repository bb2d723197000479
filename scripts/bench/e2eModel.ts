/**
 * A fast OpenAI-compatible model server for scripts/bench/e2e.ts: the same answer to everybody, each token a write of its own, as many as
 * `max_tokens` says. @module
 */
import { createServer, type ServerResponse } from 'node:http'

const TOKENS_PER_SECOND = 2_000

const frame = { id: 'chatcmpl-bench', object: 'chat.completion.chunk', created: 1, model: 'bench' }

function say(response: ServerResponse, delta: unknown, reason: string | null): void {
  const choices = [{ index: 0, delta, logprobs: null, finish_reason: reason }]
  response.write(`data: ${JSON.stringify({ ...frame, choices })}\n\n`)
}

function answer(response: ServerResponse, tokens: number): void {
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  say(response, { role: 'assistant', content: '' }, null)
  const begun = performance.now()
  let said = 0
  const timer = setInterval(() => {
    const due = Math.min(tokens, Math.floor(((performance.now() - begun) * TOKENS_PER_SECOND) / 1000))
    for (; said < due; said++) say(response, { content: ` word${said}` }, null)
    if (said < tokens) return
    clearInterval(timer)
    say(response, {}, 'stop')
    const usage = { prompt_tokens: 9, completion_tokens: tokens, total_tokens: tokens + 9 }
    response.end(`data: ${JSON.stringify({ ...frame, choices: [], usage })}\n\ndata: [DONE]\n\n`)
  }, 1)
  response.on('error', () => {})
  response.on('close', () => clearInterval(timer))
}

const server = createServer((request, response) => {
  let body = ''
  request.on('data', (part: Buffer) => {
    body += part.toString()
  })
  request.on('end', () => answer(response, (JSON.parse(body) as { max_tokens: number }).max_tokens))
})
server.listen(0, '127.0.0.1', () => {
  const address = server.address()
  if (address !== null && typeof address === 'object') process.send?.(`http://127.0.0.1:${address.port}`)
})
process.on('disconnect', () => process.exit(0))
