/** From the chunks of an OpenAI stream to our events; knows when an answer is complete. @module */
import { isRecord } from '#protocol/isRecord.ts'
import { type AnswerEvent, type RawChoice, saysSomething, type UsageEvent } from './backend.ts'
import { BackendError } from './backendError.ts'
import { type RefusalWords, refusalOf } from './openaiError.ts'
import type { AnswerFaults } from './upstream.ts'

export type OpenaiEventsOptions = {
  /** Where the pieces of a choice stand: `delta` of a chat, `text` of a completion. */
  readonly part: 'delta' | 'text'
  /** Choices that the answer has to have. */
  readonly choices: number
  /** Characters of the request, for an estimate where the server counts nothing. */
  readonly requestChars: number
  readonly words: RefusalWords
}

/** State of one answer. */
export class OpenaiEvents implements AnswerFaults {
  readonly #options: OpenaiEventsOptions
  readonly #open = new Set<number>()
  readonly #finished = new Set<number>()
  #started = false
  #ended = false
  #pieces = 0
  #usage: { readonly promptTokens: number; readonly completionTokens: number } | undefined

  constructor(options: OpenaiEventsOptions) {
    this.#options = options
  }

  /** Whether the client may have seen a part of the answer. */
  get hasStarted(): boolean {
    return this.#started
  }

  /** Whether the server has said all of its answer. */
  get hasEnded(): boolean {
    return this.#ended
  }

  /** The events of one chunk, or of a whole answer. Throws `BackendError` for an error inside the stream and for a chunk that is none. */
  *read(data: string): Generator<AnswerEvent, void, undefined> {
    const chunk = this.#parse(data)
    if (chunk.error !== undefined && chunk.error !== null) throw this.#refused(chunk.error)
    this.#readUsage(chunk.usage)
    // A chunk of usage alone has no choices, or an empty list.
    const choices: unknown = chunk.choices ?? []
    if (!Array.isArray(choices)) throw this.malformed()
    for (const choice of choices) yield* this.#readChoice(choice)
  }

  /** The last event, at the server's `[DONE]`. Throws `UPSTREAM_CUT` when a choice was never finished. */
  end(): UsageEvent {
    if (this.#open.size > 0 || this.#finished.size < this.#options.choices) {
      throw this.cut('the model server ended the stream before its answer was complete')
    }
    this.#ended = true
    if (this.#usage !== undefined) return { kind: 'usage', ...this.#usage, reported: true }
    // Servers send one delta for each token, and English has about four characters to a token: an estimate, and marked as one.
    const promptTokens = Math.ceil(this.#options.requestChars / 4)
    return { kind: 'usage', promptTokens, completionTokens: this.#pieces, reported: false }
  }

  /** The error for an answer that began, or should have, and did not end. */
  cut(message: string, cause?: unknown): BackendError {
    return new BackendError(502, 'UPSTREAM_CUT', 'server_error', message, { cause })
  }

  /** The error for bytes that are not an OpenAI stream. */
  malformed(cause?: unknown): BackendError {
    const message = 'the model server sent something that is not an answer to the request'
    return this.#started
      ? this.cut(message, cause)
      : new BackendError(502, 'UPSTREAM_MALFORMED', 'server_error', message, { cause })
  }

  #parse(data: string): Record<string, unknown> {
    let chunk: unknown
    try {
      chunk = JSON.parse(data)
    } catch (cause) {
      throw this.malformed(cause)
    }
    if (!isRecord(chunk)) throw this.malformed()
    return chunk
  }

  #refused(error: unknown): BackendError {
    if (this.#started) return this.cut('the model server failed while it was answering')
    const code = isRecord(error) ? error.code : undefined
    return refusalOf(typeof code === 'number' ? code : 500, error, this.#options.words)
  }

  /** Kept, not added up: with vLLM's continuous usage every chunk carries the count so far. */
  #readUsage(usage: unknown): void {
    if (!isRecord(usage)) return
    const promptTokens = usage.prompt_tokens
    // vLLM leaves the field out while the answer is empty.
    const completionTokens = usage.completion_tokens ?? 0
    if (!isCount(promptTokens) || !isCount(completionTokens)) throw this.malformed()
    this.#usage = { promptTokens, completionTokens }
  }

  *#readChoice(value: unknown): Generator<AnswerEvent, void, undefined> {
    const choice = this.#parseChoice(value)
    const { index, finish_reason: reason } = choice
    const says = saysSomething(choice)
    if (this.#finished.has(index)) {
      // Nothing may follow a finish but an empty echo of it.
      if (says) throw this.malformed()
      return
    }
    this.#started = true
    this.#open.add(index)
    const hasPiece = says || Object.keys(choice.delta ?? {}).length > 0
    if (reason === null || hasPiece) {
      if (says) this.#pieces++
      yield { kind: 'delta', choice: index, content: contentOf(choice), raw: { ...choice, finish_reason: null } }
    }
    if (reason === null) return
    this.#open.delete(index)
    this.#finished.add(index)
    // What stood beside the last delta went out with it; logprobs said twice would be counted twice.
    const raw = hasPiece ? { ...choice, ...this.#emptyPart(), logprobs: null } : choice
    yield { kind: 'finish', choice: index, reason, raw }
  }

  #parseChoice(value: unknown): RawChoice {
    if (!isRecord(value)) throw this.malformed()
    const { index = 0, delta, text, finish_reason: reason, ...rest } = value
    // A server that answers more than it was asked for did not understand the question.
    if (!isCount(index) || index >= this.#options.choices) throw this.malformed()
    if (reason !== null && reason !== undefined && typeof reason !== 'string') throw this.malformed()
    for (const field of LEAKING_FIELDS) delete rest[field]
    // An empty string is how some servers say "not yet".
    const finished = { finish_reason: reason || null }
    if (this.#options.part === 'text')
      return { text: typeof text === 'string' ? text : '', index, ...rest, ...finished }
    return { index, delta: isRecord(delta) ? delta : {}, ...rest, ...finished }
  }

  #emptyPart(): Partial<RawChoice> {
    return this.#options.part === 'text' ? { text: '' } : { delta: {} }
  }
}

function contentOf({ delta, text }: RawChoice): string {
  return text ?? (typeof delta?.content === 'string' ? delta.content : '')
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

/** What servers say about their cache or speed beside a choice; beside the choices nothing is passed on at all. */
const LEAKING_FIELDS = ['timings', 'usage', 'prompt_progress', 'cached_tokens', 'meta_info'] as const
