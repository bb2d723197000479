/** What settling costs and pays: a real chain, a real database. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { receiptSettlementAbi } from '#chain/generated/abis.ts'
import type { Hex } from '#protocol/bytes.ts'
import { ENCLAVE_ROLE } from '#protocol/evidence/statement.ts'
import { signClearing } from '#protocol/receipt/clearing.ts'
import { enclaveOfKey } from '#protocol/receipt/head.ts'
import { connectEndpoints } from '../../offchain/aggregator/chainAccess.ts'
import type { SettlePolicy } from '../../offchain/aggregator/config.ts'
import { readSettlerFee } from '../../offchain/aggregator/settlerLedger.ts'
import { Process, type ProcessOptions, until } from '../support/aggregatorProcess.ts'
import { deployLocal, type LocalChain, registerTestEnclave, type TestAccount } from '../support/chain.ts'
import { depositCredits, openTestKeyset } from '../support/credits.ts'
import { startPostgres, type TestPostgres } from '../support/postgres.ts'
import { TestLog } from '../support/testLog.ts'

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
const newKey = () => new Uint8Array(32).fill(0x10 + ++keys)
const start = (policy: Partial<SettlePolicy>, options: ProcessOptions = {}) =>
  Process.start(chain, databaseUrl, { policy, ...options })

async function newLog(count: number): Promise<TestLog> {
  const privateKey = newKey()
  await registerTestEnclave(chain, privateKey)
  return new TestLog(privateKey, domain()).issue(count)
}

/** All of a log, under a head that states `fees`. */
const deliveryOf = (log: TestLog, fees: bigint) => log.delivery(0, log.head(log.size, fees))

async function newKeyset(): Promise<Hex> {
  const { id } = await openTestKeyset(chain, new TestLog(ISSUER_KEY, domain()).enclave, `keyset ${++keys}`)
  await depositCredits(chain, id, 0, enclaveOfKey(newKey()))
  return id
}

const clearingOf = (keyset: Hex, lines: readonly (readonly [TestLog, bigint])[]) => {
  const total = lines.reduce((sum, [, units]) => sum + units, 0n)
  const enclaves = lines.map(([{ enclave }, captured]) => ({ enclave, captured }))
  return signClearing({ keyset, issued: total, captured: total, enclaves }, domain(), ISSUER_KEY)
}

const earnedBy = (account: TestAccount) =>
  chain.client.readContract({
    address: chain.addresses.settlement,
    abi: receiptSettlementAbi,
    functionName: 'settlerEarned',
    args: [chain.account(account).address],
  })

test('the fee that is expected of a call is what the contract books for its sender', async () => {
  const endpoints = await connectEndpoints({ deployment: chain.addresses, rpcUrls: [chain.rpcUrl] })
  const settler = chain.account('settler').address
  const [keyset, other] = [await newKeyset(), await newKeyset()]
  const logs = [await newLog(3), await newLog(5), await newLog(2)] as const
  const fees = [210_003n, 166_665n, 20n]
  const process = await start({})
  const steps = [
    () => [
      clearingOf(keyset, [
        [logs[0], 150_000n],
        [logs[1], 20_000n],
      ]),
    ],
    () => [
      clearingOf(keyset, [
        [logs[0], 190_007n],
        [logs[1], 20_000n],
      ]),
      clearingOf(other, [[logs[1], 300_000n]]),
    ],
    () => [],
  ]
  const expected: bigint[] = []
  for (const clearings of steps) {
    const signed = clearings()
    const deliveries = logs.map((log, i) => deliveryOf(log, fees[i] ?? 0n))
    const call = {
      heads: deliveries.map(({ head }) => head),
      clearings: signed.map((clearing) => ({ id: `0x${'00'.repeat(32)}` as Hex, clearing })),
    }
    const fee = await readSettlerFee(endpoints, chain.addresses.settlement, settler, call)
    const before = await earnedBy('settler')
    for (const delivery of deliveries) await process.deliver(delivery)
    for (const clearing of signed) await process.clear(clearing)
    await process.round()
    expect((await earnedBy('settler')) - before).toBe(fee)
    expected.push(fee)
    for (const [i, log] of logs.entries()) {
      log.issue(1)
      fees[i] = (fees[i] ?? 0n) + 5_000n
    }
  }
  expect(expected[0]).toBeGreaterThan(0n)
  expect(expected[1]).toBeGreaterThan(0n)
  await process.kill()
})

describe('a batch that costs more than it pays', () => {
  const economics = { opgPerCoin: '1000000000', patienceSeconds: 3_600 }

  test('waits until it pays', async () => {
    const log = await newLog(4)
    let now = 1_000_000
    const process = await start({ economics: { ...economics, opgPerCoin: '0.5' } }, { now: () => now })
    await process.deliver(deliveryOf(log, 400_000n))
    await process.round()
    expect(await process.states()).toEqual([])
    await process.clear(clearingOf(await newKeyset(), [[log, 400_000n]]))
    // It is not weighed again at once.
    await process.round()
    expect(await process.states()).toEqual([])
    now += 10_000
    await process.round()
    expect(await process.states()).toEqual(['final'])
    expect(await until(() => process.proof(log, 3))).toBeDefined()
    await process.kill()
  })

  test('settles when its patience is over', async () => {
    const log = await newLog(4)
    const process = await start({ economics: { ...economics, patienceSeconds: 5 } })
    await process.deliver(log.delivery())
    await process.round()
    expect(await process.states()).toEqual([])
    await until(async () => {
      await process.round()
      return process.proof(log, 0)
    })
    await process.kill()
  })

  test('settles at once when somebody asks for it', async () => {
    const log = await newLog(4)
    const process = await start({ economics })
    await process.deliver(log.delivery())
    await process.round()
    expect(await process.states()).toEqual([])
    await process.settlement.askSettle(chain.account('settler').address.toLowerCase() as Hex)
    await process.round()
    expect(await process.states()).toEqual(['final'])
    await process.kill()
  })
})

test('value settles at once what age would let wait', async () => {
  const log = await newLog(2)
  const process = await start({ everySeconds: 3_600, valueMax: 1_000n })
  await process.deliver(deliveryOf(log, 999n))
  await process.round()
  expect(await process.states()).toEqual([])
  log.issue(1)
  await process.deliver(deliveryOf(log, 1_000n))
  await process.round()
  expect(await process.states()).toEqual(['final'])
  await process.kill()
})

test('an account that cannot pay loses nothing: it goes on when it has money', async () => {
  const log = await newLog(4)
  const process = await start({})
  const { address } = chain.account('settler')
  const balance = await chain.client.getBalance({ address })
  await chain.control.setBalance({ address, value: 1n })
  await process.deliver(log.delivery())
  await process.round()
  await process.round()
  expect(await process.states()).toEqual(['signed'])
  expect(process.health).toMatchObject({ trouble: 'NO_FUNDS' })
  await chain.control.setBalance({ address, value: balance })
  await until(async () => {
    await process.round()
    return process.proof(log, 0)
  })
  expect(process.health.trouble).toBeUndefined()
  await process.kill()
})

test('two accounts settle different heads at the same time', async () => {
  const logs = [await newLog(2), await newLog(3)]
  const one = await start({ headsMax: 1 }, { holder: 'one', account: 'settler' })
  const two = await start({ headsMax: 1 }, { holder: 'two', account: 'stranger' })
  await chain.control.setAutomine(false)
  for (const log of logs) await one.deliver(log.delivery())
  await Promise.all([one.round(), two.round()])
  // Both saw the same heads due; the store gave each to one, and whoever came second takes what is left.
  await Promise.all([one.round(), two.round()])
  expect(await one.states()).toEqual(['submitted', 'submitted'])
  await chain.control.mine({ blocks: 1 })
  await chain.control.setAutomine(true)
  for (const log of logs) {
    await until(async () => {
      await Promise.all([one.round(), two.round()])
      return one.proof(log, 0)
    })
  }
  expect(await one.states()).toEqual(['final', 'final'])
  const senders = await one.database.sql`select distinct account from transactions`
  expect(senders).toHaveLength(2)
  await Promise.all([one.kill(), two.kill()])
})
