/** Issuers killed as processes: a standby takes over by itself, and nothing is lost or spent twice. @module */
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { Hex } from '#protocol/bytes.ts'
import { totalUnits } from '#protocol/credits/amounts.ts'
import { IssueAnswerSchema, IssuerKeysetsSchema } from '#protocol/wire/issuerApi.ts'
import type { IssuerClient } from '../../gateway/issuerClient.ts'
import { waitFor } from '../../scripts/local/processes.ts'
import { copyDatabase } from '../support/issuerStage.ts'
import { type Paid, restore, TestWallet, type WalletCredit } from '../support/issuerWallet.ts'
import { type IssuerNetwork, type IssuerProcess, startIssuerNetwork } from './issuerNetwork.ts'

const DEPOSIT = 1_000_000n
/** What is bought with it: 2^6 + 2^9 + 29 * 2^14 + 2^19 units. */
const EXPONENTS = [6, 9, ...Array<number>(29).fill(14), 19]
const PAYMENTS = 14
const FEE = 992n

let network: IssuerNetwork
beforeAll(async () => {
  network = await startIssuerNetwork()
})
afterAll(() => network?.stop(), 60_000)

const worth = (credits: readonly { exponent: number }[]) => totalUnits(credits.map(({ exponent }) => exponent))
const gateway = () => ({ enclave: network.gateway.statement.enclave.toLowerCase() as Hex })
const isOpen = (issuer: IssuerProcess) => async () => (await issuer.notReady()) === ''
const says = (issuer: IssuerProcess, reason: string) => async () => (await issuer.notReady()).includes(reason)

/** Credits of one deposit, smallest first. */
async function buy(wallet: TestWallet, issuer: IssuerProcess): Promise<WalletCredit[]> {
  const purchase = await wallet.purchase(DEPOSIT, 0, EXPONENTS)
  await network.deposit(wallet.keyset.id, purchase.request.claimKey)
  return purchase.open(await issuer.call(IssueAnswerSchema, 'POST', '/v1/issue', purchase.body))
}

type Attempt = { readonly paid: Paid; readonly credit: WalletCredit }

/** One payment for each credit, sealed to the issuer. */
async function prepare(
  wallet: TestWallet,
  issuer: IssuerProcess,
  credits: readonly WalletCredit[],
): Promise<Attempt[]> {
  const attempts: Attempt[] = []
  for (const credit of credits) {
    attempts.push({ credit, paid: await wallet.pay(issuer, gateway(), [credit], FEE) })
  }
  return attempts
}

/** Captures until it is known how it went: what comes back is in the tiles. Undefined for a payment that was never reserved. */
async function settle(client: IssuerClient, issuer: IssuerProcess, { paid }: Attempt): Promise<bigint | undefined> {
  try {
    expect((await client.capture(paid.id, FEE)).fee).toBe(FEE)
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'UNKNOWN_PAYMENT') return undefined
    throw error
  }
  return worth(await restore(issuer, paid))
}

it('a standby follows a writer that was killed amid payments: nothing is lost or spent twice, and an older database follows nobody', async () => {
  const database = await network.postgres.createDatabase()
  const first = await network.startIssuer('first', database)
  const keyset = await network.openKeyset(first)
  await waitFor('the keyset', isOpen(first), 30_000)

  // The keys are handed over, and the second on the same database answers nothing while the first lives.
  const second = await network.startIssuer('second', database, [first.url])
  await waitFor('a standby', says(second, 'stands by'), 30_000)
  expect(await second.keysets()).toEqual([keyset])
  expect(await second.successions()).toEqual([])
  expect(await second.call(IssuerKeysetsSchema, 'GET', '/v1/keysets')).toEqual({ keysets: [] })
  const wallet = new TestWallet({ id: keyset }, 'wallet', network.domain)
  const credits = (await buy(wallet, first)).slice(-PAYMENTS)
  const toSecond = network.client([second.url])
  const [refused] = await prepare(wallet, second, credits.slice(0, 1))
  if (refused === undefined) throw new Error('expected a payment')
  await expect(toSecond.reserve(refused.paid.sealed)).rejects.toMatchObject({ code: 'UNAVAILABLE' })

  // Some payments are captured, some reserved, some on their way when the first is killed.
  const client = network.client([first.url, second.url])
  const attempts = await prepare(wallet, first, credits)
  const [done, open, ...underWay] = attempts
  if (done === undefined || open === undefined) throw new Error('expected payments')
  await client.reserve(done.paid.sealed)
  expect(await settle(client, first, done)).toBe(worth([done.credit]) - FEE)
  const old = await copyDatabase(network.postgres, database)
  await client.reserve(open.paid.sealed)
  const answers = underWay.map(({ paid }) => client.reserve(paid.sealed).catch((error: unknown) => error))
  await Promise.race(answers)
  await network.kill(first.child)
  await Promise.all(answers)

  // By itself: its own agent tells the vault.
  await waitFor('the take-over', isOpen(second), 30_000)
  expect(await network.writerOf(keyset)).toBe(second.enclave)
  expect(await second.successions()).toEqual([])
  expect(await second.call(IssuerKeysetsSchema, 'GET', '/v1/keysets')).toEqual({ keysets: [keyset] })

  // What was reserved at the first is captured at the second, which the gateway finds; the change comes back from the seed.
  expect(await settle(client, second, open)).toBe(worth([open.credit]) - FEE)

  // What was never reserved can still be paid with; the same again answers the same; every credit is spent once.
  let total = 0n
  for (const attempt of attempts) {
    const reserved = await settle(toSecond, second, attempt)
    const [again] = reserved === undefined ? await prepare(wallet, second, [attempt.credit]) : [attempt]
    if (again === undefined) throw new Error('expected a payment')
    if (again !== attempt) {
      await client.reserve(again.paid.sealed)
      await client.reserve(again.paid.sealed)
    }
    const change = await settle(client, second, again)
    expect(change).toBe(worth([attempt.credit]) - FEE)
    expect(await settle(client, second, again)).toBe(change)
    total += FEE + (change ?? 0n)
    const [twice] = await prepare(wallet, second, [attempt.credit])
    if (twice === undefined) throw new Error('expected a payment')
    await expect(client.reserve(twice.paid.sealed)).rejects.toMatchObject({ code: 'SPENT' })
  }
  expect(total).toBe(worth(credits))

  // A third on an older copy of the database says so, and offers itself to nobody, whoever dies.
  const third = await network.startIssuer('third', old, [second.url])
  await waitFor('exit only', says(third, 'older than what the witnesses hold'), 30_000)
  await network.kill(second.child)
  await expect(network.client([third.url]).capture(open.paid.id, FEE)).rejects.toMatchObject({ code: 'EXIT_ONLY' })
  expect(await third.successions()).toEqual([])
  expect(await network.writerOf(keyset)).toBe(second.enclave)
})
