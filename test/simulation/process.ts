/**
 * One aggregator process: the real intake, loop, submitter and follower, on a simulated chain and store. It is killed and started again; each time
 * it is another holder, with nothing but what is stored.
 * @module
 */
import { AssertionError } from 'node:assert'
import type { Logger } from '#node/log.ts'
import type { Hex } from '#protocol/bytes.ts'
import type { Keccak256 } from '#protocol/hash.ts'
import type { SignedClearing } from '#protocol/wire/agentApi.ts'
import type { HeadDelivery } from '#protocol/wire/aggregatorApi.ts'
import type { SettlementChain } from '../../offchain/aggregator/chainAccess.ts'
import { type ClearingTaken, takeClearing } from '../../offchain/aggregator/clearings.ts'
import type { SettlePolicy } from '../../offchain/aggregator/config.ts'
import { Economics } from '../../offchain/aggregator/economics.ts'
import { type Ingested, ingest } from '../../offchain/aggregator/ingest.ts'
import { createPriceSource } from '../../offchain/aggregator/price.ts'
import { remember } from '../../offchain/aggregator/remembered.ts'
import { SettleLoop } from '../../offchain/aggregator/settleLoop.ts'
import { rememberStanding } from '../../offchain/aggregator/standing.ts'
import type { ClearingStore, LockedLog, LogStore, SettlementStore } from '../../offchain/aggregator/store.ts'
import type { Chain } from './chain.ts'
import { createChainPort, type Wire } from './chainPort.ts'
import type { Faults } from './faults.ts'
import { MemoryClearings } from './memoryClearings.ts'
import type { LogTransaction, MemoryLogs } from './memoryLogs.ts'
import { MemorySettlement } from './memorySettlement.ts'
import type { Tables } from './memoryTables.ts'
import { type Disturbance, LinkError, ProcessLife } from './processLife.ts'
import type { Scheduler } from './scheduler.ts'
import { runInProcess } from './virtualTimers.ts'

/** Everything that processes share. */
export type World = {
  readonly scheduler: Scheduler
  readonly chain: Chain
  readonly faults: Faults
  readonly wire: Wire
  readonly tables: Tables
  readonly logs: MemoryLogs
  readonly accountKeys: readonly Uint8Array[]
  readonly policy: SettlePolicy
  readonly hash: Keccak256
  readonly mutation: Mutation
  /** Told what happens, for the trace of a run that fails. */
  readonly note: (event: string) => void
  /** Told of what must never happen inside of the code under test. */
  readonly bug: (what: string) => void
}

/** Ports between the code under test and what is simulated, changed so that the auditor has something to find. */
export type Mutation = {
  readonly settlement?: (store: SettlementStore, parts: MutationParts) => SettlementStore
  readonly logs?: (store: LogStore, parts: MutationParts) => LogStore
  readonly chain?: (chain: SettlementChain, parts: MutationParts) => SettlementChain
}

/** What a mutation may use besides the port that it changes. `later` runs something after some time, unless the process is dead by then. */
export type MutationParts = {
  readonly tables: Tables
  readonly chains: readonly SettlementChain[]
  readonly later: (ms: number, run: () => void) => void
}

type Running = {
  readonly life: ProcessLife
  readonly ingest: (delivery: HeadDelivery) => Promise<Ingested>
  readonly clear: (clearing: SignedClearing) => Promise<ClearingTaken>
}

export class SimulatedProcess {
  readonly name: string
  readonly #world: World
  /** Of its clock against the others, in milliseconds. */
  readonly #skewMs: number
  #running: Running | undefined
  #starts = 0

  constructor(name: string, world: World, skewMs: number) {
    this.name = name
    this.#world = world
    this.#skewMs = skewMs
  }

  get isRunning(): boolean {
    return this.#running !== undefined
  }

  start(): void {
    const life = new ProcessLife(this.#world.scheduler)
    const holder = `${this.name}.${++this.#starts}`
    this.#world.note(`${holder} starts`)
    runInProcess(life, () => {
      this.#running = this.#run(life, holder)
    })
  }

  /** Ends without a word. */
  kill(): void {
    this.#world.note(`${this.name} is killed`)
    this.#running?.life.end()
    this.#running = undefined
  }

  standStill(ms: number): void {
    if (this.#running === undefined) return
    this.#world.note(`${this.name} stands still for ${ms} ms`)
    this.#running.life.standsStillUntil = this.#world.scheduler.now + ms
  }

  /** As over HTTP: rejects when the process is not there, answers nothing once it is dead. */
  deliver(delivery: HeadDelivery): Promise<Ingested> {
    return this.#ask((running) => running.ingest(delivery))
  }

  clear(clearing: SignedClearing): Promise<ClearingTaken> {
    return this.#ask((running) => running.clear(clearing))
  }

  async #ask<T>(ask: (running: Running) => Promise<T>): Promise<T> {
    const running = this.#running
    if (running === undefined) throw new LinkError('connection refused')
    return new Promise((resolve, reject) => {
      runInProcess(running.life, () => {
        // On its way in.
        running.life.wait(5, () => ask(running).then(resolve, reject))
      })
      running.life.onEnd(() => reject(new LinkError('the connection broke')))
    })
  }

  #run(life: ProcessLife, holder: string): Running {
    const { chain, scheduler, faults, wire, tables, logs, accountKeys, policy, hash, mutation } = this.#world
    const now = () => scheduler.now + this.#skewMs
    const port = { chain, life, scheduler, faults, wire, process: this.name }
    const plain = accountKeys.map((key) => createChainPort(port, key))
    const parts = { tables, chains: plain, later: (ms: number, run: () => void) => life.wait(ms, run) }
    const chains = plain.map((own) => mutation.chain?.(own, parts) ?? own)
    const [first] = chains
    if (first === undefined) throw new RangeError('expected an account')
    const onStore = () => faults.onStoreCall(this.name, scheduler.now)
    const remoteSettlement = remoteStore<SettlementStore>(new MemorySettlement(tables), life, onStore)
    const settlement = mutation.settlement?.(remoteSettlement, parts) ?? remoteSettlement
    const remoteLog = remoteLogs(logs, life, onStore)
    const logStore = mutation.logs?.(remoteLog, parts) ?? remoteLog
    const clearingStore = remoteStore<ClearingStore>(new MemoryClearings(tables), life, onStore)
    const { domain } = first
    const standingOf = rememberStanding((enclave) => first.standingOf(enclave), now)
    const writerOf = remember(
      (keyset: Hex) => first.writerOf(keyset),
      (writer) => writer !== undefined,
      now,
    )
    const log = this.#logger(holder)
    const price = policy.economics && createPriceSource(policy.economics.opgPerCoin, log, now)
    for (const [i, own] of chains.entries()) {
      const economics = policy.economics && price && new Economics(policy.economics, price, log, now)
      const ports = { chain: own, store: settlement, policy, economics, fromBlock: 0n, depth: policy.depth, log, now }
      const loop = new SettleLoop(reporting(ports, this.#world.bug), { holder, follows: i === 0 })
      loop.start()
    }
    return {
      life,
      ingest: (delivery) => ingest({ store: logStore, standingOf, domain, hash }, delivery),
      clear: (clearing) => takeClearing({ store: clearingStore, writerOf, standingOf, domain }, clearing),
    }
  }

  #logger(holder: string): Logger {
    const write = (event: string, fields: object = {}) => {
      const text = Object.entries(fields).map(([name, value]) => `${name}=${String(value).slice(0, 20)}`)
      this.#world.note(`${holder} ${event} ${text.join(' ')}`)
    }
    return { info: write, warn: write, error: write }
  }
}

/** `port` at the other end of a line: each call takes time and may fail before or after it was carried out. */
function remoteStore<Port extends object>(port: Port, life: ProcessLife, disturb: () => Disturbance): Port {
  return new Proxy(port, {
    get(target, name) {
      // All members of the ports that come here are methods that answer promises.
      const method = Reflect.get(target, name) as (...args: unknown[]) => Promise<unknown>
      return (...args: unknown[]) => life.call(disturb(), () => method.apply(target, args))
    },
  })
}

/** As `remoteStore`, with a transaction that is open over several calls and ends with the connection. */
function remoteLogs(logs: MemoryLogs, life: ProcessLife, disturb: () => Disturbance): LogStore {
  const store = remoteStore<LogStore>(logs, life, disturb)
  return {
    withLog: async (enclave, role, work) => {
      const held: { transaction?: LogTransaction } = {}
      const transaction = await life
        .call(disturb(), async () => {
          const begun = await logs.begin(enclave, role, () => life.isAlive)
          held.transaction = begun
          life.onEnd(() => begun.abort())
          return begun
        })
        .catch((error: unknown) => {
          // The connection broke, and the lock goes with it.
          held.transaction?.abort()
          throw error
        })
      const ask = <T>(effect: () => T | Promise<T>): Promise<T> =>
        life.call(disturb(), effect).catch((error: unknown) => {
          transaction.abort()
          throw error
        })
      const { log } = transaction
      const remote: LockedLog = {
        edge: log.edge,
        isEnded: log.isEnded,
        readHead: (size) => ask(() => log.readHead(size)),
        readNeighbours: (size) => ask(() => log.readNeighbours(size)),
        readLeaves: (from, to) => ask(() => log.readLeaves(from, to)),
        append: (leaves, edge, head) => ask(() => log.append(leaves, edge, head)),
        noteHead: (head) => ask(() => log.noteHead(head)),
        noteEvidence: (evidence) => ask(() => log.noteEvidence(evidence)),
      }
      try {
        const result = await work(remote)
        await ask(() => transaction.commit())
        return result
      } finally {
        transaction.abort()
      }
    },
    readLeaves: (enclave, from, to) => store.readLeaves(enclave, from, to),
    mergeRuns: (enclave) => store.mergeRuns(enclave),
    readEnclave: (enclave) => store.readEnclave(enclave),
    readTotals: () => store.readTotals(),
  }
}

type LoopPorts = ConstructorParameters<typeof SettleLoop>[0]

/** The loop logs what its rounds throw and goes on. What `assert` threw is a bug, and told. */
function reporting(ports: LoopPorts, bug: (what: string) => void): LoopPorts {
  const { log } = ports
  const warn: Logger['warn'] = (event, fields) => {
    const { error, code } = fields ?? {}
    if (error === AssertionError.name || code === 'ERR_ASSERTION' || error === 'TypeError' || code === 'BAD_CONFIG') {
      bug(`${event}: ${error} ${code}`)
    }
    log.warn(event, fields)
  }
  return { ...ports, log: { ...log, warn } }
}
