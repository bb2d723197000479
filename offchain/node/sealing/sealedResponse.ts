/** From an inner response to the encapsulated response: at once, or piece by piece as the body is produced. @module */
import { concatBytes } from '#protocol/bytes.ts'
import { encodeContentChunk, encodeEnd, encodeResponse, encodeResponseHead } from '#protocol/sealing/binaryHttp.ts'
import type { Field } from '#protocol/sealing/binaryHttpFields.ts'
import { CHUNK_BYTES_SEND, type ChunkedResponseSealer, splitPlaintext } from '#protocol/sealing/chunkSealing.ts'
import { NO_BYTES } from '#protocol/sealing/exchange.ts'
import type { ExchangeLifetime } from './exchangeLifetime.ts'
import type { InnerResponse } from './innerResponse.ts'

/** Body bytes that fill one chunk exactly: Binary HTTP puts a length of two bytes in front. */
export const CONTENT_BYTES_PER_CHUNK: number = CHUNK_BYTES_SEND - 2

type Sealer = ChunkedResponseSealer<Uint8Array>

/**
 * The sealed stream of a response to a chunked request. A whole body is sealed at once; pieces are asked for one at a time, as
 * the reader asks. Throws when the head of the response is not valid, before anything was sealed. `onFault` gets what the
 * body or its trailers threw while the client was there.
 */
export async function sealChunked(
  sealer: Sealer,
  response: InnerResponse,
  lifetime: ExchangeLifetime,
  onFault: (error: unknown) => void,
): Promise<Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array>> {
  const padTo = response.padLastChunkTo ?? 0
  if (padTo > CHUNK_BYTES_SEND) throw new RangeError(`expected to fill a chunk of at most ${CHUNK_BYTES_SEND} bytes`)
  const head = encodeResponseHead(response)
  if (!(response.body instanceof Uint8Array))
    return streamChunked(sealer, head, response, response.body, lifetime, onFault)
  const end = encodeEnd(await readTrailers(response, lifetime))
  return concatBytes(...sealLast(sealer, concatBytes(head, encodeContentChunk(response.body), end), padTo))
}

/** The plaintext of a response to a request that is not chunked. Throws what the body throws, and `RangeError` above `bodyBytesMax`. */
export async function collectResponse(
  response: InnerResponse,
  bodyBytesMax: number,
  lifetime: ExchangeLifetime,
): Promise<Uint8Array> {
  const pieces: Uint8Array[] = []
  let bodyBytes = 0
  if (response.body instanceof Uint8Array) pieces.push(response.body)
  else {
    const iterator = response.body[Symbol.asyncIterator]()
    lifetime.onLeave(() => iterator.return?.())
    for (let next = await iterator.next(); next.done !== true; next = await iterator.next()) {
      bodyBytes += next.value.length
      if (bodyBytes > bodyBytesMax) {
        await iterator.return?.()
        throw new RangeError(`expected a response body of at most ${bodyBytesMax} bytes`)
      }
      pieces.push(next.value)
    }
    // Stopping the iterator looks like its regular end.
    lifetime.signal.throwIfAborted()
  }
  const trailers = await readTrailers(response, lifetime)
  const step = response.padLastChunkTo ?? 1
  const { status, headers } = response
  return encodeResponse(
    { status, headers, body: concatBytes(...pieces), trailers },
    (bytes) => Math.ceil(bytes / step) * step,
  )
}

function streamChunked(
  sealer: Sealer,
  head: Uint8Array,
  response: InnerResponse,
  body: AsyncIterable<Uint8Array>,
  lifetime: ExchangeLifetime,
  onFault: (error: unknown) => void,
): ReadableStream<Uint8Array> {
  const iterator = body[Symbol.asyncIterator]()
  lifetime.onLeave(() => iterator.return?.())
  let pending = head
  let isCancelled = false

  function sealPiece(piece: Uint8Array): Uint8Array {
    const chunk = encodeContentChunk(piece)
    const plaintext = pending.length === 0 ? chunk : concatBytes(pending, chunk)
    pending = NO_BYTES
    if (plaintext.length <= CHUNK_BYTES_SEND) return sealer.chunk(plaintext)
    return concatBytes(...splitPlaintext(plaintext).map((part) => sealer.chunk(part)))
  }

  async function sealEnd(): Promise<Uint8Array> {
    const plaintext = concatBytes(pending, encodeEnd(await readTrailers(response, lifetime)))
    return concatBytes(...sealLast(sealer, plaintext, response.padLastChunkTo ?? 0))
  }

  /** Ends the stream; without `last`, the final chunk, the client sees that it was cut. */
  function close(controller: ReadableStreamDefaultController<Uint8Array>, last?: Uint8Array): void {
    lifetime.end()
    // A cancelled stream is closed already and takes nothing more.
    if (isCancelled) return
    if (last !== undefined) controller.enqueue(last)
    controller.close()
  }

  return new ReadableStream<Uint8Array>(
    {
      // One turn per piece, in which nothing but the piece itself is awaited.
      async pull(controller) {
        try {
          for (;;) {
            const next = await iterator.next()
            // Stopping the iterator looks like its regular end, which a cut stream must not.
            if (lifetime.hasLeft) return close(controller)
            if (next.done === true) return close(controller, await sealEnd())
            if (next.value.length > 0) return controller.enqueue(sealPiece(next.value))
          }
        } catch (error) {
          if (!lifetime.hasLeft) onFault(error)
          lifetime.stop()
          close(controller)
        }
      },
      cancel() {
        isCancelled = true
        lifetime.leave()
      },
    },
    // Nothing is produced ahead of the reader.
    { highWaterMark: 0 },
  )
}

/** The trailers, unless the client has left: then nobody may act as though the response had ended. */
export async function readTrailers(response: InnerResponse, lifetime: ExchangeLifetime): Promise<readonly Field[]> {
  if (response.trailers === undefined) return []
  lifetime.signal.throwIfAborted()
  return response.trailers()
}

/** `plaintext` in chunks, the last of them the final one, filled up to `padTo` bytes. */
function sealLast(sealer: Sealer, plaintext: Uint8Array, padTo: number): Uint8Array[] {
  const pieces = splitPlaintext(plaintext)
  const last = pieces.pop() ?? NO_BYTES
  const padded = last.length < padTo ? concatBytes(last, new Uint8Array(padTo - last.length)) : last
  return [...pieces.map((piece) => sealer.chunk(piece)), sealer.final(padded)]
}
