/** The deposit desk on a real chain, bought from with x402's official client by somebody without gas. @module */
import { decodePaymentResponseHeader } from '@x402/core/http'
import { ExactEvmScheme } from '@x402/evm'
import { wrapFetchWithPaymentFromConfig } from '@x402/fetch'
import { Hono } from 'hono'
import { parseSignature } from 'viem'
import { type PrivateKeyAccount, privateKeyToAccount } from 'viem/accounts'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { creditVaultAbi, testOPGAbi } from '#chain/generated/abis.ts'
import { type RunningServer, startServer } from '#node/server.ts'
import { type Hex, toHex } from '#protocol/bytes.ts'
import { addDepositRoutes } from '../../offchain/operator/deposits/depositApp.ts'
import { openDepositDesk } from '../../offchain/operator/deposits/depositDesk.ts'
import { deployLocal, type LocalChain } from '../support/chain.ts'
import { openTestKeyset, type TestKeyset } from '../support/credits.ts'
import { SILENT } from '../support/postgres.ts'

const OPG = 10n ** 18n
const OPEN = 1
const WRITER: Hex = `0x${'77'.repeat(20)}`
const HUNDRED_DAYS = 100 * 86_400

let chain: LocalChain
let keyset: TestKeyset
let server: RunningServer
let count = 0

beforeAll(async () => {
  chain = await deployLocal()
  keyset = await openTestKeyset(chain, WRITER)
  server = await startDesk()
})
afterAll(async () => {
  await server.close(1_000)
  await chain.close()
})

async function startDesk(options: { readonly failFrom?: number } = {}): Promise<RunningServer> {
  const wallet = chain.wallet('settler')
  let sent = 0
  // A chain that stops answering between the payment and the deposit.
  const failing: typeof wallet = {
    ...wallet,
    sendTransaction: (async (...args: Parameters<typeof wallet.sendTransaction>) => {
      if (sent++ >= (options.failFrom ?? Number.POSITIVE_INFINITY)) throw new Error('the endpoint is away')
      return wallet.sendTransaction(...args)
    }) as typeof wallet.sendTransaction,
  }
  const now = async () => Number((await chain.client.getBlock()).timestamp)
  const started = await now()
  const { vault } = chain.addresses
  const desk = await openDepositDesk({ client: chain.client, wallet: failing, vault, now: () => started })
  const app = new Hono()
  addDepositRoutes(app, desk, SILENT)
  return startServer(app, { host: '127.0.0.1', port: 0 })
}

/** Somebody with OPG and without a wei of gas. */
async function newBuyer(amount = 10n * OPG): Promise<PrivateKeyAccount> {
  const account = privateKeyToAccount(toHex(new Uint8Array(32).fill(0x31 + ++count)))
  const wallet = chain.wallet('deployer')
  const token = { address: chain.addresses.token, abi: testOPGAbi } as const
  const hash = await wallet.writeContract({ ...token, functionName: 'mint', args: [account.address, amount] })
  await chain.client.waitForTransactionReceipt({ hash })
  return account
}

const newClaimKey = () =>
  privateKeyToAccount(toHex(new Uint8Array(32).fill(0x91 + ++count))).address.toLowerCase() as Hex

function payingFetch(account: PrivateKeyAccount): (url: string, init?: RequestInit) => Promise<Response> {
  const network = `eip155:${chain.addresses.chainId}` as const
  return wrapFetchWithPaymentFromConfig(fetch, {
    schemes: [{ network, client: new ExactEvmScheme(account) }],
    spendControls: { allowedAssets: [{ network, asset: chain.addresses.token }] },
  })
}

const pathOf = (claimKey: Hex, account: PrivateKeyAccount, size = '1', id = keyset.id) =>
  `/v1/deposits/${id}/${size}/${claimKey}/${account.address}`

const depositOf = (claimKey: Hex) => read('depositOf', [keyset.id, claimKey])
const boxOf = (claimKey: Hex, account: PrivateKeyAccount) => read('boxOf', [keyset.id, claimKey, account.address])

function read<Name extends 'depositOf' | 'boxOf'>(functionName: Name, args: readonly unknown[]) {
  const { vault } = chain.addresses
  const call = { address: vault, abi: creditVaultAbi, functionName, args } as Parameters<
    typeof chain.client.readContract
  >[0]
  type Answer = { depositOf: { readonly state: number; readonly payer: Hex; readonly size: number }; boxOf: Hex }
  return chain.client.readContract(call) as Promise<Answer[Name]>
}

const balanceOf = (holder: Hex) =>
  chain.client.readContract({
    address: chain.addresses.token,
    abi: testOPGAbi,
    functionName: 'balanceOf',
    args: [holder],
  })

const post = (path: string, headers: Record<string, string> = {}) =>
  fetch(`${server.url}${path}`, { method: 'POST', headers })

describe('the official client', () => {
  it('buys a deposit with one signature and no gas, and the deposit is attributed to it', async () => {
    const buyer = await newBuyer()
    const claimKey = newClaimKey()
    const response = await payingFetch(buyer)(`${server.url}${pathOf(claimKey, buyer)}`, { method: 'POST' })
    expect(response.status).toBe(200)
    expect(await response.json()).toEqual({ state: 'deposited', box: await boxOf(claimKey, buyer) })
    const settlement = decodePaymentResponseHeader(response.headers.get('payment-response') ?? '')
    expect(settlement).toMatchObject({ success: true, payer: buyer.address })
    expect(await depositOf(claimKey)).toMatchObject({ state: OPEN, payer: buyer.address, size: 0 })
    expect(await balanceOf(buyer.address)).toBe(9n * OPG)
    expect(await chain.client.getBalance({ address: buyer.address })).toBe(0n)
  })

  it('pays once for a purchase, however often it asks', async () => {
    const buyer = await newBuyer()
    const path = pathOf(newClaimKey(), buyer)
    const fetchAndPay = payingFetch(buyer)
    const answers = await Promise.all([1, 2, 3].map(() => fetchAndPay(`${server.url}${path}`, { method: 'POST' })))
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200])
    expect((await post(path)).status).toBe(200)
    expect(await balanceOf(buyer.address)).toBe(9n * OPG)
  })

  it('is told the reason when it cannot pay', async () => {
    const buyer = await newBuyer(OPG - 1n)
    const claimKey = newClaimKey()
    const response = await payingFetch(buyer)(`${server.url}${pathOf(claimKey, buyer)}`, { method: 'POST' })
    expect(response.status).toBe(402)
    expect((await depositOf(claimKey)).state).toBe(0)
    expect(await balanceOf(buyer.address)).toBe(OPG - 1n)
  })
})

describe('nothing is lost', () => {
  it('when the chain goes away between payment and deposit: the same request without a payment goes on', async () => {
    const failing = await startDesk({ failFrom: 0 })
    const buyer = await newBuyer()
    const claimKey = newClaimKey()
    const url = `${failing.url}${pathOf(claimKey, buyer)}`
    const response = await payingFetch(buyer)(url, { method: 'POST' })
    await failing.close(1_000)
    expect(response.status).toBe(503)
    expect(await response.json()).toMatchObject({ error: { code: 'UNAVAILABLE' } })
    expect((await depositOf(claimKey)).state).toBe(0)
    expect(await balanceOf(await boxOf(claimKey, buyer))).toBe(OPG)

    expect((await post(pathOf(claimKey, buyer))).status).toBe(200)
    expect(await depositOf(claimKey)).toMatchObject({ state: OPEN, payer: buyer.address })
  })

  it('when somebody copies the authorisation and submits it alone: the money is in the box, and becomes the deposit', async () => {
    const buyer = await newBuyer()
    const claimKey = newClaimKey()
    let header = ''
    const network = `eip155:${chain.addresses.chainId}` as const
    const copying = wrapFetchWithPaymentFromConfig(
      async (input, init) => {
        const request = new Request(input, init)
        header = request.headers.get('payment-signature') ?? header
        return header === '' ? fetch(request) : new Response(null, { status: 200 })
      },
      {
        schemes: [{ network, client: new ExactEvmScheme(buyer) }],
        spendControls: { allowedAssets: [{ network, asset: chain.addresses.token }] },
      },
    )
    await copying(`${server.url}${pathOf(claimKey, buyer)}`, { method: 'POST' })
    const { payload } = JSON.parse(Buffer.from(header, 'base64').toString()) as {
      payload: {
        signature: Hex
        authorization: Record<'from' | 'to' | 'value' | 'validAfter' | 'validBefore', string> & { nonce: Hex }
      }
    }
    const { from, to, value, validAfter, validBefore, nonce } = payload.authorization
    const { r, s, v } = parseSignature(payload.signature)
    const stranger = chain.wallet('stranger')
    const hash = await stranger.writeContract({
      address: chain.addresses.token,
      abi: testOPGAbi,
      functionName: 'transferWithAuthorization',
      args: [from as Hex, to as Hex, BigInt(value), BigInt(validAfter), BigInt(validBefore), nonce, Number(v), r, s],
    })
    await chain.client.waitForTransactionReceipt({ hash })

    const answer = await post(pathOf(claimKey, buyer), { 'payment-signature': header })
    expect(answer.status).toBe(200)
    expect(await depositOf(claimKey)).toMatchObject({ state: OPEN, payer: buyer.address })

    // The same signature pays for nothing else: it names the box.
    const other = await post(pathOf(newClaimKey(), buyer), { 'payment-signature': header })
    expect(other.status).toBe(402)
    expect(await balanceOf(buyer.address)).toBe(9n * OPG)
  })
})

describe('what cannot be bought', () => {
  it('is refused before any money moves', async () => {
    const buyer = await newBuyer()
    const claimKey = newClaimKey()
    const unknown = await post(pathOf(claimKey, buyer, '1', `0x${'12'.repeat(32)}`))
    expect([unknown.status, await unknown.json()]).toMatchObject([409, { error: { code: 'UNKNOWN_KEYSET' } }])
    for (const path of [pathOf(claimKey, buyer, '2'), pathOf('0x1234', buyer), pathOf(claimKey, buyer, '1', '0x12')]) {
      const response = await post(path)
      expect([response.status, await response.json()]).toMatchObject([400, { error: { code: 'BAD_REQUEST' } }])
    }
    const malformed = await post(pathOf(claimKey, buyer), { 'payment-signature': 'what?' })
    expect(malformed.status).toBe(402)
    expect(await malformed.json()).toMatchObject({ error: { message: 'the payment header is malformed' } })
  })

  it('is nothing while the guardian has paused deposits, and nothing once the keyset no longer signs', async () => {
    const buyer = await newBuyer()
    const path = pathOf(newClaimKey(), buyer)
    const guardian = chain.wallet('deployer')
    const vault = { address: chain.addresses.vault, abi: creditVaultAbi } as const
    const mine = async (hash: Hex) => chain.client.waitForTransactionReceipt({ hash })
    await mine(await guardian.writeContract({ ...vault, functionName: 'pause' }))
    const paused = await post(path)
    await mine(await guardian.writeContract({ ...vault, functionName: 'unpause' }))
    expect([paused.status, await paused.json()]).toMatchObject([409, { error: { code: 'DEPOSITS_PAUSED' } }])

    await chain.control.increaseTime({ seconds: HUNDRED_DAYS })
    await chain.control.mine({ blocks: 1 })
    const late = await startDesk()
    const closed = await fetch(`${late.url}${path}`, { method: 'POST' })
    await late.close(1_000)
    expect([closed.status, await closed.json()]).toMatchObject([409, { error: { code: 'KEYSET_CLOSED' } }])
    expect(await balanceOf(buyer.address)).toBe(10n * OPG)
  })
})
