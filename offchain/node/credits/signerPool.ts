/**
 * Threads that check and sign credits, so that no request waits behind another's arithmetic on the event loop.
 *
 * Each thread works on one job and has the next at hand, so that it need not wait for the event loop in between; the rest wait here, in order, up to
 * a bound. A thread that dies fails the job that it worked on alone, and another takes its place; one that dies before it was ready is not
 * replaced, because its successor would die too.
 * @module
 */
import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'
import { CreditError } from '#protocol/credits/creditError.ts'
import type { BlankToSign } from './fastSigner.ts'
import {
  blindSignatures,
  checkJob,
  type PaymentChecks,
  type PaymentToCheck,
  paymentChecks,
  type SignerAnswer,
  type SignerJob,
  type SignerResult,
  type SignerThreadData,
  signJob,
} from './signerJob.ts'

/** The operations of `CreditSigner`, elsewhere. Besides `CreditError` each rejects with `SignerPoolError`. */
export type SignerPool = {
  checkPayment(payment: PaymentToCheck): Promise<PaymentChecks>
  signBlanks(blanks: readonly BlankToSign[]): Promise<Uint8Array[]>
  /** Ends every thread. Jobs that are not done reject with `CLOSED`. */
  close(): Promise<void>
}

export type SignerPoolOptions = {
  /** How many threads; as many as there are cores, if not given: the event loop waits for them most of its time. */
  readonly threads?: number
  /** Jobs that may wait for a thread. */
  readonly queueMax?: number
  /** Starts a thread with this data; tests keep hold of it. */
  readonly startThread?: (data: SignerThreadData) => Worker
}

const QUEUE_MAX = 1_024
const THREAD_TASKS_MAX = 2

/** A pool under these secret keys (32 bytes each), once all its threads are ready. Rejects with `THREAD_DIED` when one cannot start. */
export async function createSignerPool(
  secretKeys: readonly Uint8Array[],
  { threads = availableParallelism(), queueMax = QUEUE_MAX, startThread = start }: SignerPoolOptions = {},
): Promise<SignerPool> {
  const pool = new Pool({ secretKeys }, queueMax, startThread)
  try {
    await Promise.all(Array.from({ length: threads }, () => pool.addThread()))
  } catch (error) {
    await pool.close()
    throw error
  }
  return {
    checkPayment: async (payment) => paymentChecks(await pool.run(checkJob(payment))),
    signBlanks: async (blanks) => blindSignatures(await pool.run(signJob(blanks))),
    close: () => pool.close(),
  }
}

type Task = { readonly job: SignerJob; resolve(result: SignerResult): void; reject(error: Error): void }
/** `tasks` in the order in which they were sent: the first is worked on. */
type Thread = { readonly worker: Worker; readonly tasks: Task[] }

class Pool {
  readonly #data: SignerThreadData
  readonly #queueMax: number
  readonly #startThread: (data: SignerThreadData) => Worker
  /** Those that started; only those that are ready are given jobs. */
  readonly #threads = new Set<Thread>()
  readonly #ready = new Set<Thread>()
  readonly #queue: Task[] = []
  #isClosed = false

  constructor(data: SignerThreadData, queueMax: number, startThread: (data: SignerThreadData) => Worker) {
    this.#data = data
    this.#queueMax = queueMax
    this.#startThread = startThread
  }

  run(job: SignerJob): Promise<SignerResult> {
    return new Promise((resolve, reject) => {
      if (this.#isClosed) return reject(closed())
      if (this.#threads.size === 0) return reject(died())
      if (this.#leastBusy()?.tasks.length !== 0 && this.#waiting >= this.#queueMax) {
        return reject(new SignerPoolError('OVERLOADED', `${this.#queueMax} jobs wait for a thread already`))
      }
      this.#queue.push({ job, resolve, reject })
      this.#dispatch()
    })
  }

  /** Starts a thread; resolves when it is ready for jobs. */
  addThread(): Promise<void> {
    return new Promise((resolve, reject) => {
      const thread: Thread = { worker: this.#startThread(this.#data), tasks: [] }
      let isReady = false
      let cause: unknown
      this.#threads.add(thread)
      thread.worker.on('message', (answer: SignerAnswer) => {
        if (answer.kind === 'ready') {
          isReady = true
          this.#ready.add(thread)
          resolve()
        } else {
          settle(thread.tasks.shift(), answer)
        }
        this.#dispatch()
      })
      thread.worker.on('error', (error: unknown) => {
        cause = error
      })
      // Every thread ends with this event, whatever ended it.
      thread.worker.on('exit', () => {
        reject(died(cause))
        this.#remove(thread, cause)
        if (isReady && !this.#isClosed) void this.addThread().catch(() => this.#failIfNoneLeft())
      })
    })
  }

  async close(): Promise<void> {
    this.#isClosed = true
    for (const task of this.#queue.splice(0)) task.reject(closed())
    await Promise.all([...this.#threads].map(({ worker }) => worker.terminate()))
  }

  /** Jobs that no thread works on. */
  get #waiting(): number {
    const next = [...this.#ready].reduce((sum, { tasks }) => sum + Math.max(0, tasks.length - 1), 0)
    return this.#queue.length + next
  }

  #leastBusy(): Thread | undefined {
    return [...this.#ready].sort((a, b) => a.tasks.length - b.tasks.length)[0]
  }

  #dispatch(): void {
    for (let thread = this.#leastBusy(); thread !== undefined; thread = this.#leastBusy()) {
      if (thread.tasks.length >= THREAD_TASKS_MAX) return
      const task = this.#queue.shift()
      if (task === undefined) return
      thread.tasks.push(task)
      thread.worker.postMessage(task.job)
    }
  }

  #remove(thread: Thread, cause: unknown): void {
    this.#threads.delete(thread)
    this.#ready.delete(thread)
    const [begun, ...waiting] = thread.tasks.splice(0)
    begun?.reject(this.#isClosed ? closed() : died(cause))
    if (this.#isClosed) for (const task of waiting) task.reject(closed())
    else this.#queue.unshift(...waiting)
    this.#dispatch()
  }

  #failIfNoneLeft(): void {
    if (this.#threads.size > 0) return
    for (const task of this.#queue.splice(0)) task.reject(died())
  }
}

function settle(task: Task | undefined, answer: Exclude<SignerAnswer, { kind: 'ready' }>): void {
  if (answer.kind === 'done') task?.resolve(answer.result)
  else task?.reject(new CreditError(answer.code, answer.message))
}

/** The thread's file has the extension of this one: sources run as they are, and the published package is compiled. */
function start(workerData: SignerThreadData): Worker {
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js'
  return new Worker(new URL(`./signerThread.${extension}`, import.meta.url), { workerData })
}

function died(cause?: unknown): SignerPoolError {
  return new SignerPoolError('THREAD_DIED', 'the thread that should answer ended; the job may be given again', {
    cause,
  })
}

function closed(): SignerPoolError {
  return new SignerPoolError('CLOSED', 'the pool of signers is closed')
}

export type SignerPoolErrorCode = 'THREAD_DIED' | 'CLOSED' | 'OVERLOADED'

/** A job that was not done. Checking and signing change nothing, so any job may be given again. */
export class SignerPoolError extends Error {
  override readonly name = 'SignerPoolError'
  readonly code: SignerPoolErrorCode
  readonly retryable: boolean
  constructor(code: SignerPoolErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
    this.retryable = code !== 'CLOSED'
  }
}
