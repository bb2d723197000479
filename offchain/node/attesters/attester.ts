/** What makes evidence inside an enclave: one driver per kind, the same documents out of each. @module */

/** Makes attestation documents of the Nitro format. */
export interface Attester {
  /** Which root signs: AWS's, or a development root. */
  readonly kind: 'nitro' | 'development'
  /**
   * A fresh document over `request`, COSE_Sign1 bytes.
   * Throws `AttesterError`: `FIELD_TOO_LONG` for a field above its bound, and what else the driver says.
   */
  attest(request: AttestationRequest): Promise<Uint8Array>
}

/**
 * What the enclave binds into its document. Left out: null in the document. The format takes 1,024 bytes in each field; a real module takes
 * 512 in `userData` and `nonce`, and no empty `publicKey`.
 */
export type AttestationRequest = {
  readonly userData: Uint8Array
  readonly nonce?: Uint8Array | undefined
  readonly publicKey?: Uint8Array | undefined
}

export type AttesterErrorCode =
  | 'FIELD_TOO_LONG'
  | 'FIELD_EMPTY'
  | 'BAD_PCR'
  | 'BAD_DEVELOPMENT_ROOT'
  /** The system call to the module's device failed. */
  | 'DEVICE_FAILED'
  /** The module answered with an error of its own. */
  | 'MODULE_REFUSED'
  /** The module's answer is not what was asked for. */
  | 'BAD_MODULE_ANSWER'

export class AttesterError extends Error {
  override readonly name = 'AttesterError'
  readonly code: AttesterErrorCode
  readonly retryable = false
  constructor(code: AttesterErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}
