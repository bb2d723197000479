/**
 * What is remembered of payments beside the ledger: blanks of the open ones, and how to seal change back while this process lives.
 * @module
 */
import type { BlankToSign, CheckedBlank } from '#node/credits/fastSigner.ts'
import type { Hex } from '#protocol/bytes.ts'
import type { Change } from '#protocol/credits/change.ts'
import type { OpenedPayment } from '#protocol/credits/sealedPayment.ts'

export type SealChange = OpenedPayment['sealChange']

export type PaymentMemoryLimits = {
  /** Payments whose change can be sealed. The oldest are forgotten first: their change is in the tiles. */
  readonly sealersMax: number
  /** How long after its capture a payment's change can still be sealed, in seconds. */
  readonly changeSeconds: number
}

export const PAYMENT_MEMORY_LIMITS: PaymentMemoryLimits = { sealersMax: 100_000, changeSeconds: 600 }

/** Blanks of an open payment, 48 bytes each; the first of them decoded, as far as this process checked them. */
export type OpenBlanks = { readonly blanks: readonly Uint8Array[]; readonly checked?: readonly CheckedBlank[] }

/** Blank `i`, to be signed for 2^exponent units. */
export function blankToSign({ blanks, checked }: OpenBlanks, i: number, exponent: number): BlankToSign {
  const known = checked?.[i]
  return known === undefined ? { exponent, blinded: blanks[i] ?? new Uint8Array() } : { exponent, checked: known }
}

export class PaymentMemory {
  readonly #limits: PaymentMemoryLimits
  readonly #blanks = new Map<Hex, OpenBlanks>()
  readonly #sealers = new Map<Hex, SealChange>()
  readonly #change = new Map<Hex, { readonly change: Change; readonly until: number }>()

  constructor(limits: PaymentMemoryLimits = PAYMENT_MEMORY_LIMITS) {
    this.#limits = limits
  }

  blanks(payment: Hex): OpenBlanks | undefined {
    return this.#blanks.get(payment)
  }

  /** `checked[i]` is blank `i`, if this process checked it. */
  noteBlanks(payment: Hex, blanks: readonly Uint8Array[], checked?: readonly CheckedBlank[]): void {
    this.#blanks.set(payment, checked === undefined ? { blanks } : { blanks, checked })
  }

  /** The newest sealing of a payment is the one whose client waits. */
  noteSealer(payment: Hex, seal: SealChange): void {
    this.#sealers.delete(payment)
    this.#sealers.set(payment, seal)
    if (this.#sealers.size <= this.#limits.sealersMax) return
    for (const oldest of this.#sealers.keys()) {
      this.#sealers.delete(oldest)
      return
    }
  }

  sealer(payment: Hex): SealChange | undefined {
    return this.#sealers.get(payment)
  }

  /** What a captured payment gets back; undefined when it was captured too long ago, or before this process began. */
  change(payment: Hex): Change | undefined {
    return this.#change.get(payment)?.change
  }

  /** The payment is captured: its blanks are used. `now` in seconds. */
  noteCaptured(payment: Hex, change: Change, now: number): void {
    this.#blanks.delete(payment)
    this.#change.set(payment, { change, until: now + this.#limits.changeSeconds })
  }

  /** Forgets what was captured long ago. */
  sweep(now: number): void {
    // In the order of their captures, so that the first that stays ends the search.
    for (const [payment, { until }] of this.#change) {
      if (until > now) return
      this.#change.delete(payment)
      this.#sealers.delete(payment)
    }
  }
}
