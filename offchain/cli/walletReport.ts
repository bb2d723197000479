/** What the commands with a wallet say to a person: steps on standard error, results on standard output. @module */
import { formatTime } from '#chain/vaultErrors.ts'
import { formatOpg } from '#protocol/credits/amounts.ts'
import type { WalletAccount } from '../sdk/wallet/account.ts'
import type { PurchaseResult } from '../sdk/wallet/buy.ts'
import type { ExitReport } from '../sdk/wallet/exit.ts'
import type { PurchaseStep } from '../sdk/wallet/steps.ts'
import { say } from './command.ts'

/** Tells of steps, each sentence once. */
export function createStepTeller(): (step: PurchaseStep) => void {
  const told = new Set<string>()
  return (step) => {
    const sentence = sentenceOf(step)
    if (told.has(sentence)) return
    told.add(sentence)
    process.stderr.write(`${sentence}\n`)
  }
}

function sentenceOf(step: PurchaseStep): string {
  switch (step.kind) {
    case 'purchase-started':
      return `purchase ${step.purchase} of ${formatOpg(step.units)} begun`
    case 'deposit-made':
      return `deposit of ${formatOpg(step.units)} made, transaction ${step.transaction}`
    case 'purchase-waits':
      return `the credits of purchase ${step.purchase} are asked for at ${formatTime(step.until)}: ${hiding(step)}; it is safe to stop, sealpath credits resume goes on`
    case 'purchase-asked':
      return `asking for the credits of purchase ${step.purchase}: ${hiding(step)}`
    case 'purchase-relay-shared':
      return 'warning: requests take the relay that credits are asked for through, and it could link the two; --purchase-relay names another'
    case 'purchase-unanswered':
      return `the issuer does not answer purchase ${step.purchase} yet (${step.reason}): asking again`
    case 'purchase-finished':
      return `purchase ${step.purchase}: ${formatOpg(step.units)} bought`
    case 'top-up-limit-reached':
      return `the wallet is low, and the limit of ${formatOpg(step.limitUnits)} for automatic purchases is reached`
    case 'top-up-failed':
      return `the automatic purchase failed: ${step.message}`
  }
}

function hiding({ hidesAmong, units }: { readonly hidesAmong: number | undefined; readonly units: bigint }): string {
  if (hidesAmong === undefined) return 'the RPC endpoint does not tell how many deposits of this size there are'
  return `the deposit hides among ${hidesAmong} of ${formatOpg(units)}`
}

/** What is left to do for a purchase, in a sentence; undefined when it is over. */
export function describePurchase(result: PurchaseResult): string | undefined {
  const what = `purchase ${result.purchase} of ${formatOpg(result.units)}`
  switch (result.state) {
    case 'bought':
      return undefined
    case 'undeposited':
      return `${what} was not deposited: sealpath credits buy takes it up`
    case 'waiting':
      return `${what} is asked for at ${formatTime(result.until)}: run sealpath credits resume then`
    case 'unanswered':
      return `${what} is not answered (${result.reason}): run sealpath credits resume, or from ${formatTime(result.refundableAt)} on sealpath credits refund`
    case 'refundRequested':
      return `${what} was asked back: sealpath credits refund draws it from ${formatTime(result.refundReadyAt)} on`
    case 'refunded':
      return `${what} was refunded`
    case 'expired':
      return `${what} was never deposited and its keyset takes no deposits any more: forgotten`
  }
}

/** Says what exits did and what is waiting for what. */
export function sayExits({ paid, cancelled, waiting, queued }: ExitReport): void {
  if (paid > 0n) say(`paid out: ${formatOpg(paid)}`)
  if (cancelled > 0n) say(`cancelled, because it was spent before: ${formatOpg(cancelled)}`)
  for (const { units, recipient, readyAt } of waiting) {
    say(
      `opened: ${formatOpg(units)} to ${recipient}, ready at ${formatTime(readyAt)}; sealpath credits resume draws it then`,
    )
  }
  for (const { units, recipient, reason } of queued) {
    const why = reason === 'CAP' ? 'for the daily cap, until 00:00 UTC' : 'for somebody who pays the gas (--key-file)'
    say(`waiting ${why}: ${formatOpg(units)} to ${recipient}`)
  }
}

/** Says what the wallet holds and what is under way. `now` in seconds. */
export function sayBalance(account: WalletAccount, now: number): void {
  const { spendable, exitOnly, inPayments, inPurchases, inExits, credits } = account.balance(now)
  say(`spendable     ${formatOpg(spendable)} in ${credits} ${credits === 1 ? 'credit' : 'credits'}`)
  if (exitOnly > 0n) say(`exit only     ${formatOpg(exitOnly)}: its keyset is not spent any more`)
  say(`in payments   ${formatOpg(inPayments)}`)
  say(`in purchases  ${formatOpg(inPurchases)}`)
  say(`in exits      ${formatOpg(inExits)}`)
  for (const exit of account.wallets.flatMap(({ openExits }) => openExits)) {
    const when = exit.readyAt === undefined ? 'not opened yet' : `ready at ${formatTime(exit.readyAt)}`
    say(`  ${exit.credits.length} credits to ${exit.recipient}, ${when}`)
  }
  if (inPayments + inPurchases + inExits > 0n) say('sealpath credits resume goes on with what is under way.')
  if (account.isRestoring) say('Not restored to its end: run sealpath credits restore again.')
}
