/**
 * What an issuer answers inside its seal (an RFC 9458 gateway resource like a gateway's, reached through a relay by wallets and directly by
 * gateways). All bodies are JSON. Repeating a call answers the same.
 *
 *   GET  /v1/keysets                  IssuerKeysets: the keysets that it writes, newest first
 *   POST /v1/issue                    IssueRequest -> IssueAnswer
 *   POST /v1/reserve                  ReserveRequest -> ReserveAnswer   (by a gateway)
 *   POST /v1/renew                    RenewRequest -> RenewAnswer       (by a gateway)
 *   POST /v1/capture                  CaptureRequest -> CaptureAnswer   (by a gateway)
 *   GET  /v1/change/{keyset}/{prefix} ChangeTile: all payments whose locators begin with these hex digits, of which there may be none
 *   GET  /v1/spent/{keyset}/{from}    SpentPage: the spent credits from number `from` on, in the order in which they were spent
 *
 * Nothing is asked for by what it is. A restore downloads all spent credits, as everybody else does, and of its payments it shows as many
 * digits as it takes to get an answer that fits: none while all payments fit into one. These two answers are filled with spaces behind the
 * JSON to a multiple of 65,536 bytes.
 *
 * What gateways send is signed by the enclave's key as EIP-712 typed data of the domain { name: "Sealpath Issuer", version: "1", chainId,
 * verifyingContract: vault }. Errors: { error: { code, message } } with an IssuerErrorCode and the status in ISSUER_STATUS.
 * Spec: docs/spec.md section 9.
 * @module
 */
import * as v from 'valibot'
import { hashTypedData } from '#protocol/typedData.ts'
import { type Hex, toHex } from '../bytes.ts'
import { BLANK_SLOTS, DENOMINATION_COUNT } from '../credits/amounts.ts'
import { G1_BYTES } from '../credits/points.ts'
import { keccak256 } from '../hash.ts'
import type { CompactSignature } from '../receipt/head.ts'
import { address, base64Of, hash, type Schema, uintOf } from './json.ts'

/** Outputs of one deposit. */
export const ISSUE_OUTPUTS_MAX = 64
/**
 * Rows of one tile, a payment being one and each signature of its change another: some 400 kB. With more of them a longer prefix has to be
 * asked for (`TILE_TOO_LARGE`).
 */
export const CHANGE_TILE_MAX = 4_096
/** Hex digits of a locator in a prefix, at most. */
export const TILE_DIGITS_MAX = 8
/** Spent credits of one page, and the bytes of each id that it holds. */
export const SPENT_PAGE_MAX = 16_384
export const SPENT_ID_BYTES = 8
const SEALED_PAYMENT_BYTES_MAX = 8_192

export type IssuerKeysets = { readonly keysets: readonly Hex[] }

/** `blinded` is a compressed point of G1. `signature` is the claim key's, as the vault takes it for `answerDeposit`. */
export type IssueRequest = {
  readonly keyset: Hex
  readonly claimKey: Hex
  readonly outputs: readonly IssueOutput[]
  readonly signature: CompactSignature
}
export type IssueOutput = { readonly exponent: number; readonly blinded: Uint8Array }
/** Blind signatures, in the order of the outputs. */
export type IssueAnswer = { readonly signatures: readonly Uint8Array[] }

/** `signature` is of `Reserve(address gateway,bytes32 payment)`, payment being the keccak-256 of the sealed bytes. */
export type ReserveRequest = {
  readonly gateway: Hex
  readonly sealedPayment: Uint8Array
  readonly signature: CompactSignature
}
/** The credits are spent now. `payment` is the payment's id, `expiresAt` (seconds) when it is captured for nothing. */
export type ReserveAnswer = { readonly payment: Hex; readonly maximumFee: bigint; readonly expiresAt: bigint }

/** `signature` is of `Renew(bytes32 payment)`. */
export type RenewRequest = { readonly payment: Hex; readonly signature: CompactSignature }
export type RenewAnswer = { readonly expiresAt: bigint }

/** `signature` is of `Capture(bytes32 payment,uint64 fee)`. A release is a capture of 0. */
export type CaptureRequest = { readonly payment: Hex; readonly fee: bigint; readonly signature: CompactSignature }
/** `sealedChange` is absent when the issuer was restarted in between: the wallet finds its change in the tiles. */
export type CaptureAnswer = { readonly fee: bigint; readonly sealedChange?: Uint8Array }

/**
 * `ids` holds the first `SPENT_ID_BYTES` of each spent credit's id, which is the message that its signature signs; `next` is where the next
 * page begins, and absent at the end. What is below the end never changes. Among 10^7 spent credits one has the 8 bytes of a given other
 * credit with a probability of 10^-12 (10^7 / 2^64).
 */
export type SpentPage = { readonly ids: Uint8Array; readonly next?: number }

/** Sorted by locator. Payments of one locator are those of a wallet that used its blanks twice. */
export type ChangeTile = { readonly payments: readonly LocatedPayment[] }
/** `change[i]` was signed for blank i. It is absent while the payment is reserved and not captured, and empty where its credits were its fee. */
export type LocatedPayment = { readonly locator: Hex; readonly change?: readonly SignedBlank[] }
/** `signature` is the blind one, compressed (48 bytes), of the key for 2^exponent units. */
export type SignedBlank = { readonly exponent: number; readonly signature: Uint8Array }

/** What a payment is found by: the keccak-256 of its first blank (48 bytes, compressed). Gateways do not see it: blanks are sealed to the issuer. */
export function paymentLocator(firstBlank: Uint8Array): Hex {
  return toHex(keccak256(firstBlank))
}

export type IssuerErrorCode =
  | 'BAD_REQUEST'
  | 'UNKNOWN_KEYSET'
  /** The keyset's phase does not allow this any more. */
  | 'WRONG_PHASE'
  /** The keyset's writer is another enclave, or its newest witnessed head cannot be reached: exits only. */
  | 'EXIT_ONLY'
  | 'BAD_SIGNATURE'
  | 'UNKNOWN_GATEWAY'
  /** No such deposit at finality, on every RPC endpoint asked. */
  | 'NO_DEPOSIT'
  /** The deposit was asked back, or answered with other outputs. */
  | 'DEPOSIT_CLOSED'
  | 'WRONG_AMOUNT'
  | 'BAD_PAYMENT'
  /** A credit of the payment does not verify. */
  | 'BAD_CREDIT'
  /** A credit of the payment was spent, or is being exited. */
  | 'SPENT'
  | 'UNKNOWN_PAYMENT'
  /** Captured already, for another fee. */
  | 'ALREADY_CAPTURED'
  | 'FEE_TOO_HIGH'
  /** Ask with one digit more. */
  | 'TILE_TOO_LARGE'
  | 'NOT_FOUND'
  /** The witnesses, the database or the chain do not answer: perhaps done, perhaps not. Repeating it answers which. */
  | 'UNAVAILABLE'

/** HTTP status of each code, inside the seal. */
export const ISSUER_STATUS: Readonly<Record<IssuerErrorCode, number>> = {
  BAD_REQUEST: 400,
  UNKNOWN_KEYSET: 404,
  WRONG_PHASE: 409,
  EXIT_ONLY: 409,
  BAD_SIGNATURE: 403,
  UNKNOWN_GATEWAY: 403,
  NO_DEPOSIT: 404,
  DEPOSIT_CLOSED: 409,
  WRONG_AMOUNT: 400,
  BAD_PAYMENT: 400,
  BAD_CREDIT: 402,
  SPENT: 402,
  UNKNOWN_PAYMENT: 404,
  ALREADY_CAPTURED: 409,
  FEE_TOO_HIGH: 400,
  TILE_TOO_LARGE: 413,
  NOT_FOUND: 404,
  UNAVAILABLE: 503,
}

const signature: Schema<CompactSignature> = v.object({ r: hash, vs: hash })
const point = base64Of(G1_BYTES)
const exponent = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(DENOMINATION_COUNT - 1))

export const IssuerKeysetsSchema: Schema<IssuerKeysets> = v.object({ keysets: v.array(hash) })
export const IssueRequestSchema: Schema<IssueRequest> = v.object({
  keyset: hash,
  claimKey: address,
  outputs: v.pipe(v.array(v.object({ exponent, blinded: point })), v.minLength(1), v.maxLength(ISSUE_OUTPUTS_MAX)),
  signature,
})
export const IssueAnswerSchema: Schema<IssueAnswer> = v.object({ signatures: v.array(point) })
export const ReserveRequestSchema: Schema<ReserveRequest> = v.object({
  gateway: address,
  sealedPayment: base64Of(SEALED_PAYMENT_BYTES_MAX),
  signature,
})
export const ReserveAnswerSchema: Schema<ReserveAnswer> = v.object({
  payment: hash,
  maximumFee: uintOf(64),
  expiresAt: uintOf(53),
})
export const RenewRequestSchema: Schema<RenewRequest> = v.object({ payment: hash, signature })
export const RenewAnswerSchema: Schema<RenewAnswer> = v.object({ expiresAt: uintOf(53) })
export const CaptureRequestSchema: Schema<CaptureRequest> = v.object({ payment: hash, fee: uintOf(64), signature })
export const CaptureAnswerSchema: Schema<CaptureAnswer> = v.object({
  fee: uintOf(64),
  sealedChange: v.exactOptional(base64Of(SEALED_PAYMENT_BYTES_MAX)),
})
export const SpentPageSchema: Schema<SpentPage> = v.object({
  ids: v.pipe(
    base64Of(SPENT_PAGE_MAX * SPENT_ID_BYTES),
    v.check((ids) => ids.length % SPENT_ID_BYTES === 0, `expected whole ids of ${SPENT_ID_BYTES} bytes`),
  ),
  next: v.exactOptional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(Number.MAX_SAFE_INTEGER))),
})
export const ChangeTileSchema: Schema<ChangeTile> = v.object({
  payments: v.pipe(
    v.array(
      v.object({
        locator: hash,
        change: v.exactOptional(v.pipe(v.array(v.object({ exponent, signature: point })), v.maxLength(BLANK_SLOTS))),
      }),
    ),
    v.maxLength(CHANGE_TILE_MAX),
  ),
})

/** Which issuer's vault a gateway's message is for. */
export type IssuerDomain = { readonly chainId: number; readonly vault: Hex }

const GATEWAY_TYPES = {
  Reserve: [
    { name: 'gateway', type: 'address' },
    { name: 'payment', type: 'bytes32' },
  ],
  Renew: [{ name: 'payment', type: 'bytes32' }],
  Capture: [
    { name: 'payment', type: 'bytes32' },
    { name: 'fee', type: 'uint64' },
  ],
} as const

/** Digest that a gateway signs to reserve; `payment` is the keccak-256 of the sealed bytes. */
export function hashReserve(message: { gateway: Hex; payment: Hex }, domain: IssuerDomain): Hex {
  return hashTypedData({ domain: issuerDomain(domain), types: GATEWAY_TYPES, primaryType: 'Reserve', message })
}

/** Digest that a gateway signs to keep a reserve open; `payment` is the payment's id. */
export function hashRenew(message: { payment: Hex }, domain: IssuerDomain): Hex {
  return hashTypedData({ domain: issuerDomain(domain), types: GATEWAY_TYPES, primaryType: 'Renew', message })
}

/** Digest that a gateway signs to capture; `payment` is the payment's id. */
export function hashCapture(message: { payment: Hex; fee: bigint }, domain: IssuerDomain): Hex {
  return hashTypedData({ domain: issuerDomain(domain), types: GATEWAY_TYPES, primaryType: 'Capture', message })
}

function issuerDomain({ chainId, vault }: IssuerDomain): {
  name: string
  version: string
  chainId: number
  verifyingContract: Hex
} {
  return { name: 'Sealpath Issuer', version: '1', chainId, verifyingContract: vault }
}
