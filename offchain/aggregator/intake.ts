/** Bounds what is taken in at once, and tidies up behind it. @module */
import { errorFields, type Logger } from '#node/log.ts'
import type { Hex } from '#protocol/bytes.ts'
import type { HeadDelivery } from '#protocol/wire/aggregatorApi.ts'
import { type Ingested, type IngestPorts, ingest } from './ingest.ts'

export class Intake {
  readonly #ports: IngestPorts
  readonly #openMax: number
  readonly #log: Logger
  readonly #merging = new Map<Hex, Promise<void>>()
  #open = 0
  #isStopping = false

  constructor(ports: IngestPorts, openMax: number, log: Logger) {
    this.#ports = ports
    this.#openMax = openMax
    this.#log = log
  }

  /** A place for one delivery, to be given back by `leave`; `false` when all are taken or this process is stopping. */
  enter(): boolean {
    if (this.#isStopping || this.#open >= this.#openMax) return false
    this.#open++
    return true
  }

  leave(): void {
    this.#open--
  }

  /** Ingests, and merges runs of the same log afterwards, unless that is under way. */
  async take(delivery: HeadDelivery): Promise<Ingested> {
    const result = await ingest(this.#ports, delivery)
    const { enclave } = delivery.head
    if (result.ok && !this.#isStopping && !this.#merging.has(enclave)) {
      const merge = this.#ports.store
        .mergeRuns(enclave)
        // Many small runs make lookups slower, never wrong: the next delivery tries again.
        .catch((error: unknown) => this.#log.warn('merge failed', { enclave, ...errorFields(error) }))
        .finally(() => this.#merging.delete(enclave))
      this.#merging.set(enclave, merge)
    }
    return result
  }

  /** Takes nothing new and waits for the merges under way. Deliveries under way are the server's to wait for. */
  async close(): Promise<void> {
    this.#isStopping = true
    await Promise.all(this.#merging.values())
  }
}
