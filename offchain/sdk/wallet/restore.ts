/**
 * Finding credits again from the seed, or the change of a payment whose answer was lost. What was spent is downloaded whole, and a payment is
 * looked for in tiles that hold many (changeTiles.ts), so that no question says which credits are meant. Spec: docs/spec.md section 9.
 * @module
 */
import { fromHex, type Hex } from '#protocol/bytes.ts'
import { BLANK_SLOTS, totalUnits } from '#protocol/credits/amounts.ts'
import { DEPOSIT_SIZES, type Purchase } from '#protocol/credits/purchase.ts'
import {
  type ChangeTile,
  type LocatedPayment,
  paymentLocator,
  type SignedBlank,
  SPENT_ID_BYTES,
  type SpentPage,
} from '#protocol/wire/issuerApi.ts'
import { WireError } from '#protocol/wire/json.ts'
import { SealpathError } from '../errors.ts'
import { ChangeTiles } from './changeTiles.ts'
import type { Wallet } from './wallet.ts'
import { WalletError } from './walletError.ts'
import type { OpenExit, OpenPayment, OpenPurchase, WalletCredit } from './walletState.ts'

/** The issuer, reached through a relay. */
export type RestorePorts = {
  /** `prefix` is hex without 0x, and may be empty. */
  changeTile(prefix: string): Promise<ChangeTile>
  /** `from` is the number of the first spent credit that is wanted. */
  spentPage(from: number): Promise<SpentPage>
  /** The deposit's size in units, by the vault; undefined when there is none for this claim key. */
  depositOf(claimKey: Hex): Promise<bigint | undefined>
  /** Asks for the same signatures again, or says that a deposit is too fresh to be asked about: it stays open, with this pause behind it. */
  issue(purchase: Purchase): Promise<readonly Uint8Array[] | Postponed>
  /** Every exit of the keyset that was ever opened, by credit id. Without it the wallet is taken to have made none. */
  openedExits?(): Promise<ReadonlyMap<Hex, { readonly recipient: Hex; readonly readyAt: number }>>
}

export type Postponed = { readonly delaySeconds: number }

/** Purchases and payments without a trace after which the rest was never used. */
const PURCHASE_GAP = 3
const PAYMENT_GAP = 20

/**
 * Closes an open payment with the change that its blanks became. Answers the fee, or undefined when it was not captured yet. Throws
 * `WalletError` (`BAD_CHANGE`) and keeps it open when its change is not what it is owed.
 */
export async function recoverPayment(wallet: Wallet, id: Hex, tiles: ChangeTiles): Promise<bigint | undefined> {
  const open = wallet.openPayments.find((payment) => payment.id === id)
  return open && takeChange(wallet, open, await tiles.find(locatorOf(wallet, open)))
}

/**
 * Brings an open payment to its end as far as the issuer's tiles tell: its change is taken, or, when no issuer has reserved it, its credits are
 * the wallet's again; `pending` while it is reserved and not captured. Only for a payment that no gateway can still be about to hand on, and
 * with tiles that were read after that. Throws as `recoverPayment` does.
 */
export async function resolvePayment(
  wallet: Wallet,
  id: Hex,
  tiles: ChangeTiles,
): Promise<'captured' | 'returned' | 'pending'> {
  const open = wallet.openPayments.find((payment) => payment.id === id)
  if (open === undefined) return 'pending'
  const located = await tiles.find(locatorOf(wallet, open))
  if ((await takeChange(wallet, open, located)) !== undefined) return 'captured'
  if (located.length > 0) return 'pending'
  await wallet.returnPayment(id)
  return 'returned'
}

/** Takes the change of whichever of these it is: a wallet that was used twice has several payments with the same blanks. */
async function takeChange(
  wallet: Wallet,
  open: OpenPayment,
  located: readonly LocatedPayment[],
): Promise<bigint | undefined> {
  const paid = unitsOf(open.credits)
  const captured = located.flatMap(({ change }) => (change === undefined ? [] : [change]))
  for (const change of captured) {
    const fee = paid - unitsOf(change)
    if (fee < 0n) continue
    const signatures = change.map(({ exponent, signature }) => ({ exponent, blindSignature: signature }))
    try {
      return await wallet.finishPayment(open.id, { fee, signatures })
    } catch (error) {
      if (!isBadChange(error)) throw error
    }
  }
  // One that is not captured yet may be the one that is meant.
  if (captured.length < located.length || captured.length === 0) return undefined
  throw new WalletError('BAD_CHANGE', 'no change that is listed for this payment is what it is owed')
}

function isBadChange(error: unknown): error is WalletError {
  return error instanceof WalletError && error.code === 'BAD_CHANGE'
}

function locatorOf(wallet: Wallet, { firstBlank }: OpenPayment): Hex {
  return paymentLocator(wallet.keys.blank(firstBlank))
}

/** Credits that can be spent, and what they are worth. */
export type Restored = { readonly credits: number; readonly units: bigint }

/**
 * Finds everything that the seed ever bought or got back and that was not spent since: in a new wallet, or in one whose file is older than what
 * it has done. Answers what can be spent. All of it is adopted at the end; before, the wallet must not be used. The change of a payment that is
 * reserved and not captured is found by restoring again.
 */
export async function restoreWallet(wallet: Wallet, ports: RestorePorts): Promise<Restored> {
  const purchases = await restorePurchases(wallet, ports)
  const change = await restoreChange(wallet, new ChangeTiles((prefix) => ports.changeTile(prefix)))
  const opened = (await ports.openedExits?.()) ?? new Map<Hex, never>()
  const found = [...purchases.credits, ...change.credits].map((credit) => ({ credit, id: wallet.keys.idOf(credit) }))
  const spentIds = await findSpent(
    found.map(({ id }) => id),
    ports,
  )
  const [unspent, spent]: [WalletCredit[], WalletCredit[]] = [[], []]
  const exits = new Map<string, OpenExit>()
  for (const { credit, id } of found) {
    const exit = opened.get(id)
    if (exit !== undefined) {
      const { recipient, readyAt } = exit
      const key = `${recipient} ${readyAt}`
      const known = exits.get(key) ?? { id, recipient, isSent: true, readyAt, credits: [] }
      exits.set(key, { ...known, credits: [...known.credits, credit] })
    } else if (spentIds.has(id)) spent.push(credit)
    else unspent.push(credit)
  }
  // Before what they became is adopted: afterwards these payments would bring it once more.
  for (const { payment, located } of change.open) {
    await takeChange(wallet, payment, located).catch((error: unknown) => {
      // Another copy of this wallet used the same blanks: the payment stays open, and keeps nothing else from being found.
      if (!isBadChange(error)) throw error
    })
  }
  await wallet.adopt({
    credits: unspent,
    nextPurchase: purchases.next,
    nextBlank: change.next,
    purchases: purchases.open,
    exits: [...exits.values()],
    spent,
  })
  return { credits: unspent.length, units: unitsOf(unspent) }
}

/** Refusals that say that a deposit is there and not answered: it stays open, to be answered or refunded later. */
const UNANSWERED: ReadonlySet<string> = new Set(['NO_DEPOSIT', 'DEPOSIT_CLOSED', 'WRONG_PHASE'])

async function restorePurchases(
  wallet: Wallet,
  ports: RestorePorts,
): Promise<{ credits: WalletCredit[]; open: OpenPurchase[]; next: number }> {
  const credits: WalletCredit[] = []
  const open: OpenPurchase[] = []
  let next = 0
  for (let number = 0; number < next + PURCHASE_GAP; number++) {
    const units = await ports.depositOf(wallet.keys.claimKeyOf(number))
    if (units === undefined || !DEPOSIT_SIZES.includes(units)) continue
    next = number + 1
    // Whoever is still waiting for its answer will ask by itself.
    if (wallet.openPurchases.some((purchase) => purchase.number === number)) continue
    const purchase = wallet.keys.purchase(number, units)
    const issued = await issue(ports, purchase)
    if ('delaySeconds' in issued) open.push({ number, units, delaySeconds: issued.delaySeconds, isAutomatic: false })
    else credits.push(...wallet.keys.creditsOfPurchase(purchase, issued))
  }
  return { credits, open, next }
}

async function issue(
  ports: Pick<RestorePorts, 'issue'>,
  purchase: Purchase,
): Promise<readonly Uint8Array[] | Postponed> {
  try {
    return await ports.issue(purchase)
  } catch (error) {
    if (error instanceof SealpathError && UNANSWERED.has(error.reason ?? '')) return { delaySeconds: 0 }
    throw error
  }
}

type FoundChange = {
  readonly credits: WalletCredit[]
  readonly next: number
  /** Payments that the wallet itself holds open, as the issuer lists them. */
  readonly open: { readonly payment: OpenPayment; readonly located: readonly LocatedPayment[] }[]
}

async function restoreChange(wallet: Wallet, tiles: ChangeTiles): Promise<FoundChange> {
  const credits: WalletCredit[] = []
  const open: FoundChange['open'] = []
  let next = 0
  for (let first = 0; first < next + PAYMENT_GAP * BLANK_SLOTS; first += BLANK_SLOTS) {
    const located = await tiles.find(paymentLocator(wallet.keys.blank(first)))
    if (located.length === 0) continue
    next = first + BLANK_SLOTS
    for (const [i, { exponent, signature }] of mostOf(located).entries()) {
      credits.push(wallet.keys.creditOfBlank(first + i, exponent, signature))
    }
    for (const payment of wallet.openPayments) if (payment.firstBlank === first) open.push({ payment, located })
  }
  return { credits, next, open }
}

/** What was signed for each blank. One that was signed twice is one secret, and can be spent once: for the most that it is worth. */
function mostOf(located: readonly LocatedPayment[]): SignedBlank[] {
  const most: SignedBlank[] = []
  for (const { change = [] } of located) {
    for (const [i, signed] of change.entries()) if (signed.exponent > (most[i]?.exponent ?? -1)) most[i] = signed
  }
  return most
}

/** Which of these credits were spent. All pages are read, whatever is looked for: they are the same for everybody. */
async function findSpent(ids: readonly Hex[], ports: Pick<RestorePorts, 'spentPage'>): Promise<ReadonlySet<Hex>> {
  const wanted = new Map(ids.map((id) => [startOf(fromHex(id, 32), 0), id]))
  const spent = new Set<Hex>()
  for (let from: number | undefined = 0; from !== undefined; ) {
    const page: SpentPage = await ports.spentPage(from)
    for (let offset = 0; offset < page.ids.length; offset += SPENT_ID_BYTES) {
      const id = wanted.get(startOf(page.ids, offset))
      if (id !== undefined) spent.add(id)
    }
    // Otherwise an issuer could keep a wallet asking for ever.
    if (page.next !== undefined && (page.ids.length === 0 || page.next !== from + page.ids.length / SPENT_ID_BYTES)) {
      throw new WireError('BAD_SHAPE', 'spent credits: the next page does not begin where this one ends')
    }
    from = page.next
  }
  return spent
}

/** As much of an id as pages hold, as a number: of these there may be millions. */
function startOf(bytes: Uint8Array, offset: number): bigint {
  return new DataView(bytes.buffer, bytes.byteOffset + offset, SPENT_ID_BYTES).getBigUint64(0)
}

function unitsOf(credits: readonly { readonly exponent: number }[]): bigint {
  return totalUnits(credits.map(({ exponent }) => exponent))
}
