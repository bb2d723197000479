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
import { SealpathError } from '../errors.ts'
import type { Wallet } from './wallet.ts'
import type { OpenExit, OpenPurchase, WalletCredit } from './walletState.ts'

/** The issuer, reached through a relay. `prefix` is hex without 0x. */
export type RestorePorts = {
  changeTile(prefix: string): Promise<ChangeTile>
  spentTile(prefix: string): Promise<SpentTile>
  /** The deposit's size in units, by the vault; undefined when there is none for this claim key. */
  depositOf(claimKey: Hex): Promise<bigint | undefined>
  /** Asks for the same signatures again, or says that a deposit is too fresh to be asked about: it stays open, with this pause behind it. */
  issue(purchase: Purchase): Promise<readonly Uint8Array[] | Postponed>
  /** Every exit of the keyset that was ever opened, by credit id. Without it the wallet is taken to have made none. */
  openedExits?(): Promise<ReadonlyMap<Hex, { readonly recipient: Hex; readonly readyAt: number }>>
}

export type Postponed = { readonly delaySeconds: number }

type TilePorts = Pick<RestorePorts, 'changeTile' | 'spentTile'>

/** Digits of a hash that are shown: one tile in 4,096; more where a tile has grown too large for an answer. */
const PREFIX_DIGITS = 3
const PREFIX_DIGITS_MAX = 8
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
  ports: TilePorts,
): Promise<'captured' | 'returned' | 'pending'> {
  const open = wallet.openPayments.find((payment) => payment.id === id)
  const [first] = open?.credits ?? []
  if (first === undefined) return 'pending'
  if ((await recoverPayment(wallet, id, ports)) !== undefined) return 'captured'
  // The credits of one payment are spent together: any of them speaks for all.
  if (await isSpent(wallet.keys.idOf(first), ports)) return 'pending'
  await wallet.returnPayment(id)
  return 'returned'
}

/** Credits that can be spent, and what they are worth. */
export type Restored = { readonly credits: number; readonly units: bigint }

/**
 * Finds everything that the seed ever bought or got back and that was not spent since: in a new wallet, or in one whose file is older than what
 * it has done. Answers what can be spent. All of it is adopted in one step at the end; before, the wallet must not be used.
 */
export async function restoreWallet(wallet: Wallet, ports: RestorePorts): Promise<Restored> {
  const purchases = await restorePurchases(wallet, ports)
  const change = await restoreChange(wallet, ports)
  const opened = (await ports.openedExits?.()) ?? new Map<Hex, never>()
  const [unspent, spent]: [WalletCredit[], WalletCredit[]] = [[], []]
  const exits = new Map<string, OpenExit>()
  for (const credit of [...purchases.credits, ...change.credits]) {
    const id = wallet.keys.idOf(credit)
    const exit = opened.get(id)
    if (exit !== undefined) {
      const { recipient, readyAt } = exit
      const key = `${recipient} ${readyAt}`
      const known = exits.get(key) ?? { id, recipient, isSent: true, readyAt, credits: [] }
      exits.set(key, { ...known, credits: [...known.credits, credit] })
    } else if (await isSpent(id, ports)) spent.push(credit)
    else unspent.push(credit)
  }
  await wallet.adopt({
    credits: unspent,
    nextPurchase: purchases.next,
    nextBlank: change.next,
    purchases: purchases.open,
    exits: [...exits.values()],
    spent,
  })
  return { credits: unspent.length, units: totalUnits(unspent.map(({ exponent }) => exponent)) }
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

async function restoreChange(wallet: Wallet, ports: RestorePorts): Promise<{ credits: WalletCredit[]; next: number }> {
  const credits: WalletCredit[] = []
  let next = 0
  for (let first = 0; first < next + PAYMENT_GAP * BLANK_SLOTS; first += BLANK_SLOTS) {
    const entries = await findChange(
      Array.from({ length: BLANK_SLOTS }, (_, i) => () => wallet.keys.blank(first + i)),
      ports,
    )
    if (entries.length === 0) continue
    for (const [i, { exponent, signature }] of entries.entries()) {
      credits.push(wallet.keys.creditOfBlank(first + i, exponent, signature))
    }
    next = first + BLANK_SLOTS
  }
  return { credits, next }
}

/** Entries of the blanks that were signed: always the first of a payment's, in order. A blank may be made when it is its turn. */
async function findChange(
  blanks: readonly (Uint8Array | (() => Uint8Array))[],
  ports: Pick<RestorePorts, 'changeTile'>,
): Promise<ChangeEntry[]> {
  const found: ChangeEntry[] = []
  for (const blank of blanks) {
    const hash = toHex(keccak256(typeof blank === 'function' ? blank() : blank))
    const { entries } = await tileOf(hash, (prefix) => ports.changeTile(prefix))
    const entry = entries.find((candidate) => candidate.blank === hash)
    if (entry === undefined) break
    found.push(entry)
  }
  return found
}

async function isSpent(id: Hex, ports: Pick<RestorePorts, 'spentTile'>): Promise<boolean> {
  const { spent } = await tileOf(id, (prefix) => ports.spentTile(prefix))
  return spent.includes(id)
}

/** The tile that the hash would be in. One that does not fit into an answer is asked for in parts: by one digit more. */
async function tileOf<Tile>(hash: Hex, read: (prefix: string) => Promise<Tile>): Promise<Tile> {
  for (let digits = PREFIX_DIGITS; ; digits++) {
    try {
      return await read(hash.slice(2, 2 + digits))
    } catch (error) {
      const isTooLarge = error instanceof SealpathError && error.reason === 'TILE_TOO_LARGE'
      if (!isTooLarge || digits === PREFIX_DIGITS_MAX) throw error
    }
  }
}
