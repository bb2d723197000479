/** Writes down what leaves for the relay and what comes back, byte for byte: what the page shows of it is what passed, and nothing that was made up for showing. @module */
import { joinBytes } from '#protocol/bytes.ts'
import type { RelayFetch } from '../../sdk/options.ts'

/** One exchange with a relay. Times are milliseconds of `performance`. */
export type Recorded = {
  readonly method: string
  readonly url: URL
  readonly contentType: string
  readonly request: Uint8Array
  readonly sentMs: number
  /** Undefined until the answer begins. */
  readonly status: number | undefined
  readonly firstByteMs: number | undefined
  readonly endedMs: number | undefined
  readonly responseBytes: number
  /** The answer as it came, at most `KEPT_BYTES_MAX` of it. */
  response(): Uint8Array
}

/** Of one answer that is kept to be looked at: a minute of cells in `private` mode. */
const KEPT_BYTES_MAX = 8 * 1024 * 1024
/** How many exchanges are remembered; older ones are forgotten. */
const EXCHANGES_MAX = 200

export class Recorder {
  #exchanges: Draft[] = []
  #count = 0

  /** How many exchanges have begun. */
  get count(): number {
    return this.#count
  }

  /** What began after the first `count` exchanges. */
  since(count: number): readonly Recorded[] {
    const first = this.#count - this.#exchanges.length
    return this.#exchanges.slice(Math.max(0, count - first))
  }

  /** The platform's `fetch`, listened to. */
  readonly fetch: RelayFetch = async (input, init) => {
    const draft = new Draft(input, init)
    this.#count++
    this.#exchanges = [...this.#exchanges, draft].slice(-EXCHANGES_MAX)
    const response = await fetch(input, init)
    return draft.listenTo(response)
  }
}

class Draft implements Recorded {
  readonly method: string
  readonly url: URL
  readonly contentType: string
  readonly request: Uint8Array
  readonly sentMs: number = performance.now()
  status: number | undefined
  firstByteMs: number | undefined
  endedMs: number | undefined
  responseBytes = 0
  readonly #parts: Uint8Array[] = []

  constructor(input: RequestInfo | URL, init: RequestInit | undefined) {
    this.method = init?.method ?? 'GET'
    this.url = new URL(input instanceof Request ? input.url : input)
    this.contentType = new Headers(init?.headers).get('content-type') ?? ''
    // The SDK hands over bytes, and sends nothing else.
    this.request = init?.body instanceof Uint8Array ? init.body : new Uint8Array()
  }

  listenTo(response: Response): Response {
    this.status = response.status
    if (response.body === null) return response
    const listening = new TransformStream<Uint8Array, Uint8Array>({
      transform: (bytes, controller) => {
        this.#take(bytes)
        controller.enqueue(bytes)
      },
      flush: () => {
        this.endedMs = performance.now()
      },
    })
    const { status, statusText, headers } = response
    return new Response(response.body.pipeThrough(listening), { status, statusText, headers })
  }

  response(): Uint8Array {
    return joinBytes(this.#parts)
  }

  #take(bytes: Uint8Array): void {
    this.firstByteMs ??= performance.now()
    if (this.responseBytes + bytes.length <= KEPT_BYTES_MAX) this.#parts.push(bytes.slice())
    this.responseBytes += bytes.length
  }
}
