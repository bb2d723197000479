/** The issuer on a real PostgreSQL with witnesses that check: a credit's whole life, and what happens when anything stops in between. @module */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { SignerPool } from '#node/credits/signerPool.ts'
import { type Hex, toHex } from '#protocol/bytes.ts'
import { totalUnits } from '#protocol/credits/amounts.ts'
import { verifySignatures } from '#protocol/credits/batchVerification.ts'
import { verifyChange } from '#protocol/credits/change.ts'
import { creditMessage } from '#protocol/credits/message.ts'
import { decodeG1 } from '#protocol/credits/points.ts'
import { hashClearing } from '#protocol/receipt/clearing.ts'
import { recoverSigner } from '#protocol/receipt/head.ts'
import { IssueAnswerSchema, IssuerKeysetsSchema } from '#protocol/wire/issuerApi.ts'
import type { SecretKeyset } from '../../offchain/issuer/keysetKeys.ts'
import { DOMAIN, makeKeyset, makeSigners, Stages, until } from '../support/issuerStage.ts'
import { restore, TestGateway, TestWallet, type WalletCredit } from '../support/issuerWallet.ts'
import { startPostgres, type TestPostgres } from '../support/postgres.ts'

const random = (length: number) => crypto.getRandomValues(new Uint8Array(length))
const DEPOSIT = 1_000_000n
const FEE = 992n

let server: TestPostgres
let keyset: SecretKeyset
let signers: Map<Hex, SignerPool>
const gateway = new TestGateway('gateway')
let stages: Stages

beforeAll(async () => {
  server = await startPostgres()
  keyset = makeKeyset()
  signers = await makeSigners([keyset])
  stages = new Stages(server, keyset, signers, [gateway.enclave])
})
afterEach(() => stages.closeAll())
afterAll(async () => {
  for (const pool of signers.values()) await pool.close()
  await server.close()
})

function areGood(credits: readonly WalletCredit[]): boolean {
  const items = credits.map(({ exponent, secret, exitKey, signature }) => ({
    message: creditMessage({ ...DOMAIN, keyset: keyset.id }, exitKey, secret),
    signature: decodeG1(signature),
    publicKey: keyset.keyset.keys[exponent] ?? unreachable(),
  }))
  return verifySignatures(items, random)
}

function unreachable(): never {
  throw new Error('expected a key for every exponent')
}

const worth = (credits: readonly { exponent: number }[]) => totalUnits(credits.map(({ exponent }) => exponent))

describe('a credit', () => {
  it('is bought, spent, and comes back as change that verifies and can be spent again', async () => {
    const stage = await stages.make()
    const issuer = await stages.bootOpen(stage)
    expect(await issuer.call(IssuerKeysetsSchema, 'GET', '/v1/keysets')).toEqual({ keysets: [keyset.id] })
    const wallet = new TestWallet(keyset, 'wallet')
    const credits = await wallet.buy(stage.chain, issuer, DEPOSIT)
    expect(worth(credits)).toBe(DEPOSIT)
    expect(areGood(credits)).toBe(true)

    const inputs = credits.slice(-2)
    const paid = await wallet.pay(issuer, gateway, inputs, FEE)
    const reserved = await gateway.reserve(issuer, paid.sealed)
    expect(reserved).toMatchObject({ payment: paid.id, maximumFee: FEE })
    const captured = await gateway.capture(issuer, paid.id, 31n)
    expect(captured.fee).toBe(31n)
    const change = await paid.openChange(captured.sealedChange ?? new Uint8Array())
    expect(verifyChange(paid.payment, change, keyset.keyset, random)).toEqual({ ok: true })
    const back = paid.unblind(
      change.signatures.map(({ exponent, blindSignature }) => ({ exponent, signature: blindSignature })),
    )
    expect(worth(back)).toBe(worth(inputs) - 31n)
    expect(areGood(back)).toBe(true)
    // The same from the public tiles.
    expect(await restore(issuer, paid)).toEqual(back)

    const again = await wallet.pay(issuer, gateway, back.slice(0, 8), 1n)
    await gateway.reserve(issuer, again.sealed)
    expect(await gateway.capture(issuer, again.id, 0n)).toMatchObject({ fee: 0n })

    const [clearing, ...others] = issuer.clearings.clearings()
    expect(others).toEqual([])
    if (clearing === undefined) throw new Error('expected a clearing')
    expect(clearing).toMatchObject({
      keyset: keyset.id,
      issued: DEPOSIT,
      captured: 31n,
      enclaves: [{ enclave: gateway.enclave, captured: 31n }],
    })
    expect(recoverSigner(hashClearing(clearing, DOMAIN), clearing)?.toLowerCase()).toBe(issuer.enclave)
  })

  it('is spent once, by whichever of many concurrent payments', async () => {
    const stage = await stages.make()
    const issuer = await stages.bootOpen(stage)
    const wallet = new TestWallet(keyset, 'wallet')
    const [credit] = await wallet.buy(stage.chain, issuer, DEPOSIT)
    if (credit === undefined) throw new Error('expected a credit')
    const payments = await Promise.all([1, 2, 3, 4, 5].map(() => wallet.pay(issuer, gateway, [credit], 1n)))
    const results = await Promise.allSettled(payments.map(({ sealed }) => gateway.reserve(issuer, sealed)))
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    const reasons = results.flatMap((result) => (result.status === 'rejected' ? [String(result.reason)] : []))
    expect(new Set(reasons)).toEqual(new Set(['Error: SPENT']))
  })
})

describe('a repeat', () => {
  it('of an issue, a reserve or a capture answers the same', async () => {
    const stage = await stages.make()
    const issuer = await stages.bootOpen(stage)
    const { chain } = stage
    const wallet = new TestWallet(keyset, 'wallet')
    const purchase = await wallet.purchase(DEPOSIT)
    chain.deposits.set(keyset.id + purchase.request.claimKey, { state: 'open', units: DEPOSIT })
    const issued = await issuer.call(IssueAnswerSchema, 'POST', '/v1/issue', purchase.body)
    // What happens to the deposit afterwards changes nothing.
    chain.deposits.set(keyset.id + purchase.request.claimKey, { state: 'closed', units: DEPOSIT })
    expect(await issuer.call(IssueAnswerSchema, 'POST', '/v1/issue', purchase.body)).toEqual(issued)
    const paid = await wallet.pay(issuer, gateway, purchase.open(issued).slice(-1), FEE)
    const reserved = await gateway.reserve(issuer, paid.sealed)
    expect(await gateway.reserve(issuer, paid.sealed)).toEqual(reserved)
    const captured = await gateway.capture(issuer, paid.id, FEE)
    const again = await gateway.capture(issuer, paid.id, FEE)
    const opened = [captured, again].map(({ sealedChange }) => paid.openChange(sealedChange ?? new Uint8Array()))
    expect(await opened[1]).toEqual(await opened[0])
    expect(issuer.clearings.clearings()).toMatchObject([{ issued: DEPOSIT, captured: FEE }])
  })

  it('with other outputs or another fee is refused', async () => {
    const stage = await stages.make()
    const issuer = await stages.bootOpen(stage)
    const { chain } = stage
    const wallet = new TestWallet(keyset, 'wallet')
    const first = await wallet.purchase(DEPOSIT, 7)
    const second = await wallet.purchase(DEPOSIT, 7)
    chain.deposits.set(keyset.id + first.request.claimKey, { state: 'open', units: DEPOSIT })
    const issued = await issuer.call(IssueAnswerSchema, 'POST', '/v1/issue', first.body)
    await expect(issuer.call(IssueAnswerSchema, 'POST', '/v1/issue', second.body)).rejects.toThrow('DEPOSIT_CLOSED')
    const paid = await wallet.pay(issuer, gateway, first.open(issued).slice(-1), FEE)
    await gateway.reserve(issuer, paid.sealed)
    await expect(gateway.capture(issuer, paid.id, 1_000n)).rejects.toThrow('BAD_REQUEST')
    await expect(gateway.capture(issuer, paid.id, 1_024n)).rejects.toThrow('FEE_TOO_HIGH')
    await gateway.capture(issuer, paid.id, 3n)
    await expect(gateway.capture(issuer, paid.id, 4n)).rejects.toThrow('ALREADY_CAPTURED')
    await expect(gateway.reserve(issuer, paid.sealed)).rejects.toThrow('SPENT')
  })
})

describe('refused are', () => {
  it('deposits that are not there, not open, or worth something else', async () => {
    const stage = await stages.make()
    const issuer = await stages.bootOpen(stage)
    const { chain } = stage
    const wallet = new TestWallet(keyset, 'wallet')
    const { body, request } = await wallet.purchase(DEPOSIT)
    const issue = () => issuer.call(IssueAnswerSchema, 'POST', '/v1/issue', body)
    await expect(issue()).rejects.toThrow('NO_DEPOSIT')
    chain.deposits.set(keyset.id + request.claimKey, { state: 'closed', units: DEPOSIT })
    await expect(issue()).rejects.toThrow('DEPOSIT_CLOSED')
    chain.deposits.set(keyset.id + request.claimKey, { state: 'open', units: 10n * DEPOSIT })
    await expect(issue()).rejects.toThrow('WRONG_AMOUNT')
    const forged = { ...(body as object), claimKey: gateway.enclave }
    await expect(issuer.call(IssueAnswerSchema, 'POST', '/v1/issue', forged)).rejects.toThrow('BAD_SIGNATURE')
  })

  it('payments of strangers, for others, of forged credits, and of credits that are being exited', async () => {
    const stage = await stages.make()
    const issuer = await stages.bootOpen(stage)
    const { chain } = stage
    const wallet = new TestWallet(keyset, 'wallet')
    const credits = await wallet.buy(chain, issuer, DEPOSIT)
    const [credit, other] = credits.slice(-2)
    if (credit === undefined || other === undefined) throw new Error('expected two credits')
    const stranger = new TestGateway('stranger')
    const paid = await wallet.pay(issuer, gateway, [credit], 1n)
    await expect(stranger.reserve(issuer, paid.sealed)).rejects.toThrow('UNKNOWN_GATEWAY')
    chain.gateways.add(stranger.enclave)
    await expect(stranger.reserve(issuer, paid.sealed)).rejects.toThrow('BAD_PAYMENT')
    await expect(gateway.reserve(issuer, paid.sealed.slice(1))).rejects.toThrow('BAD_PAYMENT')
    const forged = await wallet.pay(issuer, gateway, [{ ...credit, signature: other.signature }], 1n)
    await expect(gateway.reserve(issuer, forged.sealed)).rejects.toThrow('BAD_CREDIT')
    const raised = await wallet.pay(issuer, gateway, [{ ...credit, exponent: credit.exponent + 1 }], 1n)
    await expect(gateway.reserve(issuer, raised.sealed)).rejects.toThrow('BAD_CREDIT')
    chain.exits.push(toHex(creditMessage({ ...DOMAIN, keyset: keyset.id }, credit.exitKey, credit.secret)))
    await expect(gateway.reserve(issuer, paid.sealed)).rejects.toThrow('SPENT')
    chain.exits.pop()
    await gateway.reserve(issuer, paid.sealed)
    await expect(stranger.capture(issuer, paid.id, 0n)).rejects.toThrow('BAD_SIGNATURE')
    await expect(gateway.capture(issuer, forged.id, 0n)).rejects.toThrow('UNKNOWN_PAYMENT')
  })
})

describe('a payment that its gateway forgot', () => {
  it('is captured for nothing when it expires, and later when it was renewed', async () => {
    let now = Date.now() / 1000
    const stage = await stages.make()
    const issuer = await stages.bootOpen(stage, { now: () => now, seconds: 1 })
    const wallet = new TestWallet(keyset, 'wallet')
    const credits = (await wallet.buy(stage.chain, issuer, DEPOSIT)).slice(-1)
    const paid = await wallet.pay(issuer, gateway, credits, FEE)
    const { expiresAt } = await gateway.reserve(issuer, paid.sealed)
    now += 0.9
    expect((await gateway.renew(issuer, paid.id)).expiresAt).toBeGreaterThanOrEqual(expiresAt)
    expect(await issuer.expire()).toBe(0)
    now += 5
    await until(() => issuer.life.notReady().length === 0, 'an open keyset')
    const deadline = performance.now() + 10_000
    let expired = 0
    while (expired === 0 && performance.now() < deadline) expired = await issuer.expire()
    expect(expired).toBe(1)
    await expect(gateway.capture(issuer, paid.id, FEE)).rejects.toThrow('ALREADY_CAPTURED')
    expect(worth(await restore(issuer, paid))).toBe(worth(credits))
  })

  it('is never renewed beyond its bound', async () => {
    let now = Math.floor(Date.now() / 1000)
    const stage = await stages.make()
    const issuer = await stages.bootOpen(stage, { now: () => now })
    const wallet = new TestWallet(keyset, 'wallet')
    const credits = (await wallet.buy(stage.chain, issuer, DEPOSIT)).slice(-1)
    const paid = await wallet.pay(issuer, gateway, credits, FEE)
    await gateway.reserve(issuer, paid.sealed)
    const bound = BigInt(now + 600)
    now += 599
    expect(await gateway.renew(issuer, paid.id)).toEqual({ expiresAt: bound })
    expect(await gateway.renew(issuer, paid.id)).toEqual({ expiresAt: bound })
  })
})
