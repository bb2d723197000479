/** What can be wrong with an enclave image file. @module */

export type EifErrorCode =
  /** The file cannot be opened, is no plain file, or became shorter while it was read. */
  | 'NOT_READABLE'
  | 'BAD_MAGIC'
  | 'BAD_VERSION'
  /** A flag, or a field that is to be zero, says something nobody has defined. */
  | 'BAD_HEADER'
  | 'SECTION_COUNT'
  | 'SECTION_OVERLAP'
  | 'SECTION_GAP'
  /** The file ends inside its header or inside a section. */
  | 'TRUNCATED'
  | 'TRAILING_BYTES'
  | 'SECTION_TYPE'
  | 'SECTION_FLAGS'
  /** Header and section disagree on how long the section is. */
  | 'SECTION_SIZE'
  | 'SECTION_MISSING'
  | 'SECTION_REPEATED'
  | 'SECTION_ORDER'
  | 'SECTION_TOO_LONG'
  | 'BAD_CRC'
  | 'BAD_SIGNATURE'
  | 'BAD_METADATA'

export class EifError extends Error {
  override readonly name = 'EifError'
  readonly code: EifErrorCode
  readonly retryable = false
  constructor(code: EifErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}
