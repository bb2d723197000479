/** Failover of paid requests: whatever a gateway did with a payment, every unit is spendable, charged, or on its way back. Real wallet, payer, gateways and relay. @module */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createChainReads } from '#chain/chainReads.ts'
import { DEPOSIT_SIZES } from '#protocol/credits/purchase.ts'
import { createWebSuites } from '#protocol/sealing/webSuites.ts'
import { BackendError } from '../../gateway/backends/backendError.ts'
import { createPayments } from '../../gateway/payment.ts'
import {
  STAGE_BINDING,
  type Stage,
  type StageGateway,
  sayHello,
  stagePrice,
  startStage,
} from '../../test/support/gatewayStage.ts'
import { MemoryWalletStore } from '../../test/support/memoryWalletStore.ts'
import { giveCredits, keyset, openBoughtWallet, type PlainIssuer } from '../../test/support/plainIssuer.ts'
import { SILENT } from '../../test/support/postgres.ts'
import { seededWords } from '../../test/support/seededWords.ts'
import { bootStagedIssuer, StagedIssuer } from '../../test/support/stagedIssuer.ts'
import { until } from '../../test/support/until.ts'
import { type Sender, sendRequest } from './failover.ts'
import { findGateways, type TrustedGateway } from './gateway.ts'
import { GatewayPool } from './gatewayPool.ts'
import { readTerms } from './gatewayTerms.ts'
import type { Step } from './options.ts'
import { readInnerRequest, SEALED_ORIGIN, type SealedAnswer } from './sealedFetch.ts'
import { createPayer, type Payer } from './wallet/payer.ts'
import { Wallet } from './wallet/wallet.ts'

const ONE_OPG = DEPOSIT_SIZES[0] ?? 0n
/** Three units a request, one a token: what `sayHello` costs, and the most it could. */
const PRICE = stagePrice('demo', { completionUnitsPerMillion: 1_000_000n })
const FEE = 5n
const issuerEnclave = await bootStagedIssuer()

let stage: Stage
let issuer: StagedIssuer
let wallet: Wallet
let total: bigint
let payer: Payer
let steps: Step[]
let sender: Sender
let first: StageGateway
let second: StageGateway
/** What the client finds at the issuer before its keys of now. */
const staleKeys: TrustedGateway['keyConfigs'][] = []
/** Whose model fails. */
let broken: StageGateway | undefined

beforeEach(async () => {
  stage = await startStage()
  issuer = new StagedIssuer(issuerEnclave)
  steps = []
  broken = undefined
  staleKeys.length = 0
  wallet = (await openBoughtWallet(issuer.plain, new Uint8Array(32).fill(7))).wallet
  total = ONE_OPG
  await setUp()
})
afterEach(async () => {
  vi.restoreAllMocks()
  await stage.close()
})

/** Two gateways that take credits, and a client that has paid at the first of them and would again. */
async function setUp(): Promise<void> {
  const added = [await addGateway(), await addGateway()]
  const relayUrl = await stage.addRelay(added.map(({ url }) => url))
  const suites = createWebSuites()
  const client = createChainReads([stage.rpcUrl])
  const network = { client, ...STAGE_BINDING, relayUrl }
  const findIssuer = async () => walletIssuer(staleKeys.shift() ?? issuerEnclave.keys.configs())
  payer = createPayer({ wallets: () => [wallet], suites, findIssuer, timeoutMs: 30_000 })
  const onStep = (step: Step) => void steps.push(step)
  const pool = new GatewayPool(
    {
      find: () => findGateways(network, {}, BigInt(Math.floor(Date.now() / 1000))),
      readTerms: (gateway) => readTerms({ suites, timeoutMs: 30_000 }, gateway),
      word: seededWords(7),
      now: () => 0,
    },
    {},
  )
  const access = {
    ...network,
    aggregatorUrl: undefined,
    suites,
    padding: 'balanced',
    timeoutMs: 30_000,
    idleTimeoutMs: 30_000,
    onStep,
  } as const
  let last: TrustedGateway | undefined
  const onGateway = (gateway: TrustedGateway) => {
    last = gateway
  }
  sender = { pool, access, payer, attemptsMax: 2, onStep, onGateway }
  await answered(await ask())
  const [a, b] = added.map(({ gateway }) => gateway)
  if (a === undefined || b === undefined) throw new Error('expected two gateways')
  const isA = a.enclave.statement.enclave.toLowerCase() === last?.enclave
  first = isA ? a : b
  second = isA ? b : a
}

async function addGateway(): ReturnType<Stage['addGateway']> {
  const chat: typeof sayHello = async function* () {
    if (added.gateway === broken) throw new BackendError(502, 'UPSTREAM_REFUSED', 'server_error', 'broken')
    yield* sayHello()
  }
  const added = await stage.addGateway({ prices: [PRICE], payments: createPayments(issuer, SILENT), chat })
  return added
}

function walletIssuer(keyConfigs: TrustedGateway['keyConfigs']) {
  const { enclave } = issuerEnclave.statement
  const trusted: TrustedGateway = {
    enclave,
    operator: STAGE_BINDING.operator,
    measurement: `0x${'00'.repeat(32)}`,
    isDevelopment: true,
    url: new URL('http://127.0.0.1/'),
    keyConfigs,
  }
  const access = {
    enclave,
    keysets: async () => ({ keysets: [] }),
    issue: (asked: Parameters<PlainIssuer['issue']>[0]) => issuer.plain.issue(asked),
    changeTile: (prefix: string) => issuer.plain.changeTile(prefix),
    spentPage: (from: number) => issuer.plain.spentPage(from),
  }
  return { enclave: trusted, access }
}

async function ask(init: RequestInit = {}): Promise<SealedAnswer> {
  const body = JSON.stringify({ model: 'demo', messages: [{ role: 'user', content: 'hi' }] })
  const url = `${SEALED_ORIGIN}/v1/chat/completions`
  const { inner, signal } = await readInnerRequest(url, { method: 'POST', body, ...init }, 'balanced')
  return sendRequest(sender, inner, signal)
}

async function answered({ response, receipt }: SealedAnswer): Promise<void> {
  expect(response.status).toBe(200)
  expect(await response.text()).toContain('Hello')
  expect((await receipt).file.private.fee).toBe(FEE)
  await payer.idle()
}

/** A minute later nobody can still be about to hand a payment on. */
function aMinutePasses(): void {
  const now = performance.now.bind(performance)
  vi.spyOn(performance, 'now').mockImplementation(() => now() + 61_000)
}

/** Nothing is lost: what is not spendable was charged. */
function expectAllAccountedFor(): void {
  expect(wallet.balance).toMatchObject({ inPayments: 0n, spendable: total - issuer.charged })
}

const cut = async (pass?: () => Promise<Response>): Promise<Response> => {
  await (await pass?.())?.arrayBuffer()
  return new Response('', { headers: { 'content-type': 'message/ohttp-chunked-res' } })
}
const badGateway = async () => new Response('x', { status: 502 })

describe('a payment that another gateway had to be paid for', () => {
  it('comes back when nobody ever handed it on', async () => {
    first.outside = badGateway
    await answered(await ask())
    expect(steps).toContainEqual(expect.objectContaining({ kind: 'failed-over', reason: 'RELAY_FAILED' }))
    expect(issuer.charged).toBe(2n * FEE)
    // Two answers, three payments: the one between is open, because somebody might still hand it on.
    expect(wallet.openPayments).toHaveLength(1)
    expect(await payer.recover()).toBe(0)
    aMinutePasses()
    expect(await payer.recover()).toBe(1)
    expectAllAccountedFor()
  })

  it('comes back when the gateway refused without looking at it', async () => {
    first.refusal = 'full'
    await answered(await ask())
    expect(wallet.openPayments).toHaveLength(1)
    aMinutePasses()
    expect(await payer.recover()).toBe(1)
    expect(issuer.charged).toBe(2n * FEE)
    expectAllAccountedFor()
  })

  it('brings its change when the answer was lost on the way', async () => {
    first.outside = (_request, pass) => cut(pass)
    await answered(await ask())
    expect(issuer.charged).toBe(3n * FEE)
    expect(await payer.recover()).toBe(1)
    expectAllAccountedFor()
  })

  it('brings all of it when the gateway gave it back', async () => {
    broken = first
    await answered(await ask())
    expect(steps).toContainEqual(expect.objectContaining({ kind: 'failed-over', reason: 'UNAVAILABLE' }))
    // The first answer, the one that failed, the second answer.
    while (issuer.captures < 3) await sleep(1)
    expect(issuer.charged).toBe(2n * FEE)
    expect(await payer.recover()).toBe(1)
    expectAllAccountedFor()
  })

  it('is the wallet’s again at once when nobody could open it', async () => {
    first.outside = async () =>
      new Response('{}', { status: 400, headers: { 'content-type': 'application/problem+json' } })
    second.outside = first.outside
    await expect(ask()).rejects.toMatchObject({ code: 'REQUEST_NOT_OPENED' })
    expect(issuer.charged).toBe(FEE)
    expectAllAccountedFor()
  })
})

describe('an issuer whose keys rotated', () => {
  it('is looked for again, once, and the request is paid anew at the same gateway', async () => {
    // As of a client that was idle for longer than the old keys live.
    staleKeys.push((await bootStagedIssuer()).keys.configs())
    payer.forgetIssuers()
    await answered(await ask())
    expect(steps.filter(({ kind }) => kind === 'failed-over')).toEqual([])
    expect(issuer.charged).toBe(2n * FEE)
    aMinutePasses()
    expect(await payer.recover()).toBe(1)
    expectAllAccountedFor()
  })

  it('and that still cannot open the payment has refused it', async () => {
    const { keys } = await bootStagedIssuer()
    staleKeys.push(keys.configs(), keys.configs())
    payer.forgetIssuers()
    const asked = first.asked
    const { response } = await ask()
    expect(response.status).toBe(402)
    expect(await response.json()).toMatchObject({ error: { code: 'payment_refused', reason: 'BAD_PAYMENT' } })
    expect(first.asked - asked).toBe(2)
    aMinutePasses()
    expect(await payer.recover()).toBe(2)
    expect(issuer.charged).toBe(FEE)
    expectAllAccountedFor()
  })
})

describe('a wallet', () => {
  it('that cannot pay twice tells why the first gateway failed, and gets its credits back', async () => {
    wallet = await Wallet.open({ seed: new Uint8Array(32).fill(8), keyset, store: new MemoryWalletStore() })
    await giveCredits(wallet, [7])
    total = 128n
    const before = issuer.charged
    first.outside = badGateway
    await expect(ask()).rejects.toMatchObject({ code: 'RELAY_FAILED' })
    expect(wallet.balance).toMatchObject({ spendable: 0n, inPayments: 128n })
    aMinutePasses()
    expect(await payer.recover()).toBe(1)
    expect(issuer.charged).toBe(before)
    expect(wallet.balance).toMatchObject({ spendable: 128n, inPayments: 0n })
  })

  it('of a caller that leaves loses nothing, whenever that is', async () => {
    const reason = new Error('mine')
    const [made, returned] = [vi.spyOn(wallet, 'pay'), vi.spyOn(wallet, 'returnPayment')]
    steps.length = 0
    for (const delayMs of [0, 5, 20, 60]) {
      const abort = new AbortController()
      first.outside = async () => {
        await sleep(100)
        return badGateway()
      }
      const asked = ask({ signal: abort.signal })
      await sleep(delayMs)
      abort.abort(reason)
      await expect(asked).rejects.toBe(reason)
    }
    // What was still being made when its caller left comes back by itself; what was sent, a minute later.
    await Promise.all(made.mock.results.map(({ value }) => value))
    const sent = steps.filter(({ kind }) => kind === 'payment-made').length
    await until(() => returned.mock.calls.length === made.mock.calls.length - sent)
    await Promise.all(returned.mock.results.map(({ value }) => value))
    aMinutePasses()
    await payer.recover()
    expect(issuer.charged).toBe(FEE)
    expectAllAccountedFor()
  })
})
