/** Whether a call of `settle` is worth its gas. @module */
import type { Logger } from '#node/log.ts'
import type { SettleCall } from './callPlan.ts'
import type { SettlementChain } from './chainAccess.ts'
import type { EconomicsPolicy } from './config.ts'
import type { PriceSource } from './price.ts'

/** Amounts in units of OPG, `costWei` in the chain's coin. `cost` is absent while nobody knows what a coin is worth. */
export type Balance = { readonly fee: bigint; readonly costWei: bigint; readonly cost?: bigint }

/** What does not pay is weighed again after this long: fees grow and gas prices fall slowly, and each look costs many calls. */
const REST_MS = 10_000
const WEI_PER_COIN = 10n ** 18n

/** Remembers between rounds when it last found that a call does not pay. */
export class Economics {
  readonly #policy: EconomicsPolicy
  readonly #price: PriceSource
  readonly #log: Logger
  readonly #now: () => number
  #restUntil = Number.NEGATIVE_INFINITY
  #isWaiting = false

  /** `now` in milliseconds. */
  constructor(policy: EconomicsPolicy, price: PriceSource, log: Logger, now: () => number) {
    this.#policy = policy
    this.#price = price
    this.#log = log
    this.#now = now
  }

  /** Whether what has waited for `waitedSeconds` need not be looked at: it did not pay a moment ago. */
  isResting(waitedSeconds: number): boolean {
    return waitedSeconds < this.#policy.patienceSeconds && this.#now() < this.#restUntil
  }

  /** What `call` costs and pays now. Throws what the chain throws. */
  async weigh(chain: SettlementChain, call: SettleCall, calldata: `0x${string}`, gas: bigint): Promise<Balance> {
    const fees = await chain.suggestFees()
    const [fee, costWei, price] = await Promise.all([
      chain.settlerFeeOf(call),
      chain.costOf(calldata, gas, fees),
      this.#price(),
    ])
    return price === undefined ? { fee, costWei } : { fee, costWei, cost: costInUnits(costWei, price) }
  }

  /** Whether to go on with a call. What does not pay waits, but not for ever, and not when nobody knows what it costs. */
  approves({ fee, cost }: Balance, waitedSeconds: number): boolean {
    const isApproved = cost === undefined || fee >= cost || waitedSeconds >= this.#policy.patienceSeconds
    if (!isApproved) {
      this.#restUntil = this.#now() + REST_MS
      if (!this.#isWaiting) this.#log.info('settling waits: it does not pay', { fee, cost })
    }
    this.#isWaiting = !isApproved
    return isApproved
  }
}

/** Rounded up. `price` in units for one coin. */
export function costInUnits(wei: bigint, price: bigint): bigint {
  return (wei * price + WEI_PER_COIN - 1n) / WEI_PER_COIN
}
