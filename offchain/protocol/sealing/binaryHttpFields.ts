/**
 * What Binary HTTP allows in control data and fields, checked alike before encoding and after decoding: RFC 9292
 * sections 3.4 to 3.6, which take the field rules of HTTP/2 (RFC 9113 section 8.2.1). @module
 */

/** A field line. The name is a lower-case token; the value is one character per byte (ISO 8859-1), as in `fetch`. */
export type Field = readonly [name: string, value: string]

const FIELD_NAME = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/
const METHOD = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
const SCHEME = /^[A-Za-z][A-Za-z0-9+\-.]*$/
const VISIBLE = /^[\x21-\x7e]*$/

/** Throws `BAD_FIELD_NAME` or `BAD_FIELD_VALUE` unless the line may stand in a message. */
export function checkField(name: string, value: string): void {
  if (!FIELD_NAME.test(name)) throw new BinaryHttpError('BAD_FIELD_NAME', 'expected a lower-case token as field name')
  if (!isFieldValue(value)) {
    throw new BinaryHttpError(
      'BAD_FIELD_VALUE',
      `the value of ${name} has a byte or an edge that no field value may have`,
    )
  }
}

/** Control data of a request as they stand in the message: method, scheme, authority, path. Throws `BAD_CONTROL_DATA`. */
export function checkControlData(control: readonly [string, string, string, string]): void {
  const [method, scheme, authority, path] = control
  if (METHOD.test(method) && SCHEME.test(scheme) && VISIBLE.test(authority) && VISIBLE.test(path)) return
  throw new BinaryHttpError('BAD_CONTROL_DATA', 'expected a method, a scheme, an authority and a path of visible ASCII')
}

/** Throws `BAD_STATUS` unless `status` is a final status code. */
export function checkFinalStatus(status: number): void {
  if (Number.isInteger(status) && status >= 200 && status <= 599) return
  throw new BinaryHttpError('BAD_STATUS', 'expected a final status code from 200 to 599')
}

/** No NUL, CR or LF, nothing wider than a byte, no space or tab at either end. */
function isFieldValue(value: string): boolean {
  for (let i = 0; i < value.length; i++) {
    const code = value.charCodeAt(i)
    if (code === 0 || code === 10 || code === 13 || code > 0xff) return false
  }
  return !/^[ \t]|[ \t]$/.test(value)
}

/** One byte per character; the callers have checked that every character fits. */
export function encodeLatin1(text: string): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(text.length)
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i)
  return bytes
}

/** One character per byte. (`TextDecoder` has no such encoding: its `latin1` is windows-1252.) */
export function decodeLatin1(bytes: Uint8Array): string {
  const blockBytes = 4096
  let text = ''
  for (let i = 0; i < bytes.length; i += blockBytes) text += String.fromCharCode(...bytes.subarray(i, i + blockBytes))
  return text
}

export type BinaryHttpErrorCode =
  | 'BAD_FRAMING'
  | 'BAD_CONTROL_DATA'
  | 'BAD_STATUS'
  | 'BAD_FIELD_NAME'
  | 'BAD_FIELD_VALUE'
  | 'BAD_FIELD_SECTION'
  | 'BAD_PADDING'
  | 'TRUNCATED'
  | 'METADATA_TOO_LARGE'
  | 'CONTENT_TOO_LARGE'
  | 'CLOSED'

/** A message that is not valid Binary HTTP, or larger than the reader's bounds. */
export class BinaryHttpError extends Error {
  override readonly name = 'BinaryHttpError'
  readonly code: BinaryHttpErrorCode
  constructor(code: BinaryHttpErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}
