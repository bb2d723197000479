/** Exits: what is chosen, what waits for what, and what the vault says about each credit. @module */
import { beforeEach, describe, expect, it } from 'vitest'
import { VaultError } from '#chain/vaultErrors.ts'
import type { Hex } from '#protocol/bytes.ts'
import { giveCredits } from '../../../test/support/plainIssuer.ts'
import { WalletWorld } from '../../../test/support/walletWorld.ts'
import { advanceExits, startExits } from './exit.ts'
import type { Wallet } from './wallet.ts'

const TO: Hex = '0x00000000000000000000000000000000cafe0006'
const DAY = 86_400

let world: WalletWorld
let wallet: Wallet
beforeEach(async () => {
  world = new WalletWorld()
  wallet = (await world.open()).wallet
})

const advance = () => advanceExits(wallet, world.exitPorts)
const { sender: _, ...WITHOUT_SENDER } = new WalletWorld().exitPorts

describe('an exit', () => {
  it('is opened now and paid a day later, and its credits are not spent meanwhile', async () => {
    await giveCredits(wallet, [5, 3, 1])
    expect(await startExits([wallet], undefined, TO, world.time)).toBe(42n)
    expect(wallet.balance).toMatchObject({ spendable: 0n, inExits: 42n, credits: 0 })
    await expect(wallet.pay(`0x${'e1'.repeat(20)}`, 1n)).rejects.toMatchObject({ code: 'INSUFFICIENT' })
    const readyAt = world.time + DAY
    expect(await advance()).toEqual({
      paid: 0n,
      cancelled: 0n,
      waiting: [{ units: 42n, recipient: TO, readyAt }],
      queued: [],
    })
    expect(wallet.openExits).toMatchObject([{ isSent: true, readyAt }])
    world.time = readyAt - 1
    expect((await advance()).paid).toBe(0n)
    world.time = readyAt
    expect((await advance()).paid).toBe(42n)
    expect(world.paid.get(TO)).toBe(42n)
    expect(wallet.openExits).toEqual([])
  })

  it('of an amount takes as little more as the credits allow', async () => {
    await giveCredits(wallet, [5, 3, 1])
    expect(await startExits([wallet], 9n, TO, world.time)).toBe(10n)
    expect(wallet.balance).toMatchObject({ spendable: 32n, inExits: 10n })
  })

  it('of more than there is, or of nothing, is refused and takes nothing', async () => {
    await expect(startExits([wallet], undefined, TO, world.time)).rejects.toMatchObject({ code: 'INSUFFICIENT' })
    await giveCredits(wallet, [5])
    await expect(startExits([wallet], 33n, TO, world.time)).rejects.toThrow('the wallet holds 0.000032 OPG')
    expect(wallet.balance.spendable).toBe(32n)
  })

  it('of a keyset whose exits are over is not chosen', async () => {
    await giveCredits(wallet, [5])
    const late = wallet.keyset.exitUntil
    await expect(startExits([wallet], 1n, TO, late)).rejects.toMatchObject({ code: 'INSUFFICIENT' })
  })

  it('of more than 64 credits takes several transactions', async () => {
    await giveCredits(
      wallet,
      Array.from({ length: 70 }, () => 0),
    )
    await startExits([wallet], undefined, TO, world.time)
    expect(wallet.openExits.map(({ credits }) => credits.length)).toEqual([64, 6])
    expect((await advance()).waiting.map(({ units }) => units)).toEqual([64n, 6n])
  })

  it('above the daily cap waits for the next day', async () => {
    await giveCredits(wallet, [5, 3])
    world.allowance = 30n
    await startExits([wallet], undefined, TO, world.time)
    expect(await advance()).toMatchObject({ waiting: [], queued: [{ units: 40n, recipient: TO, reason: 'CAP' }] })
    world.allowance = 40n
    expect(await advance()).toMatchObject({ waiting: [{ units: 40n }], queued: [] })
  })

  it('waits for somebody who pays the gas, and can be given back until it has left', async () => {
    await giveCredits(wallet, [5, 3])
    await startExits([wallet], 8n, TO, world.time)
    const ports = { ...WITHOUT_SENDER, ...readers() }
    expect(await advanceExits(wallet, ports)).toMatchObject({ queued: [{ units: 8n, reason: 'NO_SENDER' }] })
    expect(await wallet.returnExits()).toBe(8n)
    expect(wallet.balance).toMatchObject({ spendable: 40n, inExits: 0n })
    await startExits([wallet], 8n, TO, world.time)
    await advance()
    expect(await wallet.returnExits()).toBe(0n)
    expect(wallet.balance).toMatchObject({ spendable: 32n, inExits: 8n })
  })

  it('that the vault refuses before it is sent can be given back; one that may have been sent cannot', async () => {
    await giveCredits(wallet, [5])
    await startExits([wallet], undefined, TO, world.time)
    const failing = (code: 'REFUSED' | 'UNCONFIRMED') => ({
      ...world.exitPorts,
      sender: {
        open: () => Promise.reject(new VaultError(code, 'no')),
        finish: () => Promise.reject(new VaultError(code, 'no')),
      },
    })
    await expect(advanceExits(wallet, failing('REFUSED'))).rejects.toMatchObject({ code: 'REFUSED' })
    expect(wallet.openExits).toMatchObject([{ isSent: false }])
    await expect(advanceExits(wallet, failing('UNCONFIRMED'))).rejects.toMatchObject({ code: 'UNCONFIRMED' })
    expect(await wallet.returnExits()).toBe(0n)
    expect(wallet.openExits).toMatchObject([{ isSent: true }])
  })

  it('lets go of what was paid or shown to be spent, and opens the rest', async () => {
    const [first, second] = await giveCredits(wallet, [5, 3, 1])
    await startExits([wallet], undefined, TO, world.time)
    const put = (credit: typeof first, state: 'paid' | 'cancelled') => {
      if (credit === undefined) throw new Error('expected a credit')
      world.exits.set(wallet.keys.idOf(credit), { state, recipient: TO, readyAt: 0, units: 0n })
    }
    put(first, 'paid')
    put(second, 'cancelled')
    expect(await advance()).toMatchObject({ paid: 32n, cancelled: 8n, waiting: [{ units: 2n }] })
    expect(wallet.balance).toMatchObject({ spendable: 0n, inExits: 2n })
  })
})

function readers() {
  const { readExits, allowance, now } = world.exitPorts
  return { readExits, allowance, now }
}
