/** A standby takes the writer's place by itself: with keys handed over before, and the writer's word that the vault asks for. @module */
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import type { SignerPool } from '#node/credits/signerPool.ts'
import type { Enclave } from '#node/enclave/enclave.ts'
import { connectSql } from '#node/sql.ts'
import type { Hex } from '#protocol/bytes.ts'
import { totalUnits } from '#protocol/credits/amounts.ts'
import { isSuccessionBy } from '#protocol/credits/succession.ts'
import { IssuerKeysetsSchema } from '#protocol/wire/issuerApi.ts'
import type { HandoverTaker } from '../../offchain/issuer/handoverTaker.ts'
import type { Standby } from '../../offchain/issuer/issuer.ts'
import type { SecretKeyset } from '../../offchain/issuer/keysetKeys.ts'
import { bootIssuerEnclave, giverOf, idOf, register, serveEnclave, takerOf } from '../support/issuerEnclave.ts'
import {
  copyDatabase,
  DOMAIN,
  makeKeyset,
  makeSigners,
  type Stage,
  type StagedChain,
  type StagedIssuer,
  Stages,
  until,
  untilOpen,
} from '../support/issuerStage.ts'
import { type Paid, restore, TestGateway, TestWallet, type WalletCredit } from '../support/issuerWallet.ts'
import { SILENT, startPostgres, type TestPostgres } from '../support/postgres.ts'

const DEPOSIT = 1_000_000n
const FEE = 992n

let server: TestPostgres
let keyset: SecretKeyset
let signers: Map<Hex, SignerPool>
let stages: Stages
const gateway = new TestGateway('gateway')
const closers: (() => Promise<void>)[] = []

beforeAll(async () => {
  server = await startPostgres()
  keyset = makeKeyset()
  signers = await makeSigners([keyset])
  stages = new Stages(server, keyset, signers, [gateway.enclave])
})
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
  await stages.closeAll()
})
afterAll(async () => {
  for (const pool of signers.values()) await pool.close()
  await server.close()
})

const worth = (credits: readonly { exponent: number }[]) => totalUnits(credits.map(({ exponent }) => exponent))

type Member = StagedIssuer & { readonly own: Enclave; readonly url: string; readonly taker: HandoverTaker | undefined }

/** An issuer that can be asked for its keysets; one with `from` asks others for theirs. */
async function boot(stage: Stage, from: readonly string[] = [], database = stage.url): Promise<Member> {
  const own = await bootIssuerEnclave()
  register(stage.chain, own)
  const keysets: SecretKeyset[] = from.length === 0 ? [keyset] : []
  const { chain } = stage
  // What is handed over needs an issuer that takes it: the taker begins last.
  let taker: HandoverTaker | undefined
  const standby: Standby = {
    get notReady() {
      return taker === undefined ? 'nothing was asked for yet' : taker.notReady
    },
    successionBy: (id, writer) => taker?.successionBy(id, writer),
  }
  const issuer = await stages.boot(
    { ...stage, url: database },
    {
      keysets: [...keysets],
      privateKey: own.privateKey,
      handover: giverOf(own, { chain, keysets: () => keysets }),
      ...(from.length === 0 ? {} : { standby }),
    },
  )
  const onKeyset = async (secret: SecretKeyset) => {
    keysets.push(secret)
    issuer.addKeyset(secret)
  }
  if (from.length > 0) taker = takerOf(own, { chain, urls: from, onKeyset })
  const served = await serveEnclave(own, issuer.handle)
  closers.push(async () => {
    await taker?.close()
    await served.close()
  })
  return { ...issuer, own, url: served.url, taker }
}

async function bootWriter(stage: Stage): Promise<Member> {
  const writer = await boot(stage)
  stage.chain.name(keyset.id, writer.enclave)
  await untilOpen(writer)
  return writer
}

/** Does what the operator agent and the vault do: checks the word of the present writer, and names the successor. */
async function submit(chain: StagedChain, { life }: Member): Promise<void> {
  await until(() => life.successions().length > 0, 'a succession')
  for (const { keyset: id, successor, r, vs } of life.successions()) {
    const writer = (await chain.writers(id)).at(-1)
    if (writer === undefined) throw new Error('expected a writer')
    expect(isSuccessionBy(writer, { keyset: id, successor }, DOMAIN, { r, vs })).toBe(true)
    chain.name(id, successor)
  }
}

async function reserved(stage: Stage, issuer: Member): Promise<{ paid: Paid; credits: WalletCredit[] }> {
  const wallet = new TestWallet(keyset, 'wallet')
  const credits = (await wallet.buy(stage.chain, issuer, DEPOSIT)).slice(-1)
  const paid = await wallet.pay(issuer, gateway, credits, FEE)
  await gateway.reserve(issuer, paid.sealed)
  return { paid, credits }
}

const listed = async (issuer: Member) => (await issuer.call(IssuerKeysetsSchema, 'GET', '/v1/keysets')).keysets

/** Cuts whoever holds the database from its lock, as a broken line would. */
async function cutOff(url: string): Promise<void> {
  const sql = connectSql(url, { max: 1 })
  await sql`
    select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and database =
      (select oid from pg_database where datname = current_database())`
  await sql.end()
}

it('a standby follows a writer that died, captures what was reserved there and gives the change back', async () => {
  const stage = await stages.make()
  const first = await bootWriter(stage)
  const { paid, credits } = await reserved(stage, first)
  const second = await boot(stage, [first.url])
  await until(() => second.life.notReady().join().includes('stands by'), 'a standby')
  expect(await listed(first)).toEqual([keyset.id])
  expect(await listed(second)).toEqual([])
  await expect(gateway.capture(second, paid.id, FEE)).rejects.toThrow('UNAVAILABLE')
  expect(second.life.successions()).toEqual([])
  await first.close()
  await until(() => second.life.successions().length > 0, 'a succession')
  expect(await listed(second)).toEqual([])
  await submit(stage.chain, second)
  // Named and waiting for the lease of the one before: a gateway asks again.
  await expect(gateway.capture(second, paid.id, FEE)).rejects.toThrow('UNAVAILABLE')
  await untilOpen(second)
  expect(second.life.successions()).toEqual([])
  expect(await listed(second)).toEqual([keyset.id])
  expect(await gateway.capture(second, paid.id, FEE)).toEqual({ fee: FEE })
  expect(worth(await restore(second, paid))).toBe(worth(credits) - FEE)
})

it('a third follows the second with keys and a word from the second alone, and leaves the first place to it', async () => {
  const stage = await stages.make()
  const first = await bootWriter(stage)
  const { paid, credits } = await reserved(stage, first)
  const second = await boot(stage, [first.url])
  await until(() => second.taker?.notReady === undefined, 'a handover to the second')
  const third = await boot(stage, [second.url])
  await until(() => third.taker?.successionBy(keyset.id, idOf(second.own)) !== undefined, 'a handover to the third')
  const reason = 'no writer of these keysets has named this enclave its successor yet'
  await until(() => third.life.notReady().join().includes(reason), 'a third that waits')
  await first.close()
  await submit(stage.chain, second)
  await untilOpen(second)
  await until(() => third.life.notReady().join().includes('stands by'), 'a second standby')
  await second.close()
  await submit(stage.chain, third)
  await untilOpen(third)
  expect(await gateway.capture(third, paid.id, FEE)).toEqual({ fee: FEE })
  expect(worth(await restore(third, paid))).toBe(worth(credits) - FEE)
})

it('a writer that was cut off from its database and comes back is fenced, and lists no keysets', async () => {
  const stage = await stages.make()
  const first = await bootWriter(stage)
  const { paid } = await reserved(stage, first)
  const second = await boot(stage, [first.url])
  await until(() => second.life.notReady().join().includes('stands by'), 'a standby')
  await cutOff(stage.url)
  await until(() => second.life.successions().length > 0, 'a succession')
  // It is the writer in the vault still, and its database is not its own any more.
  await expect(gateway.capture(first, paid.id, FEE)).rejects.toThrow('EXIT_ONLY')
  expect(first.life.notReady().join()).toContain('another issuer writes this database now')
  expect(await listed(first)).toEqual([])
  await submit(stage.chain, second)
  await untilOpen(second)
  expect(await gateway.capture(second, paid.id, FEE)).toEqual({ fee: FEE })
  await expect(gateway.capture(first, paid.id, FEE)).rejects.toThrow('EXIT_ONLY')
})

it('a writer that another one replaced in the vault leaves the database to it', async () => {
  const stage = await stages.make()
  const first = await bootWriter(stage)
  const { paid } = await reserved(stage, first)
  const second = await boot(stage, [first.url])
  await until(() => second.life.notReady().join().includes('stands by'), 'a standby')
  stage.chain.name(keyset.id, second.enclave)
  await untilOpen(second)
  expect(first.life.notReady().join()).toContain('another enclave is the writer')
  expect(await gateway.capture(second, paid.id, FEE)).toEqual({ fee: FEE })
  await expect(gateway.capture(first, paid.id, FEE)).rejects.toThrow('EXIT_ONLY')
})

it('a standby that was handed nothing leaves the database to one that was', async () => {
  const stage = await stages.make()
  const first = await bootWriter(stage)
  await reserved(stage, first)
  const empty = await boot(stage, ['http://127.0.0.1:9'])
  const second = await boot(stage, [first.url])
  await until(() => second.taker?.notReady === undefined, 'a handover')
  await first.close()
  await submit(stage.chain, second)
  await untilOpen(second)
  expect(empty.life.notReady().join()).toContain('no issuer has handed over its keysets yet')
  expect(empty.life.successions()).toEqual([])
})

it('a standby on an older database offers no succession and says why', async () => {
  const stage = await stages.make()
  const first = await bootWriter(stage)
  const { paid } = await reserved(stage, first)
  const old = await copyDatabase(server, stage.url)
  await gateway.capture(first, paid.id, FEE)
  const second = await boot(stage, [first.url], old)
  await until(() => second.life.notReady().join().includes('older than what the witnesses hold'), 'exit only')
  await first.close()
  expect(second.life.successions()).toEqual([])
  await expect(gateway.capture(second, paid.id, 0n)).rejects.toThrow('EXIT_ONLY')
  // Nobody else has these keysets: their change can still be looked up here.
  expect(await listed(second)).toEqual([keyset.id])
})

it('a standby on a database without the log of the present writer offers no succession', async () => {
  const stage = await stages.make()
  const first = await bootWriter(stage)
  await reserved(stage, first)
  const second = await boot(stage, [first.url], await server.createDatabase())
  await until(() => 'writer' in second.life.state, 'a log of its own')
  const reads = { count: 0 }
  const { writers } = stage.chain
  stage.chain.writers = (id) => {
    reads.count++
    return writers.call(stage.chain, id)
  }
  await first.close()
  const before = reads.count
  await until(() => reads.count > before + 5, 'the writer to be read')
  expect(second.life.successions()).toEqual([])
})

it('one of three witnesses that claims more than it can show is named in the log, and keeps nobody from going on', async () => {
  const stage = await stages.make(3)
  const first = await stages.bootOpen(stage, { quorum: 2 })
  const wallet = new TestWallet(keyset, 'wallet')
  const credits = (await wallet.buy(stage.chain, first, DEPOSIT)).slice(-1)
  const paid = await wallet.pay(first, gateway, credits, FEE)
  await gateway.reserve(first, paid.sealed)
  await first.close()
  const [liar] = stage.witnesses
  if (liar === undefined) throw new Error('expected a witness')
  liar.boasts = 100n
  const said: string[] = []
  const warn = (event: string, fields?: Readonly<Record<string, unknown>>) =>
    void said.push(`${String(fields?.witness)} ${event}`)
  const second = await stages.boot(stage, { quorum: 2, log: { ...SILENT, warn } })
  stage.chain.name(keyset.id, second.enclave)
  await untilOpen(second)
  expect(await gateway.capture(second, paid.id, FEE)).toEqual({ fee: FEE })
  expect(said).toContain(`${new URL(liar.url).host} witness claims what it cannot show and is ignored`)
})
