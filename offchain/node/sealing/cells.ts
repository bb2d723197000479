/**
 * One answer as plaintext chunks of one length: what there is of it, and filler in what is left. Knows nothing of time and of sealing.
 *
 * ```
 * 3, [informational responses]*, status, headers, [content and filler of content]*, end, trailers, zeros
 * ```
 * @module
 */

import { concatBytes } from '#protocol/bytes.ts'
import { ByteQueue } from '#protocol/sealing/byteQueue.ts'
import { CHUNK_BYTES_SEND } from '#protocol/sealing/chunkSealing.ts'
import { contentFiller, informationalFiller } from '#protocol/sealing/filler.ts'
import { cellClass } from '#protocol/shape.ts'

/** Content of any number of bytes from two that its reader drops. */
export type MakeFiller = (lengthBytes: number) => Uint8Array

export type Cell = { readonly plaintext: Uint8Array; readonly isFinal: boolean }

/** Bytes that are left in the queue at most when all that was put has been taken. */
export const FILLER_BYTES_OVER = 2

const INDETERMINATE_RESPONSE = Uint8Array.of(3)
const FIRST_IDLE_CELL: Uint8Array = concatBytes(INDETERMINATE_RESPONSE, informationalFiller(CHUNK_BYTES_SEND - 1))
const IDLE_CELL: Uint8Array = informationalFiller(CHUNK_BYTES_SEND)

export class Cells {
  readonly #queue = new ByteQueue()
  #stage: 'head' | 'content' | 'padding' = 'head'
  #fill: MakeFiller | undefined
  #count = 0
  #wakeWriter: (() => void) | undefined
  #isStopped = false

  /** Bytes that no cell has taken yet. */
  get bytes(): number {
    return this.#queue.length
  }

  /** The opening of the message (`encodeResponseHead`), and what fills its content while there is none. */
  open(head: Uint8Array, fill: MakeFiller): void {
    this.#put(head)
    this.#fill = fill
    this.#stage = 'content'
  }

  /** Behind `open`: whole content chunks. */
  put(chunks: Uint8Array): void {
    this.#queue.append(chunks)
  }

  /** Behind `open`: the end of content, and trailers. */
  end(end: Uint8Array): void {
    this.#queue.append(end)
    this.#stage = 'padding'
  }

  /** In the place of all three: a message from its opening to its end. */
  putWhole(message: Uint8Array): void {
    this.#put(message)
    this.#stage = 'padding'
  }

  /** Resolves when the reader asks for more and at most `bytes` wait, and when nobody takes them any more. */
  async untilAtMost(bytes: number): Promise<void> {
    while (this.#queue.length > bytes && !this.#isStopped) {
      await new Promise<void>((resolve) => {
        this.#wakeWriter = resolve
      })
    }
  }

  /** The reader has what was taken, and waits for the next cell. */
  ask(): void {
    this.#wakeWriter?.()
  }

  /** Nobody takes anything any more. */
  stop(): void {
    this.#isStopped = true
    this.#wakeWriter?.()
  }

  /** The next cell. Filler of content may pass its end by `FILLER_BYTES_OVER`, which the next one begins with. */
  take(): Cell {
    this.#count++
    if (this.#stage === 'head') return { plaintext: this.#count === 1 ? FIRST_IDLE_CELL : IDLE_CELL, isFinal: false }
    const free = CHUNK_BYTES_SEND - this.#queue.length
    if (free > 0) this.#queue.append(this.#filler(free))
    const plaintext = this.#queue.take(CHUNK_BYTES_SEND)
    const isOver = this.#stage === 'padding' && this.#queue.length === 0
    return { plaintext, isFinal: isOver && this.#count === cellClass(this.#count) }
  }

  #filler(bytes: number): Uint8Array {
    if (this.#stage === 'content' && this.#fill !== undefined) return contentFiller(bytes, this.#fill)
    return new Uint8Array(bytes)
  }

  #put(message: Uint8Array): void {
    // Whoever came before the head has said already what kind of message it is.
    this.#queue.append(this.#count === 0 ? message : message.subarray(INDETERMINATE_RESPONSE.length))
  }
}
