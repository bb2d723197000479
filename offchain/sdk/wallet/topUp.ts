/**
 * Buys by itself when the wallet runs low: one size at a time, never above a limit in a period, behind the back of requests. What was bought is remembered
 * with the purchase, in one write, so that neither a restart nor a failure in between lets it buy more than the limit.
 * @module
 */
import { isSpendable } from './account.ts'
import { advancePurchase, type DelayRange, type Depositor, type PurchasePorts, startPurchase } from './buy.ts'
import type { PurchaseStep } from './steps.ts'
import type { Wallet } from './wallet.ts'

/** Units, and seconds. */
export type TopUpPlan = {
  /** Buys when less than this is spendable or on its way. */
  readonly floorUnits: bigint
  /** What is bought: the size of a deposit. */
  readonly sizeUnits: bigint
  /** What may be bought in a period at most. */
  readonly limitUnits: bigint
  readonly periodSeconds: number
}

export type TopUpOptions = {
  readonly plan: TopUpPlan
  /** Every wallet there is: those of old keysets remember what was bought too. */
  readonly wallets: () => readonly Wallet[]
  /** The wallet of the keyset to buy in. */
  readonly buyingWallet: () => Promise<Wallet>
  readonly depositor: Depositor
  readonly ports: PurchasePorts
  readonly delay: DelayRange
  readonly onStep?: (step: PurchaseStep) => void
}

export type TopUp = {
  /** Begins a purchase in the background if it is time for one. Never throws. */
  check(): void
  /** For a request that is short: begins a purchase whatever the floor, and waits for it at most this long. Answers whether credits came. */
  wait(timeoutMs: number): Promise<boolean>
  /** Ends: a transaction that is on its way is waited for, pauses are not. What is open goes on the next time. */
  close(): Promise<void>
}

export function createTopUp(options: TopUpOptions): TopUp {
  const { plan, wallets, ports } = options
  const onStep = options.onStep ?? (() => {})
  const closing = new AbortController()
  let running: Promise<boolean> | undefined

  const run = async (isShort: boolean): Promise<boolean> => {
    try {
      const now = await ports.now()
      const open = automaticPurchases(wallets())
      const [first] = open.length > 0 ? open : await begin(now, isShort)
      if (first === undefined) return false
      const { depositor } = options
      const advanced = await advancePurchase(first.wallet, first.number, ports, {
        depositor,
        waits: true,
        signal: closing.signal,
        onStep,
      })
      return advanced.state === 'bought'
    } catch (error) {
      if (closing.signal.aborted) return false
      onStep({ kind: 'top-up-failed', message: error instanceof Error ? error.message : 'unknown failure' })
      return false
    }
  }

  const begin = async (now: number, isShort: boolean): Promise<AutomaticPurchase[]> => {
    const spendable = wallets().filter(({ keyset }) => isSpendable(keyset, now))
    const held = spendable.reduce((sum, { balance }) => sum + balance.spendable + balance.inPurchases, 0n)
    if (!isShort && held >= plan.floorUnits) return []
    if (boughtSince(wallets(), now - plan.periodSeconds) + plan.sizeUnits > plan.limitUnits) {
      onStep({ kind: 'top-up-limit-reached', limitUnits: plan.limitUnits })
      return []
    }
    const wallet = await options.buyingWallet()
    const { delay } = options
    const number = await startPurchase(wallet, plan.sizeUnits, ports, { delay, automaticAt: now, onStep })
    return [{ wallet, number }]
  }

  /** One at a time, whoever asks. */
  const runOnce = (isShort: boolean): Promise<boolean> => {
    running ??= run(isShort).finally(() => {
      running = undefined
    })
    return running
  }

  return {
    check() {
      if (!closing.signal.aborted) void runOnce(false)
    },
    async wait(timeoutMs) {
      if (closing.signal.aborted) return false
      let timer: ReturnType<typeof setTimeout> | undefined
      const timeout = new Promise<boolean>((resolve) => {
        timer = setTimeout(() => resolve(false), timeoutMs)
      })
      // One that is under way may find that it was not needed yet: then this one begins behind it.
      const bought = (running ?? Promise.resolve(false)).then((came) => came || runOnce(true))
      try {
        return await Promise.race([bought, timeout])
      } finally {
        clearTimeout(timer)
      }
    },
    async close() {
      closing.abort(new Error('the wallet is being closed'))
      await running
    },
  }
}

type AutomaticPurchase = { readonly wallet: Wallet; readonly number: number }

function automaticPurchases(wallets: readonly Wallet[]): AutomaticPurchase[] {
  return wallets.flatMap((wallet) =>
    wallet.openPurchases.filter(({ isAutomatic }) => isAutomatic).map(({ number }) => ({ wallet, number })),
  )
}

function boughtSince(wallets: readonly Wallet[], since: number): bigint {
  const records = wallets.flatMap(({ topUps }) => topUps.filter(({ at }) => at > since))
  return records.reduce((sum, { units }) => sum + units, 0n)
}
