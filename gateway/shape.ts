/** Cuts and fills an event stream into cells of one size, at once or on a tick. Modes: #protocol/shape.ts. @module */
import { CONTENT_BYTES_PER_CHUNK } from '#node/sealing/sealedResponse.ts'
import { cellClass, fillerComment, type PaddingMode, TICK_MS } from '#protocol/shape.ts'

/** Bytes a model may be ahead of its reader before it has to wait. */
const QUEUE_BYTES_MAX = 262_144

/** `events` in the shape of `mode`. Every piece of `events` must end at the end of an event. Stopping it stops `events`. */
export function shapeEvents(events: AsyncIterable<Uint8Array>, mode: PaddingMode): AsyncIterable<Uint8Array> {
  if (mode === 'off') return events
  return shapeCells(events, mode === 'private' ? TICK_MS : undefined)
}

async function* shapeCells(events: AsyncIterable<Uint8Array>, tickMs: number | undefined): AsyncGenerator<Uint8Array> {
  const queue = new CellQueue(CONTENT_BYTES_PER_CHUNK)
  // Never rejects: a failure reaches the reader through the queue.
  const pumping = pump(events, queue)
  const ticks = tickMs === undefined ? undefined : new Ticks(tickMs)
  let cells = 0
  try {
    for (;;) {
      await (ticks === undefined ? queue.untilReady() : ticks.next())
      if (queue.failure !== undefined) throw queue.failure.cause
      // The cells that fill the class come on ticks too: sent at once, they would tell when the answer really ended.
      const isFilled = ticks === undefined || cells === cellClass(cells)
      if (queue.isEmpty && queue.isEnded && isFilled) break
      cells++
      yield queue.takeCell()
    }
  } finally {
    queue.stop()
    await pumping
  }
}

async function pump(events: AsyncIterable<Uint8Array>, queue: CellQueue): Promise<void> {
  try {
    for await (const piece of events) {
      queue.put(piece)
      await queue.untilRoom(QUEUE_BYTES_MAX)
      if (queue.isStopped) return
    }
    queue.end()
  } catch (cause) {
    queue.fail(cause)
  }
}

/** A steady beat. Ticks missed while the reader was slow are left out, not made up for. */
class Ticks {
  readonly #periodMs: number
  #dueAt = performance.now()

  constructor(periodMs: number) {
    this.#periodMs = periodMs
  }

  async next(): Promise<void> {
    this.#dueAt = Math.max(this.#dueAt + this.#periodMs, performance.now())
    const waitMs = this.#dueAt - performance.now()
    await new Promise((resolve) => setTimeout(resolve, waitMs))
  }
}

/** Bytes between the model and the cells, with the waiting on both sides. */
class CellQueue {
  readonly #cellBytes: number
  #parts: Uint8Array[] = []
  #bytes = 0
  #wakeReader: (() => void) | undefined
  #wakeWriter: (() => void) | undefined
  isEnded = false
  isStopped = false
  failure: { cause: unknown } | undefined

  constructor(cellBytes: number) {
    this.#cellBytes = cellBytes
  }

  get isEmpty(): boolean {
    return this.#bytes === 0
  }

  put(piece: Uint8Array): void {
    if (piece.length === 0) return
    this.#parts.push(piece)
    this.#bytes += piece.length
    this.#wakeReader?.()
  }

  end(): void {
    this.isEnded = true
    this.#wakeReader?.()
  }

  fail(cause: unknown): void {
    this.failure = { cause }
    this.#wakeReader?.()
  }

  stop(): void {
    this.isStopped = true
    this.#wakeWriter?.()
  }

  async untilReady(): Promise<void> {
    while (this.#bytes === 0 && !this.isEnded && this.failure === undefined) {
      await new Promise<void>((resolve) => {
        this.#wakeReader = resolve
      })
    }
  }

  async untilRoom(bytesMax: number): Promise<void> {
    while (this.#bytes > bytesMax && !this.isStopped) {
      await new Promise<void>((resolve) => {
        this.#wakeWriter = resolve
      })
    }
  }

  /** One cell: what is waiting, and a comment in what is left of it. */
  takeCell(): Uint8Array {
    const cell = new Uint8Array(this.#cellBytes)
    const free = this.#cellBytes - this.#bytes
    // A comment has two bytes at least: with one byte free, the last line feed of the last event waits for the next cell. A comment
    // between an event's last line and the blank line that ends it is as legal as anywhere.
    const take = free === 1 ? this.#bytes - 1 : Math.min(this.#bytes, this.#cellBytes)
    const taken = this.#take(cell, take)
    if (taken < this.#cellBytes) cell.set(fillerComment(this.#cellBytes - taken), taken)
    return cell
  }

  #take(target: Uint8Array, count: number): number {
    let offset = 0
    while (offset < count) {
      const part = this.#parts[0]
      if (part === undefined) break
      const length = Math.min(part.length, count - offset)
      target.set(part.subarray(0, length), offset)
      offset += length
      if (length === part.length) this.#parts.shift()
      else this.#parts[0] = part.subarray(length)
    }
    this.#bytes -= offset
    this.#wakeWriter?.()
    return offset
  }
}
