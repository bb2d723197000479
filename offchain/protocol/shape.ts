/**
 * The shape of answers on the wire: which sizes and times an onlooker sees. The client chooses inside the seal.
 *
 * - `private` (default): one cell every TICK_MS, idle ones too, up to a class of total length.
 * - `balanced`: cells of the same size when there is something to say, none while idle. Events that come close together share one.
 * - `off`: chunks as the model produces them; token lengths show.
 *
 * What an event stream leaves of a cell is filled with its comments (lines that start with a colon), which every parser ignores and the
 * client removes before it checks the receipt; before the head and behind the end there is filler of Binary HTTP (sealing/filler.ts).
 * Spec: docs/spec.md section 2.
 * @module
 */

export const PADDING_MODES = ['private', 'balanced', 'off'] as const
export type PaddingMode = (typeof PADDING_MODES)[number]

/** Name of the inner request field that chooses the mode. */
export const PADDING_FIELD = 'sealpath-padding'

/** Time between two cells in `private` mode, in milliseconds. */
export const TICK_MS = 50

/** The class of total length, in cells: the next power of two, at least 8. Each class tells an onlooker the length within a factor of two. */
export function cellClass(cells: number): number {
  let size = 8
  while (size < cells) size *= 2
  return size
}

/** The mode that a field's value names; `private` when it names none. */
export function parsePaddingMode(value: string | undefined): PaddingMode {
  return PADDING_MODES.find((mode) => mode === value) ?? 'private'
}

const COLON = 0x3a
const DOT = 0x2e
const LINE_FEED = 0x0a

/** A comment of exactly `length` bytes, at least 2: a colon, dots, a line feed. */
export function fillerComment(length: number): Uint8Array {
  const comment = new Uint8Array(length).fill(DOT)
  comment[0] = COLON
  comment[length - 1] = LINE_FEED
  return comment
}

/** Removes comment lines from an event stream that arrives in pieces: what is left is the exact body. */
export class FillerStripper {
  #atLineStart = true
  #inComment = false

  /** `piece` without comment lines. */
  push(piece: Uint8Array): Uint8Array {
    const kept = new Uint8Array(piece.length)
    let length = 0
    for (let start = 0; start < piece.length; ) {
      if (this.#atLineStart) this.#inComment = piece[start] === COLON
      const lineFeed = piece.indexOf(LINE_FEED, start)
      this.#atLineStart = lineFeed >= 0
      const end = lineFeed < 0 ? piece.length : lineFeed + 1
      if (!this.#inComment) {
        kept.set(piece.subarray(start, end), length)
        length += end - start
      }
      start = end
    }
    return kept.subarray(0, length)
  }
}
