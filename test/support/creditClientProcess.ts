/** The parent's side of a client process, which remembers what all processes of one seed have told: their payments and their receipts. @module */
import { rmSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Hex } from '#protocol/bytes.ts'
import type { Child, Processes } from '../../scripts/local/processes.ts'
import type { Asked, ClientCommand, ClientEvent, CreditClientConfig, Holdings, MadePayment } from './creditClientApi.ts'

const PROGRAM = fileURLToPath(new URL('./creditClient.ts', import.meta.url))

export class CreditClient {
  readonly #processes: Processes
  readonly #config: CreditClientConfig
  #child: Child | undefined
  #calls = 0
  readonly #waiting = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>()
  #started = Promise.withResolvers<void>()
  #storing = Promise.withResolvers<void>()
  /** Every payment ever made from this seed. */
  readonly payments: Map<Hex, MadePayment> = new Map()
  /** Fees of the receipts that were verified, by payment. */
  readonly receipts: Map<Hex, bigint> = new Map()

  constructor(processes: Processes, config: CreditClientConfig) {
    this.#processes = processes
    this.#config = config
  }

  /** Starts the process on the wallet file that there is, or on a new one. */
  async start(): Promise<void> {
    this.#started = Promise.withResolvers<void>()
    this.#storing = Promise.withResolvers<void>()
    const env = { SEALPATH_CREDIT_CLIENT: JSON.stringify(this.#config) }
    const child = this.#processes.start('client', process.execPath, [PROGRAM], env)
    child.process.on('message', (event: ClientEvent) => this.#take(event))
    child.process.on('exit', () => this.#lose())
    this.#child = child
    await this.#started.promise
  }

  async kill(): Promise<void> {
    if (this.#child !== undefined) await this.#processes.kill(this.#child)
  }

  /** The wallet's file and its lock are gone. */
  loseFile(): void {
    for (const path of [this.#config.walletFile, `${this.#config.walletFile}.lock`]) rmSync(path, { force: true })
  }

  buy(): Promise<string> {
    return this.#call({ do: 'buy' })
  }

  /** Rejects when the process is killed. */
  ask(): Promise<Asked> {
    return this.#call({ do: 'ask' })
  }

  recover(): Promise<number> {
    return this.#call({ do: 'recover' })
  }

  /** Answers why parts could not be restored. */
  restore(): Promise<string[]> {
    return this.#call({ do: 'restore' })
  }

  holdings(): Promise<Holdings> {
    return this.#call({ do: 'holdings' })
  }

  reconnect(): Promise<null> {
    return this.#call({ do: 'reconnect' })
  }

  async exit(units: bigint, recipient: Hex): Promise<bigint> {
    return BigInt(await this.#call<string>({ do: 'exit', units: units.toString(), recipient }))
  }

  /** `arrived` resolves when change is here and not stored: the wallet goes no further until `store`. */
  async stopBeforeStoring(): Promise<{ readonly arrived: Promise<void>; store(): void }> {
    this.#storing = Promise.withResolvers<void>()
    await this.#call({ do: 'stopBeforeStoring' })
    return {
      arrived: this.#storing.promise,
      // A process that was killed stores nothing.
      store: () => void this.#call({ do: 'store' }).catch(() => undefined),
    }
  }

  #call<T>(command: ClientCommand): Promise<T> {
    const call = ++this.#calls
    return new Promise((resolve, reject) => {
      this.#waiting.set(call, { resolve: (value) => resolve(value as T), reject })
      this.#child?.process.send({ call, command }, (error) => {
        if (error !== null) this.#settle(call)?.reject(error)
      })
    })
  }

  #settle(call: number): { resolve(value: unknown): void; reject(error: Error): void } | undefined {
    const waiting = this.#waiting.get(call)
    this.#waiting.delete(call)
    return waiting
  }

  #take(event: ClientEvent): void {
    switch (event.event) {
      case 'started':
        this.#started.resolve()
        break
      case 'paying':
        this.payments.set(event.payment.id, event.payment)
        break
      case 'receipt':
        this.receipts.set(event.payment, BigInt(event.fee))
        break
      case 'storing':
        this.#storing.resolve()
        break
      case 'done':
        this.#settle(event.call)?.resolve(event.value)
        break
      case 'failed':
        this.#settle(event.call)?.reject(new Error(`the client failed: ${event.message}`))
        break
    }
  }

  #lose(): void {
    const error = new Error('the client process has ended')
    this.#started.reject(error)
    this.#started.promise.catch(() => undefined)
    for (const { reject } of this.#waiting.values()) reject(error)
    this.#waiting.clear()
  }
}
