/** What is wrong with a witness that answers. @module */

export type WitnessErrorCode =
  /** It does not take what we give it. */
  | 'REFUSED'
  /** It claims to hold more than it can show. */
  | 'UNPROVEN'

export class WitnessError extends Error {
  override readonly name = 'WitnessError'
  readonly code: WitnessErrorCode
  constructor(code: WitnessErrorCode, message: string) {
    super(message)
    this.code = code
  }
}
