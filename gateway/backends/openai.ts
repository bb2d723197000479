/**
 * Backend over any OpenAI-compatible model server: llama-server, vLLM, SGLang, Ollama, or a hosted one. The server sees the request
 * and this gateway, nothing of the client; and nothing it says about its cache or its timing goes back. @module
 */
import { toHex } from '#protocol/bytes.ts'
import type { ClaimSource } from '#protocol/receipt/receipt.ts'
import type { Backend, BackendModel, ChatEvent, ChatRequest, ModelClaim } from './backend.ts'
import { aborted, BackendError, invalidRequest, modelNotFound, unsupportedParameter } from './backend.ts'
import { upstreamRefusal } from './openaiError.ts'
import { OpenaiEvents } from './openaiEvents.ts'
import { SseError, SseParser } from './sse.ts'

export interface OpenaiBackendOptions {
  /** Base URL with the version, for example `http://127.0.0.1:8080/v1`. */
  readonly url: string
  /** The key of the model server. Keys of clients never reach it. */
  readonly apiKey?: string
  readonly models: readonly OpenaiModel[]
  /** `measured` needs a loopback URL (a server inside the same image), `proxied` an https one, whose host becomes the origin. */
  readonly claim: ClaimSource
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
}

export interface OpenaiModel {
  /** The public name. */
  readonly name: string
  /** The server's name for it; the public name by default. */
  readonly upstreamName?: string
  readonly contextTokens?: number
}

/** Throws `TypeError` for options that contradict each other: a claim that the URL cannot carry, no model, a bad URL. */
export function createOpenaiBackend(options: OpenaiBackendOptions): Backend {
  const url = new URL(`${options.url.replace(/\/+$/, '')}/chat/completions`)
  const claim = parseClaim(options.claim, url)
  if (options.models.length === 0) throw new TypeError('expected at least one model')
  const models = options.models.map(({ name, contextTokens }): BackendModel => {
    return contextTokens === undefined ? { name, claim } : { name, claim, contextTokens }
  })
  return {
    models,
    chat: (request, signal) => chat(options, url, request, signal),
  }
}

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

async function* chat(
  options: OpenaiBackendOptions,
  url: URL,
  request: ChatRequest,
  signal: AbortSignal,
): AsyncGenerator<ChatEvent, void, undefined> {
  const model = options.models.find(({ name }) => name === request.model)
  if (model === undefined) throw modelNotFound(request.model)
  const body = buildUpstreamBody(options, model, request)
  const idle = new IdleTimer(options.idleTimeoutMs ?? IDLE_TIMEOUT_MS_DEFAULT)
  const events = new OpenaiEvents(request, body.length)
  let reader: ReadableStreamDefaultReader<Uint8Array> | undefined
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers: buildHeaders(options.apiKey),
      body,
      redirect: 'manual',
      signal: AbortSignal.any([signal, idle.signal]),
    })
    if (response.status !== 200 || response.body === null) {
      throw await upstreamRefusal(response, () => idle.restart(), publicName(model))
    }
    reader = response.body.getReader()
    const parser = new SseParser(options.eventCharsMax ?? EVENT_CHARS_MAX_DEFAULT)
    for (;;) {
      idle.restart()
      const { done, value } = await reader.read()
      if (done) throw events.cut('the model server ended the stream before its answer was complete')
      for (const data of parser.push(value)) {
        if (data.trim() === '[DONE]') {
          yield events.end()
          return
        }
        yield* events.read(data, publicName(model))
      }
    }
  } catch (error) {
    throw explain(error, signal, idle, events)
  } finally {
    idle.stop()
    // Cancelling is a wish: the stream may have failed already, by the very signal that brought us here, and then `cancel` rejects.
    reader?.cancel().catch(() => {})
  }
}

/** The typed error for whatever was thrown while talking to the server. */
function explain(error: unknown, signal: AbortSignal, idle: IdleTimer, events: OpenaiEvents): BackendError {
  if (error instanceof BackendError) return error
  if (signal.aborted) return aborted(error)
  if (error instanceof SseError) return events.malformed(error)
  if (events.hasStarted) return events.cut('the connection to the model server broke', error)
  const message = idle.signal.aborted ? 'the model server did not answer in time' : 'the model server cannot be reached'
  return new BackendError(503, 'UPSTREAM_UNAVAILABLE', 'server_error', message, { cause: error })
}

/** Every header the server gets. None is the client's: those of the OpenAI SDK alone would tell its system and runtime. */
function buildHeaders(apiKey: string | undefined): Record<string, string> {
  const headers = {
    'content-type': 'application/json',
    accept: 'text/event-stream',
    // A compressing server would hold events back until its window is full.
    'accept-encoding': 'identity',
    'user-agent': 'sealpath-gateway',
  }
  return apiKey === undefined ? headers : { ...headers, authorization: `Bearer ${apiKey}` }
}

/** JSON of the request as the server gets it: the client's fields, and over them what keeps users apart. */
function buildUpstreamBody(options: OpenaiBackendOptions, model: OpenaiModel, request: ChatRequest): string {
  const parameters: Record<string, unknown> = { ...request.parameters }
  for (const [field, value] of Object.entries(parameters)) {
    if (REFUSED_FIELDS.has(field) && value !== null && value !== undefined && value !== false) {
      throw unsupportedParameter(field, "it reaches into the model server's state, which all users share")
    }
    if (REFUSED_FIELDS.has(field) || CACHE_FIELDS.has(field)) delete parameters[field]
  }
  if (options.cacheFields !== false) {
    // llama-server would answer a repeated prompt with the count of cached tokens; vLLM keeps one cache per salt.
    parameters.cache_prompt = false
    parameters.cache_salt = toHex(options.randomBytes(CACHE_SALT_BYTES))
  }
  const text = JSON.stringify({
    ...parameters,
    model: model.upstreamName ?? model.name,
    messages: request.messages,
    stream: true,
    stream_options: { include_usage: true },
  })
  if (text.length > BODY_CHARS_MAX) throw invalidRequest('the request is too large', null)
  return text
}

/** Rewrites a text of the server to speak of the public name, for its own may be a file. */
function publicName(model: OpenaiModel): (text: string) => string {
  const { name, upstreamName } = model
  return (text) => (upstreamName === undefined || upstreamName === '' ? text : text.replaceAll(upstreamName, name))
}

const IDLE_TIMEOUT_MS_DEFAULT = 120_000
const EVENT_CHARS_MAX_DEFAULT = 4_194_304
const BODY_CHARS_MAX = 67_108_864
const CACHE_SALT_BYTES = 32

/** Fields about the cache: ours replace them, so they are taken out rather than refused. */
const CACHE_FIELDS: ReadonlySet<string> = new Set([
  'cache_prompt',
  'cache_salt',
  'prompt_cache_key',
  'prompt_cache_retention',
  'extra_key',
])

/** Fields of llama-server, vLLM and SGLang by which one user could touch or measure another's slot, cache or request. */
const REFUSED_FIELDS: ReadonlySet<string> = new Set([
  'id_slot',
  'n_cache_reuse',
  'timings_per_token',
  'return_progress',
  'kv_transfer_params',
  'request_id',
  'rid',
  'session_params',
  'bootstrap_host',
  'bootstrap_port',
  'bootstrap_room',
  'data_parallel_rank',
  'priority',
])

/** Fires `signal` after a silence of `timeoutMs`. */
class IdleTimer {
  readonly #controller = new AbortController()
  readonly #timer: NodeJS.Timeout

  constructor(timeoutMs: number) {
    this.#timer = setTimeout(() => this.#controller.abort(), timeoutMs)
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  restart(): void {
    this.#timer.refresh()
  }

  stop(): void {
    clearTimeout(this.#timer)
  }
}
