/** An event stream on its way to a reader who may be slow, stop, or never begin. @module */

export type DeliveryOptions = {
  /** The longest time between two reads. */
  readonly readerTimeoutSeconds: number
  /** The longest time for all of it: whoever takes a byte now and then would hold a place for ever. */
  readonly secondsMax: number
  /** Called once, before `stopped`, when the time is over: whatever `source` waits for is to be ended. */
  readonly onTimeout: () => void
  /**
   * Called once, when the reader has stopped before the end or was stopped, or `source` failed: even for a reader who never began, because a generator
   * that never ran has no `finally`. Must not reject.
   */
  readonly onStopped: () => Promise<void>
}

/** `source`, watched. A reader who comes back after the time is over gets a `DeliveryError`, so that the answer is seen to be cut. */
export function watchDelivery(source: AsyncIterable<Uint8Array>, options: DeliveryOptions): AsyncIterable<Uint8Array> {
  return { [Symbol.asyncIterator]: () => new Delivery(source[Symbol.asyncIterator](), options) }
}

class Delivery implements AsyncIterator<Uint8Array> {
  readonly #options: DeliveryOptions
  readonly #total: NodeJS.Timeout
  /** One timer for all pieces, wound up anew for each: to make one for every piece would cost as much as sealing it. */
  readonly #silence: NodeJS.Timeout
  #source: AsyncIterator<Uint8Array> | undefined
  /** Whether the reader has taken what there was and waits for us. */
  #isTaken = false
  #isLate = false

  constructor(source: AsyncIterator<Uint8Array>, options: DeliveryOptions) {
    this.#source = source
    this.#options = options
    this.#total = setTimeout(() => this.#giveUp(), options.secondsMax * 1_000)
    this.#silence = setTimeout(() => {
      if (!this.#isTaken) this.#giveUp()
    }, options.readerTimeoutSeconds * 1_000)
  }

  async next(): Promise<IteratorResult<Uint8Array>> {
    this.#isTaken = true
    if (this.#isLate) throw new DeliveryError('TOO_SLOW', 'the reader took too long to take the answer')
    if (this.#source === undefined) return { done: true, value: undefined }
    try {
      const next = await this.#source.next()
      if (next.done === true) this.#clear()
      else this.#awaitReader()
      return next
    } catch (error) {
      await this.#stop()
      throw error
    }
  }

  async return(): Promise<IteratorResult<Uint8Array>> {
    await this.#stop()
    return { done: true, value: undefined }
  }

  #awaitReader(): void {
    // Stopped while the piece was on its way: winding up a timer that was cleared would start it again.
    if (this.#source === undefined) return
    this.#isTaken = false
    this.#silence.refresh()
  }

  #giveUp(): void {
    this.#isLate = true
    this.#options.onTimeout()
    void this.#stop()
  }

  async #stop(): Promise<void> {
    this.#clear()
    const source = this.#source
    // What it holds is let go of, however long the reader keeps this.
    this.#source = undefined
    if (source === undefined) return
    await source.return?.()
    await this.#options.onStopped()
  }

  #clear(): void {
    clearTimeout(this.#silence)
    clearTimeout(this.#total)
  }
}

export type DeliveryErrorCode = 'TOO_SLOW'

export class DeliveryError extends Error {
  override readonly name = 'DeliveryError'
  readonly code: DeliveryErrorCode
  constructor(code: DeliveryErrorCode, message: string) {
    super(message)
    this.code = code
  }
}
