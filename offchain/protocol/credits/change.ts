/**
 * The issuer's answer to a payment: what was captured, and blind signatures for the rest. Always the same length.
 *
 *   struct Change {                                   1,577 bytes
 *     uint8 version = 1;
 *     uint64 fee;                  units, five significant bits; 0 for a release
 *     ChangeSlot slots[32];        slot i signs blank i; largest exponent first, empty ones last and all zero
 *   };
 *   struct ChangeSlot { uint8 exponent; opaque blindSignature[48]; };
 *
 * Spec: docs/spec.md section 9.
 * @module
 */
import { concatBytes, decodeUint, encodeUint, joinBytes } from '../bytes.ts'
import type { RandomBytes } from '../sealing/suite.ts'
import { BLANK_SLOTS, isRoundedFee, slotsNeeded, totalUnits, unitsOf } from './amounts.ts'
import { verifyBlindSignatures } from './batchVerification.ts'
import { CreditError } from './creditError.ts'
import type { Keyset } from './keyset.ts'
import { filledRows, sliceRows } from './payment.ts'
import { checkG1Encoding, decodeG1, G1_BYTES, type G2Point } from './points.ts'

export const CHANGE_VERSION = 1
const HEADER_BYTES = 1 + 8
const SLOT_BYTES = 1 + G1_BYTES
export const CHANGE_BYTES: number = HEADER_BYTES + BLANK_SLOTS * SLOT_BYTES

/** `fee` in units; `signatures[i]` is for blank i, worth 2^exponent units, its blind signature compressed (48 bytes). */
export type Change = { readonly fee: bigint; readonly signatures: readonly ChangeSignature[] }

export type ChangeSignature = { readonly exponent: number; readonly blindSignature: Uint8Array }

/** The answer's one encoding, `CHANGE_BYTES` long. Throws `CreditError` as `decodeChange` does. */
export function encodeChange({ fee, signatures }: Change): Uint8Array<ArrayBuffer> {
  const rows = signatures.map(({ exponent, blindSignature }) => {
    unitsOf(exponent)
    return concatBytes(Uint8Array.of(exponent), blindSignature)
  })
  while (rows.length < BLANK_SLOTS) rows.push(new Uint8Array(SLOT_BYTES))
  const encoded = concatBytes(Uint8Array.of(CHANGE_VERSION), encodeUint(fee, 8), joinBytes(rows))
  decodeChange(encoded)
  return encoded
}

/** Parses an answer: the fewest credits, largest first, for whatever amount they make. Throws `CreditError` on every other encoding. */
export function decodeChange(bytes: Uint8Array): Change {
  if (bytes.length !== CHANGE_BYTES) {
    throw new CreditError('WRONG_LENGTH', `expected change of ${CHANGE_BYTES} bytes, got ${bytes.length}`)
  }
  if (bytes[0] !== CHANGE_VERSION) throw new CreditError('WRONG_VERSION', `expected version ${CHANGE_VERSION}`)
  const fee = decodeUint(bytes.subarray(1, HEADER_BYTES))
  if (!isRoundedFee(fee)) throw new CreditError('NOT_CANONICAL', 'expected a fee of at most five significant bits')
  const rows = filledRows(sliceRows(bytes, HEADER_BYTES, BLANK_SLOTS, SLOT_BYTES))
  const signatures = rows.map((row) => {
    const blindSignature = row.slice(1)
    checkG1Encoding(blindSignature)
    return { exponent: row[0] ?? 0, blindSignature }
  })
  const exponents = signatures.map(({ exponent }) => exponent)
  const isSorted = exponents.every((exponent, i) => i === 0 || exponent <= (exponents[i - 1] ?? 0))
  if (slotsNeeded(totalUnits(exponents)) !== exponents.length || !isSorted) {
    throw new CreditError('NOT_CANONICAL', 'expected the fewest credits for the amount, largest first')
  }
  return { fee, signatures }
}

/** What an answer is checked against: of a payment only this. Of its blanks the first ones do, as many as there are signatures. */
export type PaymentOwed = {
  readonly maximumFee: bigint
  readonly credits: readonly { readonly exponent: number }[]
  readonly blanks: readonly Uint8Array[]
}

export type ChangeCheck =
  | { readonly ok: true }
  | { readonly ok: false; readonly code: 'FEE_TOO_HIGH' | 'WRONG_AMOUNT' | 'BAD_SIGNATURE' }

/**
 * Checks the issuer's answer against the payment it answers, before the wallet believes it: the fee is at most the maximum, nothing
 * is missing, and every blind signature is the keyset's. `random` is a CSPRNG. Malformed points are `BAD_SIGNATURE` too.
 */
export function verifyChange(payment: PaymentOwed, change: Change, keyset: Keyset, random: RandomBytes): ChangeCheck {
  if (change.fee > payment.maximumFee) return { ok: false, code: 'FEE_TOO_HIGH' }
  const paid = totalUnits(payment.credits.map(({ exponent }) => exponent))
  if (paid - change.fee !== totalUnits(change.signatures.map(({ exponent }) => exponent))) {
    return { ok: false, code: 'WRONG_AMOUNT' }
  }
  return areSigned(payment, change, keyset, random) ? { ok: true } : { ok: false, code: 'BAD_SIGNATURE' }
}

function areSigned(payment: PaymentOwed, change: Change, keyset: Keyset, random: RandomBytes): boolean {
  try {
    const items = change.signatures.map(({ exponent, blindSignature }, i) => ({
      blinded: decodeG1(payment.blanks[i] ?? new Uint8Array()),
      blindSignature: decodeG1(blindSignature),
      publicKey: keyOf(keyset, exponent),
    }))
    return verifyBlindSignatures(items, random)
  } catch (error) {
    // A point that is none is one more way of not being a signature; anything else is a bug of ours.
    if (error instanceof CreditError) return false
    throw error
  }
}

function keyOf(keyset: Keyset, exponent: number): G2Point {
  const key = keyset.keys[exponent]
  if (key === undefined) throw new CreditError('KEY_COUNT', `the keyset has no key for 2^${exponent} units`)
  return key
}
