/** What can go wrong for a client, each with a code and a sentence that says what to do. @module */

export type SealpathErrorCode =
  /** The address is not one of ours: nothing was sent. */
  | 'NOT_OURS'
  /** The RPC endpoint does not answer. */
  | 'CHAIN_FAILED'
  /** The relay does not answer, or is full. */
  | 'RELAY_FAILED'
  /** No gateway behind the relay agrees with registry, evidence and policy, or none serves the model as the policy wants it. */
  | 'NO_GATEWAY'
  /** Registry and evidence do not agree: nothing was sealed. */
  | 'EVIDENCE_REFUSED'
  /** The gateway could not open the request: its key rotated, or relay and gateway do not belong together. */
  | 'REQUEST_NOT_OPENED'
  /** The gateway did not begin its answer in time, or was silent for too long amid it. */
  | 'TIMED_OUT'
  /** The answer broke off: what came before is not complete. */
  | 'ANSWER_CUT'
  /** A complete answer came without a receipt. */
  | 'RECEIPT_MISSING'
  /** The receipt does not fit the exchange. */
  | 'RECEIPT_REJECTED'
  /** Not settled in the time given. It may still settle. */
  | 'NOT_SETTLED'
  /** The aggregator's proof does not lead to what the chain stores. */
  | 'PROOF_REJECTED'
  /** The issuer refused: its code is the reason. */
  | 'ISSUER_REFUSED'
  | 'BAD_OPTIONS'

export class SealpathError extends Error {
  override readonly name = 'SealpathError'
  readonly code: SealpathErrorCode
  /** Why, where a check has a code of its own: that of the evidence or receipt check, or the issuer's. */
  readonly reason: string | undefined
  constructor(code: SealpathErrorCode, message: string, options: ErrorOptions & { reason?: string } = {}) {
    super(message, options)
    this.code = code
    this.reason = options.reason
  }
}
