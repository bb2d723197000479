/**
 * The client's side of a sealed HTTP exchange, from an inner request to the events of its response: Binary HTTP and
 * OHTTP together, without any network. @module
 */
import { concatBytes } from '../bytes.ts'
import { encodeRequest, type InnerRequest, type PadTo } from './binaryHttp.ts'
import {
  BINARY_HTTP_LIMITS,
  BinaryHttpDecoder,
  type BinaryHttpEvent,
  type BinaryHttpLimits,
} from './binaryHttpDecoder.ts'
import type { Field } from './binaryHttpFields.ts'
import { type SealedChunkedRequest, sealChunkedRequest } from './chunkedOhttp.ts'
import { CHUNK_LIMITS, type ChunkLimits } from './chunkReader.ts'
import { hashEncapsulated } from './encapsulatedHash.ts'
import type { Exchange } from './exchange.ts'
import type { KeyConfig } from './keyConfig.ts'
import {
  checkMediaType,
  OHTTP_CHUNKED_REQUEST,
  OHTTP_CHUNKED_RESPONSE,
  OHTTP_REQUEST,
  OHTTP_RESPONSE,
} from './mediaTypes.ts'
import { type SealedRequest, sealRequest } from './ohttp.ts'
import { OhttpError } from './ohttpError.ts'
import { requestSizeClass } from './padding.ts'
import type { SealingSuites } from './suite.ts'

export interface SealOptions {
  /** True (default) for a response that can be read as it is produced. */
  readonly chunked?: boolean
  /** From the encoded inner request's length to its padded length; `requestSizeClass` by default. */
  readonly padTo?: PadTo
}

export interface ResponseLimits extends ChunkLimits, BinaryHttpLimits {}

/**
 * Of a response that is read as it comes nothing is kept here, and with chunks every tick most of it may be filler: ten minutes of them are 50 MB, and
 * up to their class of length twice that.
 */
export const RESPONSE_LIMITS: ResponseLimits = {
  ...CHUNK_LIMITS,
  ...BINARY_HTTP_LIMITS,
  messageBytesMax: 268_435_456,
  contentBytesMax: 268_435_456,
}
/** A response to a request that is not chunked is kept until its end. */
const WHOLE_BYTES_MAX = 67_108_864

export interface SealedHttpRequest extends Exchange {
  /** Media type of `body`. */
  readonly contentType: string
  /** The only media type that the response may have. */
  readonly accept: string
  /** The encapsulated request, complete. */
  readonly body: Uint8Array<ArrayBuffer>
  /** keccak-256 of `body`, 32 bytes. */
  readonly encapsulatedHash: Uint8Array
  /** Throws `OhttpError` (`WRONG_MEDIA_TYPE`) unless the response's content-type is `accept`. */
  checkResponseType(contentType: string | null | undefined): void
  /** Opens the one response. */
  openResponse(limits?: ResponseLimits): SealedResponseReader
}

export type ResponseEvent =
  | { readonly type: 'head'; readonly status: number; readonly headers: readonly Field[] }
  | { readonly type: 'body'; readonly bytes: Uint8Array }
  | { readonly type: 'trailers'; readonly trailers: readonly Field[] }

/**
 * `push` the bytes of the response as they come, `end` at their end; calls must not overlap. Events are `head`, `body`
 * (any number), `trailers`, in this order. They are provisional until `end` has returned: a response that was cut makes it throw
 * `OhttpError` (`TRUNCATED`), whatever the events before looked like. Throws `OhttpError` and `BinaryHttpError`.
 */
export interface SealedResponseReader {
  push(bytes: Uint8Array): Promise<ResponseEvent[]>
  end(): Promise<ResponseEvent[]>
}

/** Encodes, pads and seals `request` for the key. Throws `BinaryHttpError` and `OhttpError` (`UNSUPPORTED_SUITE`, `BAD_KEY`). */
export async function sealHttpRequest(
  suites: SealingSuites,
  config: KeyConfig,
  request: InnerRequest,
  options: SealOptions = {},
): Promise<SealedHttpRequest> {
  const message = encodeRequest(request, options.padTo ?? requestSizeClass)
  if (options.chunked ?? true) {
    const sealed = await sealChunkedRequest(suites, config, message)
    return sealedHttpRequest(sealed, OHTTP_CHUNKED_REQUEST, OHTTP_CHUNKED_RESPONSE, (limits) =>
      readChunked(sealed, limits),
    )
  }
  const sealed = await sealRequest(suites, config, message)
  return sealedHttpRequest(sealed, OHTTP_REQUEST, OHTTP_RESPONSE, (limits) => readWhole(sealed, limits))
}

function sealedHttpRequest(
  sealed: SealedRequest | SealedChunkedRequest,
  contentType: string,
  accept: string,
  open: (limits: ResponseLimits) => SealedResponseReader,
): SealedHttpRequest {
  return {
    contentType,
    accept,
    body: sealed.encapsulated,
    enc: sealed.enc,
    exportSecret: sealed.exportSecret,
    encapsulatedHash: hashEncapsulated(sealed.encapsulated),
    checkResponseType: (type) => checkMediaType(type, accept),
    openResponse: (limits = RESPONSE_LIMITS) => open(limits),
  }
}

function readChunked(sealed: SealedChunkedRequest, limits: ResponseLimits): SealedResponseReader {
  const opener = sealed.openResponse(limits)
  const decoder = new BinaryHttpDecoder('response', limits)
  return {
    async push(bytes) {
      const plaintexts = await opener.push(bytes)
      return plaintexts.flatMap((plaintext) => toEvents(decoder.push(plaintext)))
    },
    async end() {
      const events = toEvents(decoder.push(await opener.end()))
      return [...events, ...toEvents(decoder.end())]
    },
  }
}

function readWhole(sealed: SealedRequest, limits: ResponseLimits): SealedResponseReader {
  const decoder = new BinaryHttpDecoder('response', limits)
  const parts: Uint8Array[] = []
  const messageBytesMax = Math.min(limits.messageBytesMax, WHOLE_BYTES_MAX)
  let lengthBytes = 0
  return {
    async push(bytes) {
      lengthBytes += bytes.length
      if (lengthBytes > messageBytesMax) {
        throw new OhttpError('MESSAGE_TOO_LARGE', `expected at most ${messageBytesMax} bytes`)
      }
      parts.push(bytes)
      return []
    },
    async end() {
      const events = toEvents(decoder.push(await sealed.openResponse(concatBytes(...parts))))
      return [...events, ...toEvents(decoder.end())]
    },
  }
}

/** Informational responses are valid but say nothing that a client of ours waits for. */
function toEvents(events: readonly BinaryHttpEvent[]): ResponseEvent[] {
  const mapped: ResponseEvent[] = []
  for (const event of events) {
    if (event.type === 'response') mapped.push({ type: 'head', status: event.status, headers: event.headers })
    else if (event.type === 'content') mapped.push({ type: 'body', bytes: event.bytes })
    else if (event.type === 'trailers') mapped.push(event)
  }
  return mapped
}
