/** What a wallet finds again at an issuer of the plain arithmetic, and what it shows by asking. @module */
import { beforeEach, describe, expect, it } from 'vitest'
import { type Hex, toHex } from '#protocol/bytes.ts'
import { BLANK_SLOTS, totalUnits } from '#protocol/credits/amounts.ts'
import { DEPOSIT_SIZES } from '#protocol/credits/purchase.ts'
import { keccak256 } from '#protocol/hash.ts'
import { MemoryWalletStore } from '../../../test/support/memoryWalletStore.ts'
import { giveCredits, keyset, openBoughtWallet, PlainIssuer } from '../../../test/support/plainIssuer.ts'
import { SealpathError } from '../errors.ts'
import { ChangeTiles } from './changeTiles.ts'
import { type RestorePorts, recoverPayment, resolvePayment, restoreWallet } from './restore.ts'
import { Wallet } from './wallet.ts'

const SEED = new Uint8Array(32).fill(7)
const ENCLAVE: Hex = `0x${'e1'.repeat(20)}`
const ONE_OPG = DEPOSIT_SIZES[0] ?? 0n

let issuer: PlainIssuer
let store: MemoryWalletStore
let wallet: Wallet

beforeEach(async () => {
  issuer = new PlainIssuer()
  store = new MemoryWalletStore()
  wallet = await Wallet.open({ seed: SEED, keyset, store })
})

async function buy(): Promise<void> {
  const bought = await openBoughtWallet(issuer, SEED)
  wallet = bought.wallet
  store = bought.store
}

/** Pays up to 1,024 units, of which `fee` is taken. */
async function payNow(fee: bigint, payer: Wallet = wallet): Promise<void> {
  const { payment, id } = await payer.pay(ENCLAVE, 1_024n)
  await payer.finishPayment(id, issuer.capture(payment, fee))
}

/** The wallet's file as it is now, or an empty one, opened on another machine. */
const copy = (text?: string): Promise<Wallet> => Wallet.open({ seed: SEED, keyset, store: new MemoryWalletStore(text) })

/** A new session of questions. */
const tiles = (): ChangeTiles => new ChangeTiles((prefix) => issuer.changeTile(prefix))
const unitsIn = ({ spendable, inPayments }: Wallet['balance']): bigint => spendable + inPayments

describe('an open payment', () => {
  it('whose answer never came is closed from the tiles, by the seed alone', async () => {
    await buy()
    const { payment, id } = await wallet.pay(ENCLAVE, 1_024n)
    expect(await recoverPayment(wallet, id, tiles())).toBeUndefined()
    issuer.capture(payment, 168n)
    const again = await copy(store.text)
    expect(await recoverPayment(again, id, tiles())).toBe(168n)
    expect(again.balance).toMatchObject({ spendable: ONE_OPG - 168n, inPayments: 0n })
  })

  it('that no issuer saw comes back, and one that it did see is refused when spent again', async () => {
    await buy()
    const unseen = await wallet.pay(ENCLAVE, 32n)
    await wallet.returnPayment(unseen.id)
    expect(wallet.balance.spendable).toBe(ONE_OPG)
    const seen = await wallet.pay(ENCLAVE, 32n)
    issuer.capture(seen.payment, 32n)
    await wallet.returnPayment(seen.id)
    const second = await wallet.pay(ENCLAVE, 32n)
    expect(second.payment.credits.map(({ secret }) => toHex(secret))).toEqual(
      seen.payment.credits.map(({ secret }) => toHex(secret)),
    )
    expect(() => issuer.capture(second.payment, 32n)).toThrow('SPENT')
  })

  it('is resolved by what is listed: not at all, reserved, captured', async () => {
    await buy()
    const first = await wallet.pay(ENCLAVE, 32n)
    expect(await resolvePayment(wallet, first.id, tiles())).toBe('returned')
    expect(wallet.balance).toMatchObject({ spendable: ONE_OPG, inPayments: 0n })
    const { payment, id } = await wallet.pay(ENCLAVE, 32n)
    issuer.reserve(payment)
    expect(await resolvePayment(wallet, id, tiles())).toBe('pending')
    expect(unitsIn(wallet.balance)).toBe(ONE_OPG)
    issuer.capture(payment, 16n)
    expect(await resolvePayment(wallet, id, tiles())).toBe('captured')
    expect(wallet.balance).toMatchObject({ spendable: ONE_OPG - 16n, inPayments: 0n })
    // No credit of the wallet was shown for it.
    expect(issuer.asked).toEqual(['change ', 'change ', 'change '])
  })

  it('whose credits were exactly its fee is captured, with nothing coming back', async () => {
    await giveCredits(wallet, [5])
    const { payment, id } = await wallet.pay(ENCLAVE, 32n)
    expect(issuer.capture(payment, 32n).signatures).toEqual([])
    expect(await resolvePayment(wallet, id, tiles())).toBe('captured')
    expect(wallet.balance).toMatchObject({ spendable: 0n, inPayments: 0n })
  })

  it('takes its own change where another copy of the wallet used the same blanks', async () => {
    await giveCredits(wallet, [5])
    const other = await copy()
    const [shared] = await giveCredits(other, [5, 12])
    await other.adopt({ credits: [], nextPurchase: 0, nextBlank: 0, spent: shared === undefined ? [] : [shared] })
    const [mine, theirs] = [await wallet.pay(ENCLAVE, 16n), await other.pay(ENCLAVE, 1n)]
    expect(theirs.payment.blanks.map(toHex)).toEqual(mine.payment.blanks.map(toHex))
    issuer.capture(theirs.payment, 1n)
    await expect(resolvePayment(wallet, mine.id, tiles())).rejects.toMatchObject({ code: 'BAD_CHANGE' })
    issuer.reserve(mine.payment)
    expect(await resolvePayment(wallet, mine.id, tiles())).toBe('pending')
    issuer.capture(mine.payment, 15n)
    expect(await resolvePayment(wallet, mine.id, tiles())).toBe('captured')
    expect(wallet.balance).toMatchObject({ spendable: 17n, inPayments: 0n })
    expect(await recoverPayment(other, theirs.id, tiles())).toBe(1n)
    // From the seed: each blank for the most that it was signed for, and no secret twice.
    const fresh = await copy()
    await restoreWallet(fresh, issuer)
    expect(fresh.balance.spendable).toBe(4_095n)
    expect(new Set(fresh.credits.map(({ counter }) => counter)).size).toBe(fresh.credits.length)
  })
})

describe('restoring', () => {
  it('finds everything unspent from the seed, and asks what everybody asks', async () => {
    await buy()
    await payNow(992n)
    const before = wallet.balance
    const fresh = await copy()
    expect((await restoreWallet(fresh, issuer)).units).toBe(ONE_OPG - 992n)
    expect(fresh.balance).toEqual(before)
    expect(issuer.asked).toEqual(['change ', 'spent 0'])
    // What comes next begins behind everything that was used.
    expect((await fresh.startPurchase(ONE_OPG)).number).toBe(1)
    const { payment } = await fresh.pay(ENCLAVE, 32n)
    expect(payment.blanks.map(toHex)).toEqual(wallet.keys.blanksFrom(BLANK_SLOTS).map(toHex))
    // Restoring twice adds nothing.
    expect((await restoreWallet(fresh, issuer)).units).toBe(ONE_OPG - 992n)
    expect(unitsIn(fresh.balance)).toBe(ONE_OPG - 992n)
  })

  it('finds the change of many payments, leaves out that of an open one, and counts on behind it', async () => {
    await buy()
    for (const fee of [992n, 168n, 0n, 1_024n]) await payNow(fee)
    const { payment, id } = await wallet.pay(ENCLAVE, 1_024n)
    issuer.reserve(payment)
    const inPayment = totalUnits(payment.credits.map(({ exponent }) => exponent))
    const fresh = await copy()
    await restoreWallet(fresh, issuer)
    expect(fresh.balance.spendable).toBe(wallet.balance.spendable)
    expect((await fresh.pay(ENCLAVE, 1n)).payment.blanks.map(toHex)).toEqual(
      wallet.keys.blanksFrom(5 * BLANK_SLOTS).map(toHex),
    )
    // Once it is captured, restoring again finds its change.
    await wallet.finishPayment(id, issuer.capture(payment, 31n))
    await restoreWallet(fresh, issuer)
    expect(unitsIn(fresh.balance)).toBe(wallet.balance.spendable)
    expect(unitsIn(fresh.balance)).toBe(ONE_OPG - 992n - 168n - 1_024n - 31n)
    expect(inPayment).toBeGreaterThan(31n)
  })

  it('counts on behind a payment that nothing came back of', async () => {
    await giveCredits(wallet, [5])
    const { payment } = await wallet.pay(ENCLAVE, 32n)
    issuer.capture(payment, 32n)
    const fresh = await copy()
    expect(await restoreWallet(fresh, issuer)).toEqual({ credits: 0, units: 0n })
    await giveCredits(fresh, [6])
    expect((await fresh.pay(ENCLAVE, 1n)).payment.blanks.map(toHex)).toEqual(
      wallet.keys.blanksFrom(BLANK_SLOTS).map(toHex),
    )
  })

  it('closes a payment that the wallet itself holds open, and counts its change once', async () => {
    await buy()
    const { payment, id } = await wallet.pay(ENCLAVE, 1_024n)
    const open = store.text
    await wallet.finishPayment(id, issuer.capture(payment, 168n))
    await payNow(992n)
    const behind = await copy(open)
    await restoreWallet(behind, issuer)
    expect(behind.balance).toEqual(wallet.balance)
    expect(behind.openPayments).toEqual([])
  })

  it.each([
    ['one digit', 24, 8, 1],
    ['two digits', 96, 3, 2],
  ])(
    'shows %s of each payment where there are more than one answer holds',
    async (_, others, tileMax, digits) => {
      await buy()
      for (const fee of [992n, 168n, 0n]) await payNow(fee)
      for (let i = 0; i < others; i++) issuer.payments.push({ locator: toHex(keccak256(Uint8Array.of(i))) })
      issuer.tileMax = tileMax
      const fresh = await copy()
      await restoreWallet(fresh, issuer)
      expect(fresh.balance).toEqual(wallet.balance)
      const prefixes = issuer.asked.flatMap((question) => (question.startsWith('change') ? [question.slice(7)] : []))
      expect(prefixes.slice(0, digits).map((prefix) => prefix.length)).toEqual([0, 1].slice(0, digits))
      expect(prefixes.slice(digits).every((prefix) => prefix.length === digits)).toBe(true)
      // Three payments of the wallet, and the twenty that are looked for behind them: one question each at most.
      expect(prefixes.length - digits).toBeLessThanOrEqual(23)
      expect(new Set(prefixes).size).toBe(prefixes.length)
      expect(issuer.asked.filter((question) => question.startsWith('spent'))).toEqual(['spent 0'])
    },
    60_000,
  )

  it.each([1, 7, 8, 9])(
    'reads all pages of %i spent credits',
    async (pageMax) => {
      await buy()
      await payNow(992n)
      issuer.pageMax = pageMax
      const fresh = await copy()
      await restoreWallet(fresh, issuer)
      expect(fresh.balance).toEqual(wallet.balance)
      const pages = Math.max(1, Math.ceil(issuer.spent.size / pageMax))
      const asked = issuer.asked.filter((question) => question.startsWith('spent'))
      expect(asked).toEqual(Array.from({ length: pages }, (_, i) => `spent ${i * pageMax}`))
    },
    60_000,
  )

  it('finds what is spent while it reads the pages', async () => {
    await buy()
    await payNow(992n)
    issuer.pageMax = 8
    const fresh = await copy()
    let isFirst = true
    await restoreWallet(fresh, {
      ...ports(),
      async spentPage(from) {
        const page = await issuer.spentPage(from)
        if (!isFirst) return page
        isFirst = false
        await payNow(31n)
        return { ...page, next: issuer.pageMax }
      },
    })
    // The change of that payment came too late for the tiles; restoring again finds it.
    expect(fresh.balance.spendable).toBeLessThan(wallet.balance.spendable)
    await restoreWallet(fresh, issuer)
    expect(fresh.balance).toEqual(wallet.balance)
  })

  it.each([
    ['begins where the last one did', new Uint8Array(8), 0],
    ['leaves some out', new Uint8Array(8), 2],
    ['comes after an empty one', new Uint8Array(), 1],
  ])('is not kept asking by an issuer whose next page %s', async (_, ids, next) => {
    const endless = { ...ports(), spentPage: async () => ({ ids, next }) }
    await expect(restoreWallet(wallet, endless)).rejects.toMatchObject({ code: 'BAD_SHAPE' })
  })

  it('that fails on the way adopts nothing, and finds everything when it is repeated', async () => {
    await buy()
    await payNow(992n)
    const fresh = await copy()
    const empty = fresh.balance
    let calls = 0
    const cut = (at: number): RestorePorts => {
      calls = 0
      const guard = async <T>(act: () => Promise<T>): Promise<T> => {
        if (calls++ === at) throw new Error('cut off')
        return act()
      }
      const { changeTile, spentPage, depositOf, issue } = ports()
      return {
        changeTile: (prefix) => guard(() => changeTile(prefix)),
        spentPage: (from) => guard(() => spentPage(from)),
        depositOf: (claimKey) => guard(() => depositOf(claimKey)),
        issue: (purchase) => guard(() => issue(purchase)),
      }
    }
    // Four looks for deposits, one of which is answered; the tile of all payments, and the page of all spent credits.
    for (let at = 0; at < 7; at++) {
      await expect(restoreWallet(fresh, cut(at))).rejects.toThrow('cut off')
      expect(fresh.balance).toEqual(empty)
    }
    await restoreWallet(fresh, cut(7))
    expect(calls).toBe(7)
    expect(fresh.balance).toEqual(wallet.balance)
  })

  it('finds exits under way, lets a fresh deposit wait, and keeps one that is not answered', async () => {
    await buy()
    const [first, second] = wallet.credits
    if (first === undefined || second === undefined) throw new Error('expected credits')
    for (const number of [1, 2]) issuer.deposits.set(wallet.keys.claimKeyOf(number), ONE_OPG)
    const recipient: Hex = '0x00000000000000000000000000000000cafe0008'
    const opened = new Map([first, second].map((credit) => [wallet.keys.idOf(credit), { recipient, readyAt: 77 }]))
    const fresh = await copy()
    await restoreWallet(fresh, {
      ...ports(),
      async issue(purchase) {
        if (purchase.number === 1) return { delaySeconds: 600 }
        if (purchase.number === 2) throw new SealpathError('ISSUER_REFUSED', 'no', { reason: 'DEPOSIT_CLOSED' })
        return issuer.issue(purchase)
      },
      openedExits: async () => opened,
    })
    expect(fresh.openExits).toMatchObject([{ recipient, readyAt: 77, isSent: true }])
    expect(fresh.openExits[0]?.credits).toEqual([first, second])
    expect(fresh.openPurchases).toEqual([
      { number: 1, units: ONE_OPG, delaySeconds: 600, isAutomatic: false },
      { number: 2, units: ONE_OPG, delaySeconds: 0, isAutomatic: false },
    ])
    const { spendable, inExits, inPurchases } = fresh.balance
    expect([spendable + inExits, inPurchases]).toEqual([ONE_OPG, 2n * ONE_OPG])
    expect((await fresh.startPurchase(ONE_OPG)).number).toBe(3)
  })

  it('an old copy of the file lets go of what was spent since, and counts on behind it', async () => {
    await buy()
    const old = store.text
    await payNow(992n)
    const behind = await copy(old)
    expect(behind.balance.spendable).toBe(ONE_OPG)
    await restoreWallet(behind, issuer)
    expect(behind.balance).toEqual(wallet.balance)
    const { payment } = await behind.pay(ENCLAVE, 32n)
    expect(issuer.capture(payment, 32n).fee).toBe(32n)
    expect(payment.blanks.map(toHex)).toEqual(wallet.keys.blanksFrom(BLANK_SLOTS).map(toHex))
  })
})

function ports(): RestorePorts {
  return {
    changeTile: (prefix) => issuer.changeTile(prefix),
    spentPage: (from) => issuer.spentPage(from),
    depositOf: (claimKey) => issuer.depositOf(claimKey),
    issue: (purchase) => issuer.issue(purchase),
  }
}
