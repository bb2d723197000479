/** The bodies that a model server gets: the client's fields, under the server's name for the model, with what keeps users apart. @module */
import { toHex } from '#protocol/bytes.ts'
import type { ChatRequest, CompletionRequest, EmbeddingsRequest, Parameters, Prompt } from '../requests/request.ts'
import { unsupportedParameter } from './backendError.ts'
import { checkMessages, checkParameters, type ServerPolicy } from './modelServers.ts'

export type BodyOptions = ServerPolicy & {
  /** The server's name for the model. */
  readonly model: string
  /** Random bytes for cache salts. */
  readonly randomBytes: (length: number) => Uint8Array
  /** False where the fields about the cache would be refused. */
  readonly cacheFields: boolean
}

/** Throws `BackendError` (400) for a parameter that the server would not honour. */
export function buildChatBody(options: BodyOptions, request: ChatRequest): Parameters {
  const { max_tokens: _, max_completion_tokens: __, ...parameters } = request.parameters
  checkParameters(options, 'chat', parameters)
  checkMessages(options, request.messages)
  return {
    ...parameters,
    ...chatBound(options, request),
    ...cacheFields(options),
    model: options.model,
    messages: request.messages,
    ...STREAMED,
  }
}

/** Streamed, but for `best_of` above `n`, of which nothing is known before all of it is. Throws `BackendError` (400). */
export function buildCompletionBody(options: BodyOptions, request: CompletionRequest): Parameters {
  checkParameters(options, 'completions', request.parameters)
  if (options.server === 'ollama' && (request.prompts.length > 1 || typeof request.prompts[0] !== 'string')) {
    throw unsupportedParameter('prompt', 'its server takes one text')
  }
  return {
    ...request.parameters,
    ...cacheFields(options),
    model: options.model,
    prompt: oneOrAll(request.prompts),
    max_tokens: request.tokensMax,
    ...(request.parameters.best_of === undefined ? STREAMED : {}),
  }
}

/** Vectors are asked for as numbers, which every server can say. Throws `BackendError` (400). */
export function buildEmbeddingsBody(options: BodyOptions, request: EmbeddingsRequest): Parameters {
  const { dimensions, inputs } = request
  const parameters = dimensions === undefined ? request.parameters : { ...request.parameters, dimensions }
  checkParameters(options, 'embeddings', parameters)
  return { ...parameters, model: options.model, input: oneOrAll(inputs), encoding_format: 'float' }
}

const STREAMED = { stream: true, stream_options: { include_usage: true } } as const

/**
 * OpenAI's own server wants the field that the client chose; every other takes `max_tokens`. Where nothing was asked for, our bound goes to those
 * servers that take it for a ceiling; the others would refuse it as more than the context holds, and end at that by themselves.
 */
function chatBound({ server }: BodyOptions, { parameters, isBounded, tokensMax }: ChatRequest): Parameters {
  if (!isBounded) return server === 'llama.cpp' || server === 'ollama' ? { max_tokens: tokensMax } : {}
  if (server !== 'openai') return { max_tokens: tokensMax }
  const { max_tokens: tokens, max_completion_tokens: completion } = parameters
  return {
    ...(tokens === undefined ? {} : { max_tokens: tokens }),
    ...(completion === undefined ? {} : { max_completion_tokens: completion }),
  }
}

/** llama-server would answer a repeated prompt with the count of cached tokens; vLLM and SGLang keep one cache for each salt. */
function cacheFields({ server, randomBytes, cacheFields: isWanted }: BodyOptions): Parameters {
  if (!isWanted || server === 'openai' || server === 'ollama') return {}
  const salt = () => toHex(randomBytes(CACHE_SALT_BYTES))
  return {
    ...(server === undefined || server === 'llama.cpp' ? { cache_prompt: false } : {}),
    ...(server === 'llama.cpp' ? {} : { cache_salt: salt() }),
  }
}

const CACHE_SALT_BYTES = 32

/** One text stands by itself, as most clients send it. */
function oneOrAll(texts: readonly Prompt[]): Prompt | readonly Prompt[] {
  const [first] = texts
  return texts.length === 1 && first !== undefined ? first : texts
}
