/** Backends: what runs the model behind the gateway. Every kind answers the same request with the same events. @module */

/** A model server, or a model in this process. It must keep nothing of one request that another could notice. */
export interface Backend {
  readonly models: readonly BackendModel[]
  /**
   * One chat completion. The work starts with the first `next()`. Events come in the order they are produced: for each choice deltas,
   * then one `finish`; the last event of all is always one `usage`. Whoever stops reading (`break`) stops the model too.
   *
   * Throws `BackendError`: before the first event for a refusal, after it when the answer was cut and must not count as complete;
   * `ABORTED` once `signal` fires.
   */
  chat(request: ChatRequest, signal: AbortSignal): AsyncIterable<ChatEvent>
}

export interface BackendModel {
  /** The public name: what clients ask for and receipts state. */
  readonly name: string
  readonly claim: ModelClaim
  /** Tokens of prompt and answer together, where known. */
  readonly contextTokens?: number
}

/** On whose word the model's name rests: the measured image, the owner of a TLS origin (host name), or the operator. */
export type ModelClaim =
  | { readonly source: 'measured' }
  | { readonly source: 'proxied'; readonly origin: string }
  | { readonly source: 'operator' }

/** A parsed body of `POST /v1/chat/completions`: what the gateway itself needs, and every other field as it came. */
export interface ChatRequest {
  readonly model: string
  readonly messages: readonly ChatMessage[]
  /** Whether the client wants events; backends always produce events, so this is for the gateway. */
  readonly stream: boolean
  /** Whether the client asked for the usage chunk of a stream (`stream_options.include_usage`). */
  readonly includeUsage: boolean
  /** All other fields, unknown ones included. */
  readonly parameters: Readonly<Record<string, unknown>>
}

/** A message as it came: `role` is checked, `content` and the other fields are for the backend to judge. */
export type ChatMessage = Readonly<Record<string, unknown>> & { readonly role: string }

/** A choice of an OpenAI chunk: `index`, `delta`, `finish_reason`, and whatever else the model server says (`logprobs`, …). */
export type RawChoice = Readonly<Record<string, unknown>> & {
  readonly index: number
  readonly delta: Readonly<Record<string, unknown>>
  readonly finish_reason: string | null
}

export type ChatEvent =
  /** `content` is the text of this piece, '' when it holds only a role, a tool call or the like; `raw` holds it all. */
  | { readonly kind: 'delta'; readonly choice: number; readonly content: string; readonly raw: RawChoice }
  /** `reason`: stop, length, tool_calls, content_filter, or a word of the model server's own. */
  | { readonly kind: 'finish'; readonly choice: number; readonly reason: string; readonly raw: RawChoice }
  /** `reported`: the model server's own count, or an exact one; false for an estimate because the server gave none. */
  | {
      readonly kind: 'usage'
      readonly promptTokens: number
      readonly completionTokens: number
      readonly reported: boolean
    }

/**
 * Parses the JSON value of a chat completion body. Checks only what the gateway relies on; the rest is the backend's to accept or
 * refuse. Throws `BackendError` (`INVALID_REQUEST`, 400).
 */
export function parseChatRequest(body: unknown): ChatRequest {
  if (!isRecord(body)) throw invalidRequest('expected a JSON object', null)
  const { model, messages, stream, stream_options: options, ...parameters } = body
  if (typeof model !== 'string' || model === '') throw invalidRequest("'model' must be a string", 'model')
  if (!Array.isArray(messages) || messages.length === 0) {
    throw invalidRequest("'messages' must be an array of at least one message", 'messages')
  }
  if (stream !== undefined && stream !== null && typeof stream !== 'boolean') {
    throw invalidRequest("'stream' must be true or false", 'stream')
  }
  if (options !== undefined && options !== null && !isRecord(options)) {
    throw invalidRequest("'stream_options' must be an object", 'stream_options')
  }
  return {
    model,
    messages: messages.map(parseMessage),
    stream: stream === true,
    includeUsage: isRecord(options) && options.include_usage === true,
    parameters,
  }
}

function parseMessage(message: unknown, index: number): ChatMessage {
  if (!isRecord(message) || typeof message.role !== 'string') {
    throw invalidRequest(`'messages[${index}]' must be an object with a role`, `messages[${index}]`)
  }
  return { ...message, role: message.role }
}

/** True for a JSON object, not for an array or null. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The body OpenAI clients expect of a failed request; goes out with `error.status`. */
export function errorBody(error: BackendError): {
  error: { message: string; type: string; param: string | null; code: string }
} {
  return {
    error: { message: error.message, type: error.type, param: error.param, code: error.code.toLowerCase() },
  }
}

export type BackendErrorCode =
  | 'INVALID_REQUEST'
  | 'UNSUPPORTED_PARAMETER'
  | 'CONTEXT_LENGTH_EXCEEDED'
  | 'MODEL_NOT_FOUND'
  | 'RATE_LIMITED'
  | 'UPSTREAM_UNAVAILABLE'
  | 'UPSTREAM_REFUSED'
  | 'UPSTREAM_MALFORMED'
  | 'UPSTREAM_CUT'
  | 'ABORTED'

/** `message` may go to the client: it names no host, file or key of ours. */
export class BackendError extends Error {
  override readonly name = 'BackendError'
  /** HTTP status of the answer to the client. */
  readonly status: number
  readonly code: BackendErrorCode
  /** OpenAI's error type. */
  readonly type: string
  /** The field of the request at fault. */
  readonly param: string | null

  constructor(
    status: number,
    code: BackendErrorCode,
    type: string,
    message: string,
    options?: ErrorOptions & { param?: string | null },
  ) {
    super(message, options)
    this.status = status
    this.code = code
    this.type = type
    this.param = options?.param ?? null
  }
}

/** 400 for a request that is wrong whatever the backend. */
export function invalidRequest(message: string, param: string | null): BackendError {
  return new BackendError(400, 'INVALID_REQUEST', 'invalid_request_error', message, { param })
}

/** 400 for a field this backend cannot honour: refused, because dropping it would change the answer unseen. */
export function unsupportedParameter(param: string, why: string): BackendError {
  const message = `'${param}' is not supported by this model: ${why}`
  return new BackendError(400, 'UNSUPPORTED_PARAMETER', 'invalid_request_error', message, { param })
}

/** 404 for a model name that the backend does not serve. */
export function modelNotFound(name: string): BackendError {
  const message = `the model '${name.slice(0, 100)}' is not served here`
  return new BackendError(404, 'MODEL_NOT_FOUND', 'invalid_request_error', message, { param: 'model' })
}

/** The error of a request whose `signal` fired; 499 never reaches the client, who has left. */
export function aborted(cause: unknown): BackendError {
  return new BackendError(499, 'ABORTED', 'aborted', 'the request was cancelled', { cause })
}
