/** Backends: what runs the model behind the gateway. Every kind answers the same request with the same events. @module */
import type { ChatRequest, CompletionRequest, EmbeddingsRequest } from '../requests/request.ts'

/** What a model can be asked for; each is a resource of its own. */
export const CAPABILITIES = ['chat', 'completions', 'embeddings'] as const
export type Capability = (typeof CAPABILITIES)[number]

/**
 * A model server, or a model in this process. It must keep nothing of one request that another could notice, and has a function for everything that
 * any of its models serves.
 *
 * The work starts with the first `next()`. Events come in the order they are produced: for each choice deltas, then one `finish`, or for embeddings
 * one `embedding` for each input; the last event of all is always one `usage`. Whoever stops reading (`break`) stops the model too.
 *
 * Throws `BackendError`: before the first event for a refusal, after it when the answer was cut and must not count as complete; `ABORTED` once
 * `signal` fires. A parameter that it cannot honour is refused, never dropped.
 */
export interface Backend {
  readonly models: readonly BackendModel[]
  readonly chat?: (request: ChatRequest, signal: AbortSignal) => AsyncIterable<AnswerEvent>
  readonly completions?: (request: CompletionRequest, signal: AbortSignal) => AsyncIterable<AnswerEvent>
  readonly embeddings?: (request: EmbeddingsRequest, signal: AbortSignal) => AsyncIterable<AnswerEvent>
}

export interface BackendModel {
  /** The public name: what clients ask for and receipts state. */
  readonly name: string
  readonly claim: ModelClaim
  readonly serves: readonly Capability[]
  /** Tokens of prompt and answer together, where known. */
  readonly contextTokens?: number
}

/** On whose word the model's name rests: the measured image, the owner of a TLS origin (host name), or the operator. */
export type ModelClaim =
  | { readonly source: 'measured' }
  | { readonly source: 'proxied'; readonly origin: string }
  | { readonly source: 'operator' }

/**
 * A choice of an OpenAI chunk: `index`, `finish_reason`, `delta` of a chat or `text` of a completion, and whatever else the model server says
 * (`logprobs`, …).
 */
export type RawChoice = Readonly<Record<string, unknown>> & {
  readonly index: number
  readonly delta?: Readonly<Record<string, unknown>>
  readonly text?: string
  readonly finish_reason: string | null
}

export type DeltaEvent = {
  readonly kind: 'delta'
  readonly choice: number
  /** The text of this piece, '' when it holds only a role, a tool call or the like; `raw` holds it all. */
  readonly content: string
  readonly raw: RawChoice
}

/** `reason`: stop, length, tool_calls, content_filter, or a word of the model server's own. */
export type FinishEvent = {
  readonly kind: 'finish'
  readonly choice: number
  readonly reason: string
  readonly raw: RawChoice
}

/** The vector of the input with that number. */
export type EmbeddingEvent = { readonly kind: 'embedding'; readonly index: number; readonly values: readonly number[] }

/** `reported`: the model server's own count, or an exact one; false for an estimate because the server gave none. */
export type UsageEvent = {
  readonly kind: 'usage'
  readonly promptTokens: number
  readonly completionTokens: number
  readonly reported: boolean
}

export type AnswerEvent = DeltaEvent | FinishEvent | EmbeddingEvent | UsageEvent

/** Whether a piece holds text, a tool call or the like: one that only names the role does not. Servers send one such piece for each token. */
export function saysSomething({ delta, text }: RawChoice): boolean {
  if (text !== undefined) return text !== ''
  return Object.entries(delta ?? {}).some(([key, part]) => key !== 'role' && part !== null && part !== '')
}
