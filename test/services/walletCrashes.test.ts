/** A wallet that is interrupted before and behind every step of buying, topping up and exiting: nothing is paid twice and nothing is lost. @module */
import { describe, expect, it } from 'vitest'
import type { Hex } from '#protocol/bytes.ts'
import { DEPOSIT_SIZES } from '#protocol/credits/purchase.ts'
import { advancePurchase, advancePurchases, NO_DELAY, startPurchase } from '../../offchain/sdk/wallet/buy.ts'
import { advanceExits, startExits } from '../../offchain/sdk/wallet/exit.ts'
import { createTopUp } from '../../offchain/sdk/wallet/topUp.ts'
import type { Wallet } from '../../offchain/sdk/wallet/wallet.ts'
import { giveCredits } from '../support/plainIssuer.ts'
import { Crash, type CrashPoint, crashEverywhere, untilCrash, WalletWorld } from '../support/walletWorld.ts'

const ONE_OPG = DEPOSIT_SIZES[0] ?? 0n
const DAY = 86_400

describe('buying', () => {
  async function buy(world: WalletWorld, into: Wallet): Promise<void> {
    const { purchasePorts, depositor } = world
    const number = await startPurchase(into, ONE_OPG, purchasePorts, { delay: NO_DELAY })
    await advancePurchase(into, number, purchasePorts, { depositor, waits: true })
  }

  it('deposits once and loses nothing', async () => {
    const crashes = await crashEverywhere(async (crash) => {
      const world = new WalletWorld()
      await world.open()
      const done = await untilCrash(async () => {
        await buy(world, (await world.open(crash)).wallet)
        return true
      })
      const again = (await world.open()).wallet
      // What was bought before the crash is there; otherwise the purchase goes on or begins anew.
      if (again.balance.spendable === 0n) {
        const { purchasePorts, depositor } = world
        const results = await advancePurchases(again, purchasePorts, { depositor, waits: true })
        if (results.length === 0) await buy(world, again)
      }
      expect(again.balance).toMatchObject({ spendable: ONE_OPG, inPurchases: 0n })
      expect(world.deposits.size).toBe(1)
      expect((await world.open()).wallet.balance).toEqual(again.balance)
      return done === undefined
    })
    expect(crashes).toBeGreaterThan(5)
  })
})

describe('topping up', () => {
  const plan = { floorUnits: 100_000n, sizeUnits: ONE_OPG, limitUnits: ONE_OPG, periodSeconds: 30 * DAY }

  async function topUp(world: WalletWorld, crash?: CrashPoint): Promise<boolean> {
    const { wallet } = await world.open(crash)
    const automatic = createTopUp({
      plan,
      wallets: () => [wallet],
      buyingWallet: () => world.step(() => wallet),
      depositor: world.depositor,
      ports: world.purchasePorts,
      delay: NO_DELAY,
    })
    automatic.check()
    const came = await automatic.wait(20_000)
    await automatic.close()
    return came
  }

  it('deposits once, within its limit', async () => {
    const crashes = await crashEverywhere(async (crash) => {
      const world = new WalletWorld()
      await world.open()
      const done = await untilCrash(() => topUp(world, crash))
      if ((await world.open()).wallet.balance.spendable === 0n) expect(await topUp(world)).toBe(true)
      const { wallet } = await world.open()
      expect(world.deposits.size).toBe(1)
      expect(wallet.balance).toMatchObject({ spendable: ONE_OPG, inPurchases: 0n })
      expect(wallet.topUps).toHaveLength(1)
      // The limit is used up, whatever happened on the way.
      await wallet.startExits('0x00000000000000000000000000000000cafe0004', [wallet.credits])
      expect(await topUp(world)).toBe(false)
      return done !== true
    })
    expect(crashes).toBeGreaterThan(5)
  })
})

describe('exiting', () => {
  const recipient: Hex = '0x00000000000000000000000000000000cafe0005'
  const EXPONENTS = [10, 9, 9, 4, 3, 0]
  const TOTAL = 2_073n
  const WANTED = 1_500n

  async function exit(world: WalletWorld, crash?: CrashPoint): Promise<void> {
    const { wallet } = await world.open(crash)
    if (wallet.openExits.length === 0 && !world.paid.has(recipient)) {
      await startExits([wallet], WANTED, recipient, world.time)
    }
    await advanceExits(wallet, world.exitPorts)
    world.time += DAY
    await advanceExits(wallet, world.exitPorts)
  }

  it('pays what was chosen once, and every unit is in the wallet or paid', async () => {
    const crashes = await crashEverywhere(async (crash) => {
      const world = new WalletWorld()
      await giveCredits((await world.open()).wallet, EXPONENTS)
      const done = await untilCrash(async () => {
        await exit(world, crash)
        return true
      })
      await exit(world)
      const { wallet } = await world.open()
      // 1,024 and 512: as little above 1,500 as these credits allow.
      expect(world.paid.get(recipient)).toBe(1_536n)
      expect(wallet.balance).toMatchObject({ spendable: TOTAL - 1_536n, inExits: 0n })
      return done === undefined
    })
    expect(crashes).toBeGreaterThan(6)
  })
})

it('a crash stops everything until the wallet is opened again', async () => {
  const world = new WalletWorld()
  await expect(world.open({ step: 0, isBefore: true })).rejects.toThrow(Crash)
  await expect(world.step(() => 1)).rejects.toThrow(Crash)
  expect((await world.open()).wallet.balance.spendable).toBe(0n)
})
