/** The framing of chunked OHTTP on the receiving side: from bytes in any portions to whole ciphertexts. @module */
import { ByteQueue } from './byteQueue.ts'
import { OhttpError } from './ohttpError.ts'

export interface ChunkLimits {
  /** Plaintext bytes of one chunk, the final one included. The draft demands that 16,384 are accepted. */
  readonly chunkBytesMax: number
  /** Bytes of the whole encapsulated message. */
  readonly messageBytesMax: number
}

export const CHUNK_LIMITS: ChunkLimits = { chunkBytesMax: 16_384, messageBytesMax: 67_108_864 }

/**
 * ```
 * head, n * { length(varint) > 0, ciphertext }, 0(varint), final ciphertext up to the end of the message
 * ```
 * Knows nothing of keys: that a message is complete is decided by whoever opens the final ciphertext.
 */
export class ChunkReader {
  readonly #limits: ChunkLimits
  readonly #queue = new ByteQueue()
  #messageBytes = 0
  #isFinal = false

  constructor(limits: ChunkLimits) {
    this.#limits = limits
  }

  /** Throws `OhttpError` (`MESSAGE_TOO_LARGE`) before it keeps anything. */
  append(bytes: Uint8Array): void {
    this.#messageBytes += bytes.length
    if (this.#messageBytes > this.#limits.messageBytesMax) {
      throw new OhttpError('MESSAGE_TOO_LARGE', `expected at most ${this.#limits.messageBytesMax} bytes`)
    }
    this.#queue.append(bytes)
  }

  /** The first `count` bytes; undefined until they are there. Only before the first `next`. */
  head(count: number): Uint8Array | undefined {
    return this.#queue.length < count ? undefined : this.#queue.take(count)
  }

  /**
   * The next ciphertext that is not the final one; undefined until it is complete. Bounds are checked as soon as the
   * length is known: `EMPTY_CHUNK` when there is room for the tag (`Nt` bytes) at most, `CHUNK_TOO_LARGE`.
   */
  next(Nt: number): Uint8Array | undefined {
    const ciphertextBytesMax = this.#limits.chunkBytesMax + Nt
    if (!this.#isFinal) {
      const length = this.#queue.peekVarint()
      if (length === undefined) return undefined
      if (length.value > 0) {
        if (length.value <= Nt) throw new OhttpError('EMPTY_CHUNK', 'only the final chunk may be empty')
        if (length.value > ciphertextBytesMax) throw this.#tooLarge()
        if (this.#queue.length < length.size + length.value) return undefined
        this.#queue.skip(length.size)
        return this.#queue.take(length.value)
      }
      this.#queue.skip(length.size)
      this.#isFinal = true
    }
    if (this.#queue.length > ciphertextBytesMax) throw this.#tooLarge()
    return undefined
  }

  /** The final ciphertext, at the end of the message. Throws `OhttpError` (`TRUNCATED`) when it was never begun. */
  finish(): Uint8Array {
    if (!this.#isFinal) throw new OhttpError('TRUNCATED', 'the message ended before its final chunk')
    return this.#queue.take(this.#queue.length)
  }

  #tooLarge(): OhttpError {
    return new OhttpError('CHUNK_TOO_LARGE', `expected at most ${this.#limits.chunkBytesMax} bytes in a chunk`)
  }
}
