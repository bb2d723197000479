/**
 * The connection to a model server: what it sees of us, how long it may be silent, and how its failures read. Node's own client, because `fetch` takes half
 * as much time again for every piece that it reads. @module
 */
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import { aborted, BackendError } from './backendError.ts'
import { upstreamRefusal } from './openaiError.ts'

export type UpstreamOptions = {
  readonly apiKey: string | undefined
  readonly idleTimeoutMs: number
  /** For a server that is known by more than its name (pinnedTls.ts). */
  readonly tlsAgent?: HttpsAgent | undefined
}

/** How an answer fails that began, or should have. */
export type AnswerFaults = {
  /** Whether the client may have seen a part of the answer. */
  readonly hasStarted: boolean
  /** Whether the server has said all of its answer: then its connection may serve the next. */
  readonly hasEnded: boolean
  cut(message: string, cause?: unknown): BackendError
}

export type UpstreamRequest = {
  readonly url: URL
  readonly body: string
  readonly signal: AbortSignal
  /** The field of our request that is at fault when it exceeds the context. */
  readonly subject: string
  /** Rewrites a text of the server to speak of the public name, for its own may be a file. */
  readonly rename: (text: string) => string
}

/**
 * Posts a request, and yields the bytes of the answer as they come. Whoever stops reading hangs up. Throws `BackendError`: what the server refused with,
 * 503 (`UPSTREAM_UNAVAILABLE`) when it cannot be reached or is silent for too long, `ABORTED` once `signal` fires, and what `faults` says after the start.
 */
export async function* readUpstream(
  options: UpstreamOptions,
  request: UpstreamRequest,
  faults: AnswerFaults,
): AsyncGenerator<Uint8Array, void, undefined> {
  const { url, body, signal, subject, rename } = request
  const idle = new IdleTimer(options.idleTimeoutMs)
  let response: IncomingMessage | undefined
  try {
    response = await post(options, url, body, AbortSignal.any([signal, idle.signal]))
    if (response.statusCode !== 200) {
      throw await upstreamRefusal(response, () => idle.start(), { rename, subject })
    }
    idle.start()
    for await (const part of response.iterator({ destroyOnReturn: false })) {
      // While it is us who do not read, silence is not the server's fault.
      idle.pause()
      yield part
      idle.start()
    }
  } catch (error) {
    throw explain(error, signal, idle, faults)
  } finally {
    idle.end()
    if (response !== undefined) leave(response, faults.hasEnded)
  }
}

/** Idle connections are closed by us, before the servers in use do so: a request that meets the server's closing would fail. */
export const KEPT_IDLE_MS = 4_000
const httpAgent = new HttpAgent({ keepAlive: true, timeout: KEPT_IDLE_MS })
const httpsAgent = new HttpsAgent({ keepAlive: true, timeout: KEPT_IDLE_MS })

/** Redirects are not followed. Rejects when `signal` fires or nobody answers. */
function post(upstream: UpstreamOptions, url: URL, body: string, signal: AbortSignal): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const isTls = url.protocol === 'https:'
    const agent = isTls ? (upstream.tlsAgent ?? httpsAgent) : httpAgent
    const options = { method: 'POST', agent, headers: buildHeaders(upstream.apiKey), signal }
    const request = (isTls ? httpsRequest : httpRequest)(url, options)
    request.once('response', resolve)
    // Behind the response the same is told by the response; left without a listener it would end the process.
    request.on('error', reject)
    request.end(body)
  })
}

/** How long a server may take from its last word to the end of its response. */
const LAST_BYTES_MS = 1_000

/** Hangs up, unless only the end of the response is missing: servers often send it by itself, and a new connection is dear. */
function leave(response: IncomingMessage, hasEnded: boolean): void {
  if (!hasEnded || response.destroyed) {
    response.destroy()
    return
  }
  const timer = setTimeout(() => response.destroy(), LAST_BYTES_MS)
  response.once('close', () => clearTimeout(timer))
  // A connection that breaks now is in nobody's way.
  response.on('error', () => {})
  response.resume()
}

/** The typed error for whatever was thrown while talking to the server. */
function explain(error: unknown, signal: AbortSignal, idle: IdleTimer, faults: AnswerFaults): BackendError {
  if (error instanceof BackendError) return error
  if (signal.aborted) return aborted(error)
  if (faults.hasStarted) return faults.cut('the connection to the model server broke', error)
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

/** Fires `signal` when the server was waited for that long. */
class IdleTimer {
  readonly #controller = new AbortController()
  /** One timer for all pieces, wound up anew for each: to make one for every piece would cost as much as reading it. */
  readonly #timer: NodeJS.Timeout
  #isWaiting = true

  constructor(timeoutMs: number) {
    this.#timer = setTimeout(() => {
      if (this.#isWaiting) this.#controller.abort()
    }, timeoutMs)
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  start(): void {
    this.#isWaiting = true
    this.#timer.refresh()
  }

  pause(): void {
    this.#isWaiting = false
  }

  end(): void {
    clearTimeout(this.#timer)
  }
}
