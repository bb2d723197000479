/** An aggregator against a real database and a real chain: from deliveries to proofs that contracts believe, whatever dies in between. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { inferenceVerifierAbi, receiptSettlementAbi } from '#chain/generated/abis.ts'
import { settledProofArgument } from '#chain/proof.ts'
import { readEnclaveState } from '#chain/registry.ts'
import { migrate, openDatabase } from '#node/database.ts'
import { type Hex, toBase64, toHex } from '#protocol/bytes.ts'
import { keccak256 } from '#protocol/hash.ts'
import {
  AggregatorStatusSchema,
  ApiErrorSchema,
  BatchSchema,
  EnclaveLogSchema,
  type HeadDelivery,
  HeadReceivedSchema,
} from '#protocol/wire/aggregatorApi.ts'
import { parseJson, type Schema, toJson } from '#protocol/wire/json.ts'
import { type SettledLeaf, SettledLeafSchema } from '#protocol/wire/receiptFile.ts'
import { type RunningAggregator, startAggregator } from '../../offchain/aggregator/aggregator.ts'
import { settleCalldata } from '../../offchain/aggregator/chainAccess.ts'
import {
  AGGREGATOR_LIMITS,
  type AggregatorConfig,
  SETTLE_POLICY,
  type SettlePolicy,
} from '../../offchain/aggregator/config.ts'
import { ingest } from '../../offchain/aggregator/ingest.ts'
import { MIGRATIONS } from '../../offchain/aggregator/migrations.ts'
import { createSettlementStore } from '../../offchain/aggregator/postgresSettlement.ts'
import { Process, type ProcessOptions, until } from '../support/aggregatorProcess.ts'
import { deployLocal, type LocalChain, registerTestEnclave } from '../support/chain.ts'
import { clearForGateway } from '../support/credits.ts'
import { SILENT, startPostgres, type TestPostgres } from '../support/postgres.ts'
import { TestLog } from '../support/testLog.ts'

const SETTLED = 2

let chain: LocalChain
let postgres: TestPostgres
let databaseUrl: string
let keys = 0

beforeAll(async () => {
  ;[chain, postgres] = await Promise.all([deployLocal(), startPostgres()])
})
afterAll(async () => {
  await Promise.all([chain.close(), postgres.close()])
})
beforeEach(async () => {
  databaseUrl = await postgres.createDatabase()
})

/** A log of `count` receipts of a newly registered enclave, which an issuer has cleared `clearedUnits` for, if any. */
async function newLog(count: number, clearedUnits?: bigint): Promise<TestLog> {
  const privateKey = new Uint8Array(32).fill(0x10 + ++keys)
  const { enclave } = await registerTestEnclave(chain, privateKey)
  if (clearedUnits !== undefined) await clearForGateway(chain, enclave, clearedUnits, `cleared ${keys}`)
  return new TestLog(privateKey, domain()).issue(count)
}

const domain = () => ({ chainId: chain.addresses.chainId, settlement: chain.addresses.settlement })

async function contractSays(log: TestLog, index: number, settled: SettledLeaf): Promise<number> {
  const { finality } = await chain.client.readContract({
    address: chain.addresses.inference,
    abi: inferenceVerifierAbi,
    functionName: 'settled',
    args: [settledProofArgument(log.receipt(index, chain.addresses.registry), settled)],
  })
  return finality
}

const accountOf = (enclave: Hex) =>
  chain.client.readContract({
    address: chain.addresses.settlement,
    abi: receiptSettlementAbi,
    functionName: 'accountOf',
    args: [enclave],
  })

/** How often anybody settled a head of this size of this log. */
async function settlementsOf(log: TestLog, size = log.size): Promise<number> {
  const events = await chain.client.getContractEvents({
    address: chain.addresses.settlement,
    abi: receiptSettlementAbi,
    eventName: 'HeadSettled',
    args: { enclave: log.enclave },
    fromBlock: 0n,
  })
  return events.filter(({ args }) => args.size === BigInt(size)).length
}

describe('over HTTP', () => {
  const running: RunningAggregator[] = []
  afterEach(async () => {
    await Promise.all(running.splice(0).map((aggregator) => aggregator.close()))
  })

  async function start(settle: Partial<SettlePolicy> = {}, limits = AGGREGATOR_LIMITS): Promise<RunningAggregator> {
    const config: AggregatorConfig = {
      listen: { host: '127.0.0.1', port: 0 },
      rpcUrls: [chain.rpcUrl],
      deployment: chain.addresses,
      accountKeyFiles: [],
      database: { url: databaseUrl },
      settle: { ...SETTLE_POLICY, pollMs: 20, ...settle },
      limits,
    }
    const aggregator = await startAggregator(config, [chain.keyOf('settler')], SILENT)
    running.push(aggregator)
    return aggregator
  }

  async function deliver({ url }: RunningAggregator, delivery: HeadDelivery): Promise<Response> {
    const body = toJson({ ...delivery, leaves: toBase64(delivery.leaves) })
    return fetch(`${url}/v1/heads`, { method: 'POST', body, headers: { 'content-type': 'application/json' } })
  }

  async function get<T>({ url }: RunningAggregator, path: string, schema: Schema<T>): Promise<T> {
    const response = await fetch(url + path)
    expect(response.status).toBe(200)
    return parseJson(schema, await response.text(), path)
  }

  const proofOf = (aggregator: RunningAggregator, log: TestLog, index: number) =>
    until(async () => {
      const response = await fetch(`${aggregator.url}/v1/proofs/${toHex(log.leaf(index))}`)
      return response.status === 200 && parseJson(SettledLeafSchema, await response.text(), 'proof')
    })

  test('heads of several enclaves settle together, and every leaf is proven to a contract', async () => {
    const aggregator = await start({ everySeconds: 3_600 })
    const logs = [await newLog(7, 100n), await newLog(1), await newLog(12)]
    for (const log of logs) {
      const response = await deliver(aggregator, log.delivery())
      expect(parseJson(HeadReceivedSchema, await response.text(), 'answer')).toEqual({ size: BigInt(log.size) })
    }
    const pending = await fetch(`${aggregator.url}/v1/proofs/${toHex(logs[0]?.leaf(0) ?? new Uint8Array())}`)
    expect([pending.status, await pending.json()]).toEqual([202, { state: 'pending' }])

    expect((await fetch(`${aggregator.url}/v1/settle`, { method: 'POST' })).status).toBe(202)
    const batches = new Set<bigint>()
    for (const log of logs) {
      for (let index = 0; index < log.size; index++) {
        const settled = await proofOf(aggregator, log, index)
        expect(await contractSays(log, index, settled)).toBe(SETTLED)
        expect(settled.batchSize).toBe(3n)
        batches.add(settled.batch)
      }
      expect(await get(aggregator, `/v1/enclaves/${log.enclave}`, EnclaveLogSchema)).toEqual({
        enclave: log.enclave,
        role: 'gateway',
        size: BigInt(log.size),
        settledSize: BigInt(log.size),
        fees: log.head().fees,
        head: log.head(),
      })
    }
    const [batch] = batches
    expect(batches.size).toBe(1)
    const entry = await get(aggregator, `/v1/batches/${batch}`, BatchSchema)
    expect(entry.heads.map(({ enclave }) => enclave).sort()).toEqual(logs.map(({ enclave }) => enclave).sort())
    expect(entry.gasUsed).toBeGreaterThan(50_000n)
    const status = await get(aggregator, '/v1/status', AggregatorStatusSchema)
    expect(status).toMatchObject({ state: 'ok', enclaves: 3, leaves: 20n, unsettledHeads: 0 })
    expect((await accountOf(logs[0]?.enclave ?? '0x')).credited).toBe(21n)
  })

  test('settles on its own once a head has waited long enough', async () => {
    const aggregator = await start({ everySeconds: 0 })
    const log = await newLog(3)
    await deliver(aggregator, log.delivery())
    expect(await contractSays(log, 2, await proofOf(aggregator, log, 2))).toBe(SETTLED)
    await deliver(aggregator, log.issue(4).delivery(3))
    expect(await contractSays(log, 6, await proofOf(aggregator, log, 6))).toBe(SETTLED)
    // The leaf that was settled first keeps its first proof.
    expect((await proofOf(aggregator, log, 2)).size).toBe(3n)
  })

  test('two processes on one database settle each head once', async () => {
    const [first, second] = await Promise.all([start({ everySeconds: 0 }), start({ everySeconds: 0 })])
    const log = await newLog(2)
    for (let i = 0; i < 5; i++) await deliver(i % 2 === 0 ? first : second, log.issue(1).delivery())
    const fromOther = await proofOf(second, log, log.size - 1)
    expect(await proofOf(first, log, log.size - 1)).toEqual(fromOther)
    expect(await settlementsOf(log)).toBe(1)
  })

  test('another process takes over when the leader ends', async () => {
    const leader = await start({ everySeconds: 0 })
    const log = await newLog(2)
    await deliver(leader, log.delivery())
    await proofOf(leader, log, 0)
    const next = await start({ everySeconds: 0 })
    await running.shift()?.close()
    await deliver(next, log.issue(1).delivery())
    await proofOf(next, log, 2)
    expect(await settlementsOf(log)).toBe(1)
  })

  test('what is wrong is refused with its code', async () => {
    const aggregator = await start()
    const log = await newLog(5)
    const codeOf = async (response: Response) => ({
      status: response.status,
      ...parseJson(ApiErrorSchema, await response.text(), 'error').error,
    })
    expect(await codeOf(await deliver(aggregator, log.delivery(2)))).toMatchObject({
      status: 409,
      code: 'GAP',
      expectedFrom: 0n,
    })
    const stranger = new TestLog(new Uint8Array(32).fill(0xee), domain()).issue(1)
    expect(await codeOf(await deliver(aggregator, stranger.delivery()))).toMatchObject({
      status: 403,
      code: 'UNKNOWN_ENCLAVE',
    })
    const post = (body: string) => fetch(`${aggregator.url}/v1/heads`, { method: 'POST', body })
    expect(await codeOf(await post('{'))).toMatchObject({ status: 400, code: 'BAD_REQUEST' })
    expect(await codeOf(await post('{"from":"0"}'))).toMatchObject({ status: 400, code: 'BAD_REQUEST' })
    const at = (path: string) => fetch(aggregator.url + path)
    expect(await codeOf(await at(`/v1/proofs/0x${'ab'.repeat(32)}`))).toMatchObject({ status: 404, code: 'NOT_FOUND' })
    expect(await codeOf(await at('/v1/proofs/0xab'))).toMatchObject({ status: 400, code: 'BAD_REQUEST' })
    expect(await codeOf(await at('/v1/batches/999999'))).toMatchObject({ status: 404, code: 'NOT_FOUND' })
    expect(await codeOf(await at(`/v1/enclaves/${log.enclave}`))).toMatchObject({ status: 404, code: 'NOT_FOUND' })
    expect((await at('/v1/status')).headers.get('access-control-allow-origin')).toBe('*')
    const asks = [await fetch(`${aggregator.url}/v1/settle`, { method: 'POST' })]
    asks.push(await fetch(`${aggregator.url}/v1/settle`, { method: 'POST' }))
    expect(asks.map(({ status }) => status)).toEqual([202, 503])
    expect(asks[1]?.headers.get('retry-after')).toBe('1')
  })

  test('a body above the limit is refused before it is parsed', async () => {
    const aggregator = await start({}, { ...AGGREGATOR_LIMITS, bodyBytesMax: 1_000 })
    const log = await newLog(1)
    expect((await deliver(aggregator, log.delivery())).status).toBe(200)
    const response = await deliver(aggregator, log.issue(30).delivery())
    expect([response.status, await response.json()]).toMatchObject([413, { error: { code: 'BODY_TOO_LARGE' } }])
  })

  test('an enclave that contradicts itself is reported, and the contract ends it', async () => {
    const aggregator = await start({ everySeconds: 3_600 })
    const ended = (enclave: Hex) =>
      until(async () => (await readEnclaveState(chain.client, chain.addresses.registry, enclave)) === 'compromised')
    const contradicting = await newLog(4)
    await deliver(aggregator, contradicting.delivery())
    const other = contradicting.forkAt(2, 1).issue(2)
    expect((await deliver(aggregator, other.delivery())).status).toBe(409)
    await ended(contradicting.enclave)

    const forked = await newLog(4)
    await deliver(aggregator, forked.delivery())
    expect((await deliver(aggregator, forked.forkAt(1, 1).issue(9).delivery())).status).toBe(409)
    await ended(forked.enclave)
  })

  test('a database of another chain is refused', async () => {
    const { sql, close } = await openDatabase({ url: databaseUrl }, SILENT)
    await migrate(sql, MIGRATIONS)
    await createSettlementStore(sql).bindChain('another')
    await close()
    await expect(start()).rejects.toMatchObject({ code: 'BAD_CONFIG' })
  })
})

const startProcess = (options: ProcessOptions = {}) => Process.start(chain, databaseUrl, options)

describe('a process that is killed', () => {
  test('after any step leaves another to go on, and the head settles once', async () => {
    const log = await newLog(6)
    const first = await startProcess()
    await first.deliver(log.delivery())
    await first.kill()
    const seen: (string | undefined)[] = []
    const settled = await until(async () => {
      const process = await startProcess({ stepsMax: 1 })
      await process.round()
      seen.push((await process.states())[0])
      const proof = await process.proof(log, 3)
      await process.kill()
      return seen.at(-1) === 'final' && proof
    })
    // The first steps follow the chain.
    expect([...new Set(seen.filter((state) => state !== undefined))]).toEqual([
      'sealed',
      'signed',
      'submitted',
      'included',
      'final',
    ])
    expect(await contractSays(log, 3, settled)).toBe(SETTLED)
    expect(await settlementsOf(log)).toBe(1)
  })

  test('between storing raw bytes and broadcasting them loses nothing: the next one broadcasts the same bytes', async () => {
    const log = await newLog(6)
    const killed = new Error('killed')
    const dying = await startProcess({
      holder: 'dying',
      wrap: (connected) => ({ ...connected, send: () => Promise.reject(killed) }),
    })
    await dying.deliver(log.delivery())
    await expect(dying.round()).rejects.toBe(killed)
    expect(await dying.states()).toEqual(['signed'])
    const [stored] = await dying.database.sql<{ hash: Uint8Array }[]>`select hash from attempts`
    await dying.kill()
    expect(await settlementsOf(log)).toBe(0)

    const next = await startProcess({ holder: 'next' })
    await next.round()
    const settled = await until(() => next.proof(log, 0))
    expect(settled.transaction).toBe(toHex(stored?.hash ?? new Uint8Array()))
    expect(await settlementsOf(log)).toBe(1)
    await next.kill()
  })

  test('between broadcasting and noting it loses nothing: the node knows the bytes', async () => {
    const log = await newLog(6)
    const killed = new Error('killed')
    const dying = await startProcess({
      holder: 'dying',
      wrap: (connected) => ({
        ...connected,
        async send(raw) {
          await connected.send(raw)
          throw killed
        },
      }),
    })
    await dying.deliver(log.delivery())
    await expect(dying.round()).rejects.toBe(killed)
    await dying.kill()
    const next = await startProcess({ holder: 'next' })
    await next.round()
    expect(await contractSays(log, 5, await until(() => next.proof(log, 5)))).toBe(SETTLED)
    expect(await next.states()).toEqual(['final'])
    expect(await settlementsOf(log)).toBe(1)
    await next.kill()
  })

  test('and comes back late stores nothing more', async () => {
    const log = await newLog(6)
    const late = await startProcess({ holder: 'late' })
    await late.deliver(log.delivery())
    const store = createSettlementStore(late.database.sql)
    const account = chain.account('settler').address.toLowerCase() as Hex
    const lease = await store.takeLease(account, 'late', 0)
    expect(lease).toBeDefined()
    const next = await startProcess({ holder: 'next' })
    await next.round()
    if (lease === undefined) return
    const seal = store.seal(lease, { kind: 'settle', calldata: '0x', gas: 1n, heads: [], clearings: [] })
    await expect(seal).rejects.toMatchObject({ code: 'LEASE_LOST' })
    await Promise.all([late.kill(), next.kill()])
  })
})

test('a lost database costs no proof: the log is delivered again, the chain is read again, nothing is sent', async () => {
  const log = await newLog(9)
  const before = await startProcess()
  await before.deliver(log.delivery(0, log.head(4)))
  await before.round()
  await before.deliver(log.delivery())
  await before.round()
  await until(() => before.proof(log, 8))
  await before.kill()

  databaseUrl = await postgres.createDatabase()
  const nonce = await chain.client.getTransactionCount({ address: chain.account('settler').address })
  const after = await startProcess()
  await after.deliver(log.delivery())
  await after.round()
  for (const index of [0, 3, 4, 8]) {
    const settled = await until(() => after.proof(log, index))
    expect(await contractSays(log, index, settled)).toBe(SETTLED)
  }
  expect(await chain.client.getTransactionCount({ address: chain.account('settler').address })).toBe(nonce)
  expect(await after.states()).toEqual([])
  await after.kill()
})

test('what another aggregator settled is proven without a transaction of our own', async () => {
  const log = await newLog(5)
  const process = await startProcess()
  await process.deliver(log.delivery())
  await chain.wallet('stranger').sendTransaction({ to: chain.addresses.settlement, data: settleCalldata([log.head()]) })
  await process.round()
  expect(await contractSays(log, 2, await until(() => process.proof(log, 2)))).toBe(SETTLED)
  expect(await process.states()).toEqual([])
  await process.kill()
})

test('a head that another settled in the same moment is skipped as a duplicate, and proven all the same', async () => {
  const log = await newLog(5)
  const process = await startProcess({
    wrap: (connected) => ({
      ...connected,
      // Between our look at the chain and our transaction.
      async send(raw) {
        const wallet = chain.wallet('stranger')
        await wallet.sendTransaction({ to: chain.addresses.settlement, data: settleCalldata([log.head()]) })
        return connected.send(raw)
      },
    }),
  })
  await process.deliver(log.delivery())
  await process.round()
  expect(await contractSays(log, 2, await until(() => process.proof(log, 2)))).toBe(SETTLED)
  const [head] = await process.database.sql`select skipped from heads`
  expect(head).toEqual({ skipped: 'Duplicate' })
  expect(await process.states()).toEqual(['final'])
  await process.round()
  expect(await process.states()).toEqual(['final'])
  await process.kill()
})

describe('while nothing is mined', () => {
  beforeEach(() => chain.control.setAutomine(false))
  afterEach(async () => {
    await chain.control.setAutomine(true)
    await chain.control.mine({ blocks: 1 })
  })

  test('the fee is raised under the same nonce, and one of the attempts settles', async () => {
    await chain.control.setAutomine(true)
    const log = await newLog(5)
    await chain.control.setAutomine(false)
    let now = 0
    const process = await startProcess({ now: () => now, policy: { resubmitSeconds: 12 } })
    await process.deliver(log.delivery())
    await process.round()
    expect(await process.states()).toEqual(['submitted'])
    now = 11_000
    await process.round()
    const attempts = () => process.database.sql<{ hash: Uint8Array; fee: string }[]>`
      select hash, fee::text from attempts order by position`
    expect(await attempts()).toHaveLength(1)
    now = 13_000
    await process.round()
    const [first, second] = await attempts()
    expect(BigInt(second?.fee ?? 0)).toBeGreaterThanOrEqual((BigInt(first?.fee ?? 0) * 9n) / 8n)
    await chain.control.mine({ blocks: 1 })
    await process.round()
    const settled = await until(() => process.proof(log, 0))
    expect(settled.transaction).toBe(toHex(second?.hash ?? new Uint8Array()))
    expect(await settlementsOf(log)).toBe(1)
    await process.kill()
  })

  test('bytes that the node has dropped are broadcast again', async () => {
    await chain.control.setAutomine(true)
    const log = await newLog(5)
    await chain.control.setAutomine(false)
    const process = await startProcess()
    await process.deliver(log.delivery())
    await process.round()
    const [attempt] = await process.database.sql<{ hash: Uint8Array }[]>`select hash from attempts`
    const hash = toHex(attempt?.hash ?? new Uint8Array())
    await chain.control.dropTransaction({ hash })
    await process.round()
    expect(await chain.client.getTransaction({ hash })).toMatchObject({ blockHash: null })
    await chain.control.mine({ blocks: 1 })
    await process.round()
    expect((await until(() => process.proof(log, 0))).transaction).toBe(hash)
    await process.kill()
  })

  test('heads whose nonce went to another transaction are settled with the next one', async () => {
    await chain.control.setAutomine(true)
    const log = await newLog(5)
    await chain.control.setAutomine(false)
    const process = await startProcess()
    await process.deliver(log.delivery())
    await process.round()
    const [attempt] = await process.database.sql<{ hash: Uint8Array }[]>`select hash from attempts`
    await chain.control.dropTransaction({ hash: toHex(attempt?.hash ?? new Uint8Array()) })
    const settler = chain.wallet('settler')
    await settler.sendTransaction({ to: settler.account.address, value: 0n })
    await chain.control.mine({ blocks: 1 })
    await chain.control.setAutomine(true)
    await until(async () => {
      await process.round()
      return (await process.states())[0] === 'failed'
    })
    expect(await process.proof(log, 0)).toBeUndefined()
    // The pause after a failure is over.
    await process.database.sql`update transactions set changed_at = changed_at - interval '1 hour'`
    const settled = await until(async () => {
      await process.round()
      return process.proof(log, 0)
    })
    expect(await contractSays(log, 0, settled)).toBe(SETTLED)
    expect(await process.states()).toEqual(['failed', 'final'])
    await process.kill()
  })
})

test('a reorganisation takes the proof back, and the same bytes settle again', async () => {
  const log = await newLog(5)
  const process = await startProcess({ policy: { depth: { safe: 2, final: 5 } } })
  await process.deliver(log.delivery())
  const snapshot = await chain.control.snapshot()
  await process.round()
  const before = await until(() => process.proof(log, 1))
  expect(await process.states()).toEqual(['included'])

  await chain.control.revert({ id: snapshot })
  await chain.control.mine({ blocks: 2 })
  await until(async () => {
    await process.round()
    const settled = await process.proof(log, 1)
    return settled !== undefined && settled.block !== before.block
  })
  const after = await until(() => process.proof(log, 1))
  expect(after.transaction).toBe(before.transaction)
  expect(await contractSays(log, 1, after)).toBe(SETTLED)
  await chain.control.mine({ blocks: 2 })
  await process.round()
  expect(await process.states()).toEqual(['safe'])
  await chain.control.mine({ blocks: 3 })
  await process.round()
  expect(await process.states()).toEqual(['final'])
  await process.kill()
})

test("another settler's exclusive time keeps the money waiting, never the proof", async () => {
  const log = await newLog(5, 100n)
  const operator = chain.wallet('operator')
  await operator.writeContract({
    address: chain.addresses.settlement,
    abi: receiptSettlementAbi,
    functionName: 'nameSettler',
    args: [log.enclave, chain.account('stranger').address, 600],
  })
  const process = await startProcess()
  await process.deliver(log.delivery())
  await process.round()
  expect(await contractSays(log, 4, await until(() => process.proof(log, 4)))).toBe(SETTLED)
  expect((await accountOf(log.enclave)).earned).toBe(0n)
  await process.round()
  expect(await process.states()).toEqual(['final'])
  const [head] = await process.database.sql<{ waits: boolean }[]>`select retry_at > now() as waits from heads`
  expect(head).toEqual({ waits: true })

  await chain.control.increaseTime({ seconds: 601 })
  await process.database.sql`update heads set retry_at = now()`
  await process.round()
  expect((await accountOf(log.enclave)).earned).toBe(15n)
  await process.kill()
})

test('the plain hash and the fast one agree on what was stored', async () => {
  const log = await newLog(3)
  const process = await startProcess()
  await ingest({ ...process.ports, hash: keccak256 }, log.delivery())
  expect(await process.deliver(log.issue(2).delivery(1))).toEqual({ ok: true, size: 5n })
  await process.kill()
})
