/** What the credit wallet does, and what goes wrong with it, in words. @module */
import { VaultError } from '#chain/vaultErrors.ts'
import { SealpathError } from '../../sdk/errors.ts'
import type { PurchaseResult } from '../../sdk/wallet/buy.ts'
import type { PurchaseStep } from '../../sdk/wallet/steps.ts'
import { WalletError } from '../../sdk/wallet/walletError.ts'
import { opg, time } from '../format.ts'
import { DeskError } from './creditDesk.ts'
import { PayerError } from './payers.ts'

/** A step of a purchase; undefined for one that nobody waits for. */
export function progressOf(step: PurchaseStep): string | undefined {
  switch (step.kind) {
    case 'purchase-started':
      return `Depositing ${opg(step.units)}`
    case 'deposit-made':
      return `Deposit made, transaction ${step.transaction}`
    case 'purchase-waits':
      return `The credits are asked for at ${time(step.until)}${hiding(step)}; the page may be closed meanwhile`
    case 'purchase-asked':
      return `Asking the issuer for the credits${hiding(step)}`
    case 'purchase-unanswered':
      return `The issuer does not answer yet (${step.reason}): asking again`
    default:
      return undefined
  }
}

function hiding({ hidesAmong }: { readonly hidesAmong: number | undefined }): string {
  return hidesAmong === undefined ? '' : `, one of ${hidesAmong} deposits of this size`
}

/** How far a purchase came, and what to do. */
export function describe(result: PurchaseResult): string {
  const what = opg(result.units)
  switch (result.state) {
    case 'bought':
      return `Bought: ${what} in blind credits.`
    case 'unanswered':
      return `The issuer does not answer the purchase of ${what} (${result.reason}). Open this page again later; from ${time(result.refundableAt)} on, sealpath credits refund asks the deposit back.`
    case 'waiting':
      return `The credits of ${what} are asked for at ${time(result.until)}.`
    case 'undeposited':
      return `${what} was not deposited: buying again takes it up.`
    case 'refundRequested':
      return `The deposit of ${what} was asked back: sealpath credits refund draws it.`
    case 'refunded':
      return `The deposit of ${what} was refunded.`
    case 'expired':
      return `${what} was never deposited, and can no longer be under these keys.`
  }
}

/** What went wrong with the wallet, and what to do. */
export function sentenceOf(error: unknown): string {
  if (error instanceof DeskError || error instanceof PayerError) return error.message
  if (error instanceof VaultError && error.code === 'CHAIN_FAILED') {
    return 'The chain’s endpoint does not answer as the vault would: check the sources.'
  }
  if (error instanceof VaultError || error instanceof SealpathError || error instanceof WalletError) {
    return `${error.message.charAt(0).toUpperCase()}${error.message.slice(1)}.`
  }
  return `That did not work: ${error instanceof Error ? error.message : 'nobody knows why'}.`
}
