/**
 * Finding credits again from the seed, or the change of a payment whose answer was lost. Tiles are asked for by the first digits of a hash, so
 * that a question says neither which entry is meant nor that two questions belong together. Spec: DESIGN section 6.
 * @module
 */
import { type Hex, toHex } from '#protocol/bytes.ts'
import { BLANK_SLOTS, totalUnits } from '#protocol/credits/amounts.ts'
import { DEPOSIT_SIZES, type Purchase } from '#protocol/credits/purchase.ts'
import { keccak256 } from '#protocol/hash.ts'
import type { ChangeEntry, ChangeTile, SpentTile } from '#protocol/wire/issuerApi.ts'
import type { Wallet } from './wallet.ts'
import type { WalletCredit } from './walletState.ts'

/** The issuer, reached through a relay. `prefix` is hex without 0x. */
export type RestorePorts = {
  changeTile(prefix: string): Promise<ChangeTile>
  spentTile(prefix: string): Promise<SpentTile>
  /** The deposit's size in units, by the vault; undefined when there is none for this claim key. */
  depositOf(claimKey: Hex): Promise<bigint | undefined>
  /** Asks for the same signatures again. */
  issue(purchase: Purchase): Promise<readonly Uint8Array[]>
}

/** Digits of a hash that are shown: one tile in 4,096. */
const PREFIX_DIGITS = 3
/** Purchases and payments without a trace after which the rest was never used. */
const PURCHASE_GAP = 3
const PAYMENT_GAP = 20

/**
 * Closes an open payment with the change that its blanks became. Answers the fee, or undefined when nothing of it is in the tiles: it was not
 * captured yet, or its credits were exactly its fee.
 */
export async function recoverPayment(
  wallet: Wallet,
  id: Hex,
  ports: Pick<RestorePorts, 'changeTile'>,
): Promise<bigint | undefined> {
  const open = wallet.openPayments.find((payment) => payment.id === id)
  if (open === undefined) return undefined
  const entries = await findChange(wallet.blanksOf(id), ports)
  if (entries.length === 0) return undefined
  const paid = totalUnits(open.credits.map(({ exponent }) => exponent))
  const fee = paid - totalUnits(entries.map(({ exponent }) => exponent))
  const signatures = entries.map(({ exponent, signature }) => ({ exponent, blindSignature: signature }))
  return wallet.finishPayment(id, { fee, signatures })
}

/**
 * Brings an open payment to its end as far as the issuer's tiles tell: its change is taken, or, when its credits were never spent, they are the
 * wallet's again. `pending` while they are spent and nothing was captured.
 */
export async function resolvePayment(
  wallet: Wallet,
  id: Hex,
  ports: Pick<RestorePorts, 'changeTile' | 'spentTile'>,
): Promise<'captured' | 'returned' | 'pending'> {
  const open = wallet.openPayments.find((payment) => payment.id === id)
  const [first] = open?.credits ?? []
  if (first === undefined) return 'pending'
  if ((await recoverPayment(wallet, id, ports)) !== undefined) return 'captured'
  // The credits of one payment are spent together: any of them speaks for all.
  const hash = wallet.idOf(first)
  const { spent } = await ports.spentTile(prefixOf(hash))
  if (spent.includes(hash)) return 'pending'
  await wallet.returnPayment(id)
  return 'returned'
}

export type Restored = { readonly credits: number; readonly units: bigint }

/** Finds everything that the seed ever bought or got back and that was not spent since. Answers what was found. */
export async function restoreWallet(wallet: Wallet, ports: RestorePorts): Promise<Restored> {
  const purchases = await restorePurchases(wallet, ports)
  const change = await restoreChange(wallet, ports)
  const unspent: WalletCredit[] = []
  for (const credit of [...purchases.credits, ...change.credits]) {
    const hash = wallet.idOf(credit)
    const { spent } = await ports.spentTile(prefixOf(hash))
    if (!spent.includes(hash)) unspent.push(credit)
  }
  await wallet.adopt({ credits: unspent, nextPurchase: purchases.next, nextBlank: change.next })
  return { credits: unspent.length, units: totalUnits(unspent.map(({ exponent }) => exponent)) }
}

async function restorePurchases(
  wallet: Wallet,
  ports: RestorePorts,
): Promise<{ credits: WalletCredit[]; next: number }> {
  const credits: WalletCredit[] = []
  let next = 0
  for (let number = 0; number < next + PURCHASE_GAP; number++) {
    const units = await ports.depositOf(wallet.claimKeyOf(number))
    if (units === undefined || !DEPOSIT_SIZES.includes(units)) continue
    const purchase = wallet.rederivePurchase(number, units)
    credits.push(...wallet.creditsOfPurchase(purchase, await ports.issue(purchase)))
    next = number + 1
  }
  return { credits, next }
}

async function restoreChange(wallet: Wallet, ports: RestorePorts): Promise<{ credits: WalletCredit[]; next: number }> {
  const credits: WalletCredit[] = []
  let next = 0
  for (let first = 0; first < next + PAYMENT_GAP * BLANK_SLOTS; first += BLANK_SLOTS) {
    const entries = await findChange(wallet.blanksFrom(first), ports)
    if (entries.length === 0) continue
    for (const [i, { exponent, signature }] of entries.entries()) {
      credits.push(wallet.creditOfBlank(first + i, exponent, signature))
    }
    next = first + BLANK_SLOTS
  }
  return { credits, next }
}

/** Entries of the blanks that were signed: always the first of a payment's, in order. */
async function findChange(
  blanks: readonly Uint8Array[],
  ports: Pick<RestorePorts, 'changeTile'>,
): Promise<ChangeEntry[]> {
  const found: ChangeEntry[] = []
  for (const blank of blanks) {
    const hash = toHex(keccak256(blank))
    const entry = (await ports.changeTile(prefixOf(hash))).entries.find((candidate) => candidate.blank === hash)
    if (entry === undefined) break
    found.push(entry)
  }
  return found
}

function prefixOf(hash: Hex): string {
  return hash.slice(2, 2 + PREFIX_DIGITS)
}
