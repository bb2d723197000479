/**
 * `sealpath audit` on a chain where everything happened that moves money, with an aggregator that really settled: all is well, and then each thing that is made
 * wrong is found, and nothing else. What is wrong is made so between the audit and whom it asks.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Hono } from 'hono'
import {
  ContractFunctionExecutionError,
  createPublicClient,
  getAbiItem,
  http,
  type PublicClient,
  parseEventLogs,
  toEventSelector,
  toFunctionSelector,
} from 'viem'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { creditVaultAbi, enclaveRegistryAbi, receiptSettlementAbi, testOPGAbi } from '#chain/generated/abis.ts'
import { openVault } from '#chain/vault.ts'
import { startServer } from '#node/server.ts'
import { type Hex, toHex } from '#protocol/bytes.ts'
import { ENCLAVE_ROLE } from '#protocol/evidence/statement.ts'
import { keccak256 } from '#protocol/hash.ts'
import { signClearing } from '#protocol/receipt/clearing.ts'
import { enclaveOfKey } from '#protocol/receipt/head.ts'
import type { SignedClearing } from '#protocol/wire/agentApi.ts'
import { toJson } from '#protocol/wire/json.ts'
import { type SignedHeadArgument, signedHeadArgument } from '../../offchain/aggregator/evidence.ts'
import { createProofStore } from '../../offchain/aggregator/proofsStore.ts'
import { addTileRoutes } from '../../offchain/aggregator/tilesRoutes.ts'
import { openStateFile } from '../../offchain/cli/audit/auditState.ts'
import { openLeafSource } from '../../offchain/cli/audit/leafSource.ts'
import { type AuditReport, runAudit } from '../../offchain/cli/audit/runAudit.ts'
import { audit } from '../../offchain/cli/commands/audit.ts'
import { Random } from '../simulation/random.ts'
import { Process } from '../support/aggregatorProcess.ts'
import { deployLocal, type LocalChain, registerTestEnclave, type TestAccount } from '../support/chain.ts'
import { depositCredits, mined, openTestKeyset, prepareExits, testSeed } from '../support/credits.ts'
import { readCommands } from '../support/documentCommands.ts'
import { startPostgres, type TestPostgres } from '../support/postgres.ts'
import { HONEST, type Meddle, type RpcProxy, startRpcProxy } from '../support/rpcProxy.ts'
import { TestLog } from '../support/testLog.ts'

const DAY = 86_400
const ISSUER_KEY = new Uint8Array(32).fill(0x71)
const UNIT_AMOUNT = 10n ** 12n

type TileProxy = { readonly url: string; change: (path: string, leaves: Buffer) => Buffer | undefined; close(): void }

const folder = mkdtempSync(join(tmpdir(), 'sealpath-audit-'))
let chain: LocalChain
let postgres: TestPostgres
let aggregator: Process
let closeTiles: () => Promise<void>
let aggregatorUrl: string
let tiles: TileProxy
let rpc: RpcProxy
let keyset: Hex
/** Earns most; its log is longer than a tile, and its second head settled between two others. */
let first: TestLog
/** Has settler's terms. */
let second: TestLog
/** Contradicted itself. */
let third: TestLog

beforeAll(async () => {
  ;[chain, postgres] = await Promise.all([deployLocal(), startPostgres()])
  aggregator = await Process.start(chain, await postgres.createDatabase())
  const app = new Hono()
  addTileRoutes(app, { tiles: createProofStore(aggregator.database.sql) })
  const server = await startServer(app, { host: '127.0.0.1', port: 0 })
  aggregatorUrl = server.url
  closeTiles = () => server.close(0)
  tiles = await startTileProxy(aggregatorUrl)
  rpc = await startRpcProxy(chain.rpcUrl)
  await liveThroughEverything()
  writeFileSync(join(folder, 'deployment.json'), toJson(chain.addresses))
})

afterAll(async () => {
  tiles.close()
  await rpc.close()
  await closeTiles()
  await aggregator.kill()
  await Promise.all([chain.close(), postgres.close()])
  rmSync(folder, { recursive: true, force: true })
})

afterEach(() => {
  rpc.meddle = HONEST
  tiles.change = (_, leaves) => leaves
  vi.restoreAllMocks()
})

/** Four batches, three clearings, payouts of all kinds, exits, a refund, a slashed bond. */
async function liveThroughEverything(): Promise<void> {
  first = await newLog(0x11)
  second = await newLog(0x12)
  third = await newLog(0x13)
  const issuer = await registerTestEnclave(chain, ISSUER_KEY, { role: ENCLAVE_ROLE.issuer })
  const opened = await openTestKeyset(chain, issuer.enclave)
  keyset = opened.id
  await depositCredits(chain, keyset, 0, chain.account('deployer').address)
  await depositCredits(chain, keyset, 0, chain.account('stranger').address)

  await clear([first, 200n], [third, 50n])
  await aggregator.deliver(first.issue(100).delivery())
  await aggregator.deliver(second.issue(3).delivery())
  await aggregator.round()
  await aggregator.deliver(first.issue(157).delivery(100))
  await aggregator.round()
  await aggregator.deliver(first.issue(43).delivery(257))
  await aggregator.deliver(third.issue(5).delivery())
  await aggregator.round()

  await send('deployer', 'settlement', 'reportContradiction', [
    signedHeadArgument(third.head(5)),
    signedHeadArgument(third.head(5, 16n)),
  ])
  await send('stranger', 'settlement', 'sweepUnmatched', [third.enclave])
  await send('stranger', 'registry', 'insureSlashed', [])
  await send('operator', 'settlement', 'nameSettler', [second.enclave, chain.account('stranger').address, 600])
  await aggregator.deliver(second.issue(2).delivery(3))
  await aggregator.round()

  const exits = prepareExits(opened, testSeed(1), 0, [3, 5], chain.account('stranger').address)
  await send('stranger', 'vault', 'openExits', exits.args)
  await send('stranger', 'settlement', 'thaw', [first.enclave])
  await send('settler', 'settlement', 'thawSettler', [])
  await send('protocol', 'settlement', 'thawProtocol', [])
  await chain.control.increaseTime({ seconds: DAY + 60 })
  await send('stranger', 'vault', 'finishExits', [exits.credits])
  await send('deployer', 'vault', 'requestRefund', [keyset, chain.account('stranger').address])
  await send('stranger', 'settlement', 'withdraw', [first.enclave])
  await send('settler', 'settlement', 'withdrawSettler', [])
  await send('protocol', 'settlement', 'withdrawProtocol', [])
  // Credited without a head, by somebody else; and a second thaw that is still under way.
  await clear([first, 900n], [second, 7n])
  await aggregator.round()
  await send('stranger', 'settlement', 'credit', [first.enclave])
  await send('stranger', 'settlement', 'thaw', [first.enclave])
  await chain.control.increaseTime({ seconds: DAY + 60 })
  await send('stranger', 'vault', 'finishRefund', [keyset, chain.account('stranger').address])
}

async function newLog(fill: number): Promise<TestLog> {
  const privateKey = new Uint8Array(32).fill(fill)
  await registerTestEnclave(chain, privateKey)
  return new TestLog(privateKey, chain.addresses)
}

async function clear(...lines: readonly (readonly [TestLog, bigint])[]): Promise<void> {
  const captured = lines.reduce((sum, [, units]) => sum + units, 100n)
  const enclaves = lines.map(([{ enclave }, units]) => ({ enclave, captured: units }))
  await aggregator.clear(signClearing({ keyset, issued: 5_000n, captured, enclaves }, chain.addresses, ISSUER_KEY))
}

const ABIS = { settlement: receiptSettlementAbi, vault: creditVaultAbi, registry: enclaveRegistryAbi }

async function send(
  from: TestAccount,
  contract: keyof typeof ABIS,
  functionName: string,
  args: readonly unknown[],
): Promise<void> {
  const request = { address: chain.addresses[contract], abi: ABIS[contract], functionName, args }
  await mined(chain, await chain.wallet(from).writeContract(request as never))
}

/** Audits through the proxies. */
async function inspect(
  options: { aggregators?: readonly string[]; state?: string; onNotice?: (sentence: string) => void } = {},
): Promise<AuditReport> {
  const client = createPublicClient({ transport: http(rpc.url), cacheTime: 0 }) as PublicClient
  const { aggregators = [tiles.url], state, onNotice = () => {} } = options
  return runAudit({
    access: await openVault(client, chain.addresses.registry),
    sources: aggregators.map(openLeafSource),
    state: state === undefined ? undefined : openStateFile(join(folder, state)),
    onNotice,
  })
}

const findings = async (options: Parameters<typeof inspect>[0] = {}) => (await inspect(options)).discrepancies

/** Meddles with the logs of one event. */
function withLogs(topic: Hex, change: (logs: readonly RpcLog[]) => readonly RpcLog[]): Meddle {
  return async ({ method }, pass) => {
    const result = await pass()
    if (method !== 'eth_getLogs') return { result }
    const logs = result as readonly RpcLog[]
    const ours = change(logs.filter(({ topics }) => topics[0] === topic))
    return { result: logs.flatMap((log) => (log.topics[0] === topic ? ours.filter((own) => sameLog(own, log)) : log)) }
  }
}

type RpcLog = { readonly topics: readonly Hex[]; readonly data: Hex; readonly logIndex: Hex; readonly blockNumber: Hex }
const sameLog = (a: RpcLog, b: RpcLog) => a.logIndex === b.logIndex && a.blockNumber === b.blockNumber

const topicOf = (name: 'HeadSettled' | 'Withdrawn' | 'BatchSettled' | 'ThawStarted') =>
  toEventSelector(getAbiItem({ abi: receiptSettlementAbi, name }))

type Asked =
  | 'accountOf'
  | 'keysetTotals'
  | 'operatorShareOf'
  | 'protocolEarned'
  | 'settlerEarned'
  | 'batchRoot'
  | 'insurance'

const selectorOf = (name: Asked) => toFunctionSelector(getAbiItem({ abi: receiptSettlementAbi, name }))

/** Adds one to a word of what a function answers. */
function withAnswer(name: Asked, word: number, matches: (data: string) => boolean = () => true): Meddle {
  const selector = selectorOf(name)
  return async ({ method, params }, pass) => {
    const result = await pass()
    if (method !== 'eth_call') return { result }
    const { data = '' } = params[0] as { data?: string }
    if (!data.startsWith(selector) || !matches(data)) return { result }
    return { result: plusOne(result as Hex, word) }
  }
}

function plusOne(words: Hex, word: number): Hex {
  const from = 2 + 64 * word
  const value = BigInt(`0x${words.slice(from, from + 64)}`) + 1n
  return `${words.slice(0, from)}${value.toString(16).padStart(64, '0')}${words.slice(from + 64)}` as Hex
}

const about =
  ({ enclave }: TestLog) =>
  (data: string) =>
    data.toLowerCase().includes(enclave.slice(2))

const RANDOM_ACTIONS = [
  'settle',
  'settle',
  'settle',
  'clear',
  'clear',
  'credit',
  'thaw',
  'withdraw',
  'name',
  'wait',
  'fees',
] as const

/** Answers whether the contract took it. */
async function actAtRandom(
  random: Random,
  action: (typeof RANDOM_ACTIONS)[number],
  logs: readonly TestLog[],
  keysets: readonly Hex[],
): Promise<boolean> {
  const from = random.pick(['settler', 'stranger', 'protocol'] as const)
  const log = random.pick(logs)
  try {
    switch (action) {
      case 'settle': {
        const heads = Array.from({ length: random.integer(1, 4) }, () => randomHead(random, random.pick(logs)))
        const clearings = random.chance(0.3) ? [randomClearing(random, logs, keysets)] : []
        await send(from, 'settlement', 'settle', [heads, clearings])
        break
      }
      case 'clear':
        await send(from, 'settlement', 'settle', [[], [randomClearing(random, logs, keysets)]])
        break
      case 'credit':
      case 'thaw':
      case 'withdraw':
        await send(from, 'settlement', action, [log.enclave])
        break
      case 'fees': {
        const [thaw, withdraw] = from === 'protocol' ? PROTOCOLS_CALLS : SETTLERS_CALLS
        await send(from, 'settlement', random.pick([thaw, withdraw]), [])
        break
      }
      case 'name': {
        const settler = random.chance(0.2) ? `0x${'00'.repeat(20)}` : chain.account('stranger').address
        await send('operator', 'settlement', 'nameSettler', [log.enclave, settler, random.integer(0, 1_800)])
        break
      }
      case 'wait':
        await chain.control.increaseTime({ seconds: random.integer(600, DAY) })
        break
    }
    return true
  } catch (error) {
    if (error instanceof ContractFunctionExecutionError) return false
    throw error
  }
}

const PROTOCOLS_CALLS = ['thawProtocol', 'withdrawProtocol'] as const
const SETTLERS_CALLS = ['thawSettler', 'withdrawSettler'] as const

/** Of any size, with or without earnings. */
function randomHead(random: Random, log: TestLog): SignedHeadArgument {
  const size = random.integer(1, log.size)
  if (random.chance(0.7)) return signedHeadArgument(log.head(size, random.chance(0.2) ? 0n : undefined))
  const { signature, ...head } = log.forkAt(size, 0).receipt(0, chain.addresses.registry).head
  return { ...head, enclave: log.enclave, fees: 0n, kind: 0, ...signature }
}

/** Lines that add something, that are stale, and that are more than the issuer claims. */
function randomClearing(random: Random, logs: readonly TestLog[], keysets: readonly Hex[]): SignedClearing {
  const enclaves = logs.map(({ enclave }) => ({ enclave, captured: BigInt(random.integer(0, 60)) }))
  const captured = BigInt(random.integer(0, 400))
  return signClearing(
    { keyset: random.pick(keysets), issued: captured + 5_000n, captured, enclaves },
    chain.addresses,
    ISSUER_KEY,
  )
}

describe('sealpath audit', () => {
  it('finds nothing where all is well, and says what it checked', async () => {
    const report = await inspect()
    expect(report.discrepancies).toEqual([])
    expect(report).toMatchObject({ enclaves: 4, keysets: 1, discrepancyCount: 0, resumedAfter: undefined })
    // 300 + 5 + 5 leaves: each is read once, whatever number of heads covers it.
    expect(report.counts).toMatchObject({ batches: 4n, heads: 6n, leaves: 310n })
  })

  it('has seen every kind of event that moves money', async () => {
    const { settlement, vault, registry } = chain.addresses
    const logs = await chain.client.getLogs({ address: [settlement, vault, registry], fromBlock: 0n })
    const seen = new Set(
      parseEventLogs({ abi: [...receiptSettlementAbi, ...creditVaultAbi, ...enclaveRegistryAbi], logs }).map(
        ({ eventName }) => eventName,
      ),
    )
    const settled = ['HeadSettled', 'HeadSkipped', 'BatchSettled', 'ClearingSettled', 'Credited', 'UnmatchedSwept']
    const moved = ['ThawStarted', 'Withdrawn', 'Paid', 'Insured', 'Exited', 'ExitsPaid', 'Deposited', 'Refunded']
    for (const name of [...settled, ...moved, 'InsurancePaid', 'BondSlashed', 'SlashedInsured', 'SettlerNamed']) {
      expect(seen).toContain(name)
    }
  })

  it('finds nothing after fifty random settlements, clearings and payouts of three gateways and two keysets', async () => {
    const snapshot = await chain.control.snapshot()
    const random = new Random(8)
    const logs: TestLog[] = []
    for (const fill of [0x21, 0x22, 0x23]) {
      const log = await newLog(fill)
      await aggregator.deliver(log.issue(20).delivery())
      logs.push(log)
    }
    const other = await openTestKeyset(chain, enclaveOfKey(ISSUER_KEY), 'other')
    await depositCredits(chain, other.id, 0, chain.account('operator').address)
    const done = new Map<string, number>()
    for (let i = 0; i < 50; i++) {
      const name = random.pick(RANDOM_ACTIONS)
      if (await actAtRandom(random, name, logs, [keyset, other.id])) done.set(name, (done.get(name) ?? 0) + 1)
    }
    for (const name of new Set(RANDOM_ACTIONS)) expect(done.get(name) ?? 0).toBeGreaterThan(0)
    const report = await inspect()
    expect(report).toMatchObject({ discrepancies: [], enclaves: 7, keysets: 2 })
    expect(report.counts.batches).toBeGreaterThan(10n)
    await chain.control.revert({ id: snapshot })
  })

  it('finds nothing on an endpoint that answers few blocks at once', async () => {
    rpc.meddle = async ({ method, params }, pass) => {
      if (method === 'eth_getLogs') {
        const { fromBlock, toBlock } = params[0] as { fromBlock: Hex; toBlock: Hex }
        if (Number(toBlock) - Number(fromBlock) >= 7) throw { code: -32_602, message: 'too many blocks' }
      }
      return { result: await pass() }
    }
    expect(await findings()).toEqual([])
  })

  it('finds a leaf that was changed, and names the aggregator when another has the right one', async () => {
    const path = `/v1/tiles/${first.enclave}/0/0`
    tiles.change = (asked, leaves) => (asked === path ? flipped(leaves, 32 * 120 + 7) : leaves)
    const alone = await findings()
    expect(alone).toMatchObject([
      {
        kind: 'LOG',
        where: { enclave: first.enclave, size: 257n, batch: 2n },
        expected: `root ${first.head(257).root}`,
      },
    ])
    expect(alone[0]?.found).toMatch(/1 later heads cannot be checked$/)
    expect(await findings({ aggregators: [tiles.url, aggregatorUrl] })).toMatchObject([
      { kind: 'LEAVES', where: { enclave: first.enclave, size: 257n, aggregator: tiles.url } },
    ])
  })

  it('asks the next aggregator for leaves that one lacks, and says so when none has them', async () => {
    tiles.change = (asked, leaves) => (asked.startsWith(`/v1/tiles/${first.enclave}/0/1`) ? undefined : leaves)
    expect(await findings({ aggregators: [tiles.url, aggregatorUrl] })).toEqual([])
    expect(await findings()).toMatchObject([
      { kind: 'UNCHECKED', where: { enclave: first.enclave, size: 257n }, expected: '257 leaves' },
    ])
    expect((await findings({ aggregators: [] })).map(({ kind }) => kind)).toEqual([
      'UNCHECKED',
      'UNCHECKED',
      'UNCHECKED',
    ])
  })

  it('finds a head that was dropped', async () => {
    const isMiddle = ({ data }: RpcLog) => data.includes(first.head(257).root.slice(2))
    rpc.meddle = withLogs(topicOf('HeadSettled'), (logs) => logs.filter((log) => !isMiddle(log)))
    expect(await findings()).toMatchObject([{ kind: 'BATCH', where: { batch: 2n }, expected: '1', found: '0' }])
  })

  it('finds a batch that was left out', async () => {
    rpc.meddle = withLogs(topicOf('BatchSettled'), (logs) => logs.filter((_, i) => i !== 1))
    expect(await findings()).toMatchObject([{ kind: 'BATCH', where: { batch: 2n } }])
  })

  it('finds a batch root that is wrong, in the event and in what is stored', async () => {
    rpc.meddle = withLogs(topicOf('BatchSettled'), (logs) =>
      logs.map((log, i) => (i === 2 ? { ...log, data: plusOne(log.data, 0) } : log)),
    )
    expect(await findings()).toMatchObject([{ kind: 'BATCH', where: { batch: 3n } }])
    rpc.meddle = withAnswer('batchRoot', 0, (data) => data.endsWith('1'))
    expect(await findings()).toMatchObject([
      { kind: 'BATCH', where: { batch: 1n }, what: expect.stringContaining('stores') },
    ])
  })

  it.each([
    ['earned', 'accountOf', 2, 'ACCOUNT'],
    ['cleared', 'accountOf', 3, 'ACCOUNT'],
    ['credited', 'accountOf', 4, 'ACCOUNT'],
    ['the share', 'operatorShareOf', 0, 'ACCOUNT'],
  ] as const)('finds a wrong total of an enclave: %s', async (_, name, word, kind) => {
    rpc.meddle = withAnswer(name, word, about(first))
    expect(await findings()).toMatchObject([{ kind, where: { enclave: first.enclave } }])
  })

  it.each([0, 1, 2, 3])('finds a wrong total of a keyset: word %i', async (word) => {
    rpc.meddle = withAnswer('keysetTotals', word)
    expect(await findings()).toMatchObject([{ kind: 'KEYSET', where: { keyset } }])
  })

  it.each(['protocolEarned', 'settlerEarned', 'insurance'] as const)('finds a wrong total of all: %s', async (name) => {
    const settler = chain.account('settler').address.slice(2).toLowerCase()
    rpc.meddle = withAnswer(name, 0, name === 'settlerEarned' ? (data) => data.endsWith(settler) : undefined)
    expect(await findings()).toMatchObject([{ kind: 'TOTAL' }])
  })

  it('finds a payout that was hidden, and one of another amount', async () => {
    const isFirsts = ({ topics }: RpcLog) => topics[2]?.endsWith(first.enclave.slice(2)) === true
    rpc.meddle = withLogs(topicOf('Withdrawn'), (logs) => logs.filter((log) => !isFirsts(log)))
    expect(await findings()).toMatchObject([{ kind: 'PAYOUT', where: { enclave: first.enclave } }])
    rpc.meddle = withLogs(topicOf('Withdrawn'), (logs) =>
      logs.map((log) => (isFirsts(log) ? { ...log, data: plusOne(log.data, 0) } : log)),
    )
    expect(await findings()).toMatchObject([{ kind: 'PAYOUT', where: { enclave: first.enclave } }])
  })

  it('finds a vault that holds less than it owes', async () => {
    const { vault, token } = chain.addresses
    const args = [vault] as const
    const held = await chain.client.readContract({ address: token, abi: testOPGAbi, functionName: 'balanceOf', args })
    const selector = toFunctionSelector('balanceOf(address)')
    rpc.meddle = async ({ method, params }, pass) => {
      const { data = '' } = method === 'eth_call' ? (params[0] as { data?: string }) : {}
      const isAsked = data.startsWith(selector) && data.toLowerCase().endsWith(vault.slice(2))
      return { result: isAsked ? `0x${(held - 1n).toString(16).padStart(64, '0')}` : await pass() }
    }
    expect(await findings()).toMatchObject([
      { kind: 'BALANCE', where: { account: vault }, expected: `at least ${held}`, found: `${held - 1n}` },
    ])
    expect(held % UNIT_AMOUNT).toBe(0n)
  })

  it('goes on from its state, starts over when the chain has another, and keeps none that it finds contradicted', async () => {
    const snapshot = await chain.control.snapshot()
    await chain.control.mine({ blocks: 3 })
    const begun = await inspect({ state: 'state.json' })
    expect(begun).toMatchObject({ discrepancyCount: 0, resumedAfter: undefined })
    rpc.calls.length = 0
    const resumed = await inspect({ state: 'state.json' })
    expect(resumed).toMatchObject({ discrepancyCount: 0, resumedAfter: begun.finalBlock, counts: begun.counts })
    expect(rpc.calls.filter(({ method }) => method === 'eth_getLogs')).toEqual([])

    await chain.control.revert({ id: snapshot })
    await chain.control.increaseTime({ seconds: 9 })
    await chain.control.mine({ blocks: 4 })
    const notices: string[] = []
    const again = await inspect({ state: 'state.json', onNotice: (sentence) => notices.push(sentence) })
    expect(again).toMatchObject({ discrepancyCount: 0, resumedAfter: undefined, counts: begun.counts })
    expect(notices).toEqual([expect.stringMatching(/starting over$/)])

    rpc.meddle = withAnswer('insurance', 0)
    expect(await findings({ state: 'state.json' })).toMatchObject([{ kind: 'TOTAL' }])
    expect(existsSync(join(folder, 'state.json'))).toBe(false)
  })

  it('goes on where it was cut off, and believes no endpoint longer than it is believed itself', async () => {
    rpc.meddle = async ({ method, params }, pass) => {
      const { data = '' } = method === 'eth_call' ? (params[0] as { data?: string }) : {}
      if (data.startsWith(selectorOf('accountOf'))) throw { code: -32_602, message: 'out of order' }
      return { result: await pass() }
    }
    await expect(inspect({ state: 'cut.json' })).rejects.toThrow(/check --rpc$/)
    rpc.meddle = HONEST
    const { resumedAfter, finalBlock, discrepancies } = await inspect({ state: 'cut.json' })
    expect([resumedAfter, discrepancies]).toEqual([finalBlock, []])

    rpc.meddle = withLogs(topicOf('ThawStarted'), () => [])
    expect(await findings({ state: 'lied.json' })).not.toEqual([])
    rpc.meddle = HONEST
    expect(await findings({ state: 'lied.json' })).toEqual([])
  })

  it('answers by exit code, line and JSON', async () => {
    const said = vi.spyOn(process.stdout, 'write').mockReturnValue(true)
    const at = ['--rpc', rpc.url, '--deployment', join(folder, 'deployment.json'), '--aggregator', tiles.url]
    expect(await audit.run(at)).toBe(0)
    expect(said.mock.lastCall?.[0]).toMatch(/^No discrepancy\. Checked: 6 heads in 4 batches, 310 leaves, 4 enclaves/)
    rpc.meddle = withAnswer('protocolEarned', 0)
    expect(await audit.run(at)).toBe(1)
    expect(said.mock.lastCall?.[0]).toMatch(
      /^TOTAL +protocolEarned \(account 0x[0-9a-f]{40}\): expected \d+, found \d+\n/,
    )
    expect(await audit.run([...at, '--json'])).toBe(1)
    expect(JSON.parse(String(said.mock.lastCall?.[0]))).toMatchObject({ discrepancies: [{ kind: 'TOTAL' }] })
    const registry = ['--rpc', rpc.url, '--registry', chain.addresses.registry, '--aggregator', tiles.url]
    expect(await audit.run(registry)).toBe(1)
    rpc.meddle = HONEST
    expect(await audit.run(registry)).toBe(0)
  })

  it('does what its document says', async () => {
    vi.spyOn(process.stdout, 'write').mockReturnValue(true)
    const commands = readCommands(readFileSync(new URL('../../docs/audit.md', import.meta.url), 'utf8'))
    expect(commands).toHaveLength(2)
    const here = new Map([
      ['http://127.0.0.1:8545', rpc.url],
      ['http://127.0.0.1:8090', tiles.url],
      ['deployment.json', join(folder, 'deployment.json')],
      ['audit.json', join(folder, 'audit.json')],
    ])
    for (const { text } of commands) {
      const [sealpath, name, ...args] = text.split(/ +/)
      expect([sealpath, name]).toEqual(['sealpath', 'audit'])
      expect(await audit.run(args.map((word) => here.get(word) ?? word))).toBe(0)
    }
    expect(existsSync(join(folder, 'audit.json'))).toBe(true)
  })

  it('refuses wrong usage, a file that is none of its own, and a deployment of other contracts', async () => {
    const main = fileURLToPath(new URL('../../offchain/cli/main.ts', import.meta.url))
    const usage = spawnSync(process.execPath, [main, 'audit', '--registry', 'none', '--rpc', rpc.url], {
      encoding: 'utf8',
    })
    expect([usage.status, usage.stderr]).toEqual([2, expect.stringContaining('usage: sealpath audit')])
    const foreign = join(folder, 'foreign.json')
    writeFileSync(foreign, '{"mine":true}')
    const at = ['--rpc', rpc.url, '--aggregator', tiles.url]
    const deployed = ['--deployment', join(folder, 'deployment.json')]
    await expect(audit.run([...at, ...deployed, '--state', foreign])).rejects.toThrow(/is not the state of an audit$/)
    expect(readFileSync(foreign, 'utf8')).toBe('{"mine":true}')
    await expect(audit.run([...at, ...deployed, '--state', join(folder, 'none/state.json')])).rejects.toThrow(
      /does not exist$/,
    )
    writeFileSync(
      join(folder, 'other.json'),
      toJson({ ...chain.addresses, vault: toHex(keccak256(new Uint8Array())).slice(0, 42) }),
    )
    await expect(audit.run([...at, '--deployment', join(folder, 'other.json')])).rejects.toThrow(/says vault/)
  })
})

function flipped(leaves: Buffer, at: number): Buffer {
  const changed = Buffer.from(leaves)
  changed[at] = (changed[at] ?? 0) ^ 1
  return changed
}

/** Serves an aggregator's tiles, changed or not at all. */
async function startTileProxy(target: string): Promise<TileProxy> {
  const proxy: Pick<TileProxy, 'change'> = { change: (_, leaves) => leaves }
  const server = createServer(async (request, response) => {
    const answer = await fetch(`${target}${request.url}`)
    const leaves = Buffer.from(await answer.arrayBuffer())
    const changed = answer.ok ? proxy.change(request.url ?? '', leaves) : leaves
    response.writeHead(changed === undefined ? 404 : answer.status).end(changed)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return Object.assign(proxy, {
    url: `http://127.0.0.1:${port}`,
    close: () => {
      server.closeAllConnections()
      server.close()
    },
  })
}
