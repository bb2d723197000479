/** Why no image was built. @module */

export type ImageErrorCode =
  /** A part is not there, and could not be fetched. */
  | 'PART_MISSING'
  /** A part has other bytes than the lock file says. */
  | 'PART_CHANGED'
  | 'BAD_LOCK'
  /** The role's configuration cannot run inside an image. */
  | 'BAD_CONFIG'
  | 'BAD_PATH'
  | 'PATH_TWICE'
  | 'PATH_TOO_LONG'
  /** A program that the build needs is not installed, or failed. */
  | 'TOOL_FAILED'

export class ImageError extends Error {
  override readonly name = 'ImageError'
  readonly code: ImageErrorCode
  readonly retryable = false
  constructor(code: ImageErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}
