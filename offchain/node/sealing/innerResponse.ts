/** What a handler behind the seal answers with, and the answers that the sealed server gives in its place. @module */
import { encodeUtf8 } from '#protocol/bytes.ts'
import type { ResponseHead } from '#protocol/sealing/binaryHttp.ts'
import type { Field } from '#protocol/sealing/binaryHttpFields.ts'
import type { MaybePromise } from '#protocol/sealing/suite.ts'
import type { MakeFiller } from './cells.ts'

export interface InnerResponse extends ResponseHead {
  /**
   * Whole, or piece by piece. To a chunked request each piece is sealed and sent as it comes, the head together with
   * the first. A piece of `CONTENT_BYTES_PER_CHUNK` fills one chunk. When the iterable throws, the sealed stream ends
   * without its final chunk and the client reports a truncated response.
   */
  readonly body: Uint8Array | AsyncIterable<Uint8Array>
  /** Called once, after the body ended, unless the client has left. When it throws, the stream ends as above. */
  readonly trailers?: () => MaybePromise<readonly Field[]>
  /** For a whole body: called once when no byte of it waits here any more, because it was handed on, cannot be sent, or the client has left. */
  readonly release?: () => void
  /**
   * Plaintext bytes, at most `CHUNK_BYTES_SEND`, up to which the last chunk is filled with Binary HTTP padding. A response
   * to a request that is not chunked is filled up to a multiple of it.
   */
  readonly padLastChunkTo?: number
  /**
   * Content of any number of bytes from two that the reader of the body drops wherever it stands between two pieces. Needed by a body that comes piece by
   * piece where answers are `paced`.
   */
  readonly filler?: MakeFiller
}

/** A response with the body `{"error":{"message","type","code"}}` that OpenAI-compatible clients read. */
export function errorResponse(status: number, type: string, code: string, message: string): InnerResponse {
  return {
    status,
    headers: [['content-type', 'application/json']],
    body: encodeUtf8(JSON.stringify({ error: { message, type, code } })),
  }
}

/** For whatever went wrong in the handler, without its details. */
export function internalError(): InnerResponse {
  return errorResponse(500, 'server_error', 'internal_error', 'The gateway failed to answer this request.')
}

/** The request's date is missing a date's form or too far from the gateway's time. */
export function dateRefused(): InnerResponse {
  return errorResponse(
    400,
    'invalid_request_error',
    'date_outside_window',
    'The date of the request is too far from the time of the gateway. Check the clock and seal the request again.',
  )
}

/** The gateway cannot remember the request and so cannot rule out a replay. */
export function replayMemoryFull(): InnerResponse {
  return errorResponse(
    503,
    'server_error',
    'overloaded',
    'The gateway cannot take more requests for this key. Try another gateway or seal for a newer key.',
  )
}
