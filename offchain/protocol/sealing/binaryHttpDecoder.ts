/** Binary HTTP (RFC 9292), the reading side: an incremental push decoder for all four framings. @module */
import { concatBytes } from '../bytes.ts'
import type { InnerRequest, RequestHead, ResponseHead } from './binaryHttp.ts'
import { BinaryHttpError, checkControlData, checkField, decodeLatin1, type Field } from './binaryHttpFields.ts'
import { ByteQueue } from './byteQueue.ts'

export type BinaryHttpEvent =
  | ({ readonly type: 'request' } & RequestHead)
  | { readonly type: 'informational'; readonly status: number; readonly headers: readonly Field[] }
  | ({ readonly type: 'response' } & ResponseHead)
  | { readonly type: 'content'; readonly bytes: Uint8Array }
  /** Comes exactly once, empty where the message has no trailers. */
  | { readonly type: 'trailers'; readonly trailers: readonly Field[] }

export interface BinaryHttpLimits {
  /** Control data and all field sections together, and each informational response by itself: any number of them may be filler. */
  readonly metadataBytesMax: number
  readonly contentBytesMax: number
}

export const BINARY_HTTP_LIMITS: BinaryHttpLimits = { metadataBytesMax: 65_536, contentBytesMax: 16_777_216 }

type Stage = 'framing' | 'control' | 'status' | 'headers' | 'content' | 'trailers' | 'padding' | 'closed'

/**
 * `push` bytes as they come, `end` once at the authenticated end of the message. Content is handed out as it arrives,
 * as views of the pushed arrays. A length is checked against its bound before anything is buffered for it.
 *
 * Empty trailing parts may be missing (RFC 9292 section 3.8); RFC 9458 appendix A shows that this includes the header
 * section. A part that was begun must be complete. Everything that is wrong throws `BinaryHttpError` and closes the decoder.
 */
export class BinaryHttpDecoder {
  readonly #kind: 'request' | 'response'
  readonly #limits: BinaryHttpLimits
  readonly #queue = new ByteQueue()
  #stage: Stage = 'framing'
  #isKnownLength = false
  #metadataBytes = 0
  #contentBytes = 0
  #control: string[] = []
  #status = 0
  /** Field lines of the section being read; undefined before its first byte was consumed. */
  #fields: Field[] | undefined
  /** Content bytes still to come of the current length; undefined before a length was read. */
  #contentLeft: number | undefined

  constructor(kind: 'request' | 'response', limits: BinaryHttpLimits = BINARY_HTTP_LIMITS) {
    this.#kind = kind
    this.#limits = limits
  }

  push(bytes: Uint8Array): BinaryHttpEvent[] {
    if (this.#stage === 'closed') throw new BinaryHttpError('CLOSED', 'the message has ended or failed before')
    const events: BinaryHttpEvent[] = []
    try {
      this.#queue.append(bytes)
      while (this.#step(events));
      return events
    } catch (error) {
      this.#stage = 'closed'
      throw error
    }
  }

  /** Throws `TRUNCATED` unless the message is complete. Returns what missing empty parts stand for. */
  end(): BinaryHttpEvent[] {
    const stage = this.#stage
    this.#stage = 'closed'
    if (stage === 'closed') throw new BinaryHttpError('CLOSED', 'the message has ended or failed before')
    if (stage === 'padding') return []
    const isAtPartStart = this.#queue.length === 0 && this.#fields === undefined && this.#contentLeft === undefined
    if (isAtPartStart && (stage === 'content' || stage === 'trailers')) return [{ type: 'trailers', trailers: [] }]
    if (isAtPartStart && stage === 'headers' && !this.#isInformational) {
      return [this.#head([]), { type: 'trailers', trailers: [] }]
    }
    throw new BinaryHttpError('TRUNCATED', 'the message ended inside a part')
  }

  get #isInformational(): boolean {
    return this.#kind === 'response' && this.#status < 200
  }

  /** Consumes one element; false when more bytes are needed. */
  #step(events: BinaryHttpEvent[]): boolean {
    if (this.#stage === 'framing') return this.#readFraming()
    if (this.#stage === 'control') return this.#readControl()
    if (this.#stage === 'status') return this.#readStatus()
    if (this.#stage === 'content') return this.#readContent(events)
    if (this.#stage === 'padding') return this.#readPadding()
    const fields = this.#isKnownLength ? this.#readKnownSection() : this.#readFieldLine()
    if (fields === 'more') return false
    if (fields !== 'again') this.#closeSection(fields, events)
    return true
  }

  #readFraming(): boolean {
    const framing = this.#queue.peekVarint()
    if (framing === undefined) return false
    const isRequest = framing.value === 0 || framing.value === 2
    if (framing.value > 3 || isRequest !== (this.#kind === 'request')) {
      throw new BinaryHttpError('BAD_FRAMING', `expected the framing of a ${this.#kind}`)
    }
    this.#queue.skip(framing.size)
    this.#isKnownLength = framing.value < 2
    this.#stage = isRequest ? 'control' : 'status'
    return true
  }

  #readControl(): boolean {
    const bytes = this.#readString()
    if (bytes === undefined) return false
    this.#control.push(decodeLatin1(bytes))
    if (this.#control.length === 4) {
      const [method = '', scheme = '', authority = '', path = ''] = this.#control
      checkControlData([method, scheme, authority, path])
      this.#stage = 'headers'
    }
    return true
  }

  #readStatus(): boolean {
    const status = this.#queue.peekVarint()
    if (status === undefined) return false
    if (status.value < 100 || status.value > 599) throw new BinaryHttpError('BAD_STATUS', 'expected 100 to 599')
    this.#countMetadata(status.size)
    this.#queue.skip(status.size)
    this.#status = status.value
    this.#stage = 'headers'
    return true
  }

  /** A whole section of known length, bounded before it is awaited. */
  #readKnownSection(): Field[] | 'more' {
    const bytes = this.#readString()
    if (bytes === undefined) return 'more'
    const section = new ByteQueue()
    section.append(bytes)
    const fields: Field[] = []
    while (section.length > 0) {
      const name = takeString(section)
      const value = name && takeString(section)
      if (name === undefined || value === undefined) {
        throw new BinaryHttpError('BAD_FIELD_SECTION', 'a field line passes the end of its section')
      }
      fields.push(toField(name, value))
    }
    return fields
  }

  /** One line of a section of indeterminate length, or its end. */
  #readFieldLine(): Field[] | 'more' | 'again' {
    const name = this.#queue.peekVarint()
    if (name === undefined) return 'more'
    if (name.value === 0) {
      this.#countMetadata(name.size)
      this.#queue.skip(name.size)
      return this.#fields ?? []
    }
    const nameEnd = this.#bounded(name.size + name.value)
    const value = this.#queue.length > nameEnd ? this.#queue.peekVarint(nameEnd) : undefined
    if (value === undefined) return 'more'
    const lineBytes = this.#bounded(nameEnd + value.size + value.value)
    if (this.#queue.length < lineBytes) return 'more'
    this.#countMetadata(lineBytes)
    this.#queue.skip(name.size)
    const nameBytes = this.#queue.take(name.value)
    this.#queue.skip(value.size)
    this.#fields ??= []
    this.#fields.push(toField(nameBytes, this.#queue.take(value.value)))
    return 'again'
  }

  #closeSection(fields: Field[], events: BinaryHttpEvent[]): void {
    this.#fields = undefined
    if (this.#stage === 'trailers') {
      events.push({ type: 'trailers', trailers: fields })
      this.#stage = 'padding'
    } else if (this.#isInformational) {
      events.push({ type: 'informational', status: this.#status, headers: fields })
      this.#stage = 'status'
      // It was handed on and nothing of it is kept; how many there are is bounded by the bytes of the message around them.
      this.#metadataBytes = 0
    } else {
      events.push(this.#head(fields))
      this.#stage = 'content'
    }
  }

  #head(headers: Field[]): BinaryHttpEvent {
    if (this.#kind === 'response') return { type: 'response', status: this.#status, headers }
    const [method = '', scheme = '', authority = '', path = ''] = this.#control
    return { type: 'request', method, scheme, authority, path, headers }
  }

  #readContent(events: BinaryHttpEvent[]): boolean {
    if (this.#contentLeft === undefined || this.#contentLeft === 0) {
      const length = this.#queue.peekVarint()
      if (length === undefined) return false
      if (this.#contentBytes + length.value > this.#limits.contentBytesMax) {
        throw new BinaryHttpError(
          'CONTENT_TOO_LARGE',
          `expected at most ${this.#limits.contentBytesMax} bytes of content`,
        )
      }
      this.#queue.skip(length.size)
      this.#contentLeft = length.value
      this.#contentBytes += length.value
      if (length.value === 0) this.#closeContent()
      return true
    }
    if (this.#queue.length === 0) return false
    const bytes = this.#queue.take(this.#contentLeft)
    this.#contentLeft -= bytes.length
    events.push({ type: 'content', bytes })
    if (this.#contentLeft === 0 && this.#isKnownLength) this.#closeContent()
    return true
  }

  #closeContent(): void {
    this.#contentLeft = undefined
    this.#stage = 'trailers'
  }

  #readPadding(): boolean {
    for (const byte of this.#queue.take(this.#queue.length)) {
      if (byte !== 0) throw new BinaryHttpError('BAD_PADDING', 'expected zero bytes behind the message')
    }
    return false
  }

  /** A string with its length in front, bounded before it is awaited. */
  #readString(): Uint8Array | undefined {
    const length = this.#queue.peekVarint()
    if (length === undefined) return undefined
    const wholeBytes = this.#bounded(length.size + length.value)
    if (this.#queue.length < wholeBytes) return undefined
    this.#countMetadata(wholeBytes)
    return takeString(this.#queue)
  }

  #bounded(bytes: number): number {
    if (this.#metadataBytes + bytes <= this.#limits.metadataBytesMax) return bytes
    throw new BinaryHttpError(
      'METADATA_TOO_LARGE',
      `expected at most ${this.#limits.metadataBytesMax} bytes of metadata`,
    )
  }

  #countMetadata(bytes: number): void {
    this.#metadataBytes += this.#bounded(bytes)
  }
}

export interface DecodedRequest extends InnerRequest {
  readonly trailers: readonly Field[]
}

/** Reads one whole request of either framing. Throws `BinaryHttpError`. */
export function decodeRequest(message: Uint8Array, limits: BinaryHttpLimits = BINARY_HTTP_LIMITS): DecodedRequest {
  const decoder = new BinaryHttpDecoder('request', limits)
  return collectRequest([...decoder.push(message), ...decoder.end()])
}

/** The request that all events of one message describe. */
export function collectRequest(events: readonly BinaryHttpEvent[]): DecodedRequest {
  const pieces: Uint8Array[] = []
  let head: RequestHead | undefined
  let trailers: readonly Field[] = []
  for (const event of events) {
    if (event.type === 'request') head = event
    else if (event.type === 'content') pieces.push(event.bytes)
    else if (event.type === 'trailers') trailers = event.trailers
  }
  if (head === undefined) throw new BinaryHttpError('TRUNCATED', 'the message has no head')
  const { method, scheme, authority, path, headers } = head
  const [only] = pieces
  const body = only !== undefined && pieces.length === 1 ? only : concatBytes(...pieces)
  return { method, scheme, authority, path, headers, body, trailers }
}

function takeString(queue: ByteQueue): Uint8Array | undefined {
  const length = queue.peekVarint()
  if (length === undefined || queue.length < length.size + length.value) return undefined
  queue.skip(length.size)
  return queue.take(length.value)
}

function toField(name: Uint8Array, value: Uint8Array): Field {
  const field = [decodeLatin1(name), decodeLatin1(value)] as const
  checkField(...field)
  return field
}
