/** The one error class of credits: points, keysets, amounts and their codecs. @module */

export type CreditErrorCode =
  | 'POINT_LENGTH'
  /** The flag bits do not say "compressed, finite". */
  | 'POINT_FLAGS'
  /** A coordinate is not below the field's prime, or its padding is not zero. */
  | 'POINT_NOT_CANONICAL'
  | 'POINT_IDENTITY'
  | 'POINT_NOT_ON_CURVE'
  | 'POINT_NOT_IN_SUBGROUP'
  /** A secret scalar is zero, or not below the group's order. */
  | 'SCALAR_OUT_OF_RANGE'
  | 'KEY_COUNT'
  /** Two denominations share one key: a credit of the one would spend as the other. */
  | 'KEY_REPEATED'
  | 'PHASES_OUT_OF_ORDER'
  | 'EXIT_TOO_SHORT'
  | 'BAD_EXPONENT'
  | 'BAD_AMOUNT'
  | 'BAD_COUNTER'
  /** Splitting the amount takes more slots than there are. */
  | 'TOO_FEW_SLOTS'
  /** A payment, or an answer to one, does not have its exact length. */
  | 'WRONG_LENGTH'
  | 'WRONG_VERSION'
  /** The same value could be written another way: a gap between slots, a wrong order, a fee with too many bits. */
  | 'NOT_CANONICAL'
  | 'CREDIT_REPEATED'
  | 'BLANK_REPEATED'
  | 'ZERO_ADDRESS'
  | 'NO_CREDITS'
  /** The issuer's signatures are not those of the keyset's keys. */
  | 'BAD_SIGNATURE'
  /** The credits are worth less than the maximum fee. */
  | 'UNDERFUNDED'

/** A point, keyset, amount or message that is refused. An issuer shows none of these codes to a gateway that sent rubbish. */
export class CreditError extends Error {
  override readonly name = 'CreditError'
  readonly code: CreditErrorCode
  constructor(code: CreditErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}
