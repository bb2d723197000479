/**
 * What travels between the pool and its threads. All byte strings of a message are one: copying dozens of small arrays from thread to thread costs
 * the event loop more than anything else that it does for a payment.
 * @module
 */
import { joinBytes } from '#protocol/bytes.ts'
import type { CreditErrorCode } from '#protocol/credits/creditError.ts'
import type { BlankToSign, CheckedBlank, CreditSigner, CreditToVerify } from './fastSigner.ts'

/** What is asked before a payment's credits are burnt, all at once: crossing to a thread and back costs the event loop time. */
export type PaymentToCheck = { readonly credits: readonly CreditToVerify[]; readonly blanks: readonly Uint8Array[] }

/** In the orders of the question: `verifyCredits` and `checkBlanks` of `CreditSigner`. */
export type PaymentChecks = {
  readonly credits: readonly boolean[]
  readonly blanks: readonly (CheckedBlank | undefined)[]
}

/** Byte strings of any lengths, one behind the other. */
type Packed = { readonly bytes: Uint8Array; readonly lengths: readonly number[] }

/** `packed` holds message and signature of each credit, and then the blanks. */
type CheckJob = { readonly kind: 'checkPayment'; readonly exponents: readonly number[]; readonly packed: Packed }
/** `packed` holds the blanks; those named by `checked` as `checkBlanks` made them. */
type SignJob = {
  readonly kind: 'signBlanks'
  readonly exponents: readonly number[]
  readonly checked: readonly boolean[]
  readonly packed: Packed
}
export type SignerJob = CheckJob | SignJob

/** `packed` holds the blind signatures, or the decoded blanks with nothing for those that may not be signed. */
export type SignerResult = { readonly credits: readonly boolean[]; readonly packed: Packed }

/** A thread's first message is `ready`; afterwards it answers one job at a time. A class does not survive the crossing: its code does. */
export type SignerAnswer =
  | { readonly kind: 'ready' }
  | { readonly kind: 'done'; readonly result: SignerResult }
  | { readonly kind: 'refused'; readonly code: CreditErrorCode; readonly message: string }

/** `secretKeys` are 32 bytes each. */
export type SignerThreadData = { readonly secretKeys: readonly Uint8Array[] }

export function checkJob({ credits, blanks }: PaymentToCheck): SignerJob {
  const packed = pack([...credits.flatMap(({ message, signature }) => [message, signature]), ...blanks])
  return { kind: 'checkPayment', exponents: credits.map(({ exponent }) => exponent), packed }
}

export function signJob(blanks: readonly BlankToSign[]): SignerJob {
  return {
    kind: 'signBlanks',
    exponents: blanks.map(({ exponent }) => exponent),
    checked: blanks.map((blank) => 'checked' in blank),
    packed: pack(blanks.map((blank) => ('checked' in blank ? blank.checked : blank.blinded))),
  }
}

/** Does the job. Throws as the signer does. */
export function runJob(signer: CreditSigner, job: SignerJob): SignerResult {
  const rows = unpack(job.packed)
  if (job.kind === 'signBlanks') {
    const blanks = job.exponents.map((exponent, i): BlankToSign => {
      const row = rows[i] ?? new Uint8Array()
      // The pool says which were checked, and it was told so by their type.
      return job.checked[i] === true ? { exponent, checked: row as CheckedBlank } : { exponent, blinded: row }
    })
    return { credits: [], packed: pack(signer.signBlanks(blanks)) }
  }
  const credits = job.exponents.map((exponent, i) => ({
    exponent,
    message: rows[2 * i] ?? new Uint8Array(),
    signature: rows[2 * i + 1] ?? new Uint8Array(),
  }))
  const blanks = signer.checkBlanks(rows.slice(2 * credits.length))
  return { credits: signer.verifyCredits(credits), packed: pack(blanks.map((blank) => blank ?? new Uint8Array())) }
}

export function paymentChecks({ credits, packed }: SignerResult): PaymentChecks {
  return { credits, blanks: unpack(packed).map((row) => (row.length === 0 ? undefined : (row as CheckedBlank))) }
}

export function blindSignatures({ packed }: SignerResult): Uint8Array[] {
  return unpack(packed)
}

function pack(rows: readonly Uint8Array[]): Packed {
  return { bytes: joinBytes(rows), lengths: rows.map(({ length }) => length) }
}

function unpack({ bytes, lengths }: Packed): Uint8Array[] {
  let offset = 0
  return lengths.map((length) => {
    const start = offset
    offset += length
    return bytes.subarray(start, offset)
  })
}
