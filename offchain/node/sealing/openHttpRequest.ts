/** From an outer HTTP request to the complete inner request: body bounds, OHTTP, Binary HTTP. @module */
import { concatBytes } from '#protocol/bytes.ts'
import type { InnerRequest } from '#protocol/sealing/binaryHttp.ts'
import {
  BinaryHttpDecoder,
  type BinaryHttpEvent,
  type BinaryHttpLimits,
  collectRequest,
  decodeRequest,
} from '#protocol/sealing/binaryHttpDecoder.ts'
import { ChunkedRequestOpener } from '#protocol/sealing/chunkedOpener.ts'
import type { ChunkLimits } from '#protocol/sealing/chunkReader.ts'
import type { ChunkedResponseSealer } from '#protocol/sealing/chunkSealing.ts'
import { hashEncapsulated } from '#protocol/sealing/encapsulatedHash.ts'
import type { ExportSecret, GatewayKey, GatewayKeys } from '#protocol/sealing/exchange.ts'
import { openRequest } from '#protocol/sealing/ohttp.ts'
import { OhttpError } from '#protocol/sealing/ohttpError.ts'
import type { RandomBytes, SealingSuites } from '#protocol/sealing/suite.ts'

/** `messageBytesMax` bounds the outer body. */
export interface SealedServerLimits extends ChunkLimits, BinaryHttpLimits {}

export const SEALED_SERVER_LIMITS: SealedServerLimits = {
  messageBytesMax: 8_388_608,
  chunkBytesMax: 16_384,
  metadataBytesMax: 65_536,
  contentBytesMax: 8_388_608,
}

/** A request that opened completely. Each `answer` may be used once. */
export interface OpenedHttpRequest {
  readonly inner: InnerRequest
  readonly key: GatewayKey
  readonly enc: Uint8Array
  readonly exportSecret: ExportSecret
  readonly encapsulatedHash: () => Uint8Array
  readonly answer:
    | { readonly type: 'chunked'; createSealer(random: RandomBytes): Promise<ChunkedResponseSealer<Uint8Array>> }
    | { readonly type: 'whole'; seal(plaintext: Uint8Array, random: RandomBytes): Promise<Uint8Array> }
}

/** Opens a `message/ohttp-req`. Throws `OhttpError`, `BinaryHttpError`, or what reading the body throws. */
export async function openWholeRequest(
  suites: SealingSuites<Uint8Array>,
  keys: GatewayKeys,
  request: Request,
  limits: SealedServerLimits,
): Promise<OpenedHttpRequest> {
  const parts: Uint8Array[] = []
  for await (const part of readBody(request, limits.messageBytesMax)) parts.push(part)
  const encapsulated = concatBytes(...parts)
  const opened = await openRequest(suites, keys, encapsulated)
  return {
    inner: decodeRequest(opened.plaintext, limits),
    key: opened.key,
    enc: opened.enc,
    exportSecret: opened.exportSecret,
    encapsulatedHash: hashLater(parts),
    answer: { type: 'whole', seal: opened.sealResponse },
  }
}

/**
 * Opens a `message/ohttp-chunked-req` while it arrives, so that a wrong key or an oversized chunk ends the reading.
 * Returns only after the final chunk opened. Throws as `openWholeRequest`.
 */
export async function openChunkedRequest(
  suites: SealingSuites<Uint8Array>,
  keys: GatewayKeys,
  request: Request,
  limits: SealedServerLimits,
): Promise<OpenedHttpRequest> {
  const opener = new ChunkedRequestOpener(suites, keys, limits)
  const decoder = new BinaryHttpDecoder('request', limits)
  const parts: Uint8Array[] = []
  const events: BinaryHttpEvent[] = []
  for await (const part of readBody(request, limits.messageBytesMax)) {
    parts.push(part)
    for (const plaintext of await opener.push(part)) events.push(...decoder.push(plaintext))
  }
  events.push(...decoder.push(await opener.end()), ...decoder.end())
  const { key, enc, exportSecret, createResponseSealer } = opener.exchange
  return {
    inner: collectRequest(events),
    key,
    enc,
    exportSecret,
    encapsulatedHash: hashLater(parts),
    answer: { type: 'chunked', createSealer: createResponseSealer },
  }
}

/** Bodies of a declared length up to this are read in one go, which is several times cheaper than a stream. */
const WHOLE_BODY_BYTES_MAX = 131_072

/** The body in the portions in which it arrives. Throws `OhttpError` (`MESSAGE_TOO_LARGE`), from the declared length if it can. */
async function* readBody(request: Request, bytesMax: number): AsyncGenerator<Uint8Array> {
  const declared = request.headers.get('content-length')
  const declaredBytes = declared === null ? undefined : Number(declared)
  if (declaredBytes !== undefined && declaredBytes > bytesMax) throw tooLarge(bytesMax)
  if (declaredBytes !== undefined && declaredBytes <= WHOLE_BODY_BYTES_MAX) {
    const body = new Uint8Array(await request.arrayBuffer())
    if (body.length > bytesMax) throw tooLarge(bytesMax)
    yield body
    return
  }
  if (request.body === null) return
  let bytes = 0
  for await (const part of request.body) {
    bytes += part.length
    if (bytes > bytesMax) throw tooLarge(bytesMax)
    yield part
  }
}

function tooLarge(bytesMax: number): OhttpError {
  return new OhttpError('MESSAGE_TOO_LARGE', `expected a body of at most ${bytesMax} bytes`)
}

/** The hash, made when first asked for: it costs more than opening the request, and not every handler needs it. */
function hashLater(parts: Uint8Array[]): () => Uint8Array {
  let digest: Uint8Array | undefined
  return () => {
    digest ??= hashEncapsulated(...parts.splice(0))
    return digest
  }
}
