/** What travels between the pool and its threads. @module */
import type { CreditErrorCode } from '#protocol/credits/creditError.ts'
import type { BlankToSign, CheckedBlank, CreditToVerify } from './fastSigner.ts'

/** What is asked before a payment's credits are burnt, all at once: crossing to a thread and back costs the event loop time. */
export type PaymentToCheck = { readonly credits: readonly CreditToVerify[]; readonly blanks: readonly Uint8Array[] }

/** In the orders of the question: `verifyCredits` and `checkBlanks` of `CreditSigner`. */
export type PaymentChecks = {
  readonly credits: readonly boolean[]
  readonly blanks: readonly (CheckedBlank | undefined)[]
}

export type SignerJob =
  | ({ readonly kind: 'checkPayment' } & PaymentToCheck)
  | { readonly kind: 'signBlanks'; readonly items: readonly BlankToSign[] }

/** What the operation of the job's name answers. */
export type SignerResult = PaymentChecks | readonly Uint8Array[]

/** A thread's first message is `ready`; afterwards it answers one job at a time. A class does not survive the crossing: its code does. */
export type SignerAnswer =
  | { readonly kind: 'ready' }
  | { readonly kind: 'done'; readonly result: SignerResult }
  | { readonly kind: 'refused'; readonly code: CreditErrorCode; readonly message: string }

/** `secretKeys` are 32 bytes each. */
export type SignerThreadData = { readonly secretKeys: readonly Uint8Array[] }
