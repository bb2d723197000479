/** The loop behind an aggregator: holds the account's lease, follows the chain, brings on it what is due. @module */
import { errorFields, type Logger } from '#node/log.ts'
import { type FollowerPorts, follow } from './follower.ts'
import { type Lease, LeaseLostError } from './store.ts'
import { advance, type SubmitterPorts } from './submitter.ts'

/** Steps in one round: an endpoint that contradicts itself must not make the loop spin. */
const STEPS_MAX = 16
/** Longest pause after repeated failures. */
const BACKOFF_MAX_MS = 10_000

/** `failure` is why the last round broke off; absent after one that did not. */
export type LoopHealth = { isLeader: boolean; failure?: string | undefined }

export class SettleLoop {
  readonly #ports: SubmitterPorts & FollowerPorts
  readonly #holder: string
  readonly #stepsMax: number
  readonly #log: Logger
  #running: Promise<void> | undefined
  #lease: Lease | undefined
  #isStopping = false
  #wake: () => void = () => {}
  readonly health: LoopHealth = { isLeader: false }

  /** `holder` names this process among those that share the database; `stepsMax` bounds one round. */
  constructor(ports: SubmitterPorts & FollowerPorts, holder: string, stepsMax: number = STEPS_MAX) {
    this.#ports = ports
    this.#holder = holder
    this.#stepsMax = stepsMax
    this.#log = ports.log
  }

  start(): void {
    this.#running = this.#run()
  }

  /** Looks for what is due without waiting for the next round. */
  wake(): void {
    this.#wake()
  }

  /** Stops between two steps and hands the lease back. */
  async close(): Promise<void> {
    this.#isStopping = true
    this.#wake()
    await this.#running
    if (this.#lease !== undefined) await this.#ports.store.releaseLease(this.#lease)
  }

  /** One round: as leader, everything there is to do now. Answers whether this process is the leader. */
  async round(): Promise<boolean> {
    const { store, chain, policy } = this.#ports
    this.#lease = await store.takeLease(chain.account, this.#holder, policy.leaseSeconds)
    this.health.isLeader = this.#lease !== undefined
    if (this.#lease === undefined) return false
    for (let i = 0; i < this.#stepsMax && !this.#isStopping; i++) {
      const hasMore = await follow(this.#ports)
      if (this.#isStopping) break
      const hasMoved = await advance(this.#ports, this.#lease)
      if (!hasMore && !hasMoved) break
    }
    return true
  }

  async #run(): Promise<void> {
    let pauseMs = this.#ports.policy.pollMs
    while (!this.#isStopping) {
      try {
        await this.round()
        if (this.health.failure !== undefined) this.#log.info('settling works again')
        this.health.failure = undefined
        pauseMs = this.#ports.policy.pollMs
      } catch (error) {
        this.#note(error)
        pauseMs = Math.min(2 * pauseMs, BACKOFF_MAX_MS)
      }
      if (!this.#isStopping) await this.#sleep(pauseMs)
    }
  }

  /** Logged when it begins, not each time. */
  #note(error: unknown): void {
    if (error instanceof LeaseLostError) return
    const fields = errorFields(error)
    if (this.health.failure === undefined) this.#log.warn('settling failed', fields)
    this.health.failure = fields.code ?? fields.error
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms)
      this.#wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }
}
