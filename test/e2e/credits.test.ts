/** Money through a whole network: a deposit becomes credits, a request is paid, change comes back, a clearing credits the operator. Every role a process. @module */
import OpenAI from 'openai'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { creditVaultAbi, receiptSettlementAbi } from '#chain/generated/abis.ts'
import type { Hex } from '#protocol/bytes.ts'
import { DEPOSIT_SIZES } from '#protocol/credits/purchase.ts'
import { connect } from '../../offchain/sdk/connect.ts'
import type { Step } from '../../offchain/sdk/options.ts'
import { restoreWallet } from '../../offchain/sdk/wallet/restore.ts'
import { Wallet } from '../../offchain/sdk/wallet/wallet.ts'
import { createMemoryStore } from '../../scripts/local/credits.ts'
import { DEMO_MODEL } from '../../scripts/local/demoPrices.ts'
import { type LocalNetwork, startLocalNetwork } from '../../scripts/local/network.ts'
import { waitFor } from '../../scripts/local/processes.ts'

const ONE_OPG = DEPOSIT_SIZES[0] ?? 0n
const SEED = new Uint8Array(32).fill(11)

let network: LocalNetwork

beforeAll(async () => {
  network = await startLocalNetwork({
    port: 23_545,
    onCrash: (error) => {
      throw error
    },
  })
}, 240_000)

afterAll(() => network?.stop(), 60_000)

it('from deposit to credits, answer, change, clearing and the operator’s account, and back from the seed', async () => {
  const { registry, settlement, vault } = network.deployment()
  const { wallet, access } = await network.buyCredits({ seed: SEED })
  expect(wallet.balance.spendable).toBe(ONE_OPG)

  const steps: Step[] = []
  const sealed = await connect({
    rpcUrl: network.urls.rpc,
    relayUrl: network.urls.relay,
    registry,
    wallet,
    onStep: (step) => steps.push(step),
  })
  const openai = new OpenAI({ baseURL: sealed.baseURL, apiKey: 'none', fetch: sealed.fetch })
  const ask = () =>
    openai.chat.completions.create({
      model: DEMO_MODEL,
      messages: [{ role: 'user', content: 'What is Sealpath?' }],
      max_tokens: 64,
    })
  expect((await ask()).choices[0]?.message.content).toContain('Sealpath')
  await waitFor('the change', async () => steps.some(({ kind }) => kind === 'change-taken'), 10_000)
  const [fee] = steps.flatMap((step) => (step.kind === 'change-taken' ? [step.feeUnits] : []))
  const [receiptFee] = steps.flatMap((step) => (step.kind === 'receipt-verified' ? [step.feeUnits] : []))
  expect(fee).toBe(receiptFee)
  expect(wallet.balance).toMatchObject({ spendable: ONE_OPG - (fee ?? 0n), inPayments: 0n })

  const account = () =>
    network.client.readContract({
      address: settlement,
      abi: receiptSettlementAbi,
      functionName: 'accountOf',
      args: [sealed.gateway.enclave],
    })
  await waitFor(
    'head and clearing',
    async () => (await account()).earned === fee && (await account()).cleared === fee,
    60_000,
  )
  // Whichever came last, anyone may have credited what both agree on.
  const buyer = network.wallet('buyer')
  const hash = await buyer.writeContract({
    address: settlement,
    abi: receiptSettlementAbi,
    functionName: 'credit',
    args: [sealed.gateway.enclave],
  })
  await network.client.waitForTransactionReceipt({ hash })
  expect((await account()).credited).toBe(fee)

  // The same wallet on another machine, from nothing but its seed.
  const again = await Wallet.open({ seed: SEED, keyset: network.keyset.keyset, store: createMemoryStore() })
  const depositOf = async (claimKey: Hex) => {
    const deposit = await network.client.readContract({
      address: vault,
      abi: creditVaultAbi,
      functionName: 'depositOf',
      args: [network.keyset.id, claimKey],
    })
    return deposit.state === 0 ? undefined : DEPOSIT_SIZES[deposit.size]
  }
  await restoreWallet(again, { ...access, depositOf })
  expect(again.balance.spendable).toBe(wallet.balance.spendable)
}, 180_000)

it('without a wallet, or with an empty one, nothing is answered and nothing is charged', async () => {
  const { registry } = network.deployment()
  const ask = async (wallet: Wallet | undefined) => {
    const sealed = await connect({
      rpcUrl: network.urls.rpc,
      relayUrl: network.urls.relay,
      registry,
      ...(wallet === undefined ? {} : { wallet }),
    })
    const body = JSON.stringify({ model: DEMO_MODEL, messages: [{ role: 'user', content: 'Hi' }], max_tokens: 8 })
    return sealed.fetch(`${sealed.baseURL}/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body,
    })
  }
  const refused = await ask(undefined)
  expect(refused.status).toBe(402)
  expect(await refused.json()).toMatchObject({ error: { type: 'insufficient_quota', code: 'payment_required' } })
  const empty = await Wallet.open({
    seed: new Uint8Array(32),
    keyset: network.keyset.keyset,
    store: createMemoryStore(),
  })
  await expect(ask(empty)).rejects.toMatchObject({ code: 'INSUFFICIENT' })
})
