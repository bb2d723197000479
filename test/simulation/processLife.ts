/**
 * The life of one process: it may stand still, it may die between any two of its waits, and all it asks of others takes time and may fail. What a
 * dead process asked for may still be carried out; no answer ever reaches it.
 * @module
 */
import type { Scheduler } from './scheduler.ts'
import type { ProcessTime } from './virtualTimers.ts'

/** What happens to one call on its way. */
export type Disturbance = {
  readonly outMs: number
  readonly backMs: number
  /** `before`: it is not carried out. `after`: it is, and the answer is lost. */
  readonly fails?: 'before' | 'after' | undefined
}

export class ProcessLife implements ProcessTime {
  readonly #scheduler: Scheduler
  readonly #ends: (() => void)[] = []
  isAlive = true
  /** On the virtual clock. */
  standsStillUntil = 0

  constructor(scheduler: Scheduler) {
    this.#scheduler = scheduler
  }

  wait(ms: number, run: () => void): void {
    this.#scheduler.after(ms, () => this.#resume(run))
  }

  /** Asks somebody else: `effect` happens there at one moment, unless it is a promise that waits itself. Never answers a dead process. */
  call<T>({ outMs, backMs, fails }: Disturbance, effect: () => T | Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const fail = (error: unknown) => this.wait(backMs, () => reject(error))
      this.#scheduler.after(outMs, async () => {
        if (fails === 'before') return fail(new LinkError('nothing arrived'))
        try {
          const result = await effect()
          if (fails === 'after') fail(new LinkError('the answer was lost'))
          else this.wait(backMs, () => resolve(result))
        } catch (error) {
          fail(error)
        }
      })
    })
  }

  /** `run` when the process dies: what it held open elsewhere is closed. */
  onEnd(run: () => void): void {
    if (this.isAlive) this.#ends.push(run)
    else run()
  }

  end(): void {
    this.isAlive = false
    for (const run of this.#ends) run()
  }

  #resume(run: () => void): void {
    if (!this.isAlive) return
    const rest = this.standsStillUntil - this.#scheduler.now
    if (rest > 0) this.wait(rest, run)
    else run()
  }
}

/** Whoever was asked did not answer. */
export class LinkError extends Error {
  override readonly name = 'LinkError'
  readonly code = 'LINK_FAILED'
}
