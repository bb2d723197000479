/** How a payment travels with a request and its change with the answer, inside the seal. Spec: docs/spec.md section 9. @module */
import { type Hex, toBase64 } from '../bytes.ts'
import { base64Of, parseShape } from './json.ts'

/** Header field of a request: the sealed payment (sealedPayment.ts) in base64. The body is no part of it, so that receipts commit to the body alone. */
export const PAYMENT_FIELD = 'sealpath-payment'
/** Trailer of an answer: the sealed change in base64. Absent when the issuer did not answer in time: the change tiles have it. */
export const CHANGE_TRAILER = 'sealpath-change'
const BYTES_MAX = 8_192

/** What an answer of status 402 says beside OpenAI's fields. */
export type PaymentNeeded = {
  /** The most that the request can cost, in units, as a payment may carry it. */
  readonly maximumFee: bigint
  /** The issuer enclave that the payment has to be sealed to, once the gateway has reached it. */
  readonly issuer?: Hex
}

export function formatSealed(bytes: Uint8Array): string {
  return toBase64(bytes)
}

/** Throws `WireError` for anything but base64 of at most 8 KiB. */
export function parseSealed(value: string): Uint8Array {
  return parseShape(base64Of(BYTES_MAX), value, 'sealed payment')
}
