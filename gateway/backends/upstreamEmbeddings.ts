/** From a model server's embeddings to our events, checked against what was asked for. @module */
import { isRecord } from '#protocol/isRecord.ts'
import type { EmbeddingsRequest } from '../requests/request.ts'
import type { AnswerEvent } from './backend.ts'
import { BackendError } from './backendError.ts'
import { type RefusalWords, refusalOf } from './openaiError.ts'

/**
 * One event for each input in order, then the usage, from the text of an answer. `requestChars` is for an estimate where the server counts nothing. Throws
 * `BackendError` (`UPSTREAM_MALFORMED`, 502) for anything but one vector for each input, all of the dimensions asked for.
 */
export function readEmbeddings(
  text: string,
  request: EmbeddingsRequest,
  requestChars: number,
  words: RefusalWords,
): AnswerEvent[] {
  const body = parseBody(text)
  if (body.error !== undefined && body.error !== null) throw refusalOf(500, body.error, words)
  if (!Array.isArray(body.data) || body.data.length !== request.inputs.length) throw malformed()
  const vectors: (readonly number[] | undefined)[] = Array(request.inputs.length).fill(undefined)
  for (const [i, entry] of body.data.entries()) {
    const index: unknown = isRecord(entry) ? (entry.index ?? i) : undefined
    const vector: unknown = isRecord(entry) ? entry.embedding : undefined
    const isNew = typeof index === 'number' && index in vectors && vectors[index] === undefined
    if (!isNew || !isVector(vector)) throw malformed()
    vectors[index] = vector
  }
  const size = request.dimensions ?? vectors[0]?.length
  const events = vectors.map((values, index): AnswerEvent => {
    if (values === undefined || values.length !== size) throw malformed()
    return { kind: 'embedding', index, values }
  })
  return [...events, readUsage(body.usage, requestChars)]
}

function parseBody(text: string): Record<string, unknown> {
  try {
    const body: unknown = JSON.parse(text)
    if (isRecord(body)) return body
  } catch {
    // The parser's error would quote the answer.
  }
  throw malformed()
}

function isVector(value: unknown): value is readonly number[] {
  return Array.isArray(value) && value.length > 0 && value.every((entry) => Number.isFinite(entry))
}

function readUsage(usage: unknown, requestChars: number): AnswerEvent {
  const counted: unknown = isRecord(usage) ? usage.prompt_tokens : undefined
  const isCounted = typeof counted === 'number' && Number.isSafeInteger(counted) && counted >= 0
  const promptTokens = isCounted ? counted : Math.ceil(requestChars / 4)
  return { kind: 'usage', promptTokens, completionTokens: 0, reported: isCounted }
}

function malformed(): BackendError {
  const message = 'the model server sent something that is not an answer to the request'
  return new BackendError(502, 'UPSTREAM_MALFORMED', 'server_error', message)
}
