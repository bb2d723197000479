/**
 * The payment a request carries, sealed to the issuer. Always the same length, whatever is paid.
 *
 *   struct Payment {                                                              2,405 bytes
 *     uint8 version = 1;
 *     opaque keyset[32];
 *     opaque enclave[20];          the gateway that may capture
 *     uint64 maximumFee;           units, five significant bits
 *     CreditSlot credits[8];       ascending by secret, empty ones last and all zero
 *     opaque blanks[32][48];       blinded points for change, all filled and all different
 *   };
 *   struct CreditSlot { uint8 exponent; opaque secret[32]; opaque exitKey[20]; opaque signature[48]; };
 *
 * There is one encoding per payment, so its hash is its name: the issuer answers a repeat with the same change. Decoding checks the
 * form only. The points are checked where they are used, off the event loop: `verifyWithSecretKey` and `decodeG1`, or the signer's.
 * Spec: docs/spec.md section 9.
 * @module
 */
import { concatBytes, decodeUint, encodeUint, equalBytes, fromHex, type Hex, joinBytes, toHex } from '../bytes.ts'
import { type Keccak256, keccak256 } from '../hash.ts'
import { BLANK_SLOTS, CREDIT_SLOTS, isRoundedFee, totalUnits, unitsOf } from './amounts.ts'
import { CreditError } from './creditError.ts'
import { SECRET_BYTES } from './message.ts'
import { checkG1Encoding, G1_BYTES } from './points.ts'

export const PAYMENT_VERSION = 1
const ADDRESS_BYTES = 20
export const CREDIT_SLOT_BYTES: number = 1 + SECRET_BYTES + ADDRESS_BYTES + G1_BYTES
const HEADER_BYTES = 1 + 32 + ADDRESS_BYTES + 8
export const PAYMENT_BYTES: number = HEADER_BYTES + CREDIT_SLOTS * CREDIT_SLOT_BYTES + BLANK_SLOTS * G1_BYTES

/** A credit as it is spent: 2^exponent units, t, the address that could have exited it, the compressed signature. */
export type SpentCredit = {
  readonly exponent: number
  readonly secret: Uint8Array
  readonly exitKey: Hex
  readonly signature: Uint8Array
}

/** `blanks` are compressed points. `enclave` is the gateway's address. */
export type Payment = {
  readonly keyset: Hex
  readonly enclave: Hex
  readonly maximumFee: bigint
  readonly credits: readonly SpentCredit[]
  readonly blanks: readonly Uint8Array[]
}

/** The payment's one encoding, `PAYMENT_BYTES` long; credits may come in any order. Throws `CreditError` as `decodePayment` does. */
export function encodePayment(payment: Payment): Uint8Array<ArrayBuffer> {
  const credits = payment.credits.map(encodeCredit).sort(compareSecrets)
  checkCount(credits.length, CREDIT_SLOTS, 'credits at most')
  while (credits.length < CREDIT_SLOTS) credits.push(new Uint8Array(CREDIT_SLOT_BYTES))
  const encoded = concatBytes(
    Uint8Array.of(PAYMENT_VERSION),
    fromHex(payment.keyset, 32),
    fromHex(payment.enclave, ADDRESS_BYTES),
    encodeUint(payment.maximumFee, 8),
    joinBytes(credits),
    joinBytes(payment.blanks),
  )
  // Decoding is the one list of what a payment must be.
  decodePayment(encoded)
  return encoded
}

/** Parses a payment; its byte strings stay in the memory of `bytes`. Throws `CreditError` on every encoding but `encodePayment`'s. */
export function decodePayment(bytes: Uint8Array): Payment {
  if (bytes.length !== PAYMENT_BYTES) {
    throw new CreditError('WRONG_LENGTH', `expected a payment of ${PAYMENT_BYTES} bytes, got ${bytes.length}`)
  }
  if (bytes[0] !== PAYMENT_VERSION) throw new CreditError('WRONG_VERSION', `expected version ${PAYMENT_VERSION}`)
  const payment = {
    keyset: toHex(bytes.subarray(1, 33)),
    enclave: decodeAddress(bytes.subarray(33, 53)),
    maximumFee: decodeUint(bytes.subarray(53, HEADER_BYTES)),
    credits: decodeCredits(sliceRows(bytes, HEADER_BYTES, CREDIT_SLOTS, CREDIT_SLOT_BYTES)),
    blanks: decodeBlanks(sliceRows(bytes, HEADER_BYTES + CREDIT_SLOTS * CREDIT_SLOT_BYTES, BLANK_SLOTS, G1_BYTES)),
  }
  if (!isRoundedFee(payment.maximumFee)) {
    throw new CreditError('NOT_CANONICAL', 'expected a maximum fee of at most five significant bits')
  }
  const total = totalUnits(payment.credits.map(({ exponent }) => exponent))
  if (total < payment.maximumFee) {
    throw new CreditError(
      'UNDERFUNDED',
      `the credits are worth ${total} units, the maximum fee is ${payment.maximumFee}`,
    )
  }
  return payment
}

/** keccak256 of the encoding, 32 bytes: what makes a repeat a repeat. Other blanks or another order is another payment. */
export function paymentId(encoded: Uint8Array, hash: Keccak256 = keccak256): Hex {
  if (encoded.length !== PAYMENT_BYTES) throw new CreditError('WRONG_LENGTH', 'expected an encoded payment')
  return toHex(hash(encoded))
}

/** `count` consecutive parts of `width` bytes each, in the memory of `bytes`. */
export function sliceRows(bytes: Uint8Array, offset: number, count: number, width: number): Uint8Array[] {
  return Array.from({ length: count }, (_, i) => bytes.subarray(offset + i * width, offset + (i + 1) * width))
}

/** The filled slots. Throws `CreditError` (`NOT_CANONICAL`) when one follows an empty one. */
export function filledRows(rows: readonly Uint8Array[]): Uint8Array[] {
  const isFilled = rows.map((row) => row.some((byte) => byte !== 0))
  const count = isFilled.filter(Boolean).length
  if (isFilled.slice(count).some(Boolean)) throw new CreditError('NOT_CANONICAL', 'expected empty slots to come last')
  return rows.slice(0, count)
}

function encodeCredit({ exponent, secret, exitKey, signature }: SpentCredit): Uint8Array {
  if (secret.length !== SECRET_BYTES)
    throw new CreditError('WRONG_LENGTH', `expected a secret of ${SECRET_BYTES} bytes`)
  unitsOf(exponent)
  checkG1Encoding(signature)
  return concatBytes(Uint8Array.of(exponent), secret, fromHex(exitKey, ADDRESS_BYTES), signature)
}

/** In strictly ascending order no secret can stand twice, whatever else of the credit differs: it could be spent only once. */
function decodeCredits(rows: readonly Uint8Array[]): SpentCredit[] {
  const filled = filledRows(rows)
  if (filled.length === 0) throw new CreditError('NO_CREDITS', 'expected at least one credit')
  for (const [i, row] of filled.entries()) {
    const next = filled[i + 1]
    const order = next === undefined ? -1 : compareSecrets(row, next)
    if (order === 0) throw new CreditError('CREDIT_REPEATED', 'expected every credit once')
    if (order > 0) throw new CreditError('NOT_CANONICAL', 'expected credits in ascending order of their secrets')
  }
  return filled.map(decodeCredit)
}

function decodeCredit(row: Uint8Array): SpentCredit {
  const exponent = row[0] ?? 0
  unitsOf(exponent)
  const signature = row.subarray(CREDIT_SLOT_BYTES - G1_BYTES)
  checkG1Encoding(signature)
  const exitKey = decodeAddress(row.subarray(1 + SECRET_BYTES, CREDIT_SLOT_BYTES - G1_BYTES))
  return { exponent, secret: row.subarray(1, 1 + SECRET_BYTES), exitKey, signature }
}

function decodeBlanks(blanks: Uint8Array[]): Uint8Array[] {
  for (const blank of blanks) checkG1Encoding(blank)
  if (blanks.some((blank, i) => blanks.slice(0, i).some((other) => equalBytes(blank, other)))) {
    throw new CreditError('BLANK_REPEATED', 'expected blanks that all differ')
  }
  return blanks
}

/** Never zero: that is what recovering a malformed signature yields on chain. */
function decodeAddress(bytes: Uint8Array): Hex {
  if (bytes.every((byte) => byte === 0)) throw new CreditError('ZERO_ADDRESS', 'expected an address other than zero')
  return toHex(bytes)
}

/** Orders encoded slots by their secrets. */
function compareSecrets(a: Uint8Array, b: Uint8Array): number {
  for (let i = 1; i <= SECRET_BYTES; i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0)
    if (difference !== 0) return difference
  }
  return 0
}

function checkCount(count: number, bound: number, what: string): void {
  if (count > bound) throw new CreditError('TOO_FEW_SLOTS', `expected ${bound} ${what}, got ${count}`)
}
