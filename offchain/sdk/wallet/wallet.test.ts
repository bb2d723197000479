/** A wallet against an issuer of the plain arithmetic: what it buys, pays and gets back. @module */
import { beforeEach, describe, expect, it } from 'vitest'
import { type Hex, toHex } from '#protocol/bytes.ts'
import { BLANK_SLOTS, totalUnits } from '#protocol/credits/amounts.ts'
import { signBlinded } from '#protocol/credits/blindSignature.ts'
import type { Change } from '#protocol/credits/change.ts'
import { encodePayment } from '#protocol/credits/payment.ts'
import { decodeG1, encodeG1 } from '#protocol/credits/points.ts'
import { DEPOSIT_SIZES } from '#protocol/credits/purchase.ts'
import { MemoryWalletStore } from '../../../test/support/memoryWalletStore.ts'
import { keyset, openBoughtWallet, PlainIssuer } from '../../../test/support/plainIssuer.ts'
import { Wallet } from './wallet.ts'
import { openWalletCipher } from './walletCipher.ts'
import { parseState, serializeState } from './walletState.ts'

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
  })

  it('tells of each credit what the issuer had signed in its place', async () => {
    const purchase = await wallet.startPurchase(ONE_OPG)
    issuer.deposits.set(purchase.claimKey, ONE_OPG)
    await wallet.finishPurchase(purchase.number, await issuer.issue(purchase))
    const asked = purchase.outputs.map(({ blinded }) => toHex(encodeG1(blinded)))
    expect(wallet.credits.map((credit) => toHex(wallet.keys.blindedOf(credit)))).toEqual(asked)
    const { payment, id } = await wallet.pay(ENCLAVE, 1_024n)
    await wallet.finishPayment(id, issuer.capture(payment, 992n))
    const change = wallet.credits.filter(({ path }) => path === 'change')
    expect(change.length).toBeGreaterThan(0)
    for (const credit of change) {
      expect(toHex(wallet.keys.blindedOf(credit))).toBe(toHex(payment.blanks[credit.counter] ?? new Uint8Array()))
    }
  })

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
  })

  it('gives two payments at once different credits', async () => {
    await buy()
    const made = await Promise.all([1, 2, 3].map(() => wallet.pay(ENCLAVE, 64n)))
    const secrets = made.flatMap(({ payment }) => payment.credits.map(({ secret }) => toHex(secret)))
    expect(new Set(secrets).size).toBe(secrets.length)
  })

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
  })
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
  })

  it('refuses signatures that are not the keyset’s, and keeps the purchase open', async () => {
    const purchase = await wallet.startPurchase(ONE_OPG)
    const forged = purchase.outputs.map(({ blinded }) => encodeG1(signBlinded(blinded, 5n)))
    await expect(wallet.finishPurchase(purchase.number, forged)).rejects.toMatchObject({ code: 'BAD_SIGNATURE' })
    expect(wallet.balance.inPurchases).toBe(ONE_OPG)
  })

  it('is not opened under another keyset', async () => {
    await buy()
    await expect(Wallet.open({ seed: SEED, keyset: { ...keyset, chainId: 1 }, store })).rejects.toMatchObject({
      code: 'OTHER_KEYSET',
    })
  })
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
  })

  it('the state comes back as it went in', async () => {
    await buy()
    await wallet.pay(ENCLAVE, 32n)
    await wallet.startPurchase(ONE_OPG)
    const state = parseState(store.text ?? '')
    expect(parseState(serializeState(state))).toEqual(state)
    expect(() => parseState('{}')).toThrow(expect.objectContaining({ name: 'WireError' }))
    expect((await reopen()).balance).toEqual(wallet.balance)
  })

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
