/** The parts of chunked OHTTP that both ends share, and the gateway's sealing of responses (draft-ietf-ohai-chunked-ohttp-08 section 6). @module */
import { concatBytes, encodeUtf8 } from '../bytes.ts'
import { type ExchangeLabels, NO_BYTES } from './exchange.ts'
import { OhttpError } from './ohttpError.ts'
import type { MaybeBytes, ResponseCipher } from './suite.ts'
import { varintBytes, writeVarint } from './varint.ts'

/**
 * Plaintext bytes of the largest chunk that is ever sent. Peers must take 16,384, but one in use takes no more than
 * 4,096, and no more than that in the final chunk either.
 */
export const CHUNK_BYTES_SEND = 4096

/** Chunks of one response: far below the 2^53 to which a number counts exactly. */
const RESPONSE_CHUNKS_MAX = 2 ** 32

export const CHUNKED_LABELS: ExchangeLabels = {
  request: 'message/bhttp chunked request',
  response: 'message/bhttp chunked response',
}

export const FINAL_AAD: Uint8Array = encodeUtf8('final')

/** Gateway: seals one chunked response. With a synchronous back end each call returns the bytes to write, without a promise. */
export class ChunkedResponseSealer<Result extends MaybeBytes> {
  readonly #cipher: ResponseCipher<Result>
  readonly #nonce: Uint8Array
  readonly #tagBytes: number
  #count = 0
  /** The response nonce, until the first chunk took it along: one write fewer before the first byte. */
  #opening: Uint8Array
  #isClosed = false

  constructor(cipher: ResponseCipher<Result>, nonce: Uint8Array, tagBytes: number, responseNonce: Uint8Array) {
    this.#cipher = cipher
    this.#nonce = nonce
    this.#tagBytes = tagBytes
    this.#opening = responseNonce
  }

  /** A chunk of 1 to `CHUNK_BYTES_SEND` bytes. Throws `OhttpError` (`EMPTY_CHUNK`, `CHUNK_TOO_LARGE`, `TOO_MANY_CHUNKS`, `CLOSED`). */
  chunk(plaintext: Uint8Array): Result {
    checkChunk(plaintext)
    const length = plaintext.length + this.#tagBytes
    const prefix = new Uint8Array(this.#opening.length + varintBytes(length))
    prefix.set(this.#opening)
    writeVarint(prefix, this.#opening.length, length)
    return this.#cipher.seal(this.#nextNonce(), NO_BYTES, plaintext, prefix)
  }

  /** The final chunk, which may be empty and ends the response. */
  final(plaintext: Uint8Array): Result {
    checkFinalChunk(plaintext)
    const prefix = concatBytes(this.#opening, FINAL_PREFIX)
    const nonce = this.#nextNonce()
    this.#isClosed = true
    return this.#cipher.seal(nonce, FINAL_AAD, plaintext, prefix)
  }

  #nextNonce(): Uint8Array {
    if (this.#isClosed) throw new OhttpError('CLOSED', 'the response has ended')
    this.#opening = NO_BYTES
    return chunkNonce(this.#nonce, this.#count++)
  }
}

/** `base` XOR `count` as a big-endian integer of the same length. Throws `OhttpError` (`TOO_MANY_CHUNKS`). */
export function chunkNonce(base: Uint8Array, count: number): Uint8Array {
  if (count >= RESPONSE_CHUNKS_MAX) throw new OhttpError('TOO_MANY_CHUNKS', 'the response has too many chunks')
  const nonce = base.slice()
  let rest = count
  for (let i = nonce.length - 1; rest > 0; i--) {
    nonce[i] = (nonce[i] ?? 0) ^ (rest & 0xff)
    rest = Math.floor(rest / 256)
  }
  return nonce
}

/** `plaintext` in views of `CHUNK_BYTES_SEND` bytes; the last has what remains. Empty plaintext has no piece. */
export function splitPlaintext(plaintext: Uint8Array): Uint8Array[] {
  const pieces: Uint8Array[] = []
  for (let offset = 0; offset < plaintext.length; offset += CHUNK_BYTES_SEND) {
    pieces.push(plaintext.subarray(offset, offset + CHUNK_BYTES_SEND))
  }
  return pieces
}

/** The length 0 that announces the final chunk. */
export const FINAL_PREFIX: Uint8Array = Uint8Array.of(0)

/** Throws `OhttpError` (`EMPTY_CHUNK`, `CHUNK_TOO_LARGE`) for what may not be sent as a chunk. */
export function checkChunk(plaintext: Uint8Array): void {
  if (plaintext.length === 0) throw new OhttpError('EMPTY_CHUNK', 'only the final chunk may be empty')
  checkFinalChunk(plaintext)
}

/** As `checkChunk`, but the final chunk may be empty. */
export function checkFinalChunk(plaintext: Uint8Array): void {
  if (plaintext.length > CHUNK_BYTES_SEND) {
    throw new OhttpError('CHUNK_TOO_LARGE', `expected at most ${CHUNK_BYTES_SEND} bytes in a chunk`)
  }
}
