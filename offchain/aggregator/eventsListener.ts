/** One open stream of server-sent events: what is written waits for its reader, within bounds. @module */
import { encodeUtf8 } from '#protocol/bytes.ts'

export type FeedLimits = {
  readonly listenersMax: number
  /** Bytes of events that wait for a listener, and how long it may leave them. */
  readonly waitingBytesMax: number
  readonly slowMs: number
  readonly keepAliveMs: number
  /** Between two looks when nothing is announced: what becomes final is not, nor anything while the database's connection is down. */
  readonly pollMs: number
}

export const FEED_LIMITS: FeedLimits = {
  listenersMax: 256,
  waitingBytesMax: 262_144,
  slowMs: 10_000,
  keepAliveMs: 15_000,
  pollMs: 2_000,
}

export class Listener {
  readonly stream: ReadableStream<Uint8Array>
  readonly #limits: FeedLimits
  readonly #onEnd: (listener: Listener) => void
  readonly #cutOff: () => void
  readonly #keepAlive: NodeJS.Timeout
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined
  #isOver = false
  #hasChanged = false
  /** Resolve what waits: for a change, and for room. */
  #onChange: (() => void) | undefined
  #onRoom: (() => void) | undefined

  constructor(limits: FeedLimits, onEnd: (listener: Listener) => void, cutOff: () => void) {
    this.#limits = limits
    this.#onEnd = onEnd
    this.#cutOff = cutOff
    this.stream = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller
        },
        pull: () => this.#onRoom?.(),
        cancel: () => this.end(),
      },
      new ByteLengthQueuingStrategy({ highWaterMark: limits.waitingBytesMax }),
    )
    this.#keepAlive = setInterval(() => {
      this.write(': keep-alive\n\n').catch(() => this.end())
    }, limits.keepAliveMs).unref()
  }

  get isOver(): boolean {
    return this.#isOver
  }

  wake(): void {
    this.#hasChanged = true
    this.#onChange?.()
  }

  /** Returns after the next `wake`, at once when there was one since the last call. */
  async change(): Promise<void> {
    if (!this.#hasChanged && !this.#isOver) {
      await new Promise<void>((resolve) => {
        this.#onChange = resolve
      })
      this.#onChange = undefined
    }
    this.#hasChanged = false
  }

  /** Waits while too much waits to be read, and ends the stream when that takes too long. */
  async write(text: string): Promise<void> {
    if (!this.#hasRoom()) await this.#room()
    if (this.#isOver) return
    if (this.#hasRoom()) {
      this.#controller?.enqueue(encodeUtf8(text))
      return
    }
    this.end()
    // What waits would wait for as long as the connection lives.
    this.#cutOff()
  }

  end(): void {
    if (this.#isOver) return
    this.#finish()
    try {
      this.#controller?.close()
    } catch {
      // Cancelled by its reader: closed already.
    }
  }

  #finish(): void {
    this.#isOver = true
    clearInterval(this.#keepAlive)
    this.#onEnd(this)
    this.#onChange?.()
    this.#onRoom?.()
  }

  #hasRoom(): boolean {
    return (this.#controller?.desiredSize ?? 0) > 0
  }

  async #room(): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, this.#limits.slowMs)
      const earlier = this.#onRoom
      this.#onRoom = () => {
        clearTimeout(timer)
        earlier?.()
        resolve()
      }
    })
    this.#onRoom = undefined
  }
}
