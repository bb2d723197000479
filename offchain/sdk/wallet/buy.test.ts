/** Buying to the end and by itself: pauses, refusals, limits. Crashes at every step: test/services/walletCrashes.test.ts. @module */
import { beforeEach, describe, expect, it } from 'vitest'
import { VaultError } from '#chain/vaultErrors.ts'
import { DEPOSIT_SIZES } from '#protocol/credits/purchase.ts'
import { WalletWorld } from '../../../test/support/walletWorld.ts'
import { advancePurchase, advancePurchases, type DelayRange, type Depositor, NO_DELAY, startPurchase } from './buy.ts'
import type { PurchaseStep } from './steps.ts'
import { createTopUp, type TopUp, type TopUpPlan } from './topUp.ts'
import type { Wallet } from './wallet.ts'

const [ONE_OPG = 0n, TEN_OPG = 0n] = DEPOSIT_SIZES
const PERIOD = 30 * 86_400
const SLOW_MS = 240_000

let world: WalletWorld
let wallet: Wallet
beforeEach(async () => {
  world = new WalletWorld()
  wallet = (await world.open()).wallet
})

async function buy(into: Wallet, units: bigint = ONE_OPG, delay: DelayRange = NO_DELAY) {
  const { purchasePorts, depositor } = world
  const number = await startPurchase(into, units, purchasePorts, { delay })
  return advancePurchase(into, number, purchasePorts, { depositor, waits: true })
}

describe('a purchase', () => {
  it('becomes credits, and tells how on the way', async () => {
    const steps: PurchaseStep[] = []
    const onStep = (step: PurchaseStep) => steps.push(step)
    const { purchasePorts, depositor } = world
    const delay = { minimumSeconds: 600, maximumSeconds: 3_600 }
    const number = await startPurchase(wallet, ONE_OPG, purchasePorts, { delay, onStep })
    const result = await advancePurchase(wallet, number, purchasePorts, { depositor, waits: true, onStep })
    expect(result).toEqual({ purchase: 0, units: ONE_OPG, state: 'bought' })
    expect(wallet.balance).toMatchObject({ spendable: ONE_OPG, inPurchases: 0n })
    expect(steps.map(({ kind }) => kind)).toEqual([
      'purchase-started',
      'deposit-made',
      'purchase-waits',
      'purchase-relay-shared',
      'purchase-asked',
      'purchase-finished',
    ])
    expect(steps[4]).toMatchObject({ hidesAmong: 1 })
    expect(world.slept).toBeGreaterThanOrEqual(600_000)
    expect(world.slept).toBeLessThanOrEqual(3_600_000)
  })

  it('waits the pause that it drew at first, however often it is taken up', async () => {
    const delay = { minimumSeconds: 1_000, maximumSeconds: 1_000 }
    const { purchasePorts, depositor } = world
    const number = await startPurchase(wallet, ONE_OPG, purchasePorts, { delay })
    const until = world.time + 1_000
    expect(await advancePurchase(wallet, number, purchasePorts, { depositor, waits: false })).toMatchObject({
      state: 'waiting',
      until,
    })
    world.time += 600
    const [waiting] = await advancePurchases((await world.open()).wallet, purchasePorts, { waits: false })
    expect(waiting).toMatchObject({ state: 'waiting', until })
    world.time += 400
    const [bought] = await advancePurchases((await world.open()).wallet, purchasePorts, { waits: false })
    expect(bought).toMatchObject({ state: 'bought' })
  })

  it('that was never deposited is taken up by the next one of its size, and by no other', async () => {
    const { purchasePorts } = world
    const first = await startPurchase(wallet, ONE_OPG, purchasePorts, { delay: NO_DELAY })
    expect(await startPurchase(wallet, TEN_OPG, purchasePorts, { delay: NO_DELAY })).not.toBe(first)
    expect(await startPurchase(wallet, ONE_OPG, purchasePorts, { delay: NO_DELAY })).toBe(first)
    await buy(wallet)
    expect(await startPurchase(wallet, ONE_OPG, purchasePorts, { delay: NO_DELAY })).toBe(2)
  })

  it('goes on with a deposit that is there although making it failed, and fails with one that is not', async () => {
    const { purchasePorts, depositor } = world
    const number = await startPurchase(wallet, ONE_OPG, purchasePorts, { delay: NO_DELAY })
    const failure = new VaultError('UNCONFIRMED', 'nobody knows')
    const advance = (deposit: Depositor['deposit']) =>
      advancePurchase(wallet, number, purchasePorts, { depositor: { ...depositor, deposit }, waits: true })
    await expect(advance(() => Promise.reject(failure))).rejects.toBe(failure)
    const silent = advance(async (request) => {
      await depositor.deposit(request)
      throw failure
    })
    expect(await silent).toMatchObject({ state: 'bought' })
    expect(world.deposits.size).toBe(1)
  })

  it('is not deposited by anyone who only asks how it stands', async () => {
    const number = await startPurchase(wallet, ONE_OPG, world.purchasePorts, { delay: NO_DELAY })
    const result = await advancePurchase(wallet, number, world.purchasePorts, { waits: true })
    expect(result).toMatchObject({ state: 'undeposited' })
    expect(world.deposits.size).toBe(0)
  })

  it('is asked for again while the issuer cannot answer, and left open when it will not', async () => {
    const { purchasePorts, depositor } = world
    world.refusal = 'NO_DEPOSIT'
    const number = await startPurchase(wallet, ONE_OPG, purchasePorts, { delay: NO_DELAY })
    const options = { depositor, waits: true, patienceSeconds: 60 }
    const impatient = await advancePurchase(wallet, number, purchasePorts, options)
    expect(impatient).toMatchObject({ state: 'unanswered', reason: 'NO_DEPOSIT' })
    expect(world.slept).toBeGreaterThanOrEqual(60_000)
    world.refusal = 'WRONG_PHASE'
    world.slept = 0
    expect(await advancePurchase(wallet, number, purchasePorts, options)).toMatchObject({ reason: 'WRONG_PHASE' })
    expect(world.slept).toBe(0)
    world.refusal = undefined
    expect(await advancePurchase(wallet, number, purchasePorts, options)).toMatchObject({ state: 'bought' })
    expect(world.deposits.size).toBe(1)
  })

  it('that was refunded, or whose keyset is over before its deposit, is forgotten', async () => {
    world.refusal = 'UNAVAILABLE'
    const { purchasePorts, depositor } = world
    const number = await startPurchase(wallet, ONE_OPG, purchasePorts, { delay: NO_DELAY })
    await advancePurchase(wallet, number, purchasePorts, { depositor, waits: false })
    for (const [claimKey, deposit] of world.deposits) world.deposits.set(claimKey, { ...deposit, state: 'refunded' })
    expect(await advancePurchase(wallet, number, purchasePorts, { waits: false })).toMatchObject({ state: 'refunded' })
    const late = await startPurchase(wallet, ONE_OPG, purchasePorts, { delay: NO_DELAY })
    world.time = wallet.keyset.signUntil + 7_200
    expect(await advancePurchase(wallet, late, purchasePorts, { waits: false })).toMatchObject({ state: 'expired' })
    expect(wallet.openPurchases).toEqual([])
  })
})

describe('an automatic purchase', () => {
  const plan: TopUpPlan = { floorUnits: 100_000n, sizeUnits: ONE_OPG, limitUnits: 2n * ONE_OPG, periodSeconds: PERIOD }
  let steps: PurchaseStep[]

  function topUpOf(of: Wallet): TopUp {
    steps = []
    return createTopUp({
      plan,
      wallets: () => [of],
      buyingWallet: () => world.step(() => of),
      depositor: world.depositor,
      ports: world.purchasePorts,
      delay: NO_DELAY,
      onStep: (step) => steps.push(step),
    })
  }

  /** Spends everything, so that the next check finds the wallet low. */
  async function empty(of: Wallet): Promise<void> {
    while (of.credits.length > 0) {
      const { id } = await of.pay(`0x${'e1'.repeat(20)}`, 0n)
      const open = of.openPayments.find((payment) => payment.id === id)
      for (const credit of open?.credits ?? []) world.issuer.spent.add(of.keys.idOf(credit))
    }
  }

  it('is made when the wallet is low, and not when it is not', async () => {
    const topUp = topUpOf(wallet)
    topUp.check()
    await expect.poll(() => wallet.balance.spendable, { timeout: 10_000 }).toBe(ONE_OPG)
    topUp.check()
    await topUp.close()
    expect(world.deposits.size).toBe(1)
  })

  it('is one at a time, whoever asks', async () => {
    const topUp = topUpOf(wallet)
    topUp.check()
    topUp.check()
    expect(await Promise.all([topUp.wait(20_000), topUp.wait(20_000)])).toEqual([true, true])
    expect(world.deposits.size).toBe(1)
    await topUp.close()
  })

  it(
    'stops at the limit of a period, across restarts, and goes on in the next',
    async () => {
      for (let i = 0; i < 2; i++) {
        wallet = (await world.open()).wallet
        expect(await topUpOf(wallet).wait(20_000)).toBe(true)
        await empty(wallet)
      }
      wallet = (await world.open()).wallet
      expect(await topUpOf(wallet).wait(20_000)).toBe(false)
      expect(steps).toContainEqual({ kind: 'top-up-limit-reached', limitUnits: plan.limitUnits })
      expect(world.deposits.size).toBe(2)
      world.time += PERIOD
      expect(await topUpOf(wallet).wait(20_000)).toBe(true)
    },
    SLOW_MS,
  )

  it('does not keep a request longer than it says', async () => {
    world.refusal = 'UNAVAILABLE'
    const topUp = topUpOf(wallet)
    expect(await topUp.wait(0)).toBe(false)
    await topUp.close()
  })

  it('that fails is told, and taken up again instead of another', async () => {
    const { depositor } = world
    const poor = createTopUp({
      plan,
      wallets: () => [wallet],
      buyingWallet: async () => wallet,
      depositor: { ...depositor, deposit: () => Promise.reject(new Error('no money')) },
      ports: world.purchasePorts,
      delay: NO_DELAY,
      onStep: (step) => steps.push(step),
    })
    steps = []
    expect(await poor.wait(20_000)).toBe(false)
    expect(steps).toContainEqual({ kind: 'top-up-failed', message: 'no money' })
    expect(await topUpOf(wallet).wait(20_000)).toBe(true)
    expect(wallet.topUps).toHaveLength(1)
    expect(world.deposits.size).toBe(1)
  })
})
