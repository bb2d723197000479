/** Runs the numbered points on one network, one after another: what lives after one case is killed in the next. @module */
import { isDeepStrictEqual } from 'node:util'
import type { TestNode } from '../support/chain.ts'
import { type Before, judge, readBefore } from './aggregatorJudge.ts'
import { type Aggregator, AggregatorNetwork, type AggregatorOptions } from './aggregatorNetwork.ts'
import { type Point, type Stage, tidy } from './aggregatorPoints.ts'

export type Victim = 'process' | 'database'

const LEAVES = 5

export class AggregatorMatrix {
  readonly network: AggregatorNetwork
  readonly #rows: string[] = []
  #living: { readonly aggregator: Aggregator; readonly options: AggregatorOptions } | undefined

  private constructor(network: AggregatorNetwork) {
    this.network = network
  }

  static async start(node: TestNode): Promise<AggregatorMatrix> {
    return new AggregatorMatrix(await AggregatorNetwork.start(node))
  }

  /** Brings a process to the point, kills it or its database, and starts again what was killed. Answers what is wrong then. */
  run(point: Point, victim: Victim): Promise<string[]> {
    const { network } = this
    return this.note(point.number, victim, async () => {
      const { stage, before } = await this.set(point.options)
      const { acknowledged, held, meanwhile, after } = await point.reach(stage)
      if (victim === 'process') {
        await this.end(stage.aggregator)
        held?.drop()
        await meanwhile?.()
      } else {
        await network.killDatabase()
        await meanwhile?.()
        held?.pass()
        await network.startDatabase()
      }
      const aggregator = victim === 'process' ? await this.start(point.options) : stage.aggregator
      await after?.()
      await network.chain.control.setAutomine(true)
      const size = (await acknowledged) ? stage.log.size : 0
      const { taken, foreign } = point
      return judge(network, aggregator, before, {
        log: stage.log,
        acknowledged: size,
        ...(taken && { taken }),
        ...(foreign && { foreign }),
      })
    })
  }

  /** A process, a log of a new enclave, and what was before. */
  async set(options: AggregatorOptions = {}): Promise<{ stage: Stage; before: Before }> {
    const { network } = this
    const log = await network.newLog(LEAVES)
    const aggregator = await this.start(options)
    const before = await readBefore(network)
    return { stage: { network, aggregator, log, deliver: () => network.deliver(aggregator, log) }, before }
  }

  /** The process that lives, if it has these options, or a new one. */
  async start(options: AggregatorOptions = {}): Promise<Aggregator> {
    if (this.#living !== undefined) {
      if (isDeepStrictEqual(this.#living.options, options)) return this.#living.aggregator
      await this.end(this.#living.aggregator)
    }
    const aggregator = await this.network.startAggregator(options)
    this.#living = { aggregator, options }
    return aggregator
  }

  async end(aggregator: Aggregator): Promise<void> {
    if (this.#living?.aggregator === aggregator) this.#living = undefined
    await this.network.kill(aggregator)
  }

  /** Runs a case, leaves everything in order for the next, and keeps a line of it. */
  async note(point: string, victim: string, work: () => Promise<string[]>): Promise<string[]> {
    const { network } = this
    const since = performance.now()
    let verdict = 'broke off'
    try {
      const faults = await work()
      verdict = faults.length === 0 ? 'holds' : faults.join('; ')
      return faults
    } finally {
      await tidy(network)
      if (verdict !== 'holds' && this.#living !== undefined) await this.end(this.#living.aggregator)
      const seconds = ((performance.now() - since) / 1_000).toFixed(1)
      this.#rows.push(
        `${point.padEnd(8)}${network.node.padEnd(9)}${victim.padEnd(34)}${seconds.padStart(7)}  ${verdict}`,
      )
    }
  }

  /** Point, node, what was killed, seconds, verdict: a line a case. */
  table(): string {
    return ['point   node     killed                           seconds  verdict', ...this.#rows].join('\n')
  }

  stop(): Promise<void> {
    return this.network.stop()
  }
}
