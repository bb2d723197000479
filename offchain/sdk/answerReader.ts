/** Reads one sealed answer as it comes: head, body, trailers, each as soon as it authenticates. @module */
import type { Field } from '#protocol/sealing/binaryHttpFields.ts'
import type { SealedResponseReader } from '#protocol/sealing/client.ts'
import { SealpathError } from './errors.ts'
import type { Head } from './receiptCheck.ts'

export type AnswerLimits = {
  /** Aborts when the caller leaves, or the time is over: then every call rejects with its reason. */
  readonly signal: AbortSignal
  /** Longest silence behind the head, in milliseconds. Before it, whoever made `signal` keeps the time. */
  readonly idleTimeoutMs: number
  /** Called when it was that long; must abort `signal`. */
  readonly onIdle: () => void
}

/** The sealed answer as events, read as it comes. */
export class AnswerReader {
  readonly #source: ReadableStreamDefaultReader<Uint8Array>
  readonly #opener: SealedResponseReader
  readonly #limits: AnswerLimits
  #pending: Uint8Array[] = []
  #trailers: readonly Field[] = []
  #head: Head | undefined
  #isEnded = false

  constructor(source: ReadableStreamDefaultReader<Uint8Array>, opener: SealedResponseReader, limits: AnswerLimits) {
    this.#source = source
    this.#opener = opener
    this.#limits = limits
  }

  async head(): Promise<Head> {
    while (this.#head === undefined && !this.#isEnded) await this.#advance()
    if (this.#head === undefined) throw new SealpathError('ANSWER_CUT', 'the answer ended before its head')
    return this.#head
  }

  /** The next body bytes; undefined once the answer is complete and authenticated to its end. */
  async next(): Promise<Uint8Array | undefined> {
    while (this.#pending.length === 0 && !this.#isEnded) await this.#advance()
    return this.#pending.shift()
  }

  /** Valid after `next` answered undefined. */
  trailer(name: string): string | undefined {
    return this.#trailers.find(([field]) => field === name)?.[1]
  }

  async cancel(): Promise<void> {
    // The source may have failed by itself: there is nothing left to cancel then.
    await this.#source.cancel().catch(() => undefined)
  }

  async #advance(): Promise<void> {
    const { signal, idleTimeoutMs } = this.#limits
    try {
      const { done, value } = await this.#readInTime(idleTimeoutMs)
      const events = done ? await this.#opener.end() : await this.#opener.push(value)
      for (const event of events) {
        if (event.type === 'head') this.#head = event
        else if (event.type === 'body') this.#pending.push(event.bytes)
        else this.#trailers = event.trailers
      }
      this.#isEnded = done
    } catch (cause) {
      // Whatever the runtime makes of an abort: its reason is the caller's own, or that the time was over.
      signal.throwIfAborted()
      if (cause instanceof SealpathError) throw cause
      throw new SealpathError('ANSWER_CUT', 'the answer broke off or does not open: what came before is not complete', {
        cause,
      })
    }
  }

  /** Only while something is waited for: a caller that reads slowly keeps nobody waiting but itself. */
  async #readInTime(idleTimeoutMs: number): Promise<ReadableStreamReadResult<Uint8Array>> {
    if (this.#head === undefined) return this.#source.read()
    const timer = setTimeout(() => this.#limits.onIdle(), idleTimeoutMs)
    try {
      return await this.#source.read()
    } finally {
      clearTimeout(timer)
    }
  }
}
