/** The one error class of the issuer's answers. Codes and statuses: #protocol/wire/issuerApi.ts. @module */
import type { IssuerErrorCode } from '#protocol/wire/issuerApi.ts'

/** A request that is refused. The message is for the caller and holds nothing of its payment. */
export class IssuerError extends Error {
  override readonly name = 'IssuerError'
  readonly code: IssuerErrorCode
  constructor(code: IssuerErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}
