/** What a wallet refuses, each with a code and a sentence. @module */

export type WalletErrorCode =
  | 'INSUFFICIENT'
  /** The state is of another keyset, chain or vault. */
  | 'OTHER_KEYSET'
  | 'UNKNOWN_PURCHASE'
  | 'UNKNOWN_PAYMENT'
  | 'UNKNOWN_EXIT'
  /** The issuer's change is not what the payment is owed. */
  | 'BAD_CHANGE'
  /** The wallet was not restored to its end: until it is, paying might use something twice. */
  | 'RESTORING'
  /** There is no wallet where one was expected. */
  | 'NO_WALLET'

export class WalletError extends Error {
  override readonly name = 'WalletError'
  readonly code: WalletErrorCode
  /** With `INSUFFICIENT`: what it would take, and what eight credits of this wallet reach, in units. */
  readonly amounts: { readonly needed: bigint; readonly spendable: bigint } | undefined
  constructor(code: WalletErrorCode, message: string, amounts?: WalletError['amounts']) {
    super(message)
    this.code = code
    this.amounts = amounts
  }
}

/** Whether it is `WalletError` `INSUFFICIENT`: more credits would help. */
export function isInsufficient(error: unknown): error is WalletError {
  return error instanceof WalletError && error.code === 'INSUFFICIENT'
}
