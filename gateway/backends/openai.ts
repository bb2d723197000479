/**
 * Backend over any OpenAI-compatible model server: llama-server, vLLM, SGLang, Ollama, or a hosted one. The server sees the request
 * and this gateway, nothing of the client; and nothing it says about its cache or its timing goes back. @module
 */
import type { ClaimSource } from '#protocol/receipt/receipt.ts'
import type { ChatRequest, CompletionRequest, EmbeddingsRequest, Parameters } from '../requests/request.ts'
import type { AnswerEvent, Backend, BackendModel, Capability, ModelClaim } from './backend.ts'
import { BackendError, modelNotFound } from './backendError.ts'
import type { ModelServer } from './modelServers.ts'
import { OpenaiEvents } from './openaiEvents.ts'
import { createTrustingAgent } from './pinnedTls.ts'
import { SseError, SseParser } from './sse.ts'
import {
  type AnswerFaults,
  KEPT_IDLE_MS,
  readUpstream,
  type UpstreamOptions,
  type UpstreamRequest,
} from './upstream.ts'
import { type BodyOptions, buildChatBody, buildCompletionBody, buildEmbeddingsBody } from './upstreamBody.ts'
import { readEmbeddings } from './upstreamEmbeddings.ts'

export interface OpenaiBackendOptions {
  /** Base URL with the version, for example `http://127.0.0.1:8080/v1`. */
  readonly url: string
  /** The key of the model server. Keys of clients never reach it. */
  readonly apiKey?: string
  readonly models: readonly OpenaiModel[]
  /** For an https server: certificates in PEM that vouch for it in place of Node's, and keys that its own may have (pinnedTls.ts). */
  readonly ca?: string
  readonly certificatePins?: readonly string[]
  /** `measured` needs a loopback URL (a server inside the same image), `proxied` an https one, whose host becomes the origin. */
  readonly claim: ClaimSource
  /** Which server it is, and so what it would ignore. Without it only what all of them honour is taken. */
  readonly server?: ModelServer
  /** Parameters that this server honours although its kind does not. */
  readonly acceptedParameters?: readonly string[]
  /** Parameters that this server does not honour although its kind does. */
  readonly refusedParameters?: readonly string[]
  /** Random bytes for cache salts. */
  readonly randomBytes: (length: number) => Uint8Array
  /**
   * False for hosts that refuse fields they do not know: then neither `cache_prompt` nor `cache_salt` is sent, and whether users share
   * a prompt cache is the host's word. Default true.
   */
  readonly cacheFields?: boolean
  /** The longest silence of the server, before and between bytes. Default 120,000. */
  readonly idleTimeoutMs?: number
  /** The largest event of the stream, in UTF-16 units. Default 4,194,304. */
  readonly eventCharsMax?: number
  /** The largest answer that is not streamed, in bytes. Default 134,217,728. */
  readonly wholeBytesMax?: number
}

export interface OpenaiModel {
  /** The public name. */
  readonly name: string
  /** The server's name for it; the public name by default. */
  readonly upstreamName?: string
  readonly contextTokens?: number
  /** Default: chat, and completions except from a host of the kind `openai`. */
  readonly serves?: readonly Capability[]
}

/** Throws `TypeError` for options that contradict each other: a claim that the URL cannot carry, no model, a bad URL. */
export function createOpenaiBackend(options: OpenaiBackendOptions): Required<Backend> {
  const base = new URL(`${options.url.replace(/\/+$/, '')}/`)
  const claim = parseClaim(options.claim, base)
  if (options.models.length === 0) throw new TypeError('expected at least one model')
  const servesByDefault: readonly Capability[] = options.server === 'openai' ? ['chat'] : ['chat', 'completions']
  const models = options.models.map(({ name, contextTokens, serves = servesByDefault }): BackendModel => {
    return contextTokens === undefined ? { name, claim, serves } : { name, claim, serves, contextTokens }
  })
  const { ca, certificatePins: pins = [] } = options
  const isTrusting = ca !== undefined || pins.length > 0
  if (isTrusting && base.protocol !== 'https:') throw new TypeError('only an https server has certificates to check')
  const trust = ca === undefined ? { pins } : { ca, pins }
  const server = { ...options, tlsAgent: isTrusting ? createTrustingAgent(trust, KEPT_IDLE_MS) : undefined }
  return {
    models,
    chat: (request, signal) => readText(server, () => prepareChat(server, base, request, signal)),
    completions: (request, signal) => readText(server, () => prepareCompletion(server, base, request, signal)),
    embeddings: (request, signal) => embeddings(server, base, request, signal),
  }
}

/** The options, and the connections that they ask for: one agent for all requests. */
type ConnectedOptions = OpenaiBackendOptions & Pick<UpstreamOptions, 'tlsAgent'>

function parseClaim(source: ClaimSource, url: URL): ModelClaim {
  if (source === 'proxied') {
    if (url.protocol !== 'https:')
      throw new TypeError('a proxied model needs an https URL: its origin is what TLS proves')
    return { source, origin: url.hostname }
  }
  if (source === 'measured' && !LOOPBACK.has(url.hostname)) {
    throw new TypeError('a measured model needs a loopback URL: only a server in the same image is measured with it')
  }
  return { source }
}

const LOOPBACK: ReadonlySet<string> = new Set(['127.0.0.1', '[::1]', 'localhost'])

/** A request that is ready to be put, and what its answer will be read by. */
type Prepared = { readonly call: UpstreamRequest; readonly events: OpenaiEvents; readonly isStreamed: boolean }

function prepareChat(options: ConnectedOptions, base: URL, request: ChatRequest, signal: AbortSignal): Prepared {
  const model = findModel(options, request.model)
  const fields = buildChatBody(bodyOptions(options, model), request)
  const call = prepareCall(base, 'chat/completions', fields, 'messages', model, signal)
  const { choices } = request
  const events = new OpenaiEvents({ part: 'delta', choices, requestChars: call.body.length, words: call })
  return { call, events, isStreamed: true }
}

function prepareCompletion(
  options: ConnectedOptions,
  base: URL,
  request: CompletionRequest,
  signal: AbortSignal,
): Prepared {
  const model = findModel(options, request.model)
  const fields = buildCompletionBody(bodyOptions(options, model), request)
  const call = prepareCall(base, 'completions', fields, 'prompt', model, signal)
  const { choices } = request
  const events = new OpenaiEvents({ part: 'text', choices, requestChars: call.body.length, words: call })
  return { call, events, isStreamed: fields.stream === true }
}

/** `prepare` runs with the first `next()`, so that its refusals come as those of the server do. */
async function* readText(
  options: ConnectedOptions,
  prepare: () => Prepared,
): AsyncGenerator<AnswerEvent, void, undefined> {
  const { call, events, isStreamed } = prepare()
  if (!isStreamed) {
    for (const event of events.read(await readWhole(options, call, events))) yield event
    yield events.end()
    return
  }
  const parser = new SseParser(options.eventCharsMax ?? EVENT_CHARS_MAX_DEFAULT)
  try {
    for await (const bytes of readUpstream(connectionOf(options), call, events)) {
      for (const data of parser.push(bytes)) {
        if (data.trim() === '[DONE]') return yield events.end()
        // Delegating to it would cost several turns of the loop for each event.
        for (const event of events.read(data)) yield event
      }
    }
  } catch (error) {
    throw error instanceof SseError ? events.malformed(error) : error
  }
  throw events.cut('the model server ended the stream before its answer was complete')
}

async function* embeddings(
  options: ConnectedOptions,
  base: URL,
  request: EmbeddingsRequest,
  signal: AbortSignal,
): AsyncGenerator<AnswerEvent, void, undefined> {
  const model = findModel(options, request.model)
  const fields = buildEmbeddingsBody(bodyOptions(options, model), request)
  const call = prepareCall(base, 'embeddings', fields, 'input', model, signal)
  const text = await readWhole(options, call, { hasStarted: false, hasEnded: false, cut: cutWhole })
  yield* readEmbeddings(text, request, call.body.length, call)
}

async function readWhole(options: ConnectedOptions, call: UpstreamRequest, faults: AnswerFaults): Promise<string> {
  const bytesMax = options.wholeBytesMax ?? WHOLE_BYTES_MAX_DEFAULT
  const decoder = new TextDecoder()
  const parts: string[] = []
  let bytes = 0
  for await (const part of readUpstream(connectionOf(options), call, faults)) {
    bytes += part.length
    if (bytes > bytesMax) throw faults.cut('the model server sent more than an answer may have')
    parts.push(decoder.decode(part, { stream: true }))
  }
  return parts.join('') + decoder.decode()
}

function cutWhole(message: string, cause?: unknown): BackendError {
  return new BackendError(502, 'UPSTREAM_CUT', 'server_error', message, { cause })
}

function findModel({ models }: OpenaiBackendOptions, asked: string): OpenaiModel {
  const model = models.find(({ name }) => name === asked)
  if (model === undefined) throw modelNotFound(asked)
  return model
}

function bodyOptions(options: ConnectedOptions, model: OpenaiModel): BodyOptions {
  return {
    server: options.server,
    acceptedParameters: options.acceptedParameters ?? [],
    refusedParameters: options.refusedParameters ?? [],
    model: model.upstreamName ?? model.name,
    randomBytes: options.randomBytes,
    cacheFields: options.cacheFields ?? true,
  }
}

function prepareCall(
  base: URL,
  path: string,
  fields: Parameters,
  subject: string,
  { name, upstreamName }: OpenaiModel,
  signal: AbortSignal,
): UpstreamRequest {
  const isHidden = upstreamName !== undefined && upstreamName !== ''
  const rename = (text: string) => (isHidden ? text.replaceAll(upstreamName, name) : text)
  return { url: new URL(path, base), body: JSON.stringify(fields), signal, subject, rename }
}

function connectionOf({
  apiKey,
  idleTimeoutMs = IDLE_TIMEOUT_MS_DEFAULT,
  tlsAgent,
}: ConnectedOptions): UpstreamOptions {
  return { apiKey, idleTimeoutMs, tlsAgent }
}

const IDLE_TIMEOUT_MS_DEFAULT = 120_000
const EVENT_CHARS_MAX_DEFAULT = 4_194_304
const WHOLE_BYTES_MAX_DEFAULT = 134_217_728
