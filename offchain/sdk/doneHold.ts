/**
 * Keeps the last word of an event stream, `data: [DONE]`, until its receipt is verified: OpenAI's clients stop reading there and take the answer for
 * complete, so it must not reach them before it is proven. @module
 */
import { concatBytes, encodeUtf8, joinBytes } from '#protocol/bytes.ts'

const DONE = encodeUtf8('data: [DONE]')
const LINE_FEED = 0x0a

export class DoneHold {
  /** Bytes of the current line that are those of DONE; undefined once one was not. */
  #matched: number | undefined = 0
  #held: Uint8Array[] = []

  /** What of the stream may go on: everything before a line that is DONE, or still may become it. */
  push(piece: Uint8Array): Uint8Array {
    if (this.#matched === DONE.length) {
      this.#held.push(piece)
      return piece.subarray(0, 0)
    }
    const before = joinBytes(this.#held)
    // Where the line begins that may become DONE: in what is held already, or here.
    let lineStart = -before.length
    for (let i = 0; i < piece.length; ) {
      if (this.#matched === undefined) {
        const lineFeed = piece.indexOf(LINE_FEED, i)
        if (lineFeed < 0) break
        this.#matched = 0
        i = lineStart = lineFeed + 1
      } else if (piece[i] === DONE[this.#matched]) {
        i++
        if (++this.#matched === DONE.length) break
      } else this.#matched = undefined
    }
    const all = concatBytes(before, piece)
    const free = this.#matched === undefined ? all.length : before.length + lineStart
    this.#held = [all.subarray(free)]
    return all.subarray(0, free)
  }

  /** What was kept: for the end of an answer that is proven. */
  rest(): Uint8Array {
    const rest = joinBytes(this.#held)
    this.#held = []
    return rest
  }
}
