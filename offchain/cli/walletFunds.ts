/** What a command pays from: a wallet, and more credits bought by itself if that is wanted. @module */
import type { ConnectOptions } from '../sdk/options.ts'
import { ANSWER_MARGIN_SECONDS } from '../sdk/wallet/buy.ts'
import { createTopUp, type TopUp, type TopUpPlan } from '../sdk/wallet/topUp.ts'
import { UsageError } from './command.ts'
import {
  amountOf,
  depositOf,
  openAccount,
  openMoney,
  type PurchaseValues,
  requireSigner,
  type WalletValues,
} from './walletOptions.ts'
import { createStepTeller } from './walletReport.ts'

export type Funds = {
  /** For `connect`. */
  readonly options: Pick<ConnectOptions, 'wallet' | 'topUp'>
  close(): Promise<void>
}

export type FundsValues = WalletValues &
  PurchaseValues & { readonly 'top-up'?: string | undefined; readonly 'top-up-limit'?: string | undefined }

const PERIOD_SECONDS = 30 * 86_400
/** Bought when less than this part of a purchase is left. */
const FLOOR_PART = 10n

/** Undefined when no wallet was named. Throws `UsageError`, and what opening the wallet throws. */
export async function openFunds(values: FundsValues): Promise<Funds | undefined> {
  const plan = planOf(values)
  if ((values.wallet ?? process.env.SEALPATH_WALLET) === undefined) {
    if (plan !== undefined) throw new UsageError('--top-up needs --wallet')
    return undefined
  }
  const { file, account } = await openAccount(values)
  try {
    if (plan === undefined) return { options: { wallet: account }, close: async () => file.close() }
    const money = await openMoney(values)
    const { purchasing, delayDefault: delay } = money
    const topUp: TopUp = createTopUp({
      plan,
      wallets: () => account.usableWallets,
      buyingWallet: () => purchasing.buyingWallet(account, delay.maximumSeconds + ANSWER_MARGIN_SECONDS),
      depositor: purchasing.depositor(requireSigner(money)),
      ports: purchasing.purchasePorts,
      delay,
      onStep: createStepTeller(),
    })
    return {
      options: { wallet: account, topUp },
      async close() {
        await topUp.close()
        file.close()
      },
    }
  } catch (error) {
    file.close()
    throw error
  }
}

function planOf(values: FundsValues): TopUpPlan | undefined {
  const { 'top-up': size, 'top-up-limit': limit } = values
  if (size === undefined && limit === undefined) return undefined
  if (size === undefined || limit === undefined) throw new UsageError('give --top-up and --top-up-limit together')
  const sizeUnits = depositOf(size, '--top-up')
  const limitUnits = amountOf(limit, '--top-up-limit')
  if (limitUnits < sizeUnits) throw new UsageError('--top-up-limit is below --top-up: nothing could be bought')
  return { sizeUnits, limitUnits, floorUnits: sizeUnits / FLOOR_PART, periodSeconds: PERIOD_SECONDS }
}
