/** A strict CBOR reader (RFC 8949) for attestation documents: a cursor over the raw bytes, offsets out, nothing decoded that nobody asked for. @module */
import { EvidenceError } from './evidenceError.ts'

/** A reading position in `bytes`; nothing at or after `end` is ever read. */
export type CborCursor = { readonly bytes: Uint8Array; offset: number; readonly end: number }

/** The half-open range `[start, end)` of offsets. */
export type Span = { readonly start: number; readonly end: number }

/** Map keys here are integers or text. */
export type CborKey = number | string

/** A cursor at the start of `bytes`, or of `span` inside them. */
export function openCbor(bytes: Uint8Array, span: Span = { start: 0, end: bytes.length }): CborCursor {
  return { bytes, offset: span.start, end: span.end }
}

/**
 * Reads a map, definite or indefinite; `readValue` must read exactly one item.
 * A repeated key is `CBOR_DUPLICATE_KEY`, a 65th one `CBOR_ENTRIES`. Returns the number of entries.
 */
export function readCborMap(cursor: CborCursor, readValue: (key: CborKey) => void): number {
  const seen = new Set<CborKey>()
  return readContainer(cursor, MAJOR_MAP, 'a map', () => {
    const key = readKey(cursor)
    if (seen.size === MAP_ENTRIES_MAX) {
      throw new EvidenceError('CBOR_ENTRIES', `expected at most ${MAP_ENTRIES_MAX} entries in a map`)
    }
    if (seen.has(key)) throw new EvidenceError('CBOR_DUPLICATE_KEY', `expected each key once, got '${key}' again`)
    seen.add(key)
    readValue(key)
  })
}

/** Reads an array, definite or indefinite; `readItem` must read exactly one item. Returns the number of items. */
export function readCborArray(cursor: CborCursor, readItem: (index: number) => void): number {
  return readContainer(cursor, MAJOR_ARRAY, 'an array', readItem)
}

/** Reads a byte string of definite length and returns where its content lies. */
export function readCborBytes(cursor: CborCursor): Span {
  return readContent(cursor, readHeadOf(cursor, MAJOR_BYTES, 'a byte string'))
}

/** Reads a text string of definite length, ASCII (`CBOR_TEXT`). */
export function readCborText(cursor: CborCursor): string {
  return readTextContent(cursor, readHeadOf(cursor, MAJOR_TEXT, 'a text string'))
}

/** Reads an unsigned integer below 2^53. */
export function readCborUint(cursor: CborCursor): number {
  return safeInteger(readHeadOf(cursor, MAJOR_UINT, 'an unsigned integer').argument)
}

/** Consumes a null if one is next, and says whether it was. */
export function readCborNull(cursor: CborCursor): boolean {
  if (cursor.offset >= cursor.end || cursor.bytes[cursor.offset] !== NULL) return false
  cursor.offset++
  return true
}

/** Consumes the tag `tag` if it is next, and says whether it was. */
export function readCborTag(cursor: CborCursor, tag: number): boolean {
  const before = cursor.offset
  const head = readHead(cursor)
  if (head.major === MAJOR_TAG && head.argument === tag) return true
  cursor.offset = before
  return false
}

/** Steps over one well-formed item of any type. Keys inside it are not compared with each other: nobody reads them. */
export function skipCborItem(cursor: CborCursor): void {
  // Open containers stand on a list instead of the call stack: how many items each still expects.
  const open: { left: number; isIndefinite: boolean; isMap: boolean }[] = []
  do {
    let container = open.at(-1)
    if (container?.isIndefinite && readBreak(cursor)) {
      // Indefinite containers count downwards from zero, so an odd number means a key without its value.
      if (container.isMap && container.left % 2 !== 0) throw wrongType('a value for the last key', BREAK)
      open.pop()
    } else {
      if (container !== undefined) container.left--
      const head = readHead(cursor)
      if (head.major === MAJOR_BYTES) readContent(cursor, head)
      else if (head.major === MAJOR_TEXT) readTextContent(cursor, head)
      else if (head.major === MAJOR_ARRAY || head.major === MAJOR_MAP || head.major === MAJOR_TAG) {
        const isMap = head.major === MAJOR_MAP
        const left = head.isIndefinite ? 0 : head.major === MAJOR_TAG ? 1 : isMap ? 2 * head.argument : head.argument
        if (open.length === DEPTH_MAX) throw new EvidenceError('CBOR_DEPTH', `expected at most ${DEPTH_MAX} levels`)
        open.push({ left, isIndefinite: head.isIndefinite, isMap })
      }
    }
    for (container = open.at(-1); container && !container.isIndefinite && container.left === 0; ) {
      open.pop()
      container = open.at(-1)
    }
  } while (open.length > 0)
}

/** Throws `CBOR_TRAILING_BYTES` unless everything was read. */
export function closeCbor(cursor: CborCursor): void {
  if (cursor.offset !== cursor.end) {
    throw new EvidenceError('CBOR_TRAILING_BYTES', `expected the end, got ${cursor.end - cursor.offset} more bytes`)
  }
}

const MAJOR_UINT = 0
const MAJOR_NEGATIVE = 1
const MAJOR_BYTES = 2
const MAJOR_TEXT = 3
const MAJOR_ARRAY = 4
const MAJOR_MAP = 5
const MAJOR_TAG = 6
const MAJOR_SIMPLE = 7
const NULL = 0xf6
const BREAK = 0xff
const DEPTH_MAX = 8
const MAP_ENTRIES_MAX = 64
// biome-ignore lint/suspicious/noControlCharactersInRegex: every character below 128 is meant.
const IS_ASCII = /^[\x00-\x7f]*$/

/** `argument` is inexact above 2^53: lengths that large fail for want of bytes, integers in `safeInteger`. */
type Head = {
  readonly major: number
  readonly argument: number
  readonly isIndefinite: boolean
  readonly first: number
}

/** Reads an item's head (RFC 8949 section 3): the major type and the shortest form of its argument. */
function readHead(cursor: CborCursor): Head {
  const first = readByte(cursor)
  const major = first >> 5
  const info = first & 31
  if (info < 24) return { major, argument: info, isIndefinite: false, first }
  if (info === 31 && (major === MAJOR_ARRAY || major === MAJOR_MAP)) {
    return { major, argument: 0, isIndefinite: true, first }
  }
  // 28 to 30 are reserved; strings in pieces and a break outside a container are never part of a document.
  if (info > 27) throw wrongType('a definite item', first)
  const lengthBytes = 1 << (info - 24)
  let argument = 0
  for (let i = 0; i < lengthBytes; i++) argument = argument * 256 + readByte(cursor)
  // For floats the bytes are the value itself. A simple value below 32 in two bytes is not well formed.
  const least = major === MAJOR_SIMPLE ? (info === 24 ? 32 : 0) : info === 24 ? 24 : 256 ** (lengthBytes / 2)
  if (argument < least)
    throw new EvidenceError('CBOR_NOT_MINIMAL', 'expected the shortest form of an integer or length')
  return { major, argument, isIndefinite: false, first }
}

function readHeadOf(cursor: CborCursor, major: number, expected: string): Head {
  const head = readHead(cursor)
  if (head.major !== major) throw wrongType(expected, head.first)
  return head
}

function readContainer(cursor: CborCursor, major: number, expected: string, readItem: (index: number) => void): number {
  const head = readHeadOf(cursor, major, expected)
  let count = 0
  while (head.isIndefinite ? !readBreak(cursor) : count < head.argument) readItem(count++)
  return count
}

function readBreak(cursor: CborCursor): boolean {
  if (cursor.offset >= cursor.end || cursor.bytes[cursor.offset] !== BREAK) return false
  cursor.offset++
  return true
}

function readKey(cursor: CborCursor): CborKey {
  const head = readHead(cursor)
  if (head.major === MAJOR_UINT) return safeInteger(head.argument)
  if (head.major === MAJOR_NEGATIVE) return -1 - safeInteger(head.argument)
  if (head.major === MAJOR_TEXT) return readTextContent(cursor, head)
  throw wrongType('an integer or text as key', head.first)
}

function readContent(cursor: CborCursor, head: Head): Span {
  const start = cursor.offset
  if (head.argument > cursor.end - start) throw truncated(`${head.argument} bytes`)
  cursor.offset = start + head.argument
  return { start, end: cursor.offset }
}

/** Text is ASCII here: documents hold no other, and the contract need not know UTF-8. */
function readTextContent(cursor: CborCursor, head: Head): string {
  const { start, end } = readContent(cursor, head)
  const text = String.fromCharCode(...cursor.bytes.subarray(start, end))
  if (!IS_ASCII.test(text)) throw new EvidenceError('CBOR_TEXT', 'expected ASCII')
  return text
}

function readByte(cursor: CborCursor): number {
  const byte = cursor.offset < cursor.end ? cursor.bytes[cursor.offset] : undefined
  if (byte === undefined) throw truncated('another byte')
  cursor.offset++
  return byte
}

function safeInteger(value: number): number {
  if (!Number.isSafeInteger(value)) throw new EvidenceError('CBOR_INTEGER_RANGE', 'expected an integer below 2^53')
  return value
}

function truncated(expected: string): EvidenceError {
  return new EvidenceError('CBOR_TRUNCATED', `expected ${expected}, got the end of the input`)
}

function wrongType(expected: string, first: number): EvidenceError {
  return new EvidenceError(
    'CBOR_TYPE',
    `expected ${expected}, got initial byte 0x${first.toString(16).padStart(2, '0')}`,
  )
}
