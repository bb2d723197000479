/** What a payer asks an issuer about payments whose answers were lost. @module */
import { expect, it } from 'vitest'
import type { Hex } from '#protocol/bytes.ts'
import { DEPOSIT_SIZES } from '#protocol/credits/purchase.ts'
import { createWebSuites } from '#protocol/sealing/webSuites.ts'
import { MemoryWalletStore } from '../../../test/support/memoryWalletStore.ts'
import { keyset, PlainIssuer } from '../../../test/support/plainIssuer.ts'
import type { TrustedGateway } from '../gateway.ts'
import { createPayer } from './payer.ts'
import { Wallet } from './wallet.ts'

const ENCLAVE: Hex = `0x${'e1'.repeat(20)}`
const ONE_OPG = DEPOSIT_SIZES[0] ?? 0n

it('a payer closes all payments that are open with one question a wallet, and asks nothing while none is', async () => {
  const issuer = new PlainIssuer()
  const wallet = await Wallet.open({ seed: new Uint8Array(32).fill(7), keyset, store: new MemoryWalletStore() })
  const purchase = await wallet.startPurchase(ONE_OPG)
  issuer.deposits.set(purchase.claimKey, ONE_OPG)
  await wallet.finishPurchase(purchase.number, await issuer.issue(purchase))
  const enclave: TrustedGateway = {
    enclave: ENCLAVE,
    operator: ENCLAVE,
    measurement: `0x${'00'.repeat(32)}`,
    isDevelopment: true,
    url: new URL('http://127.0.0.1/'),
    keyConfigs: [],
  }
  const access = {
    enclave: ENCLAVE,
    keysets: async () => ({ keysets: [] }),
    issue: (asked: Parameters<PlainIssuer['issue']>[0]) => issuer.issue(asked),
    changeTile: (prefix: string) => issuer.changeTile(prefix),
    spentPage: (from: number) => issuer.spentPage(from),
  }
  const payer = createPayer({
    wallets: () => [wallet],
    suites: createWebSuites(),
    findIssuer: async () => ({ enclave, access }),
    timeoutMs: 30_000,
  })
  expect(await payer.recover()).toBe(0)
  expect(issuer.asked).toEqual([])

  const [captured, reserved] = [await wallet.pay(ENCLAVE, 32n), await wallet.pay(ENCLAVE, 32n)]
  // No gateway ever hands this one on.
  await wallet.pay(ENCLAVE, 32n)
  issuer.capture(captured.payment, 31n)
  issuer.reserve(reserved.payment)
  expect(await payer.recover()).toBe(2)
  expect(issuer.asked).toEqual(['change '])
  expect(wallet.openPayments.map(({ id }) => id)).toEqual([reserved.id])
  // The next round asks anew: what is captured meanwhile is found.
  issuer.capture(reserved.payment, 16n)
  expect(await payer.recover()).toBe(1)
  expect(issuer.asked).toEqual(['change ', 'change '])
  expect(wallet.balance).toMatchObject({ spendable: ONE_OPG - 47n, inPayments: 0n })
})
