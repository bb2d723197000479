/**
 * Binary HTTP (RFC 9292), the encoding side: whole messages of known length, and responses of indeterminate length in
 * parts. Reading is in `binaryHttpDecoder.ts`.
 *
 * ```
 * Request  = 0, Method, Scheme, Authority, Path, Section(headers), Content, Section(trailers), zero padding
 * Response = 1, [Informational...], Status, Section(headers), Content, Section(trailers), zero padding
 * indeterminate (2, 3): a section is its field lines and a 0; content is non-empty chunks and a 0
 * ```
 * Every string, section and content has its length in front (RFC 9000 section 16). @module
 */
import { concatBytes } from '../bytes.ts'
import {
  BinaryHttpError,
  checkControlData,
  checkField,
  checkFinalStatus,
  encodeLatin1,
  type Field,
} from './binaryHttpFields.ts'
import { encodeVarint, varintBytes, writeVarint } from './varint.ts'

export interface RequestHead {
  readonly method: string
  readonly scheme: string
  /** May be empty; then a `host` field names the target. */
  readonly authority: string
  /** Path and query. */
  readonly path: string
  readonly headers: readonly Field[]
}

export interface ResponseHead {
  /** 200 to 599. */
  readonly status: number
  readonly headers: readonly Field[]
}

/** The request that travels inside the seal. */
export interface InnerRequest extends RequestHead {
  readonly body: Uint8Array
}

export interface RequestMessage extends RequestHead {
  readonly body?: Uint8Array
  readonly trailers?: readonly Field[]
}

export interface ResponseMessage extends ResponseHead {
  readonly body?: Uint8Array
  readonly trailers?: readonly Field[]
}

/** From the length of the message without padding to the length it shall have, both in bytes. */
export type PadTo = (lengthBytes: number) => number

/** A request of known length (RFC 9292 section 3.1), with zero bytes behind it up to `padTo`. Throws `BinaryHttpError`. */
export function encodeRequest(request: RequestMessage, padTo?: PadTo): Uint8Array<ArrayBuffer> {
  const control = [request.method, request.scheme, request.authority, request.path] as const
  checkControlData(control)
  const parts = [Uint8Array.of(0), ...control.map(encodeString), ...messageParts(request)]
  return padded(parts, padTo)
}

/** A response of known length (RFC 9292 section 3.1), with zero bytes behind it up to `padTo`. Throws `BinaryHttpError`. */
export function encodeResponse(response: ResponseMessage, padTo?: PadTo): Uint8Array<ArrayBuffer> {
  checkFinalStatus(response.status)
  return padded([Uint8Array.of(1), encodeVarint(response.status), ...messageParts(response)], padTo)
}

/** The opening part of a response of indeterminate length (RFC 9292 section 3.2): framing, status, headers. */
export function encodeResponseHead(head: ResponseHead): Uint8Array<ArrayBuffer> {
  checkFinalStatus(head.status)
  return concatBytes(Uint8Array.of(3), encodeVarint(head.status), encodeFields(head.headers), Uint8Array.of(0))
}

/** A piece of content behind `encodeResponseHead`. An empty piece has no encoding (0 ends the content): nothing is returned for it. */
export function encodeContentChunk(piece: Uint8Array): Uint8Array<ArrayBuffer> {
  if (piece.length === 0) return new Uint8Array()
  const chunk = new Uint8Array(varintBytes(piece.length) + piece.length)
  chunk.set(piece, writeVarint(chunk, 0, piece.length))
  return chunk
}

/** The end of a response of indeterminate length: end of content, trailers, end of trailers. Zero bytes may follow as padding. */
export function encodeEnd(trailers: readonly Field[] = []): Uint8Array<ArrayBuffer> {
  return concatBytes(Uint8Array.of(0), encodeFields(trailers), Uint8Array.of(0))
}

function messageParts(message: RequestMessage | ResponseMessage): Uint8Array[] {
  const body = message.body ?? new Uint8Array()
  return [
    ...withLength(encodeFields(message.headers)),
    encodeVarint(body.length),
    body,
    ...withLength(encodeFields(message.trailers ?? [])),
  ]
}

function encodeFields(fields: readonly Field[]): Uint8Array<ArrayBuffer> {
  const parts: Uint8Array[] = []
  for (const [name, value] of fields) {
    checkField(name, value)
    parts.push(encodeString(name), encodeString(value))
  }
  return concatBytes(...parts)
}

function encodeString(text: string): Uint8Array {
  return concatBytes(...withLength(encodeLatin1(text)))
}

function withLength(bytes: Uint8Array): [Uint8Array, Uint8Array] {
  return [encodeVarint(bytes.length), bytes]
}

function padded(parts: readonly Uint8Array[], padTo?: PadTo): Uint8Array<ArrayBuffer> {
  if (padTo === undefined) return concatBytes(...parts)
  let lengthBytes = 0
  for (const part of parts) lengthBytes += part.length
  const paddingBytes = padTo(lengthBytes) - lengthBytes
  if (!Number.isSafeInteger(paddingBytes) || paddingBytes < 0) {
    throw new BinaryHttpError('BAD_PADDING', `expected a padded length of at least ${lengthBytes} bytes`)
  }
  return concatBytes(...parts, new Uint8Array(paddingBytes))
}
