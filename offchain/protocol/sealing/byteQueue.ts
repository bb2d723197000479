/** A queue of received bytes for the push parsers: append at the end, take from the front. @module */
import { readVarint, type Varint } from './varint.ts'

const EMPTY = new Uint8Array()

/**
 * Taken bytes are views, of the appended array itself while nothing was left over, so whoever appends gives the bytes
 * away. Live bytes never move inside a buffer: a view stays valid for good. Copying is linear in the bytes appended.
 */
export class ByteQueue {
  #bytes: Uint8Array = EMPTY
  #start = 0
  #end = 0
  /** True when `#bytes` was allocated here, so that the room behind `#end` may be written. */
  #isOwned = false

  get length(): number {
    return this.#end - this.#start
  }

  append(bytes: Uint8Array): void {
    if (bytes.length === 0) return
    const live = this.length
    if (live === 0) {
      this.#bytes = bytes
      this.#start = 0
      this.#end = bytes.length
      this.#isOwned = false
      return
    }
    if (!this.#isOwned || this.#bytes.length - this.#end < bytes.length) {
      const grown = new Uint8Array(2 * (live + bytes.length))
      grown.set(this.#bytes.subarray(this.#start, this.#end))
      this.#bytes = grown
      this.#start = 0
      this.#end = live
      this.#isOwned = true
    }
    this.#bytes.set(bytes, this.#end)
    this.#end += bytes.length
  }

  /** The next `count` bytes, at most `length` of them. */
  take(count: number): Uint8Array {
    const end = Math.min(this.#start + count, this.#end)
    const taken = this.#bytes.subarray(this.#start, end)
    this.#start = end
    return taken
  }

  /** Drops the next `count` bytes. */
  skip(count: number): void {
    this.#start = Math.min(this.#start + count, this.#end)
  }

  /** The variable-length integer `ahead` bytes behind the front, left in the queue; undefined when it is not complete. */
  peekVarint(ahead = 0): Varint | undefined {
    return readVarint(this.#bytes, this.#start + ahead, this.#end)
  }
}
