/** Clearings against a real database and a real chain: what an issuer says was spent meets what gateways say they earned. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Context, Hono } from 'hono'
import { createPublicClient, http, type PublicClient } from 'viem'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { receiptSettlementAbi } from '#chain/generated/abis.ts'
import { readEnclaveState } from '#chain/registry.ts'
import { createDevelopmentAttester } from '#node/attesters/development.ts'
import { createAgentApp } from '#node/enclave/agentApp.ts'
import { bootEnclave } from '#node/enclave/enclave.ts'
import { ReceiptLog } from '#node/enclave/receiptLog.ts'
import { createNodeSuites } from '#node/sealing/nodeSuites.ts'
import { startServer } from '#node/server.ts'
import { type Hex, toBase64 } from '#protocol/bytes.ts'
import { ENCLAVE_ROLE } from '#protocol/evidence/statement.ts'
import { type Clearing, hashClearing, signClearing } from '#protocol/receipt/clearing.ts'
import { enclaveOfKey } from '#protocol/receipt/head.ts'
import { ClearingAcknowledgedSchema, type SignedClearing } from '#protocol/wire/agentApi.ts'
import {
  AggregatorStatusSchema,
  ApiErrorSchema,
  ClearingReceivedSchema,
  EnclaveLogSchema,
  type HeadDelivery,
} from '#protocol/wire/aggregatorApi.ts'
import { parseJson, toJson } from '#protocol/wire/json.ts'
import { type RunningAggregator, startAggregator } from '../../offchain/aggregator/aggregator.ts'
import { settleCalldata } from '../../offchain/aggregator/chainAccess.ts'
import { AGGREGATOR_LIMITS, SETTLE_POLICY, type SettlePolicy } from '../../offchain/aggregator/config.ts'
import { OperatorAgent } from '../../offchain/operator/agent.ts'
import { readCleared } from '../../offchain/operator/cleared.ts'
import { connectEnclave } from '../../offchain/operator/peers.ts'
import { connectRegistry } from '../../offchain/operator/registration.ts'
import { Process, type ProcessOptions, until } from '../support/aggregatorProcess.ts'
import { deployLocal, type LocalChain, registerTestEnclave } from '../support/chain.ts'
import { depositCredits, openTestKeyset } from '../support/credits.ts'
import { SILENT, startPostgres, type TestPostgres } from '../support/postgres.ts'
import { TEST_FEE, TestLog } from '../support/testLog.ts'

const DEPOSITED_UNITS = 1_000_000n
const ISSUER_KEY = new Uint8Array(32).fill(0x77)

let chain: LocalChain
let postgres: TestPostgres
let databaseUrl: string
let keys = 0

beforeAll(async () => {
  ;[chain, postgres] = await Promise.all([deployLocal(), startPostgres()])
  await registerTestEnclave(chain, ISSUER_KEY, { role: ENCLAVE_ROLE.issuer })
})
afterAll(async () => {
  await Promise.all([chain.close(), postgres.close()])
})
beforeEach(async () => {
  databaseUrl = await postgres.createDatabase()
})

const domain = () => ({ chainId: chain.addresses.chainId, settlement: chain.addresses.settlement })
const startProcess = (options: ProcessOptions = {}) => Process.start(chain, databaseUrl, options)
const newKey = () => new Uint8Array(32).fill(0x10 + ++keys)

/** A log of `count` receipts of a newly registered gateway. */
async function newLog(count: number): Promise<TestLog> {
  const privateKey = newKey()
  await registerTestEnclave(chain, privateKey)
  return new TestLog(privateKey, domain()).issue(count)
}

/** A keyset of its own that `writer` writes, with a deposit. */
async function newKeyset(writer = new TestLog(ISSUER_KEY, domain()).enclave): Promise<Hex> {
  const { id } = await openTestKeyset(chain, writer, `keyset ${++keys}`)
  await deposit(id)
  return id
}

/** Deposits 1 OPG, DEPOSITED_UNITS, for a claim key of its own. */
async function deposit(keyset: Hex): Promise<void> {
  await depositCredits(chain, keyset, 0, enclaveOfKey(newKey()))
}

/** What the issuer signs about `captured` units for each enclave; totals are the sum unless told. */
function clearing(
  keyset: Hex,
  captured: readonly (readonly [{ readonly enclave: Hex }, bigint])[],
  stated: Partial<Clearing> = {},
  key = ISSUER_KEY,
): SignedClearing {
  const total = captured.reduce((sum, [, units]) => sum + units, 0n)
  const enclaves = captured.map(([{ enclave }, units]) => ({ enclave, captured: units }))
  return signClearing({ keyset, issued: total, captured: total, enclaves, ...stated }, domain(), key)
}

const accountOf = ({ enclave }: { readonly enclave: Hex }) =>
  chain.client.readContract({
    address: chain.addresses.settlement,
    abi: receiptSettlementAbi,
    functionName: 'accountOf',
    args: [enclave],
  })

const eventsOf = (keyset: Hex) =>
  chain.client.getContractEvents({
    address: chain.addresses.settlement,
    abi: receiptSettlementAbi,
    eventName: 'ClearingSettled',
    args: { keyset },
    fromBlock: 0n,
  })

const batchCount = () =>
  chain.client.readContract({
    address: chain.addresses.settlement,
    abi: receiptSettlementAbi,
    functionName: 'batchCount',
  })

/** What the contract ever said of an enclave's heads. */
const headEventsOf = async ({ enclave }: { readonly enclave: Hex }) => {
  const filter = { address: chain.addresses.settlement, abi: receiptSettlementAbi, args: { enclave }, fromBlock: 0n }
  const settled = await chain.client.getContractEvents({ ...filter, eventName: 'HeadSettled' })
  return [...settled, ...(await chain.client.getContractEvents({ ...filter, eventName: 'HeadSkipped' }))]
}

const nonce = () => chain.client.getTransactionCount({ address: chain.account('settler').address })

test('a clearing and heads settle in one call and credit the smaller of the two', async () => {
  const [spentLess, earnedLess] = [await newLog(5), await newLog(2)]
  const keyset = await newKeyset()
  const process = await startProcess()
  for (const log of [spentLess, earnedLess]) await process.deliver(log.delivery())
  const signed = clearing(keyset, [
    [spentLess, 4n],
    [earnedLess, 100n],
  ])
  expect(await process.clear(signed)).toMatchObject({ ok: true })
  const before = await nonce()
  await process.round()
  expect(await nonce()).toBe(before + 1)
  expect(await accountOf(spentLess)).toMatchObject({ earned: 5n * TEST_FEE, cleared: 4n, credited: 4n })
  expect(await accountOf(earnedLess)).toMatchObject({ earned: 2n * TEST_FEE, cleared: 100n, credited: 2n * TEST_FEE })
  expect([await process.states(), await process.pendingClearings()]).toEqual([['final'], 0])
  await process.kill()
})

test('a clearing that comes before any head settles alone, without a batch, and the head is credited when it comes', async () => {
  const log = await newLog(3)
  const keyset = await newKeyset()
  const process = await startProcess()
  const batches = await batchCount()
  await process.clear(clearing(keyset, [[log, 50n]]))
  await process.round()
  expect([await process.states(), await process.pendingClearings()]).toEqual([['final'], 0])
  expect([await eventsOf(keyset), await batchCount()]).toMatchObject([[{ args: { captured: 50n } }], batches])
  await process.deliver(log.delivery())
  await process.round()
  expect(await accountOf(log)).toMatchObject({ credited: 3n * TEST_FEE })
  await process.kill()
})

test('a clearing that comes after a head counts for the next one', async () => {
  const log = await newLog(3)
  const keyset = await newKeyset()
  const process = await startProcess()
  await process.deliver(log.delivery())
  await process.round()
  await process.clear(clearing(keyset, [[log, 50n]]))
  await process.round()
  expect(await accountOf(log)).toMatchObject({ earned: 3n * TEST_FEE, cleared: 50n })
  await process.deliver(log.issue(1).delivery())
  await process.round()
  expect(await accountOf(log)).toMatchObject({ credited: 4n * TEST_FEE })
  expect(await process.states()).toEqual(['final', 'final', 'final'])
  await process.kill()
})

test('a clearing settles once, however often it comes and whoever is restarted in between', async () => {
  const log = await newLog(1)
  const keyset = await newKeyset()
  const signed = clearing(keyset, [[log, 50n]])
  for (let i = 0; i < 3; i++) {
    const process = await startProcess()
    await process.clear(signed)
    await process.round()
    await process.clear(signed)
    await process.round()
    expect(await process.states()).toEqual(['final'])
    await process.kill()
  }
  expect(await eventsOf(keyset)).toHaveLength(1)
})

test('clearings that follow each other each clear what they add', async () => {
  const [first, second] = [await newLog(1), await newLog(1)]
  const keyset = await newKeyset()
  const process = await startProcess()
  await process.clear(clearing(keyset, [[first, 10n]]))
  await process.clear(clearing(keyset, [[second, 20n]], { issued: 30n, captured: 30n }))
  await process.round()
  await process.clear(clearing(keyset, [[first, 11n]], { issued: 31n, captured: 31n }))
  await process.round()
  expect([await accountOf(first), await accountOf(second)]).toMatchObject([{ cleared: 11n }, { cleared: 20n }])
  expect([await process.states(), await process.pendingClearings()]).toEqual([['final', 'final'], 0])
  await process.kill()
})

test('clearings of full size go in calls of their own that a transaction can pay', async () => {
  const log = await newLog(1)
  const process = await startProcess({ policy: { leaseSeconds: 30 } })
  const linesOf = (salt: number) =>
    Array.from({ length: 256 }, (_, i) => {
      const enclave: Hex = `0x${(salt * 1_000 + i + 1).toString(16).padStart(40, '0')}`
      return [{ enclave }, 1n] as const
    })
  for (const salt of [1, 2]) {
    expect(await process.clear(clearing(await newKeyset(), linesOf(salt)))).toMatchObject({ ok: true })
  }
  await process.deliver(log.delivery())
  await process.round()
  expect(await process.states()).toEqual(['final', 'final'])
  expect(await process.pendingClearings()).toBe(0)
  expect(await process.proof(log, 0)).toBeDefined()
  await process.kill()
})

test('a clearing that another aggregator settled needs no transaction of our own, nor does a lost database', async () => {
  const log = await newLog(1)
  const keyset = await newKeyset()
  const signed = clearing(keyset, [[log, 50n]])
  const before = await nonce()
  for (let i = 0; i < 2; i++) {
    databaseUrl = await postgres.createDatabase()
    const process = await startProcess()
    await process.clear(signed)
    const data = settleCalldata([], [signed])
    if (i === 0) await chain.wallet('stranger').sendTransaction({ to: chain.addresses.settlement, data })
    await process.round()
    expect([await process.states(), await process.pendingClearings()]).toMatchObject([[], 0])
    await process.kill()
  }
  expect([await nonce(), await eventsOf(keyset)]).toMatchObject([before, [{ args: { captured: 50n } }]])
})

test('a clearing that claims more than is deposited waits, and settles once the deposit has arrived', async () => {
  const log = await newLog(1)
  const keyset = await newKeyset()
  const claimed = DEPOSITED_UNITS + 50n
  const process = await startProcess()
  await process.clear(clearing(keyset, [[log, claimed]]))
  await process.round()
  expect([await process.states(), await process.pendingClearings()]).toMatchObject([['final'], 1])
  const [kept] = await process.database.sql`select skipped, retry_at > now() as waits from clearings`
  expect(kept).toEqual({ skipped: 'OutOfBounds', waits: true })
  await deposit(keyset)
  await process.database.sql`update clearings set retry_at = now()`
  await process.round()
  expect(await accountOf(log)).toMatchObject({ cleared: claimed })
  expect([await process.states(), await process.pendingClearings()]).toMatchObject([['final', 'final'], 0])
  await process.kill()
})

test('one clearing that is refused does not keep the others of its call from settling', async () => {
  const log = await newLog(1)
  const [first, poor, last] = [await newKeyset(), await newKeyset(), await newKeyset()]
  const process = await startProcess()
  await process.clear(clearing(first, [[log, 1n]]))
  await process.clear(clearing(poor, [[log, DEPOSITED_UNITS + 1n]]))
  await process.clear(clearing(last, [[log, 1n]]))
  await process.deliver(log.delivery())
  await process.round()
  const rows = await process.database.sql`select skipped from clearings order by seq`
  expect(rows.map(({ skipped }) => skipped)).toEqual([null, 'OutOfBounds', null])
  expect([await process.states(), await process.pendingClearings()]).toEqual([['final'], 1])
  expect(await accountOf(log)).toMatchObject({ cleared: 2n, credited: 2n })
  await process.kill()
})

test('a clearing of an issuer that ended meanwhile is kept with its reason and never sent again', async () => {
  const log = await newLog(1)
  const issuerKey = newKey()
  await registerTestEnclave(chain, issuerKey, { role: ENCLAVE_ROLE.issuer })
  const issuer = new TestLog(issuerKey, domain()).issue(4)
  const keyset = await newKeyset(issuer.enclave)
  const process = await startProcess()
  expect(await process.clear(clearing(keyset, [[log, 5n]], {}, issuerKey))).toMatchObject({ ok: true })

  // The issuer contradicts itself: witnesses end it like a gateway, and do that first.
  await process.deliver(issuer.delivery())
  expect(await process.deliver(issuer.forkAt(2, 1).issue(2).delivery())).toMatchObject({ code: 'EQUIVOCATION' })
  await process.round()
  expect(await readEnclaveState(chain.client, chain.addresses.registry, issuer.enclave)).toBe('compromised')
  const [kept] = await process.database.sql`select skipped, retry_at from clearings`
  expect(kept).toEqual({ skipped: 'IssuerEnded', retry_at: null })
  await process.round()
  expect(await process.states()).toEqual(['final', 'final'])
  expect(await process.clear(clearing(keyset, [[log, 6n]], {}, issuerKey))).toMatchObject({ code: 'UNKNOWN_ENCLAVE' })
  await process.kill()
})

test("an issuer's heads are witnessed, kept over a restart, and never settled", async () => {
  const gateway = await newLog(1)
  const issuerKey = newKey()
  await registerTestEnclave(chain, issuerKey, { role: ENCLAVE_ROLE.issuer })
  const issuer = new TestLog(issuerKey, domain()).issue(6)
  const process = await startProcess()
  const headOf = (size: number) => issuer.head(size, 0n)
  expect(await process.deliver(issuer.delivery(0, headOf(4)))).toEqual({ ok: true, size: 4n })
  expect(await process.deliver(issuer.delivery(0, headOf(6)))).toEqual({ ok: true, size: 6n })
  await process.round()
  expect(await process.states()).toEqual([])
  await process.deliver(gateway.delivery())
  await process.round()
  expect(await process.states()).toEqual(['final'])
  expect(await process.settlement.readSettlementTotals()).toMatchObject({ unsettledHeads: 0 })
  expect([await headEventsOf(gateway), await headEventsOf(issuer)]).toMatchObject([[{ eventName: 'HeadSettled' }], []])
  await process.kill()

  const next = await startProcess()
  const held = { role: 'issuer', settledSize: 0n, head: headOf(6) }
  expect(await next.ports.store.readEnclave(issuer.enclave)).toEqual(held)
  expect(await next.proof(issuer, 0)).toBeUndefined()
  await next.kill()
})

describe('a process that is killed', () => {
  test('after any step leaves another to go on, and the clearing settles once', async () => {
    const log = await newLog(1)
    const keyset = await newKeyset()
    const first = await startProcess()
    await first.clear(clearing(keyset, [[log, 50n]]))
    await first.kill()
    const seen: (string | undefined)[] = []
    await until(async () => {
      const process = await startProcess({ stepsMax: 1 })
      await process.round()
      seen.push((await process.states())[0])
      await process.kill()
      return seen.at(-1) === 'final'
    })
    // The first steps follow the chain.
    expect([...new Set(seen.filter((state) => state !== undefined))]).toEqual([
      'sealed',
      'signed',
      'submitted',
      'included',
      'final',
    ])
    expect(await eventsOf(keyset)).toHaveLength(1)
    expect(await accountOf(log)).toMatchObject({ cleared: 50n })
  })

  test('between storing raw bytes and broadcasting them loses nothing: the next one broadcasts the same bytes', async () => {
    const log = await newLog(1)
    const keyset = await newKeyset()
    const killed = new Error('killed')
    const dying = await startProcess({
      holder: 'dying',
      wrap: (connected) => ({ ...connected, send: () => Promise.reject(killed) }),
    })
    await dying.clear(clearing(keyset, [[log, 50n]]))
    await expect(dying.round()).rejects.toBe(killed)
    expect([await dying.states(), await dying.pendingClearings()]).toMatchObject([['signed'], 1])
    const [stored] = await dying.database.sql<{ hash: Uint8Array }[]>`select hash from attempts`
    await dying.kill()

    const next = await startProcess({ holder: 'next' })
    // A newer one may come meanwhile: it waits for its turn.
    await next.clear(clearing(keyset, [[log, 60n]]))
    await next.round()
    const [first, second] = await eventsOf(keyset)
    expect(first?.transactionHash).toBe(`0x${Buffer.from(stored?.hash ?? []).toString('hex')}`)
    expect(second?.args.captured).toBe(60n)
    expect([await next.states(), await accountOf(log)]).toMatchObject([['final', 'final'], { cleared: 60n }])
    await next.kill()
  })
})

test('a clearing whose transaction lost its nonce settles with the next one', async () => {
  const log = await newLog(1)
  const keyset = await newKeyset()
  const settler = chain.wallet('settler')
  let isLost = false
  const process = await startProcess({
    wrap: (connected) => ({
      ...connected,
      // Another transaction takes the nonce before ours arrives.
      async send(raw) {
        if (isLost) return connected.send(raw)
        isLost = true
        await settler.sendTransaction({ to: settler.account.address, value: 0n })
        return 'usedNonce'
      },
    }),
  })
  await process.clear(clearing(keyset, [[log, 50n]]))
  await until(async () => {
    await process.round()
    return (await process.states())[0] === 'failed'
  })
  expect(await process.pendingClearings()).toBe(1)
  await process.database.sql`update transactions set changed_at = changed_at - interval '1 hour'`
  await process.round()
  expect([await process.states(), await accountOf(log)]).toMatchObject([['failed', 'final'], { cleared: 50n }])
  await process.kill()
})

test('a reorganisation brings a clearing back to waiting, and the same bytes settle it again', async () => {
  const log = await newLog(1)
  const keyset = await newKeyset()
  const process = await startProcess({ policy: { depth: { safe: 2, final: 5 } } })
  await process.clear(clearing(keyset, [[log, 50n]]))
  const snapshot = await chain.control.snapshot()
  await process.round()
  const [before] = await eventsOf(keyset)
  expect(await process.states()).toEqual(['included'])

  await chain.control.revert({ id: snapshot })
  await chain.control.mine({ blocks: 2 })
  expect(await eventsOf(keyset)).toEqual([])
  await until(async () => {
    await process.round()
    return (await eventsOf(keyset)).length > 0 && (await process.states())[0] === 'included'
  })
  await process.round()
  const [after] = await eventsOf(keyset)
  expect(after?.transactionHash).toBe(before?.transactionHash)
  expect(after?.blockNumber).not.toBe(before?.blockNumber)
  await chain.control.mine({ blocks: 5 })
  await process.round()
  expect([await process.states(), await process.pendingClearings()]).toMatchObject([['final'], 0])
  expect(await eventsOf(keyset)).toHaveLength(1)
  await process.kill()
})

describe('over HTTP', () => {
  const running: RunningAggregator[] = []
  afterEach(async () => {
    await Promise.all(running.splice(0).map((aggregator) => aggregator.close()))
  })

  /** Follows the chain from `fromBlock` on. */
  async function start(settle: Partial<SettlePolicy>, fromBlock = chain.addresses.fromBlock): Promise<string> {
    const aggregator = await startAggregator(
      {
        listen: { host: '127.0.0.1', port: 0 },
        rpcUrls: [chain.rpcUrl],
        deployment: { ...chain.addresses, fromBlock },
        accountKeyFiles: [],
        database: { url: databaseUrl },
        settle: { ...SETTLE_POLICY, pollMs: 20, ...settle },
        limits: AGGREGATOR_LIMITS,
      },
      [chain.keyOf('settler')],
      SILENT,
    )
    running.push(aggregator)
    return aggregator.url
  }

  const post = (url: string, path: string, body: string) => fetch(url + path, { method: 'POST', body })
  const deliver = (url: string, delivery: HeadDelivery) =>
    post(url, '/v1/heads', toJson({ ...delivery, leaves: toBase64(delivery.leaves) }))
  const clear = (url: string, signed: SignedClearing) => post(url, '/v1/clearings', toJson(signed))
  const statusOf = async (url: string) =>
    parseJson(AggregatorStatusSchema, await (await fetch(`${url}/v1/status`)).text(), 'status')

  test('a clearing is acknowledged with its digest, counted, and settled with what it pays', async () => {
    const url = await start({ everySeconds: 3_600 }, (await chain.client.getBlockNumber()) + 1n)
    const log = await newLog(4)
    const keyset = await newKeyset()
    const signed = clearing(keyset, [[log, 7n]])
    const { r: _r, vs: _vs, ...stated } = signed
    for (let i = 0; i < 2; i++) {
      const response = await clear(url, signed)
      expect(response.status).toBe(200)
      expect(parseJson(ClearingReceivedSchema, await response.text(), 'answer')).toEqual({
        clearing: hashClearing(stated, domain()),
      })
    }
    await deliver(url, log.delivery())
    expect(await statusOf(url)).toMatchObject({ pendingClearings: 1, unsettledHeads: 1 })
    await post(url, '/v1/settle', '')
    await until(async () => (await statusOf(url)).unsettledHeads === 0)
    expect(await statusOf(url)).toMatchObject({ pendingClearings: 0, settledClearings: 1 })
    expect(await eventsOf(keyset)).toHaveLength(1)
    expect(await accountOf(log)).toMatchObject({ credited: 7n })
  })

  test('an issuer asks what is held of it, and gets the newest head as it signed it', async () => {
    const url = await start({ everySeconds: 0 })
    const issuerKey = newKey()
    await registerTestEnclave(chain, issuerKey, { role: ENCLAVE_ROLE.issuer })
    const issuer = new TestLog(issuerKey, domain()).issue(3)
    const head = issuer.head(3, 0n)
    expect((await deliver(url, issuer.delivery(0, head))).status).toBe(200)
    const answer = await (await fetch(`${url}/v1/enclaves/${issuer.enclave}`)).text()
    expect(parseJson(EnclaveLogSchema, answer, 'log')).toEqual({
      enclave: issuer.enclave,
      role: 'issuer',
      size: 3n,
      settledSize: 0n,
      fees: 0n,
      head,
    })
  })

  test('what is wrong is refused with its code', async () => {
    const url = await start({})
    const log = await newLog(1)
    const keyset = await newKeyset()
    const codeOf = async (response: Response) => {
      const { error } = parseJson(ApiErrorSchema, await response.text(), 'error')
      return [response.status, error.code]
    }
    const stranger = clearing(keyset, [[log, 1n]], {}, newKey())
    expect(await codeOf(await clear(url, stranger))).toEqual([422, 'BAD_SIGNATURE'])
    const unknown = clearing(`0x${'0b'.repeat(32)}`, [[log, 1n]])
    expect(await codeOf(await clear(url, unknown))).toEqual([403, 'UNKNOWN_KEYSET'])
    expect(await codeOf(await clear(url, clearing(keyset, [[log, 2n]], { issued: 1n })))).toEqual([400, 'BAD_REQUEST'])
    expect(await codeOf(await post(url, '/v1/clearings', '{'))).toEqual([400, 'BAD_REQUEST'])
    const tooMany = clearing(keyset, Array(257).fill([log, 1n]))
    expect(await codeOf(await clear(url, tooMany))).toEqual([400, 'BAD_REQUEST'])
    expect(await codeOf(await post(url, '/v1/clearings', ' '.repeat(65_536)))).toEqual([400, 'BAD_REQUEST'])
    expect(await codeOf(await post(url, '/v1/clearings', ' '.repeat(65_537)))).toEqual([413, 'BODY_TOO_LARGE'])
    expect(await statusOf(url)).toMatchObject({ pendingClearings: 0 })
  })
})

describe("the issuer's agent", () => {
  test('lets the enclave forget the lines that are settled, and no others', async () => {
    const [settled, open] = [await newLog(1), await newLog(1)]
    const keyset = await newKeyset()
    const before = clearing(keyset, [[settled, 5n]])
    const now = clearing(keyset, [
      [settled, 5n],
      [open, 2n],
    ])
    const { settlement } = chain.addresses
    expect(await readCleared(chain.client, settlement, now)).toEqual({ keyset, enclaves: [] })
    const wallet = chain.wallet('stranger')
    await wallet.sendTransaction({ to: settlement, data: settleCalldata([], [before]) })
    const enclaves = [{ enclave: settled.enclave, captured: 5n }]
    expect(await readCleared(chain.client, settlement, now)).toEqual({ keyset, enclaves })
    const grown = clearing(keyset, [[settled, 6n]])
    expect(await readCleared(chain.client, settlement, grown)).toEqual({ keyset, enclaves: [] })

    const acknowledged: unknown[] = []
    await withAgent([now], async (c) => {
      acknowledged.push(parseJson(ClearingAcknowledgedSchema, await c.req.text(), 'acknowledgement'))
      return c.json({})
    })
    expect(acknowledged).toEqual([{ keyset, enclaves }])
  })

  test('says that the chain does not answer', async () => {
    const absent = createPublicClient({ transport: http('http://127.0.0.1:9', { retryCount: 0 }) })
    const read = readCleared(absent as PublicClient, chain.addresses.settlement, clearing(`0x${'0c'.repeat(32)}`, []))
    await expect(read).rejects.toMatchObject({ code: 'RPC_FAILED', retryable: true })
  })

  /** Runs an agent of an enclave that serves `clearings` until its first acknowledgement. */
  async function withAgent(clearings: readonly SignedClearing[], receive: (c: Context) => Promise<Response>) {
    const attester = createDevelopmentAttester({ pcrs: new Map([[0, new Uint8Array(48).fill(1)]]), now: Date.now })
    const operator = chain.account('operator').address
    const enclave = await bootEnclave('issuer', { ...chain.addresses, operator }, attester, createNodeSuites())
    const receipts = new ReceiptLog({
      enclave: enclave.statement.enclave,
      privateKey: enclave.privateKey,
      domain: domain(),
      tick: { receipts: 1, seconds: 1 },
      leavesKeptMax: 10,
    })
    const app = new Hono()
    app.get('/agent/clearings', (c) => c.body(toJson({ clearings })))
    const isDone = new Promise<void>((resolve) => {
      app.post('/agent/clearings/acknowledged', async (c) => {
        const response = await receive(c)
        resolve()
        return response
      })
    })
    app.route('/', createAgentApp(enclave, receipts, SILENT))
    const server = await startServer(app, { host: '127.0.0.1', port: 0 })
    const folder = mkdtempSync(join(tmpdir(), 'sealpath-agent-'))
    const agent = new OperatorAgent(
      {
        listen: { host: '127.0.0.1', port: 0 },
        gatewayAgentUrl: server.url,
        rpcUrl: chain.rpcUrl,
        registry: chain.addresses.registry,
        accountKeyFile: '',
        aggregators: ['http://127.0.0.1:9'],
        dataFolder: folder,
        pollMs: 5,
        fromBlock: 0n,
        evidenceRenewalSeconds: 3_600,
        keyRotationSeconds: 302_400,
      },
      connectEnclave(server.url),
      await connectRegistry(chain.rpcUrl, chain.addresses.registry, chain.keyOf('operator')),
      SILENT,
    )
    agent.start()
    try {
      await isDone
    } finally {
      await Promise.all([agent.close(), server.close(1_000)])
      rmSync(folder, { recursive: true })
    }
  }
})
