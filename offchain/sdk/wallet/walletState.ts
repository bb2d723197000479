/**
 * What a wallet remembers beside its seed. Losing it loses no money: everything is derived from the seed and found again at the issuer.
 * @module
 */
import * as v from 'valibot'
import { type Hex, toBase64 } from '#protocol/bytes.ts'
import { DENOMINATION_COUNT } from '#protocol/credits/amounts.ts'
import { G1_BYTES } from '#protocol/credits/points.ts'
import { base64Of, hash, parseJson, type Schema, toJson, uintOf } from '#protocol/wire/json.ts'

/** Where a credit's secrets come from, what it is worth and the issuer's signature (48 bytes). */
export type WalletCredit = {
  readonly path: 'purchase' | 'change'
  readonly counter: number
  readonly exponent: number
  readonly signature: Uint8Array
}

/** A purchase whose deposit may be on its way or unanswered. */
export type OpenPurchase = { readonly number: number; readonly units: bigint }

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
  readonly credits: readonly WalletCredit[]
}

export function emptyState(keyset: Hex): WalletState {
  return {
    format: 'sealpath-wallet/1',
    keyset,
    nextPurchase: 0,
    nextBlank: 0,
    purchases: [],
    payments: [],
    credits: [],
  }
}

const count = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(Number.MAX_SAFE_INTEGER))
const credit: Schema<WalletCredit> = v.object({
  path: v.picklist(['purchase', 'change']),
  counter: count,
  exponent: v.pipe(count, v.maxValue(DENOMINATION_COUNT - 1)),
  signature: base64Of(G1_BYTES),
})
const WalletStateSchema: Schema<WalletState> = v.object({
  format: v.literal('sealpath-wallet/1'),
  keyset: hash,
  nextPurchase: count,
  nextBlank: count,
  purchases: v.array(v.object({ number: count, units: uintOf(64) })),
  payments: v.array(
    v.object({
      id: hash,
      enclave: v.custom<Hex>(isAddress),
      maximumFee: uintOf(64),
      firstBlank: count,
      credits: v.array(credit),
    }),
  ),
  credits: v.array(credit),
})

function isAddress(value: unknown): boolean {
  return typeof value === 'string' && /^0x[0-9a-f]{40}$/i.test(value)
}

export function serializeState(state: WalletState): string {
  const plain = (item: WalletCredit) => ({ ...item, signature: toBase64(item.signature) })
  return toJson({
    ...state,
    credits: state.credits.map(plain),
    payments: state.payments.map((payment) => ({ ...payment, credits: payment.credits.map(plain) })),
  })
}

/** Throws `WireError` for anything but what `serializeState` wrote. */
export function parseState(text: string): WalletState {
  return parseJson(WalletStateSchema, text, 'wallet')
}
