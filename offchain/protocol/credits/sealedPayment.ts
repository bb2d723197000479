/**
 * A payment on its way: sealed by the wallet to the issuer, carried by a gateway that cannot read it, and the change sealed back.
 *
 * The framing is Oblivious HTTP's single-shot exchange (RFC 9458 section 4) under labels of its own, with a payment (payment.ts) in the request
 * and change (change.ts) in the response. Both have one length per suite.
 * @module
 */
import { type Keccak256, keccak256 } from '../hash.ts'
import type { ExchangeLabels, GatewayKeys } from '../sealing/exchange.ts'
import type { KeyConfig } from '../sealing/keyConfig.ts'
import { openRequest, sealRequest } from '../sealing/ohttp.ts'
import type { RandomBytes, SealingSuites } from '../sealing/suite.ts'
import { type Change, decodeChange, encodeChange } from './change.ts'
import { decodePayment, encodePayment, type Payment, paymentId } from './payment.ts'

const LABELS: ExchangeLabels = { request: 'sealpath payment request', response: 'sealpath payment change' }

export type SealedPayment = {
  /** For the gateway, which hands it on. */
  readonly sealed: Uint8Array<ArrayBuffer>
  /** keccak-256 of the encoded payment: what its capture is called, and what makes a repeat the same payment. */
  readonly id: `0x${string}`
  /** Opens the sealed change. Throws `OhttpError` and `CreditError`. */
  openChange(sealed: Uint8Array): Promise<Change>
}

/** Wallet: seals a payment for the issuer's key. Throws `CreditError` for a payment that is none, `OhttpError` (`UNSUPPORTED_SUITE`, `BAD_KEY`). */
export async function sealPayment(suites: SealingSuites, config: KeyConfig, payment: Payment): Promise<SealedPayment> {
  const encoded = encodePayment(payment)
  const { encapsulated, openResponse } = await sealRequest(suites, config, encoded, LABELS)
  return {
    sealed: encapsulated,
    id: paymentId(encoded),
    openChange: async (sealed) => decodeChange(await openResponse(sealed)),
  }
}

export type OpenedPayment = {
  readonly payment: Payment
  readonly id: `0x${string}`
  /** Seals the change. One answer a payment: the same change may be sealed again, with another nonce. */
  sealChange(change: Change, random: RandomBytes): Promise<Uint8Array>
}

/** Issuer: opens a sealed payment. Throws `OhttpError` and `CreditError`. */
export async function openPayment(
  suites: SealingSuites,
  keys: GatewayKeys,
  sealed: Uint8Array,
  hash: Keccak256 = keccak256,
): Promise<OpenedPayment> {
  const { plaintext, sealResponse } = await openRequest(suites, keys, sealed, LABELS)
  return {
    payment: decodePayment(plaintext),
    id: paymentId(plaintext, hash),
    sealChange: (change, random) => sealResponse(encodeChange(change), random),
  }
}
