/** What sealed answers look like from outside. The client chooses inside the seal. Spec: docs/spec.md section 2. @module */

/**
 * - `open`: as the handler makes them.
 * - `filled`: as the handler makes them, the last chunk filled.
 * - `paced`: to a chunked request one full chunk a tick from the moment it is open, whatever the answer is and whenever it is known, up to a class of
 *   total length. To a request that is not chunked as `filled`.
 */
export type AnswerShape = { readonly kind: 'open' } | { readonly kind: 'filled' } | ({ readonly kind: 'paced' } & Pace)

export type Pace = {
  /** Time between two chunks, in milliseconds. */
  readonly tickMs: number
  /** How long the reader may take nothing, in milliseconds. Who takes longer is treated as one who left. */
  readonly readerTimeoutMs: number
  /** How long all of it may take, in milliseconds, with the same end. */
  readonly deliveryMsMax: number
}
