/** Whether the client of one exchange is still there. @module */

/**
 * The client's leaving is reported by the server's request signal, by the cancellation of the response's stream, or by
 * both. Whichever comes first aborts `signal` and stops the source of the response.
 */
export class ExchangeLifetime {
  readonly #controller = new AbortController()
  readonly #source: AbortSignal
  readonly #onAbort = (): void => this.leave()
  #stop: (() => unknown) | undefined

  constructor(source: AbortSignal) {
    this.#source = source
    if (source.aborted) this.leave()
    else source.addEventListener('abort', this.#onAbort, { once: true })
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  get hasLeft(): boolean {
    return this.#controller.signal.aborted
  }

  /** `stop` is called when the client leaves, at once if it has left. What it throws or rejects with concerns nobody any more. */
  onLeave(stop: () => unknown): void {
    this.#stop = stop
    if (this.hasLeft) this.#runStop()
  }

  leave(): void {
    this.#source.removeEventListener('abort', this.#onAbort)
    if (this.hasLeft) return
    this.#controller.abort(new DOMException('the client has left', 'AbortError'))
    this.#runStop()
  }

  /** The exchange is over: leaving means nothing from now on. */
  end(): void {
    this.#source.removeEventListener('abort', this.#onAbort)
    this.#stop = undefined
  }

  /** Stops the source although the client is still there: what it produces can no longer be sent. */
  stop(): void {
    this.#source.removeEventListener('abort', this.#onAbort)
    this.#runStop()
  }

  #runStop(): void {
    const stop = this.#stop
    this.#stop = undefined
    // Stopping a source that the same signal aborted rejects (an upstream's reader does); left alone that ends the process.
    if (stop !== undefined) (async () => stop())().catch(() => undefined)
  }
}
