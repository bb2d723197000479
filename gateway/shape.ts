/**
 * Cuts and fills an event stream into the cells of `balanced` mode. In `private` mode the sealed server makes cells of everything that it sends
 * (offchain/node/sealing/cells.ts). Modes: #protocol/shape.ts.
 * @module
 */
import { CONTENT_BYTES_PER_CHUNK } from '#node/sealing/sealedResponse.ts'
import { fillerComment, type PaddingMode } from '#protocol/shape.ts'

/** Bytes a model may be ahead of its reader before it has to wait. */
const QUEUE_BYTES_MAX = 262_144

/**
 * Time between two cells of `balanced` mode that are not full, in milliseconds: nobody reads faster, and a cell for every token of a fast
 * model would be twenty times its bytes and ten times the work. An event after a longer silence leaves at once, and so does the end.
 */
const MERGE_MS = 10

/** The first cells of `balanced` mode do not wait: model servers often send the role first, and the first token right behind it. */
const CELLS_AT_ONCE = 2

/** `events` as the sealed server takes them in `mode`. Every piece of `events` must end at the end of an event. Stopping it stops `events`. */
export function shapeEvents(events: AsyncIterable<Uint8Array>, mode: PaddingMode): AsyncIterable<Uint8Array> {
  return mode === 'balanced' ? shapeCells(events) : events
}

async function* shapeCells(events: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const queue = new CellQueue(CONTENT_BYTES_PER_CHUNK)
  const merging = new Merging(MERGE_MS)
  // Never rejects: a failure reaches the reader through the queue.
  const pumping = pump(events, queue)
  try {
    for (;;) {
      await merging.next(queue)
      if (queue.failure !== undefined) throw queue.failure.cause
      if (queue.isEmpty && queue.isEnded) break
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
      // Asked first, because waiting for nothing costs as much as all the rest that is done for an event.
      if (queue.bytes > QUEUE_BYTES_MAX) await queue.untilRoom(QUEUE_BYTES_MAX)
      if (queue.isStopped) return
    }
    queue.end()
  } catch (cause) {
    queue.fail(cause)
  }
}

/** When the next cell leaves: as soon as there is something to say; when cells follow one another, only full ones or one in `windowMs`. */
class Merging {
  readonly #windowMs: number
  #atOnce = CELLS_AT_ONCE
  #lastMs = 0

  constructor(windowMs: number) {
    this.#windowMs = windowMs
  }

  /** Resolves when it is time, and at once when the source has failed. */
  async next(queue: CellQueue): Promise<void> {
    await queue.untilBytes(1)
    if (this.#atOnce > 0) this.#atOnce--
    else {
      const waitMs = this.#lastMs + this.#windowMs - performance.now()
      if (waitMs > 0) await queue.untilBytes(CONTENT_BYTES_PER_CHUNK, waitMs)
    }
    this.#lastMs = performance.now()
  }
}

/** Bytes between the model and the cells, with the waiting on both sides. */
class CellQueue {
  readonly #cellBytes: number
  #parts: Uint8Array[] = []
  #wakeReader: (() => void) | undefined
  #readerNeedsBytes = 0
  #wakeWriter: (() => void) | undefined
  bytes = 0
  isEnded = false
  isStopped = false
  failure: { cause: unknown } | undefined

  constructor(cellBytes: number) {
    this.#cellBytes = cellBytes
  }

  get isEmpty(): boolean {
    return this.bytes === 0
  }

  put(piece: Uint8Array): void {
    if (piece.length === 0) return
    this.#parts.push(piece)
    this.bytes += piece.length
    if (this.bytes >= this.#readerNeedsBytes) this.#wakeReader?.()
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

  /** Resolves with so many bytes, with the end or a failure of the source, or after `timeoutMs`. */
  async untilBytes(count: number, timeoutMs?: number): Promise<void> {
    if (this.bytes >= count || this.isEnded || this.failure !== undefined) return
    this.#readerNeedsBytes = count
    await new Promise<void>((resolve) => {
      const timer = timeoutMs === undefined ? undefined : setTimeout(resolve, timeoutMs)
      this.#wakeReader = () => {
        clearTimeout(timer)
        resolve()
      }
    })
    this.#wakeReader = undefined
  }

  async untilRoom(bytesMax: number): Promise<void> {
    while (this.bytes > bytesMax && !this.isStopped) {
      await new Promise<void>((resolve) => {
        this.#wakeWriter = resolve
      })
    }
  }

  /** One cell: what is waiting, and a comment in what is left of it. */
  takeCell(): Uint8Array {
    const cell = new Uint8Array(this.#cellBytes)
    const free = this.#cellBytes - this.bytes
    // A comment has two bytes at least: with one byte free, the last line feed of the last event waits for the next cell. A comment
    // between an event's last line and the blank line that ends it is as legal as anywhere.
    const take = free === 1 ? this.bytes - 1 : Math.min(this.bytes, this.#cellBytes)
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
    this.bytes -= offset
    this.#wakeWriter?.()
    return offset
  }
}
