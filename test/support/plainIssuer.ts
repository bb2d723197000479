/**
 * An issuer of the plain arithmetic, for tests of wallets: no chain, no network, no log. It believes in every deposit it is told of.
 * @module
 */
import { fromHex, type Hex, joinBytes, toHex } from '#protocol/bytes.ts'
import { splitChange } from '#protocol/credits/amounts.ts'
import { publicKeyOf, signBlinded, verifyWithSecretKey } from '#protocol/credits/blindSignature.ts'
import type { Change } from '#protocol/credits/change.ts'
import { EXIT_SECONDS_MIN, hashKeyset, type Keyset } from '#protocol/credits/keyset.ts'
import { creditMessage, hashToG1 } from '#protocol/credits/message.ts'
import type { Payment } from '#protocol/credits/payment.ts'
import { decodeG1, encodeG1 } from '#protocol/credits/points.ts'
import { DEPOSIT_SIZES, type Purchase } from '#protocol/credits/purchase.ts'
import {
  type ChangeTile,
  type LocatedPayment,
  paymentLocator,
  SPENT_ID_BYTES,
  type SpentPage,
} from '#protocol/wire/issuerApi.ts'
import { SealpathError } from '../../offchain/sdk/errors.ts'
import type { RestorePorts } from '../../offchain/sdk/wallet/restore.ts'
import { Wallet } from '../../offchain/sdk/wallet/wallet.ts'
import type { WalletCredit } from '../../offchain/sdk/wallet/walletState.ts'
import { MemoryWalletStore } from './memoryWalletStore.ts'

export const secretKeys: readonly bigint[] = Array.from({ length: 24 }, (_, i) => BigInt(1_000 + i))
export const keyset: Keyset = {
  chainId: 31_337,
  vault: `0x${'aa'.repeat(20)}`,
  keys: secretKeys.map(publicKeyOf),
  signUntil: 2_000_000_000,
  spendUntil: 2_100_000_000,
  exitUntil: 2_100_000_000 + EXIT_SECONDS_MIN,
}
/** What was signed for each claim key: the same outputs get the same signatures, and signing them takes half a second. */
const issued = new Map<string, Uint8Array[]>()
const domain = { chainId: keyset.chainId, vault: keyset.vault, keyset: hashKeyset(keyset) }

export class PlainIssuer implements RestorePorts {
  readonly deposits: Map<string, bigint> = new Map()
  /** Ids of spent credits, in the order in which they were spent. */
  readonly spent: Set<Hex> = new Set()
  readonly payments: LocatedPayment[] = []
  /** Every question for change and for spent credits, in order. */
  asked: string[] = []
  /** Payments of one tile, and spent credits of one page. */
  tileMax: number = Number.POSITIVE_INFINITY
  pageMax: number = Number.POSITIVE_INFINITY

  async issue(purchase: Purchase): Promise<Uint8Array[]> {
    if (!this.deposits.has(purchase.claimKey)) throw new Error('no deposit')
    const known = issued.get(purchase.claimKey)
    if (known !== undefined) return known
    const signed = purchase.outputs.map(({ exponent, blinded }) =>
      encodeG1(signBlinded(blinded, secretKeys[exponent] ?? 0n)),
    )
    issued.set(purchase.claimKey, signed)
    return signed
  }

  /** Spends the credits. Throws for one that does not verify or was spent. */
  reserve(payment: Payment): void {
    for (const { exponent, secret, exitKey, signature } of payment.credits) {
      const message = creditMessage(domain, exitKey, secret)
      if (!verifyWithSecretKey(message, signature, secretKeys[exponent] ?? 0n)) throw new Error('BAD_CREDIT')
      if (this.spent.has(toHex(message))) throw new Error('SPENT')
    }
    for (const { secret, exitKey } of payment.credits) this.spent.add(toHex(creditMessage(domain, exitKey, secret)))
    this.payments.push({ locator: locatorOf(payment) })
  }

  /** Signs the change of a payment that was reserved, or is reserved now. */
  capture(payment: Payment, fee: bigint): Change {
    const locator = locatorOf(payment)
    const isOpen = (other: LocatedPayment) => other.locator === locator && other.change === undefined
    if (!this.payments.some(isOpen)) this.reserve(payment)
    const exponents = splitChange(
      payment.credits.map(({ exponent }) => exponent),
      fee,
    )
    const signatures = exponents.map((exponent, i) => {
      const blank = payment.blanks[i] ?? new Uint8Array()
      return { exponent, blindSignature: encodeG1(signBlinded(decodeG1(blank), secretKeys[exponent] ?? 0n)) }
    })
    const change = signatures.map(({ exponent, blindSignature }) => ({ exponent, signature: blindSignature }))
    this.payments[this.payments.findIndex(isOpen)] = { locator, change }
    return { fee, signatures }
  }

  async changeTile(prefix: string): Promise<ChangeTile> {
    this.asked.push(`change ${prefix}`)
    const payments = this.payments.filter(({ locator }) => locator.startsWith(`0x${prefix}`))
    if (payments.length <= this.tileMax) return { payments }
    throw new SealpathError('ISSUER_REFUSED', 'ask with a longer prefix', { reason: 'TILE_TOO_LARGE' })
  }

  async spentPage(from: number): Promise<SpentPage> {
    this.asked.push(`spent ${from}`)
    const ids = [...this.spent].slice(from, from + this.pageMax)
    const page = { ids: joinBytes(ids.map((id) => fromHex(id).slice(0, SPENT_ID_BYTES))) }
    return from + ids.length < this.spent.size ? { ...page, next: from + ids.length } : page
  }

  async depositOf(claimKey: Hex): Promise<bigint | undefined> {
    return this.deposits.get(claimKey)
  }
}

function locatorOf({ blanks }: Payment): Hex {
  return paymentLocator(blanks[0] ?? new Uint8Array())
}

export type BoughtWallet = { readonly wallet: Wallet; readonly store: MemoryWalletStore }
const bought = new Map<string, { readonly text: string | undefined; readonly claimKey: Hex }>()

/** The wallet of this seed after its first purchase, the smallest deposit, of which `issuer` knows. Bought once a seed, as that takes a second. */
export async function openBoughtWallet(issuer: PlainIssuer, seed: Uint8Array): Promise<BoughtWallet> {
  const [units = 0n] = DEPOSIT_SIZES
  let known = bought.get(toHex(seed))
  if (known === undefined) {
    const store = new MemoryWalletStore()
    const wallet = await Wallet.open({ seed, keyset, store })
    const purchase = await wallet.startPurchase(units)
    const seller = new PlainIssuer()
    seller.deposits.set(purchase.claimKey, units)
    await wallet.finishPurchase(purchase.number, await seller.issue(purchase))
    known = { text: store.text, claimKey: purchase.claimKey }
    bought.set(toHex(seed), known)
  }
  issuer.deposits.set(known.claimKey, units)
  const store = new MemoryWalletStore(known.text)
  return { wallet: await Wallet.open({ seed, keyset, store }), store }
}

/** Puts credits of these exponents, signed by the keyset, into a wallet that has none, as if it had bought them. */
export async function giveCredits(wallet: Wallet, exponents: readonly number[]): Promise<readonly WalletCredit[]> {
  const credits = exponents.map((exponent, counter): WalletCredit => {
    const credit = { path: 'purchase', counter, exponent, signature: new Uint8Array() } as const
    const point = hashToG1(fromHex(wallet.keys.idOf(credit), 32))
    return { ...credit, signature: encodeG1(signBlinded(point, secretKeys[exponent] ?? 0n)) }
  })
  await wallet.adopt({ credits, nextPurchase: 1, nextBlank: 0 })
  return credits
}
