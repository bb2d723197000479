/** From the bytes of a body to JSON, within bounds that are checked before any of it is built. @module */
import { decodeUtf8 } from '#protocol/bytes.ts'
import { invalidRequest } from '../backends/backendError.ts'

/** How deep arrays and objects may be nested. Tool schemas go to ten or so. */
export const JSON_DEPTH_MAX = 64
/** Values of all kinds. A prompt in tokens is the longest list anybody has a use for. */
export const JSON_VALUES_MAX = 1_000_000

/** Throws `BackendError` (`INVALID_REQUEST`, 400) for anything but JSON in UTF-8 within the bounds. */
export function parseJsonBody(body: Uint8Array): unknown {
  checkStructure(body)
  try {
    return JSON.parse(decodeUtf8(body))
  } catch {
    // The parser's own error quotes the body, so it is not kept as the cause.
    throw invalidRequest('expected a body of JSON in UTF-8', null)
  }
}

/**
 * Counts brackets and commas outside strings. What is no JSON is not noticed here: the parser does. Bytes of several-byte characters never look like
 * those looked for.
 */
function checkStructure(body: Uint8Array): void {
  let depth = 0
  let values = 1
  for (let i = 0; i < body.length; i++) {
    const byte = body[i]
    if (byte === QUOTE) {
      i = endOfString(body, i + 1)
    } else if (byte === OPEN_BRACKET || byte === OPEN_BRACE) {
      if (++depth > JSON_DEPTH_MAX) throw invalidRequest(`expected JSON at most ${JSON_DEPTH_MAX} levels deep`, null)
      values++
    } else if (byte === CLOSE_BRACKET || byte === CLOSE_BRACE) depth--
    else if (byte === COMMA) values++
  }
  if (values > JSON_VALUES_MAX) throw invalidRequest(`expected JSON of at most ${JSON_VALUES_MAX} values`, null)
}

/** Where the quote stands that ends the string which begins at `start`; the end of the body when none does. */
function endOfString(body: Uint8Array, start: number): number {
  for (let quote = body.indexOf(QUOTE, start); quote !== -1; quote = body.indexOf(QUOTE, quote + 1)) {
    let backslashes = 0
    while (quote - backslashes > start && body[quote - backslashes - 1] === BACKSLASH) backslashes++
    if (backslashes % 2 === 0) return quote
  }
  return body.length
}

const QUOTE = 0x22
const COMMA = 0x2c
const OPEN_BRACKET = 0x5b
const BACKSLASH = 0x5c
const CLOSE_BRACKET = 0x5d
const OPEN_BRACE = 0x7b
const CLOSE_BRACE = 0x7d
