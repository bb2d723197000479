/** What a model server's refusal becomes for the client: its own fault is named, ours stays with us. @module */
import type { IncomingMessage } from 'node:http'
import { isRecord } from '#protocol/isRecord.ts'
import { BackendError } from './backendError.ts'

/** How a refusal is told to the client. */
export type RefusalWords = {
  /** Rewrites a text of the server to speak of the public name. */
  readonly rename: (text: string) => string
  /** The field at fault when the request exceeds the context. */
  readonly subject: string
}

/** Reads the refusal of an HTTP answer other than 200; `onBytes` is called for each part of its body. */
export async function upstreamRefusal(
  response: IncomingMessage,
  onBytes: () => void,
  words: RefusalWords,
): Promise<BackendError> {
  const text = await readBounded(response, onBytes)
  let body: unknown
  try {
    body = JSON.parse(text)
  } catch {
    // Not JSON: a proxy's page, or nothing. The status alone decides then.
  }
  return refusalOf(response.statusCode ?? 502, isRecord(body) ? (body.error ?? body) : undefined, words)
}

/** The refusal for an OpenAI `error` value (`{ message, type, code }`, or Ollama's plain text) that came with `status`. */
export function refusalOf(status: number, error: unknown, { rename, subject }: RefusalWords): BackendError {
  const fields = isRecord(error) ? error : { message: error }
  const said = typeof fields.message === 'string' ? rename(fields.message).slice(0, MESSAGE_CHARS_MAX) : ''
  const param = typeof fields.param === 'string' ? fields.param : null
  if (isContextOverflow(fields, said)) {
    const message = said === '' ? 'the request exceeds the context of the model' : said
    return new BackendError(400, 'CONTEXT_LENGTH_EXCEEDED', 'invalid_request_error', message, { param: subject })
  }
  if (status === 400 || status === 413 || status === 422) {
    const message = said === '' ? 'the model server refused the request' : said
    return new BackendError(400, 'INVALID_REQUEST', 'invalid_request_error', message, { param })
  }
  if (status === 429) {
    return new BackendError(
      429,
      'RATE_LIMITED',
      'rate_limit_error',
      'the model server is at its limit; try again later',
    )
  }
  if (status === 503 || status === 504) {
    return new BackendError(
      503,
      'UPSTREAM_UNAVAILABLE',
      'server_error',
      'the model server is not ready; try again later',
    )
  }
  // 401, 403, 404 and redirects are the gateway's configuration, and 500 may quote the server's insides: neither is the client's to read.
  return new BackendError(502, 'UPSTREAM_REFUSED', 'server_error', 'the model server refused the gateway or failed')
}

function isContextOverflow(fields: Record<string, unknown>, message: string): boolean {
  return (
    fields.type === 'exceed_context_size_error' ||
    fields.code === 'context_length_exceeded' ||
    /maximum context length|context (?:size|length|window)|longer than the model's context/i.test(message)
  )
}

async function readBounded(response: IncomingMessage, onBytes: () => void): Promise<string> {
  const decoder = new TextDecoder()
  let text = ''
  onBytes()
  for await (const part of response) {
    onBytes()
    text += decoder.decode(part, { stream: true })
    // The rest is not wanted.
    if (text.length > ERROR_BODY_CHARS_MAX) return ''
  }
  return text + decoder.decode()
}

const MESSAGE_CHARS_MAX = 500
const ERROR_BODY_CHARS_MAX = 65_536
