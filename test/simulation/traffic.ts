/**
 * What arrives at the aggregator: operator agents that deliver heads until they are acknowledged, again, late and to any process; issuers with clearings;
 * and enclaves that contradict themselves. Notes what was acknowledged, for the auditor.
 * @module
 */
import type { Hex } from '#protocol/bytes.ts'
import type { EarningsHeadMessage, SignedClearing } from '#protocol/wire/agentApi.ts'
import type { HeadDelivery } from '#protocol/wire/aggregatorApi.ts'
import { settleCalldata } from '../../offchain/aggregator/chainAccess.ts'
import { contradictionEvidence } from '../../offchain/aggregator/evidence.ts'
import type { Ingested } from '../../offchain/aggregator/ingest.ts'
import type { SimulatedIssuer, SimulatedLog } from './enclaves.ts'
import type { SimulatedProcess, World } from './process.ts'
import type { Random } from './random.ts'

export type Acknowledgements = {
  readonly heads: EarningsHeadMessage[]
  readonly clearings: SignedClearing[]
  readonly contradictions: Hex[]
}

/** Without an answer for this long, agents ask again. */
const PATIENCE_MS = 15_000
/** From a deposit until everybody knows of it. */
const DEPOSIT_MS = 10_000
/** Somebody who settles for whoever pays. */
export const OTHER_SETTLER: Hex = `0x${'f1'.repeat(20)}`
const OTHER_REPORTER: Hex = `0x${'f2'.repeat(20)}`

export class Traffic {
  readonly acknowledged: Acknowledgements = { heads: [], clearings: [], contradictions: [] }
  readonly #world: World
  readonly #random: Random
  readonly #processes: readonly SimulatedProcess[]
  readonly #endsAt: number
  /** Agents that are not done. */
  #open = 0

  constructor(world: World, random: Random, processes: readonly SimulatedProcess[], endsAt: number) {
    this.#world = world
    this.#random = random
    this.#processes = processes
    this.#endsAt = endsAt
  }

  /** Whether all that was to be delivered has been answered. */
  get isDone(): boolean {
    return this.#open === 0
  }

  /** `turnsAt`: when the enclave contradicts itself, and how. */
  startGateway(log: SimulatedLog, turn?: { readonly at: number; readonly how: 'contradiction' | 'fork' }): void {
    void this.#counted(async () => {
      let held = 0
      while (this.#now < this.#endsAt) {
        await this.#sleep(this.#random.integer(1_500, 14_000))
        if (turn !== undefined && this.#now >= turn.at && held > 0) {
          await this.#contradict(log, turn.how)
          return
        }
        const head = log.grow(this.#random.integer(1, 6), BigInt(this.#random.integer(0, 9)))
        const answer = await this.#deliver(log, head, this.#random.chance(0.2) ? 0 : held)
        if (!answer.ok) return
        held = Number(head.size)
        if (this.#world.faults.has('repeatedDelivery') && this.#random.chance(0.3)) this.#repeat(log)
      }
    })
  }

  startIssuer(issuer: SimulatedIssuer, gateways: readonly SimulatedLog[]): void {
    void this.#counted(async () => {
      while (this.#now < this.#endsAt) {
        await this.#sleep(this.#random.integer(5_000, 30_000))
        const amounts = new Map(gateways.map(({ enclave }) => [enclave, BigInt(this.#random.integer(1, 8))]))
        for (const { enclave } of gateways) if (this.#random.chance(0.4) && amounts.size > 1) amounts.delete(enclave)
        const clearing = issuer.capture(amounts, this.#random.chance(0.5))
        const added = [...amounts.values()].reduce((sum, amount) => sum + amount, 0n)
        await this.#deposit(issuer.keyset, added)
        await this.#clear(clearing)
        if (this.#random.chance(0.3)) await this.#deliver(issuer.log, issuer.log.grow(1, 0n), 0)
      }
    })
  }

  /** Somebody else settles heads that were delivered, newest or not. */
  settleByOther(logs: readonly SimulatedLog[]): boolean {
    const heads = logs.flatMap((log) => (log.heads.length > 0 ? [this.#random.pick(log.heads.slice(-3))] : []))
    if (heads.length === 0) return false
    this.#world.note(`another settler settles ${heads.length} heads`)
    this.#world.chain.submitOther(OTHER_SETTLER, settleCalldata(heads))
    return true
  }

  async #contradict(log: SimulatedLog, how: 'contradiction' | 'fork'): Promise<void> {
    const { faults, note } = this.#world
    const before = log.heads.at(-1)
    if (before === undefined) return
    const fork = log.forkAt(
      how === 'contradiction' ? log.leaves.length : this.#random.integer(0, log.leaves.length - 1),
    )
    const other =
      how === 'contradiction'
        ? fork.contradict()
        : fork.grow(log.leaves.length - fork.leaves.length + this.#random.integer(1, 3), 0n)
    faults.note(how)
    note(`${log.enclave} contradicts itself (${how})`)
    if (faults.has('otherReporter') && how === 'contradiction' && this.#random.chance(0.5)) {
      faults.note('otherReporter')
      const { calldata } = contradictionEvidence(before, other)
      this.#world.scheduler.after(this.#random.integer(0, 20_000), () =>
        this.#world.chain.submitOther(OTHER_REPORTER, calldata),
      )
    }
    const answer = await this.#deliver(fork, other, 0)
    if (!answer.ok && answer.code === 'EQUIVOCATION') this.acknowledged.contradictions.push(log.enclave)
  }

  /** An old delivery, once more, to whomever. Nobody waits for it; what it is answered counts all the same. */
  #repeat(log: SimulatedLog): void {
    const head = this.#random.pick(log.heads)
    const from = this.#random.integer(0, Number(head.size))
    const delivery = log.delivery(head, from)
    this.#world.faults.note('repeatedDelivery')
    this.#world.scheduler.after(this.#random.integer(0, 60_000), async () => {
      try {
        this.#noteHead(delivery, await this.#ask((process) => process.deliver(delivery)))
      } catch {
        // Nobody was there.
      }
    })
  }

  async #deliver(log: SimulatedLog, head: EarningsHeadMessage, start: number): Promise<Ingested> {
    let from = start
    for (;;) {
      const delivery = log.delivery(head, from)
      try {
        const answer = await this.#ask((process) => process.deliver(delivery))
        this.#noteHead(delivery, answer)
        if (answer.ok || answer.code !== 'GAP') return answer
        from = Number(answer.expectedFrom ?? 0n)
      } catch {
        await this.#sleep(this.#random.integer(500, 5_000))
      }
    }
  }

  async #clear(clearing: SignedClearing): Promise<void> {
    for (;;) {
      try {
        const answer = await this.#ask((process) => process.clear(clearing))
        if (answer.ok) this.acknowledged.clearings.push(clearing)
        else this.#world.note(`clearing refused: ${answer.code}`)
        return
      } catch {
        await this.#sleep(this.#random.integer(500, 5_000))
      }
    }
  }

  #noteHead({ head }: HeadDelivery, answer: Ingested): void {
    if (answer.ok) this.acknowledged.heads.push(head)
    this.#world.note(`${head.enclave.slice(0, 8)} at ${head.size}: ${answer.ok ? 'acknowledged' : answer.code}`)
  }

  /** An issuer reads deposits when nothing can take them back, and only then issues. One that is late is seen by nobody else yet. */
  async #deposit(keyset: Hex, amount: bigint): Promise<void> {
    const { chain, faults, scheduler } = this.#world
    const deposit = () =>
      chain.submitDeed({
        name: 'deposit',
        apply: ({ settlement: { keysets } }) => {
          const entry = keysets.get(keyset)
          if (entry !== undefined) keysets.set(keyset, { ...entry, deposited: entry.deposited + amount })
        },
      })
    if (faults.has('lateDeposit') && this.#random.chance(0.4)) {
      faults.note('lateDeposit')
      scheduler.after(this.#random.integer(1_000, 90_000), deposit)
      return
    }
    deposit()
    await this.#sleep(DEPOSIT_MS)
  }

  #ask<T>(ask: (process: SimulatedProcess) => Promise<T>): Promise<T> {
    const late = this.#sleep(PATIENCE_MS).then((): never => {
      throw new Error('no answer')
    })
    const answer = ask(this.#random.pick(this.#processes))
    return Promise.race([answer, late])
  }

  async #counted(work: () => Promise<void>): Promise<void> {
    this.#open++
    await work()
    this.#open--
  }

  get #now(): number {
    return this.#world.scheduler.now
  }

  #sleep(ms: number): Promise<void> {
    return this.#world.scheduler.sleep(ms)
  }
}
