/** The one error class of the OHTTP codecs. @module */

export type OhttpErrorCode =
  /** The message ends before it is complete; for a chunked message: before an authenticated final chunk. */
  | 'TRUNCATED'
  | 'UNKNOWN_KEY'
  | 'WRONG_KEM'
  /** KDF and AEAD are not offered for this key, or no implementation exists here. */
  | 'UNSUPPORTED_SUITE'
  | 'BAD_KEY'
  | 'DECRYPTION_FAILED'
  /** A chunk that is not the final one carries no plaintext. */
  | 'EMPTY_CHUNK'
  | 'CHUNK_TOO_LARGE'
  | 'MESSAGE_TOO_LARGE'
  | 'TOO_MANY_CHUNKS'
  | 'WRONG_MEDIA_TYPE'
  /** Used again after its end or after a failure. */
  | 'CLOSED'

/** An encapsulated message that cannot be opened. A gateway shows none of these codes to its peer. */
export class OhttpError extends Error {
  override readonly name = 'OhttpError'
  readonly code: OhttpErrorCode
  constructor(code: OhttpErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}
