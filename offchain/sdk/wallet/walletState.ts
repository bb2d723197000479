/**
 * What a wallet remembers beside its seed. Losing it loses no money: everything is derived from the seed and found again at the issuer.
 * @module
 */
import * as v from 'valibot'
import { type Hex, toBase64 } from '#protocol/bytes.ts'
import { DENOMINATION_COUNT, totalUnits } from '#protocol/credits/amounts.ts'
import { G1_BYTES } from '#protocol/credits/points.ts'
import { address, base64Of, hash, parseJson, type Schema, toJson, uintOf } from '#protocol/wire/json.ts'

/** Where a credit's secrets come from, what it is worth and the issuer's signature (48 bytes). */
export type WalletCredit = {
  readonly path: 'purchase' | 'change'
  readonly counter: number
  readonly exponent: number
  readonly signature: Uint8Array
}

/**
 * A purchase whose deposit may be on its way or unanswered. `delaySeconds` after the deposit the issuer is asked; `isAutomatic` says that no person asked
 * for it.
 */
export type OpenPurchase = {
  readonly number: number
  readonly units: bigint
  readonly delaySeconds: number
  readonly isAutomatic: boolean
}

/** An automatic purchase that was begun: its time in seconds and what it costs. */
export type TopUpRecord = { readonly at: number; readonly units: bigint }

/**
 * Credits that are being paid out in one transaction: not spendable any more. `id` is that of the first. `isSent` once the transaction may have left,
 * `readyAt` (seconds) once the vault has opened them.
 */
export type OpenExit = {
  readonly id: Hex
  readonly recipient: Hex
  readonly isSent: boolean
  readonly readyAt?: number
  readonly credits: readonly WalletCredit[]
}

/** A payment that was made and whose change has not come yet. Its blanks count from `firstBlank` on the change path. */
export type OpenPayment = {
  readonly id: Hex
  readonly enclave: Hex
  readonly maximumFee: bigint
  readonly firstBlank: number
  readonly credits: readonly WalletCredit[]
}

export type WalletState = {
  readonly format: 'sealpath-wallet/1'
  readonly keyset: Hex
  /** The next purchase and the next blank. */
  readonly nextPurchase: number
  readonly nextBlank: number
  readonly purchases: readonly OpenPurchase[]
  readonly payments: readonly OpenPayment[]
  readonly exits: readonly OpenExit[]
  readonly credits: readonly WalletCredit[]
  /** Automatic purchases of the last time, whatever became of them. */
  readonly topUps: readonly TopUpRecord[]
}

export function emptyState(keyset: Hex): WalletState {
  return {
    format: 'sealpath-wallet/1',
    keyset,
    nextPurchase: 0,
    nextBlank: 0,
    purchases: [],
    payments: [],
    exits: [],
    credits: [],
    topUps: [],
  }
}

const count = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(Number.MAX_SAFE_INTEGER))
const credit: Schema<WalletCredit> = v.object({
  path: v.picklist(['purchase', 'change']),
  counter: count,
  exponent: v.pipe(count, v.maxValue(DENOMINATION_COUNT - 1)),
  signature: base64Of(G1_BYTES),
})
export const WalletStateSchema: Schema<WalletState> = v.object({
  format: v.literal('sealpath-wallet/1'),
  keyset: hash,
  nextPurchase: count,
  nextBlank: count,
  purchases: v.array(v.object({ number: count, units: uintOf(64), delaySeconds: count, isAutomatic: v.boolean() })),
  payments: v.array(
    v.object({
      id: hash,
      enclave: address,
      maximumFee: uintOf(64),
      firstBlank: count,
      credits: v.array(credit),
    }),
  ),
  exits: v.array(
    v.object({
      id: hash,
      recipient: address,
      isSent: v.boolean(),
      readyAt: v.exactOptional(count),
      credits: v.array(credit),
    }),
  ),
  credits: v.array(credit),
  topUps: v.array(v.object({ at: count, units: uintOf(64) })),
})

export function serializeState(state: WalletState): string {
  return toJson(plainState(state))
}

/** The state as JSON takes it: bytes in base64. */
export function plainState(state: WalletState): unknown {
  const plain = (items: readonly WalletCredit[]) =>
    items.map((item) => ({ ...item, signature: toBase64(item.signature) }))
  return {
    ...state,
    credits: plain(state.credits),
    payments: state.payments.map((payment) => ({ ...payment, credits: plain(payment.credits) })),
    exits: state.exits.map((exit) => ({ ...exit, credits: plain(exit.credits) })),
  }
}

/** Throws `WireError` for anything but what `serializeState` wrote. */
export function parseState(text: string): WalletState {
  return parseJson(WalletStateSchema, text, 'wallet')
}

/** What these credits are worth together. */
export function unitsIn(credits: readonly WalletCredit[]): bigint {
  return totalUnits(credits.map(({ exponent }) => exponent))
}
