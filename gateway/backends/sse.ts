/** Server-sent events, parsed from bytes cut anywhere. Source: WHATWG HTML, section 9.2.6 (interpreting an event stream). @module */

/**
 * Parser of one stream. `push` yields the data of each event completed by these bytes; read it to its end. Only `data` fields matter here: comments,
 * `event`, `id` and `retry` are skipped, several `data` lines are joined by a line feed, lines end in LF, CRLF or CR. An event that
 * is not closed by a blank line is not returned, as the standard says. Throws `SseError` (`EVENT_TOO_LARGE`).
 */
export class SseParser {
  readonly #decoder = new TextDecoder('utf-8')
  readonly #eventCharsMax: number
  /** The line in progress, in pieces: joined once at its end, so that a long line costs its length and not its square. */
  #line: string[] = []
  #data: string[] = []
  #size = 0
  #skipLineFeed = false

  constructor(eventCharsMax: number) {
    this.#eventCharsMax = eventCharsMax
  }

  *push(bytes: Uint8Array): Generator<string, void, undefined> {
    const text = this.#decoder.decode(bytes, { stream: true })
    let start = 0
    for (let i = 0; i < text.length; i++) {
      const char = text.charCodeAt(i)
      if (this.#skipLineFeed) {
        this.#skipLineFeed = false
        if (char === LF) {
          start = i + 1
          continue
        }
      }
      if (char !== LF && char !== CR) continue
      this.#take(text.slice(start, i))
      start = i + 1
      this.#skipLineFeed = char === CR
      const event = this.#endLine()
      if (event !== undefined) yield event
    }
    this.#take(text.slice(start))
  }

  #take(part: string): void {
    if (part === '') return
    this.#size += part.length
    if (this.#size > this.#eventCharsMax) {
      throw new SseError('EVENT_TOO_LARGE', `expected an event of at most ${this.#eventCharsMax} characters`)
    }
    this.#line.push(part)
  }

  /** The data of the event that this line closes, if it does. */
  #endLine(): string | undefined {
    const line = this.#line.join('')
    this.#line = []
    if (line === '') {
      const event = this.#data.length > 0 ? this.#data.join('\n') : undefined
      this.#data = []
      this.#size = 0
      return event
    }
    if (line.startsWith('data:')) this.#data.push(line.slice(line[5] === ' ' ? 6 : 5))
    else if (line === 'data') this.#data.push('')
    // A line that is dropped counts no longer: an endless run of comments is a live stream, not a large event.
    else this.#size -= line.length
    return undefined
  }
}

const LF = 0x0a
const CR = 0x0d

export type SseErrorCode = 'EVENT_TOO_LARGE'

export class SseError extends Error {
  override readonly name = 'SseError'
  readonly code: SseErrorCode
  constructor(code: SseErrorCode, message: string) {
    super(message)
    this.code = code
  }
}
