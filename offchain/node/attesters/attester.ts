/** What makes evidence inside an enclave: one driver per kind, the same documents out of each. @module */

/** Makes attestation documents of the Nitro format. */
export interface Attester {
  /** Which root signs: AWS's, or a development root. */
  readonly kind: 'nitro' | 'development'
  /**
   * A fresh document over `request`, COSE_Sign1 bytes.
   * Throws `AttesterError`: `FIELD_TOO_LONG` for a field above 1,024 bytes.
   */
  attest(request: AttestationRequest): Promise<Uint8Array>
}

/** What the enclave binds into its document; each at most 1,024 bytes. Left out: null in the document. */
export type AttestationRequest = {
  readonly userData: Uint8Array
  readonly nonce?: Uint8Array | undefined
  readonly publicKey?: Uint8Array | undefined
}

export type AttesterErrorCode = 'FIELD_TOO_LONG' | 'BAD_PCR' | 'BAD_DEVELOPMENT_ROOT'

export class AttesterError extends Error {
  override readonly name = 'AttesterError'
  readonly code: AttesterErrorCode
  readonly retryable = false
  constructor(code: AttesterErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}
