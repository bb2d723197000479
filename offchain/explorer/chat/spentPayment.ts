/** A payment as the issuer opens it, told by the wallet that made it. @module */
import type { Hex } from '#protocol/bytes.ts'
import { unitsOf } from '#protocol/credits/amounts.ts'
import type { Wallet } from '../../sdk/wallet/wallet.ts'

export type SpentPayment = {
  readonly id: Hex
  readonly keyset: Hex
  /** The gateway that may capture. */
  readonly enclave: Hex
  /** Units. */
  readonly maximumFee: bigint
  readonly credits: readonly SpentCreditView[]
}

/** `id` is what the issuer's signature is for, and what it publishes as spent; `blinded` is what it had signed instead. */
export type SpentCreditView = { readonly id: Hex; readonly units: bigint; readonly blinded: Uint8Array }

/** The open payment `id` of one of these wallets; undefined when none has it any more. */
export function findPayment(wallets: readonly Wallet[], id: Hex): SpentPayment | undefined {
  for (const wallet of wallets) {
    const open = wallet.openPayments.find((payment) => payment.id === id)
    if (open === undefined) continue
    const { keys, keysetId: keyset } = wallet
    const { enclave, maximumFee } = open
    const credits = open.credits.map((credit) => ({
      id: keys.idOf(credit),
      units: unitsOf(credit.exponent),
      blinded: keys.blindedOf(credit),
    }))
    return { id, keyset, enclave, maximumFee, credits }
  }
  return undefined
}
