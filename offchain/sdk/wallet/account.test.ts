/** One file over several keysets: what is used for what, what is stored, and what a restoring that was cut off keeps from being used. @module */
import { beforeEach, expect, it } from 'vitest'
import { publicKeyOf } from '#protocol/credits/blindSignature.ts'
import type { Keyset } from '#protocol/credits/keyset.ts'
import { giveCredits, keyset } from '../../../test/support/plainIssuer.ts'
import { type AccountStore, WalletAccount } from './account.ts'
import { parseAccount, serializeAccount } from './accountState.ts'

const SEED = new Uint8Array(32).fill(9)
const { chainId, vault } = keyset
/** Signs later, under other keys. */
const newer: Keyset = {
  ...keyset,
  keys: Array.from({ length: 24 }, (_, i) => publicKeyOf(BigInt(5_000 + i))),
  signUntil: keyset.signUntil + 1_000_000_000,
  spendUntil: keyset.spendUntil + 1_000_000_000,
  exitUntil: keyset.exitUntil + 1_000_000_000,
}

let text: string | undefined
let fails: boolean
const store: AccountStore = {
  load: async () => (text === undefined ? undefined : parseAccount(text)),
  async save(state) {
    if (fails) throw new Error('the disk is full')
    text = serializeAccount(state)
  },
}

let account: WalletAccount
beforeEach(async () => {
  text = undefined
  fails = false
  account = await WalletAccount.create(store, { seed: SEED, chainId, vault, isRestoring: false })
})

it('holds a wallet for each keyset, and finds all of it in the file again', async () => {
  await giveCredits(await account.walletOf(keyset), [5, 3])
  const second = await account.walletOf(newer)
  await second.startPurchase(1_000_000n, { delaySeconds: 60, automaticAt: 7 })
  await (await account.walletOf(keyset)).startExits('0x00000000000000000000000000000000cafe0007', [
    (await account.walletOf(keyset)).credits.slice(0, 1),
  ])
  const again = await WalletAccount.open(store)
  expect(again.wallets.map(({ keysetId }) => keysetId)).toEqual(account.wallets.map(({ keysetId }) => keysetId))
  expect(again.balance(0)).toEqual(account.balance(0))
  expect(again.balance(0)).toEqual({
    spendable: 8n,
    exitOnly: 0n,
    inPayments: 0n,
    inPurchases: 1_000_000n,
    inExits: 32n,
    credits: 1,
  })
  expect(again.wallets[1]?.topUps).toEqual([{ at: 7, units: 1_000_000n }])
})

it('counts what can only be exited apart', async () => {
  await giveCredits(await account.walletOf(keyset), [5])
  expect(account.balance(keyset.spendUntil)).toMatchObject({ spendable: 0n, exitOnly: 32n, credits: 0 })
})

it('changes nothing when the disk fails', async () => {
  fails = true
  await expect(account.walletOf(newer)).rejects.toThrow('the disk is full')
  expect(account.wallets).toEqual([])
  fails = false
  expect(await account.walletOf(newer)).toBe(await account.walletOf(newer))
  expect(account.wallets).toHaveLength(1)
})

it('lets nothing be used until it is known which keysets there are, and no keyset until it is restored', async () => {
  await account.beginRestoring()
  expect(() => account.usableWallets).toThrow(expect.objectContaining({ code: 'RESTORING' }))
  await expect(account.walletOf(newer)).rejects.toMatchObject({ code: 'RESTORING' })
  // Cut off here, it is the same after a restart.
  account = await WalletAccount.open(store)
  expect(() => account.usableWallets).toThrow(expect.objectContaining({ code: 'RESTORING' }))
  await account.keepKeysets([keyset])
  account = await WalletAccount.open(store)
  await expect(account.walletOf(keyset)).rejects.toMatchObject({ code: 'RESTORING' })
  // A keyset under which the seed was never used is free.
  expect(account.usableWallets.map(({ keyset: of }) => of.signUntil)).toEqual([newer.signUntil])
  const [restored] = account.wallets.filter(({ keyset: of }) => of.signUntil === keyset.signUntil)
  await account.endRestoring(restored?.keysetId ?? '0x')
  expect((await WalletAccount.open(store)).usableWallets).toHaveLength(2)
  expect(account.isRestoring).toBe(false)
})

it('is of one vault, and one keyset for each state', async () => {
  await expect(account.walletOf({ ...keyset, chainId: 1 })).rejects.toMatchObject({ code: 'OTHER_KEYSET' })
  await account.walletOf(keyset)
  expect(() => parseAccount((text ?? '').replace(`"chainId":${chainId}`, '"chainId":1'))).toThrow(
    expect.objectContaining({ code: 'OTHER_KEYSET' }),
  )
  expect(() => parseAccount('{}')).toThrow(expect.objectContaining({ name: 'WireError' }))
})

it('is none where nothing was stored', async () => {
  text = undefined
  await expect(WalletAccount.open(store)).rejects.toMatchObject({ code: 'NO_WALLET' })
})
