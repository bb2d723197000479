/**
 * One run from one seed: several aggregator processes, a chain, a store, traffic, and whatever goes wrong; then some time in which nothing does,
 * and the auditor's word.
 * @module
 */
import { createBulkKeccak } from '#node/bulkKeccak.ts'
import { type Hex, toHex } from '#protocol/bytes.ts'
import type { Keccak256 } from '#protocol/hash.ts'
import { enclaveOfKey } from '#protocol/receipt/head.ts'
import { SETTLE_POLICY, type SettlePolicy } from '../../offchain/aggregator/config.ts'
import { Prover, settledLeafOf } from '../../offchain/aggregator/proofs.ts'
import { audit, type Finding, type Observation, type SeenProof } from './auditor.ts'
import { type Block, Chain, type MutableState } from './chain.ts'
import type { Wire } from './chainPort.ts'
import { keyOf, SimulatedIssuer, SimulatedLog } from './enclaves.ts'
import { FAULT_KINDS, type FaultKind, Faults } from './faults.ts'
import { MemoryLogs } from './memoryLogs.ts'
import { MemoryProofs } from './memoryProofs.ts'
import { MemorySettlement } from './memorySettlement.ts'
import { Tables } from './memoryTables.ts'
import { Misfortune } from './misfortune.ts'
import { type Mutation, SimulatedProcess, type World } from './process.ts'
import { Random } from './random.ts'
import { Scheduler } from './scheduler.ts'
import { SettlementModel } from './settlementModel.ts'
import { OTHER_SETTLER, Traffic } from './traffic.ts'
import { installVirtualTimers } from './virtualTimers.ts'

export type RunOptions = {
  /** Which kinds of faults the run may have; those that the seed draws by default. */
  readonly faults?: readonly FaultKind[]
  readonly mutation?: Mutation
  /** How long the run may last after the faults, in virtual milliseconds. */
  readonly quietMs?: number
}

export type Run = {
  readonly seed: number
  readonly findings: readonly Finding[]
  /** What the code under test threw that it must never throw. */
  readonly bugs: readonly string[]
  readonly faults: ReadonlyMap<FaultKind, number>
  /** The last events, oldest first. */
  readonly trace: readonly string[]
  readonly observation: Observation
  readonly virtualSeconds: number
  readonly transactions: number
}

const DOMAIN = { chainId: 31_337, settlement: `0x${'5e'.repeat(20)}` } as const
const START_MS = 1_800_000_000_000
const TRAFFIC_MS = 120_000
const FAULTS_MS = 150_000
/** After the faults, what is held has so long to come on chain: failures pause for up to ten minutes, refused clearings for as long. */
const QUIET_MS = 1_800_000
const TRACE_MAX = 400
const TRACE_SHOWN = 120
const PLENTY = 10n ** 22n
let bulkKeccak: Keccak256 | undefined

/** Runs `seed` to its end. The same seed does the same, event by event. */
export async function simulate(seed: number, options: RunOptions = {}): Promise<Run> {
  bulkKeccak ??= await createBulkKeccak()
  const uninstall = installVirtualTimers()
  try {
    return await run(seed, options, bulkKeccak)
  } finally {
    uninstall()
  }
}

async function run(
  seed: number,
  { faults: wanted, mutation = {}, quietMs = QUIET_MS }: RunOptions,
  hash: Keccak256,
): Promise<Run> {
  const random = new Random(seed)
  const scheduler = new Scheduler(START_MS)
  const faults = new Faults(random.fork(), new Set(wanted ?? FAULT_KINDS.filter(() => random.chance(0.6))))
  const trace: string[] = []
  const bugs: string[] = []
  let last = ''
  const note = (event: string) => {
    // What happens over and over again would leave room for nothing else.
    if (event === last) return
    last = event
    trace.push(`${((scheduler.now - START_MS) / 1_000).toFixed(3)} ${event}`)
    if (trace.length > TRACE_MAX) trace.shift()
  }

  const gateways = Array.from(
    { length: random.integer(2, 5) },
    (_, i) => new SimulatedLog(keyOf(seed, `gateway ${i}`), DOMAIN),
  )
  const issuers = Array.from(
    { length: random.integer(0, 2) },
    (_, i) => new SimulatedIssuer(keyOf(seed, `issuer ${i}`), DOMAIN),
  )
  const accountKeys = Array.from({ length: random.integer(1, 2) }, (_, i) => keyOf(seed, `account ${i}`))
  const accounts = accountKeys.map((key) => enclaveOfKey(key).toLowerCase() as Hex)
  const blockMs = random.pick([1_000, 2_000, 3_000])
  const policy = drawPolicy(random, blockMs)

  const chainOptions = {
    ...DOMAIN,
    accounts,
    startSeconds: BigInt(START_MS / 1_000),
    refusesBelowBaseFee: random.chance(0.5),
  }
  const chain = new Chain(new SettlementModel(DOMAIN), chainOptions, random.fork(), (state) => {
    begin(state, gateways, issuers, accounts)
    if (faults.has('exclusiveSettler') && random.chance(0.5)) nameSettler(state, random.pick(gateways), faults)
  })
  const wire: Wire = { broadcasts: [], suggestions: [] }
  const tables = new Tables(() => scheduler.now)
  tables.identity = 'simulated'
  const logs = new MemoryLogs(tables)
  const bug = (what: string) => bugs.push(what)
  const world: World = { scheduler, chain, faults, wire, tables, logs, accountKeys, policy, hash, mutation, note, bug }

  const skew = () => {
    if (!faults.has('clockSkew')) return 0
    faults.note('clockSkew')
    return random.integer(-20_000, 20_000)
  }
  const processes = Array.from({ length: random.integer(1, 3) }, (_, i) => new SimulatedProcess(`p${i}`, world, skew()))
  const traffic = new Traffic(world, random.fork(), processes, START_MS + TRAFFIC_MS)
  const misfortune = new Misfortune(world, random.fork(), processes, traffic, gateways, blockMs)
  for (const process of processes) process.start()
  const turns = (['contradiction', 'fork'] as const).filter((how) => faults.has(how) && random.chance(0.6))
  for (const [i, log] of gateways.entries()) {
    const how = turns[i]
    traffic.startGateway(log, how && { how, at: START_MS + random.integer(20_000, TRAFFIC_MS) })
  }
  for (const issuer of issuers) traffic.startIssuer(issuer, gateways)
  misfortune.start(START_MS + FAULTS_MS)

  await scheduler.run(START_MS + FAULTS_MS)
  misfortune.end()
  const settlement = new MemorySettlement(tables)
  let isQuiet = false
  const watch = async (): Promise<void> => {
    isQuiet = traffic.isDone && (await hasNothingToDo(settlement, tables, accounts, chain))
    if (!isQuiet) scheduler.after(2_000, watch)
  }
  void watch()
  await scheduler.run(START_MS + FAULTS_MS + quietMs, () => isQuiet)
  // Whatever is on chain: an account that is never done is an account that stands still.
  if (!isQuiet) bug('it never became quiet')

  const prover = new Prover(new MemoryProofs(tables, logs), hash, 10_000)
  const observation: Observation = {
    settlement: DOMAIN.settlement,
    accounts,
    blocks: chain.blocks.map(seenBlock),
    orphans: chain.orphans.map(seenBlock),
    broadcasts: wire.broadcasts,
    suggestions: wire.suggestions,
    logs: [...gateways, ...issuers.map(({ log }) => log)].map(({ enclave, leaves }) => ({
      enclave,
      isIssuer: issuers.some((issuer) => issuer.enclave === enclave),
      leaves: leaves.map(toHex),
    })),
    acknowledged: traffic.acknowledged.heads,
    clearings: traffic.acknowledged.clearings,
    contradictions: traffic.acknowledged.contradictions,
    proofs: await serveProofs(prover, gateways),
    faults: faults.total,
  }
  return {
    seed,
    findings: await audit(observation),
    bugs,
    faults: faults.counts,
    trace,
    observation,
    virtualSeconds: (scheduler.now - START_MS) / 1_000,
    transactions: tables.transactions.size,
  }
}

function drawPolicy(random: Random, blockMs: number): SettlePolicy {
  return {
    ...SETTLE_POLICY,
    everySeconds: random.pick([0, 3, 8]),
    leavesMax: random.pick([10, 1_000_000]),
    headsMax: random.pick([1, 2, 256]),
    gasMax: random.pick([250_000, 12_000_000]),
    resubmitSeconds: random.pick([4, 12]),
    pollMs: random.pick([500, 1_500]),
    leaseSeconds: random.pick([4, 15]),
    depth: random.pick([undefined, { safe: 3, final: 10 + Math.ceil(3_000 / blockMs) }]),
    economics: random.pick([undefined, undefined, { opgPerCoin: random.pick(['0.001', '1000']), patienceSeconds: 40 }]),
  }
}

function begin(
  { settlement, balances }: MutableState,
  gateways: readonly SimulatedLog[],
  issuers: readonly SimulatedIssuer[],
  accounts: readonly Hex[],
): void {
  for (const { enclave } of gateways) settlement.enclaves.set(enclave, { role: 'gateway', isCompromised: false })
  for (const { enclave, keyset } of issuers) {
    settlement.enclaves.set(enclave, { role: 'issuer', isCompromised: false })
    settlement.keysets.set(keyset, { writer: enclave, deposited: 0n, issued: 0n, claimed: 0n, cleared: 0n })
  }
  for (const account of accounts) balances.set(account, PLENTY)
}

function nameSettler({ settlement }: MutableState, { enclave }: SimulatedLog, faults: Faults): void {
  faults.note('exclusiveSettler')
  const terms = { settler: OTHER_SETTLER, exclusiveSeconds: 45n, lastPaidAt: BigInt(START_MS / 1_000) }
  settlement.terms.set(enclave, terms)
}

/** Nothing is under way or due, and the chain cannot take back what is there. */
async function hasNothingToDo(
  settlement: MemorySettlement,
  tables: Tables,
  accounts: readonly Hex[],
  chain: Chain,
): Promise<boolean> {
  for (const account of accounts) {
    const [live, due] = [await settlement.readLive(account), await settlement.readDue(account, 1_000)]
    if (live.length + due.heads.length + due.clearings.length > 0) return false
  }
  const newest = [...tables.logs.values()].map(({ edge, heads }) => heads.get(BigInt(edge.size)))
  if (newest.some((head) => (head?.retryAt ?? 0) > tables.now())) return false
  const totals = await settlement.readSettlementTotals()
  const cursor = await settlement.readCursor()
  const last = chain.blocks.findLast(({ transactions }) => transactions.length > 0)?.number ?? 0n
  const isRead = cursor !== undefined && cursor.finalBlock >= last
  return totals.pendingClearings === 0 && (await settlement.readPendingEvidence()).length === 0 && isRead
}

async function serveProofs(prover: Prover, gateways: readonly SimulatedLog[]): Promise<SeenProof[]> {
  const proofs: SeenProof[] = []
  for (const { enclave, leaves } of gateways) {
    const states = await prover.prove(leaves)
    for (const [index, leaf] of leaves.entries()) {
      const state = states[index]
      proofs.push({
        enclave,
        index,
        leaf: toHex(leaf),
        settled: state?.state === 'settled' ? settledLeafOf(state) : undefined,
      })
    }
  }
  return proofs
}

function seenBlock({ number, minedAt, transactions }: Block): Observation['blocks'][number] {
  return { number, at: minedAt, transactions }
}

/** What to print of a run that failed: enough to see it, and to run it again alone. */
export function describeRun({ seed, findings, bugs, trace }: Run): string {
  const wrong = [...bugs, ...findings.map(({ code, text }) => `${code}: ${text}`)]
  return [`seed ${seed} (SEALPATH_SEED=${seed} runs it alone)`, ...wrong, ...trace.slice(-TRACE_SHOWN)].join('\n')
}
