/** The loop behind an aggregator: holds the account's lease, follows the chain, brings on it what is due. @module */
import { errorFields, type Logger } from '#node/log.ts'
import { type FollowerPorts, follow } from './follower.ts'
import { type Lease, LeaseLostError } from './store.ts'
import { advance, type SubmitterPorts } from './submitter.ts'

/** Steps in one round: an endpoint that contradicts itself must not make the loop spin. */
const STEPS_MAX = 16
/** How often a lease is renewed within its time while a round takes long. */
const RENEWALS = 4
/** Longest pause after repeated failures. */
const BACKOFF_MAX_MS = 10_000

/**
 * `failure` is why the last round broke off, `trouble` what only somebody's help ends; each absent after a round without.
 */
export type LoopHealth = { isLeader: boolean; failure?: string | undefined; trouble?: 'NO_FUNDS' | undefined }

export type LoopOptions = {
  /** Names this process among those that share the database. */
  readonly holder: string
  /** Whether this loop also follows the chain: one account's leader does it for all. */
  readonly follows: boolean
  /** Bounds one round. */
  readonly stepsMax?: number | undefined
}

export class SettleLoop {
  readonly #ports: SubmitterPorts & FollowerPorts
  readonly #options: LoopOptions
  readonly #log: Logger
  #running: Promise<void> | undefined
  #lease: Lease | undefined
  #isStopping = false
  #wake: () => void = () => {}
  #noteTrouble: (trouble: 'NO_FUNDS') => void = () => {}
  readonly health: LoopHealth = { isLeader: false }

  constructor(ports: SubmitterPorts & FollowerPorts, options: LoopOptions) {
    this.#ports = { ...ports, observer: { ...ports.observer, trouble: (trouble) => this.#noteTrouble(trouble) } }
    this.#options = options
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
    const { holder, follows, stepsMax = STEPS_MAX } = this.#options
    const take = () => store.takeLease(chain.account, holder, policy.leaseSeconds)
    const lease = await take()
    this.#lease = lease
    this.health.isLeader = lease !== undefined
    if (lease === undefined) return false
    let trouble: LoopHealth['trouble']
    this.#noteTrouble = (noted) => {
      trouble = noted
    }
    // A slow endpoint must not cost the lease. What it costs to lose it all the same is work, never money: the store refuses older epochs.
    const renewal = setInterval(() => void take().catch(() => {}), (policy.leaseSeconds * 1_000) / RENEWALS)
    try {
      for (let i = 0; i < stepsMax && !this.#isStopping; i++) {
        // What others settled must be known before anything is sent, or it is sent once more.
        if (follows && (await follow(this.#ports))) continue
        if (this.#isStopping || !(await advance(this.#ports, lease))) break
      }
    } finally {
      clearInterval(renewal)
      if (trouble !== this.health.trouble && trouble !== undefined) this.#log.error('settling needs help', { trouble })
      this.health.trouble = trouble
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
