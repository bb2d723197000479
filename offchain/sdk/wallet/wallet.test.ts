/** A wallet against an issuer of the plain arithmetic: what it buys, pays, gets back, and finds again. @module */
import { beforeEach, describe, expect, it } from 'vitest'
import { type Hex, toHex } from '#protocol/bytes.ts'
import { BLANK_SLOTS, totalUnits } from '#protocol/credits/amounts.ts'
import { signBlinded } from '#protocol/credits/blindSignature.ts'
import type { Change } from '#protocol/credits/change.ts'
import { hashKeyset } from '#protocol/credits/keyset.ts'
import { creditMessage } from '#protocol/credits/message.ts'
import { encodePayment } from '#protocol/credits/payment.ts'
import { decodeG1, encodeG1 } from '#protocol/credits/points.ts'
import { DEPOSIT_SIZES } from '#protocol/credits/purchase.ts'
import { keyset, PlainIssuer } from '../../../test/support/plainIssuer.ts'
import { SealpathError } from '../errors.ts'
import { type RestorePorts, recoverPayment, resolvePayment, restoreWallet } from './restore.ts'
import { Wallet, type WalletStore } from './wallet.ts'
import { openWalletCipher } from './walletCipher.ts'
import { parseState, serializeState, type WalletState } from './walletState.ts'

const SEED = new Uint8Array(32).fill(7)
const ENCLAVE: Hex = `0x${'e1'.repeat(20)}`
const ONE_OPG = DEPOSIT_SIZES[0] ?? 0n
const domain = { chainId: keyset.chainId, vault: keyset.vault, keyset: hashKeyset(keyset) }

class MemoryStore implements WalletStore {
  text: string | undefined
  fails = false

  async load(): Promise<WalletState | undefined> {
    return this.text === undefined ? undefined : parseState(this.text)
  }

  async save(state: WalletState): Promise<void> {
    if (this.fails) throw new Error('the disk is full')
    this.text = serializeState(state)
  }
}

let issuer: PlainIssuer
let store: MemoryStore
let wallet: Wallet

beforeEach(async () => {
  issuer = new PlainIssuer()
  store = new MemoryStore()
  wallet = await Wallet.open({ seed: SEED, keyset, store })
})

async function buy(into: Wallet = wallet): Promise<void> {
  const purchase = await into.startPurchase(ONE_OPG)
  issuer.deposits.set(purchase.claimKey, ONE_OPG)
  await into.finishPurchase(purchase.number, await issuer.issue(purchase))
}

const reopen = () => Wallet.open({ seed: SEED, keyset, store })

describe('buying and paying', () => {
  it('turns a deposit into credits, a payment into fee and change, and loses no unit', async () => {
    await buy()
    expect(wallet.balance).toMatchObject({ spendable: ONE_OPG, inPayments: 0n, inPurchases: 0n })
    let fees = 0n
    for (const fee of [168n, 992n, 0n]) {
      const { payment, id } = await wallet.pay(ENCLAVE, 1_024n)
      expect(wallet.balance.spendable + wallet.balance.inPayments).toBe(ONE_OPG - fees)
      expect(await wallet.finishPayment(id, issuer.capture(payment, fee))).toBe(fee)
      fees += fee
      expect(wallet.balance).toMatchObject({ spendable: ONE_OPG - fees, inPayments: 0n })
    }
  }, 30_000)

  it('uses every blank and every purchase output once, across restarts', async () => {
    await buy()
    const first = await wallet.pay(ENCLAVE, 32n)
    const second = await (await reopen()).pay(ENCLAVE, 32n)
    const all = [...first.payment.blanks, ...second.payment.blanks].map(toHex)
    expect(new Set(all).size).toBe(2 * BLANK_SLOTS)
    const spent = [...first.payment.credits, ...second.payment.credits].map(({ secret }) => toHex(secret))
    expect(new Set(spent).size).toBe(spent.length)
    const next = await (await reopen()).startPurchase(ONE_OPG)
    expect(next.number).toBe(1)
  }, 30_000)

  it('gives two payments at once different credits', async () => {
    await buy()
    const made = await Promise.all([1, 2, 3].map(() => wallet.pay(ENCLAVE, 64n)))
    const secrets = made.flatMap(({ payment }) => payment.credits.map(({ secret }) => toHex(secret)))
    expect(new Set(secrets).size).toBe(secrets.length)
  }, 30_000)

  it('says what a request would cost that it cannot pay', async () => {
    await expect(wallet.pay(ENCLAVE, 32n)).rejects.toMatchObject({
      code: 'INSUFFICIENT',
      amounts: { needed: 32n, spendable: 0n },
    })
  })

  it('pays from blanks prepared ahead without arithmetic in between', async () => {
    await buy()
    await wallet.prepare()
    const { payment } = await wallet.pay(ENCLAVE, 32n)
    expect(payment.blanks.map(toHex)).toEqual(wallet.keys.blanksFrom(0).map(toHex))
    expect(encodePayment(payment)).toHaveLength(2_405)
  }, 30_000)
})

describe('a wallet believes nobody', () => {
  it('refuses change that is too little, dearer than agreed or not signed, and keeps the payment open', async () => {
    await buy()
    const { payment, id } = await wallet.pay(ENCLAVE, 32n)
    const change = issuer.capture(payment, 32n)
    const [first] = change.signatures
    if (first === undefined) throw new Error('expected change')
    const bad: Change[] = [
      { fee: 32n, signatures: change.signatures.slice(1) },
      { fee: 64n, signatures: change.signatures },
      {
        fee: 32n,
        signatures: [
          { ...first, blindSignature: encodeG1(signBlinded(decodeG1(first.blindSignature), 3n)) },
          ...change.signatures.slice(1),
        ],
      },
    ]
    for (const wrong of bad) await expect(wallet.finishPayment(id, wrong)).rejects.toMatchObject({ code: 'BAD_CHANGE' })
    expect(wallet.openPayments).toHaveLength(1)
    expect(await wallet.finishPayment(id, change)).toBe(32n)
  }, 30_000)

  it('refuses signatures that are not the keyset’s, and keeps the purchase open', async () => {
    const purchase = await wallet.startPurchase(ONE_OPG)
    const forged = purchase.outputs.map(({ blinded }) => encodeG1(signBlinded(blinded, 5n)))
    await expect(wallet.finishPurchase(purchase.number, forged)).rejects.toMatchObject({ code: 'BAD_SIGNATURE' })
    expect(wallet.balance.inPurchases).toBe(ONE_OPG)
  }, 30_000)

  it('is not opened under another keyset', async () => {
    await buy()
    await expect(Wallet.open({ seed: SEED, keyset: { ...keyset, chainId: 1 }, store })).rejects.toMatchObject({
      code: 'OTHER_KEYSET',
    })
  }, 30_000)
})

describe('what is lost is found', () => {
  it('a payment whose answer never came is closed from the tiles, by the seed alone', async () => {
    await buy()
    const { payment, id } = await wallet.pay(ENCLAVE, 1_024n)
    expect(await recoverPayment(wallet, id, issuer)).toBeUndefined()
    issuer.capture(payment, 168n)
    const again = await reopen()
    expect(await recoverPayment(again, id, issuer)).toBe(168n)
    expect(again.balance).toMatchObject({ spendable: ONE_OPG - 168n, inPayments: 0n })
  }, 30_000)

  it('a payment that no issuer saw comes back, and one that it did see is refused when spent again', async () => {
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
  }, 30_000)

  it('an open payment is resolved by what the issuer publishes: returned, pending, captured', async () => {
    await buy()
    const { payment, id } = await wallet.pay(ENCLAVE, 32n)
    const [credit] = payment.credits
    if (credit === undefined) throw new Error('expected a credit')
    issuer.spent.add(toHex(creditMessage(domain, credit.exitKey, credit.secret)))
    expect(await resolvePayment(wallet, id, issuer)).toBe('pending')
    issuer.spent.clear()
    expect(await resolvePayment(wallet, id, issuer)).toBe('returned')
    expect(wallet.balance).toMatchObject({ spendable: ONE_OPG, inPayments: 0n })
    const second = await wallet.pay(ENCLAVE, 32n)
    issuer.capture(second.payment, 16n)
    expect(await resolvePayment(wallet, second.id, issuer)).toBe('captured')
    expect(wallet.balance).toMatchObject({ spendable: ONE_OPG - 16n, inPayments: 0n })
  }, 30_000)

  it('everything unspent is restored from the seed, asking only for first digits of hashes', async () => {
    await buy()
    const paid = await wallet.pay(ENCLAVE, 1_024n)
    await wallet.finishPayment(paid.id, issuer.capture(paid.payment, 992n))
    const before = wallet.balance
    const fresh = await Wallet.open({ seed: SEED, keyset, store: new MemoryStore() })
    const restored = await restoreWallet(fresh, issuer)
    expect(restored.units).toBe(ONE_OPG - 992n)
    expect(fresh.balance).toEqual(before)
    expect(Math.max(...issuer.asked.map((prefix) => prefix.length))).toBe(3)
    // What comes next begins behind everything that was used.
    expect((await fresh.startPurchase(ONE_OPG)).number).toBe(1)
    const { payment } = await fresh.pay(ENCLAVE, 32n)
    expect(payment.blanks.map(toHex)).toEqual(wallet.keys.blanksFrom(BLANK_SLOTS).map(toHex))
    // Restoring twice adds nothing.
    const twice = await restoreWallet(fresh, issuer)
    expect(twice.units).toBe(ONE_OPG - 992n)
    expect(fresh.balance.spendable + fresh.balance.inPayments).toBe(ONE_OPG - 992n)
  }, 120_000)

  it('restoring that fails on the way adopts nothing, and finds everything when it is repeated', async () => {
    await buy()
    const paid = await wallet.pay(ENCLAVE, 1_024n)
    await wallet.finishPayment(paid.id, issuer.capture(paid.payment, 992n))
    const fresh = await Wallet.open({ seed: SEED, keyset, store: new MemoryStore() })
    const empty = fresh.balance
    let calls = 0
    const cut = (at: number): RestorePorts => {
      calls = 0
      const guard = async <T>(act: () => Promise<T>): Promise<T> => {
        if (calls++ === at) throw new Error('cut off')
        return act()
      }
      return {
        changeTile: (prefix) => guard(() => issuer.changeTile(prefix)),
        spentTile: (prefix) => guard(() => issuer.spentTile(prefix)),
        depositOf: (claimKey) => guard(() => issuer.depositOf(claimKey)),
        issue: (purchase) => guard(() => issuer.issue(purchase)),
      }
    }
    for (const at of [0, 1, 3, 10, 60]) {
      await expect(restoreWallet(fresh, cut(at))).rejects.toThrow('cut off')
      expect(fresh.balance).toEqual(empty)
    }
    await restoreWallet(fresh, cut(-1))
    expect(fresh.balance).toEqual(wallet.balance)
  }, 120_000)

  it('restoring finds exits under way, lets a fresh deposit wait, and keeps one that is not answered', async () => {
    await buy()
    const [first, second] = wallet.credits
    if (first === undefined || second === undefined) throw new Error('expected credits')
    for (const number of [1, 2]) issuer.deposits.set(wallet.keys.claimKeyOf(number), ONE_OPG)
    const recipient: Hex = '0x00000000000000000000000000000000cafe0008'
    const opened = new Map([first, second].map((credit) => [wallet.keys.idOf(credit), { recipient, readyAt: 77 }]))
    const fresh = await Wallet.open({ seed: SEED, keyset, store: new MemoryStore() })
    await restoreWallet(fresh, {
      changeTile: (prefix) => issuer.changeTile(prefix),
      spentTile: (prefix) => issuer.spentTile(prefix),
      depositOf: (claimKey) => issuer.depositOf(claimKey),
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
  }, 60_000)

  it('restoring an old copy of the file lets go of what was spent since, and counts on behind it', async () => {
    await buy()
    const old = store.text
    const paid = await wallet.pay(ENCLAVE, 1_024n)
    await wallet.finishPayment(paid.id, issuer.capture(paid.payment, 992n))
    const copy = new MemoryStore()
    copy.text = old
    const behind = await Wallet.open({ seed: SEED, keyset, store: copy })
    expect(behind.balance.spendable).toBe(ONE_OPG)
    await restoreWallet(behind, issuer)
    expect(behind.balance).toEqual(wallet.balance)
    const { payment } = await behind.pay(ENCLAVE, 32n)
    expect(issuer.capture(payment, 32n).fee).toBe(32n)
    expect(payment.blanks.map(toHex)).toEqual(wallet.keys.blanksFrom(BLANK_SLOTS).map(toHex))
  }, 60_000)

  it('asks for parts of a tile that has grown too large', async () => {
    await buy()
    const { payment, id } = await wallet.pay(ENCLAVE, 1_024n)
    issuer.capture(payment, 992n)
    const lengths = new Set<number>()
    const large = {
      async changeTile(prefix: string) {
        lengths.add(prefix.length)
        if (prefix.length < 5) throw new SealpathError('ISSUER_REFUSED', 'large', { reason: 'TILE_TOO_LARGE' })
        return issuer.changeTile(prefix)
      },
    }
    expect(await recoverPayment(wallet, id, large)).toBe(992n)
    expect([...lengths]).toEqual([3, 4, 5])
  }, 60_000)
})

describe('at rest', () => {
  it('a store that fails leaves the wallet as it was', async () => {
    await buy()
    store.fails = true
    await expect(wallet.pay(ENCLAVE, 32n)).rejects.toThrow('the disk is full')
    expect(wallet.balance).toMatchObject({ spendable: ONE_OPG, inPayments: 0n })
    store.fails = false
    const { payment } = await wallet.pay(ENCLAVE, 32n)
    expect(totalUnits(payment.credits.map(({ exponent }) => exponent))).toBeGreaterThanOrEqual(32n)
  }, 30_000)

  it('the state comes back as it went in', async () => {
    await buy()
    await wallet.pay(ENCLAVE, 32n)
    await wallet.startPurchase(ONE_OPG)
    const state = parseState(store.text ?? '')
    expect(parseState(serializeState(state))).toEqual(state)
    expect(() => parseState('{}')).toThrow(expect.objectContaining({ name: 'WireError' }))
    expect((await reopen()).balance).toEqual(wallet.balance)
  }, 30_000)

  it('a file opens under its passphrase only, and not when it was changed', async () => {
    const cipher = await openWalletCipher('correct horse')
    const file = await cipher.encrypt('the text')
    expect(file).not.toContain('the text')
    expect(await (await openWalletCipher('correct horse', file)).decrypt(file)).toBe('the text')
    const wrong = await openWalletCipher('battery staple', file)
    await expect(wrong.decrypt(file)).rejects.toMatchObject({ code: 'WRONG_PASSPHRASE' })
    const { text, ...rest } = JSON.parse(file) as { text: string }
    const changed = JSON.stringify({ ...rest, text: text.startsWith('A') ? `B${text.slice(1)}` : `A${text.slice(1)}` })
    await expect(cipher.decrypt(changed)).rejects.toMatchObject({ code: 'WRONG_PASSPHRASE' })
  })
})
