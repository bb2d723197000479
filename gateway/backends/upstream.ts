/** The connection to a model server: what it sees of us, how long it may be silent, and how its failures read. @module */
import { aborted, BackendError } from './backendError.ts'
import { upstreamRefusal } from './openaiError.ts'

export type UpstreamOptions = {
  readonly apiKey: string | undefined
  readonly idleTimeoutMs: number
}

/** How an answer fails that began, or should have. */
export type AnswerFaults = {
  /** Whether the client may have seen a part of the answer. */
  readonly hasStarted: boolean
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
  let reader: ReadableStreamDefaultReader<Uint8Array> | undefined
  idle.start()
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers: buildHeaders(options.apiKey),
      body,
      redirect: 'manual',
      signal: AbortSignal.any([signal, idle.signal]),
    })
    if (response.status !== 200 || response.body === null) {
      throw await upstreamRefusal(response, () => idle.start(), { rename, subject })
    }
    reader = response.body.getReader()
    for (;;) {
      idle.start()
      const { done, value } = await reader.read()
      // While it is us who do not read, silence is not the server's fault.
      idle.stop()
      if (done) return
      yield value
    }
  } catch (error) {
    throw explain(error, signal, idle, faults)
  } finally {
    idle.stop()
    // Cancelling is a wish: the stream may have failed already, by the very signal that brought us here, and then `cancel` rejects.
    reader?.cancel().catch(() => {})
  }
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

/** Fires `signal` after `timeoutMs`, counted from the last `start`. */
class IdleTimer {
  readonly #controller = new AbortController()
  readonly #timeoutMs: number
  #timer: NodeJS.Timeout | undefined

  constructor(timeoutMs: number) {
    this.#timeoutMs = timeoutMs
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  start(): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.#controller.abort(), this.#timeoutMs)
  }

  stop(): void {
    clearTimeout(this.#timer)
  }
}
