/** What travels between the pool and its threads. @module */
import type { CreditErrorCode } from '#protocol/credits/creditError.ts'
import type { BlankToSign, CreditToVerify } from './fastSigner.ts'

export type SignerJob =
  | { readonly kind: 'verifyCredits'; readonly items: readonly CreditToVerify[] }
  | { readonly kind: 'checkBlanks'; readonly items: readonly Uint8Array[] }
  | { readonly kind: 'signBlanks'; readonly items: readonly BlankToSign[] }

/** A thread's first message is `ready`; afterwards it answers one job at a time. A class does not survive the crossing: its code does. */
export type SignerAnswer =
  | { readonly kind: 'ready' }
  | { readonly kind: 'done'; readonly result: readonly boolean[] | readonly Uint8Array[] }
  | { readonly kind: 'refused'; readonly code: CreditErrorCode; readonly message: string }

/** `secretKeys` are 32 bytes each. */
export type SignerThreadData = { readonly secretKeys: readonly Uint8Array[] }
