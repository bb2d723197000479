/** What an issuer does when something stops, lies or comes back old. Each case ends with the money counted. @module */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { SignerPool } from '#node/credits/signerPool.ts'
import { connectSql } from '#node/sql.ts'
import type { Hex } from '#protocol/bytes.ts'
import { totalUnits } from '#protocol/credits/amounts.ts'
import { IssueAnswerSchema } from '#protocol/wire/issuerApi.ts'
import type { SecretKeyset } from '../../offchain/issuer/keysetKeys.ts'
import type { IssuerStore, LogWriter } from '../../offchain/issuer/store.ts'
import {
  copyDatabase,
  makeKeyset,
  makeSigners,
  type Stage,
  type StagedIssuer,
  Stages,
  until,
} from '../support/issuerStage.ts'
import { type Paid, restore, TestGateway, TestWallet, type WalletCredit } from '../support/issuerWallet.ts'
import { startPostgres, type TestPostgres } from '../support/postgres.ts'

const DEPOSIT = 1_000_000n
const FEE = 992n

let server: TestPostgres
let keyset: SecretKeyset
let signers: Map<Hex, SignerPool>
let stages: Stages
const gateway = new TestGateway('gateway')

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

const worth = (credits: readonly { exponent: number }[]) => totalUnits(credits.map(({ exponent }) => exponent))
const endedBecause = ({ life }: StagedIssuer) => life.notReady().join()

/** A store whose commits go through `commit`. */
function withCommits(
  commit: (write: LogWriter['commit'], ...args: Parameters<LogWriter['commit']>) => Promise<void>,
): (store: IssuerStore) => IssuerStore {
  return (store) => ({
    ...store,
    async take() {
      const taken = await store.take()
      return {
        ...taken,
        async beginLog(enclave, expected) {
          const writer = await taken.beginLog(enclave, expected)
          return { log: writer.log, commit: (round) => commit(writer.commit, round) }
        },
      }
    },
  })
}

/** Where the process dies: nothing after that happens any more, until another one is booted. */
const STEPS = ['before the commit', 'after the commit', 'before the witnesses'] as const
type Step = (typeof STEPS)[number]

/** A process that can be told where to die. */
function mortal(stage: Stage): { options: Parameters<Stages['boot']>[1]; die(step: Step): void } {
  let dying: Step | undefined
  const forever = () => new Promise<never>((_, reject) => setTimeout(reject, 30, new Error('dead')))
  return {
    options: {
      wrapStore: withCommits(async (write, round) => {
        if (dying === 'before the commit') return forever()
        if (dying === 'before the witnesses') for (const witness of stage.witnesses) witness.isDown = true
        await write(round)
        if (dying === 'after the commit') return forever()
      }),
      timing: { answerMs: 1_000 },
    },
    die: (step) => {
      dying = step
    },
  }
}

async function revive(stage: Stage): Promise<StagedIssuer> {
  for (const witness of stage.witnesses) witness.isDown = false
  return stages.bootOpen(stage)
}

describe('an issuer that dies', () => {
  it.each(STEPS)('in an issue, %s, answers the same deposit once', async (step) => {
    const stage = await stages.make()
    const process = mortal(stage)
    const first = await stages.bootOpen(stage, process.options)
    const purchase = await new TestWallet(keyset, 'wallet').purchase(DEPOSIT)
    stage.chain.deposits.set(keyset.id + purchase.request.claimKey, { state: 'open', units: DEPOSIT })
    process.die(step)
    await expect(first.call(IssueAnswerSchema, 'POST', '/v1/issue', purchase.body)).rejects.toThrow('UNAVAILABLE')
    await first.close()
    const second = await revive(stage)
    const credits = purchase.open(await second.call(IssueAnswerSchema, 'POST', '/v1/issue', purchase.body))
    expect(worth(credits)).toBe(DEPOSIT)
    const writer = second.life.state
    if (!('writer' in writer)) throw new Error('expected a writer')
    expect(writer.writer.ledger(keyset.id).totals).toMatchObject({ issued: DEPOSIT })
  })

  it.each(STEPS)('in a reserve, %s, loses no credit and spends none twice', async (step) => {
    const stage = await stages.make()
    const process = mortal(stage)
    const first = await stages.bootOpen(stage, process.options)
    const wallet = new TestWallet(keyset, 'wallet')
    const credits = (await wallet.buy(stage.chain, first, DEPOSIT)).slice(-1)
    const paid = await wallet.pay(first, gateway, credits, FEE)
    process.die(step)
    await expect(gateway.reserve(first, paid.sealed)).rejects.toThrow('UNAVAILABLE')
    await first.close()
    // What was committed is spent, and its change comes back; what was not can still be spent.
    let now = Date.now() / 1000
    for (const witness of stage.witnesses) witness.isDown = false
    const second = await stages.bootOpen(stage, { now: () => now, seconds: 1 })
    now += 3_600
    await expireAll(second, step === 'before the commit' ? 0 : 1)
    const back = await restore(second, paid)
    const again = await wallet.pay(second, gateway, step === 'before the commit' ? credits : back, FEE)
    await gateway.reserve(second, again.sealed)
    if (step === 'before the commit') expect(back).toEqual([])
    else expect(worth(back)).toBe(worth(credits))
    const twice = await wallet.pay(second, gateway, credits, FEE)
    await expect(gateway.reserve(second, twice.sealed)).rejects.toThrow('SPENT')
  })

  it.each(STEPS)('in a capture, %s, takes the fee once and gives the change back', async (step) => {
    const stage = await stages.make()
    const process = mortal(stage)
    const first = await stages.bootOpen(stage, process.options)
    const { paid, credits } = await reserved(stage, first)
    process.die(step)
    await expect(gateway.capture(first, paid.id, FEE)).rejects.toThrow('UNAVAILABLE')
    // Nothing that is not witnessed is cleared.
    expect(first.clearings.clearings()).toEqual([])
    await first.close()
    const second = await revive(stage)
    expect(await gateway.capture(second, paid.id, FEE)).toEqual({ fee: FEE })
    expect(await gateway.capture(second, paid.id, FEE)).toEqual({ fee: FEE })
    expect(worth(await restore(second, paid))).toBe(worth(credits) - FEE)
    expect(second.clearings.clearings()).toMatchObject([{ issued: DEPOSIT, captured: FEE }])
  })

  it('many times goes on from log to log', async () => {
    const stage = await stages.make()
    const wallet = new TestWallet(keyset, 'wallet')
    let credits: WalletCredit[] = []
    let captured = 0n
    for (let generation = 0; generation < 4; generation++) {
      const issuer = await stages.bootOpen(stage)
      if (generation === 0) credits = (await wallet.buy(stage.chain, issuer, DEPOSIT)).slice(-1)
      const paid = await wallet.pay(issuer, gateway, credits.slice(0, 8), 1n)
      await gateway.reserve(issuer, paid.sealed)
      await gateway.capture(issuer, paid.id, 1n)
      captured += 1n
      const back = await restore(issuer, paid)
      expect(worth(back)).toBe(worth(credits.slice(0, 8)) - 1n)
      credits = back
      expect(issuer.clearings.clearings()).toMatchObject([{ issued: DEPOSIT, captured }])
      await issuer.close()
    }
  })
})

describe('a database that fails', () => {
  it('for a while makes the issuer unavailable, and loses nothing', async () => {
    const stage = await stages.make()
    let isBroken = false
    let committed = 0
    const issuer = await stages.bootOpen(stage, {
      timing: { answerMs: 1_000 },
      wrapStore: withCommits(async (write, round) => {
        // The answer is lost after every other commit.
        if (isBroken && committed++ % 2 === 0) throw new Error('no answer')
        await write(round)
        if (isBroken) throw new Error('the answer got lost')
      }),
    })
    const { paid, credits } = await reserved(stage, issuer)
    isBroken = true
    await expect(gateway.capture(issuer, paid.id, FEE)).rejects.toThrow('UNAVAILABLE')
    isBroken = false
    expect((await eventually(() => gateway.capture(issuer, paid.id, FEE))).fee).toBe(FEE)
    expect(worth(await restore(issuer, paid))).toBe(worth(credits) - FEE)
    const totals = await reopened(stage, issuer)
    expect(totals).toMatchObject({ issued: DEPOSIT, captured: FEE, reserved: 0n })
  })

  it('and comes back older leaves exits only, whatever else its owner says', async () => {
    const stage = await stages.make()
    const first = await stages.bootOpen(stage)
    const { paid } = await reserved(stage, first)
    const old = await copyDatabase(server, stage.url)
    await gateway.capture(first, paid.id, FEE)
    await first.close()
    const second = await stages.boot({ ...stage, url: old })
    stage.chain.name(keyset.id, second.enclave)
    await until(() => endedBecause(second).includes('older than what the witnesses hold'), 'exit only')
    await expect(gateway.reserve(second, paid.sealed)).rejects.toThrow(/EXIT_ONLY|BAD_PAYMENT/)
    await expect(gateway.capture(second, paid.id, 3n)).rejects.toThrow('EXIT_ONLY')
    await expect(new TestWallet(keyset, 'other').buy(stage.chain, second, DEPOSIT)).rejects.toThrow('EXIT_ONLY')
  })

  it('and comes back without the last writer leaves exits only', async () => {
    const stage = await stages.make()
    const first = await stages.bootOpen(stage)
    await reserved(stage, first)
    await first.close()
    const old = await copyDatabase(server, stage.url)
    const second = await stages.bootOpen(stage)
    await reserved(stage, second, 'other')
    await second.close()
    const third = await stages.boot({ ...stage, url: old })
    stage.chain.name(keyset.id, third.enclave)
    await until(() => endedBecause(third).includes('no log of the writer before this one'), 'exit only')
  })

  it('or was emptied leaves exits only', async () => {
    const stage = await stages.make()
    const first = await stages.bootOpen(stage)
    await reserved(stage, first)
    await first.close()
    const second = await stages.boot({ ...stage, url: await server.createDatabase() })
    stage.chain.name(keyset.id, second.enclave)
    await until(() => endedBecause(second).includes('no log of the writer before this one'), 'exit only')
  })

  it.each([
    ['an entry', `update entries set encoded = set_byte(encoded, 40, get_byte(encoded, 40) # 1) where position = 0`],
    ['the blanks of an open payment', `update open_reserves set blanks = set_byte(blanks, 9, get_byte(blanks, 9) # 1)`],
    ['a total', `update heads set fees = fees + 1`],
    ['its newest entry', `delete from entries where position = (select max(position) from entries)`],
  ])('and was changed in %s is not used', async (_, change) => {
    const stage = await stages.make()
    const first = await stages.bootOpen(stage)
    await reserved(stage, first)
    await first.close()
    await execute(stage.url, change)
    const second = await stages.boot(stage)
    stage.chain.name(keyset.id, second.enclave)
    await until(() => endedBecause(second).includes("the issuer's database cannot be used"), 'a refusal')
  })
})

describe('witnesses', () => {
  it('of whom too few answer leave exits only at boot, until they are back', async () => {
    const stage = await stages.make()
    const first = await stages.bootOpen(stage)
    const { paid } = await reserved(stage, first)
    await first.close()
    const [witness] = stage.witnesses
    if (witness === undefined) throw new Error('expected a witness')
    witness.isDown = true
    const second = await stages.boot(stage)
    stage.chain.name(keyset.id, second.enclave)
    await until(() => endedBecause(second).includes('too few witnesses'), 'too few witnesses')
    await expect(new TestWallet(keyset, 'other').buy(stage.chain, second, DEPOSIT)).rejects.toThrow('EXIT_ONLY')
    await expect(gateway.capture(second, paid.id, FEE)).rejects.toThrow('UNAVAILABLE')
    witness.isDown = false
    await until(() => second.life.notReady().length === 0, 'an open keyset')
    expect(await gateway.capture(second, paid.id, FEE)).toEqual({ fee: FEE })
  })

  it('beyond the quorum may be away, and catch up later', async () => {
    const stage = await stages.make(3)
    const [late] = stage.witnesses
    if (late === undefined) throw new Error('expected a witness')
    const issuer = await stages.bootOpen(stage, { quorum: 2 })
    late.isDown = true
    const { paid } = await reserved(stage, issuer)
    await gateway.capture(issuer, paid.id, FEE)
    expect(late.sizeOf(issuer.enclave)).toBe(0)
    late.isDown = false
    await until(() => late.sizeOf(issuer.enclave) === 3, 'the whole log at the late witness')
  })
})

describe('a second writer', () => {
  it('of one database stands by until the first is gone', async () => {
    const stage = await stages.make()
    const first = await stages.bootOpen(stage)
    const { paid } = await reserved(stage, first)
    const standby = await stages.boot(stage)
    // While it reads the log as well: what it will be shows only then.
    const other = new TestWallet(keyset, 'other')
    await expect(other.buy(stage.chain, standby, DEPOSIT)).rejects.toThrow('UNAVAILABLE')
    await until(() => endedBecause(standby).includes('stands by'), 'a standby')
    await expect(other.buy(stage.chain, standby, DEPOSIT)).rejects.toThrow('UNAVAILABLE')
    await expect(gateway.capture(standby, paid.id, FEE)).rejects.toThrow('UNAVAILABLE')
    await first.close()
    stage.chain.name(keyset.id, standby.enclave)
    await until(() => standby.life.notReady().length === 0, 'an open keyset')
    expect(await gateway.capture(standby, paid.id, FEE)).toEqual({ fee: FEE })
  })

  it('that gets the database after the first lost its session ends the first', async () => {
    const stage = await stages.make()
    const first = await stages.bootOpen(stage)
    const { paid } = await reserved(stage, first)
    await execute(
      stage.url,
      `select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and database =
        (select oid from pg_database where datname = current_database())`,
    )
    const second = await stages.boot(stage)
    await until(() => 'writer' in second.life.state, 'a second writer')
    await expect(gateway.capture(first, paid.id, FEE)).rejects.toThrow('EXIT_ONLY')
    stage.chain.name(keyset.id, second.enclave)
    await until(() => second.life.notReady().length === 0, 'an open keyset')
    expect(await gateway.capture(second, paid.id, FEE)).toEqual({ fee: FEE })
  })

  it('that goes on while the next one reads the database does not make it look old', async () => {
    const stage = await stages.make()
    const first = await stages.bootOpen(stage)
    const { paid } = await reserved(stage, first)
    await execute(
      stage.url,
      `select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and database =
        (select oid from pg_database where datname = current_database())`,
    )
    let hasGoneOn = false
    for (const witness of stage.witnesses) {
      // The first has lost its session and does not know. The second has read everything, and is about to ask what the witnesses hold.
      witness.beforeSize = async () => {
        witness.beforeSize = undefined
        if (hasGoneOn) return
        hasGoneOn = true
        await gateway.capture(first, paid.id, FEE)
      }
    }
    const second = await stages.boot(stage)
    await until(() => 'writer' in second.life.state, 'a second writer')
    expect(hasGoneOn).toBe(true)
    stage.chain.name(keyset.id, second.enclave)
    await until(() => second.life.notReady().length === 0, 'an open keyset')
    expect(await gateway.capture(second, paid.id, FEE)).toEqual({ fee: FEE })
  })

  it('of a copied database answers nothing while the vault names the first, and nothing after the first wrote', async () => {
    const stage = await stages.make()
    const first = await stages.bootOpen(stage)
    const { paid } = await reserved(stage, first)
    const second = await stages.boot({ ...stage, url: await copyDatabase(server, stage.url) })
    await until(() => 'writer' in second.life.state, 'a second writer')
    await expect(new TestWallet(keyset, 'other').buy(stage.chain, second, DEPOSIT)).rejects.toThrow('EXIT_ONLY')
    await expect(gateway.capture(second, paid.id, FEE)).rejects.toThrow('EXIT_ONLY')
    await gateway.capture(first, paid.id, 3n)
    stage.chain.name(keyset.id, second.enclave)
    await until(() => endedBecause(second).includes('older than what the witnesses hold'), 'exit only')
    await until(() => endedBecause(first).includes('another enclave is the writer'), 'the end of the first')
    await expect(gateway.capture(first, paid.id, 3n)).rejects.toThrow('EXIT_ONLY')
  })
})

it('a writer that cannot read its name answers nothing until it can', async () => {
  const stage = await stages.make()
  const issuer = await stages.bootOpen(stage)
  const { paid } = await reserved(stage, issuer)
  stage.chain.isSilent = true
  await until(() => endedBecause(issuer).includes('not confirmed'), 'an expired lease')
  await expect(gateway.capture(issuer, paid.id, FEE)).rejects.toThrow('UNAVAILABLE')
  stage.chain.isSilent = false
  await until(() => issuer.life.notReady().length === 0, 'an open keyset')
  expect((await gateway.capture(issuer, paid.id, FEE)).fee).toBe(FEE)
})

async function reserved(
  stage: Stage,
  issuer: StagedIssuer,
  name = 'wallet',
): Promise<{ paid: Paid; credits: WalletCredit[] }> {
  const wallet = new TestWallet(keyset, name)
  const credits = (await wallet.buy(stage.chain, issuer, DEPOSIT)).slice(-1)
  const paid = await wallet.pay(issuer, gateway, credits, FEE)
  await gateway.reserve(issuer, paid.sealed)
  return { paid, credits }
}

async function expireAll(issuer: StagedIssuer, expected: number): Promise<void> {
  let expired = 0
  const { state } = issuer.life
  if (!('writer' in state)) throw new Error('expected a writer')
  await until(() => [...state.standings.values()].every(({ openSeconds }) => openSeconds > 1), 'the grace to pass')
  expired += await issuer.expire()
  expect(expired).toBe(expected)
}

async function eventually<T>(attempt: () => Promise<T>): Promise<T> {
  const deadline = performance.now() + 20_000
  for (;;) {
    try {
      return await attempt()
    } catch (error) {
      if (performance.now() > deadline) throw error
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
}

async function reopened(stage: Stage, issuer: StagedIssuer): Promise<unknown> {
  await issuer.close()
  const next = await stages.bootOpen(stage)
  if (!('writer' in next.life.state)) throw new Error('expected a writer')
  return next.life.state.writer.ledger(keyset.id).totals
}

async function execute(url: string, statement: string): Promise<void> {
  const sql = connectSql(url, { max: 1 })
  await sql.unsafe(statement)
  await sql.end()
}
