/** Bounds what is taken in at once, and tidies up behind it when there is time. @module */
import { errorFields, type Logger } from '#node/log.ts'
import type { Hex } from '#protocol/bytes.ts'
import type { HeadDelivery } from '#protocol/wire/aggregatorApi.ts'
import { type Ingested, type IngestPorts, ingest } from './ingest.ts'

/** What can wait, waits for a pause between deliveries, but no longer than this: proofs cost more until it is done. */
const PAUSE_AWAITED_MS_MAX = 10_000
const PAUSE_LOOK_MS = 50

export class Intake {
  readonly #ports: IngestPorts
  readonly #openBytesMax: number
  readonly #log: Logger
  readonly #merging = new Map<Hex, Promise<void>>()
  #openBytes = 0
  #isStopping = false

  /** `openBytesMax` bounds the bodies that are taken in at once; a single larger one is taken alone. */
  constructor(ports: IngestPorts, openBytesMax: number, log: Logger) {
    this.#ports = ports
    this.#openBytesMax = openBytesMax
    this.#log = log
  }

  /** Bytes of the bodies under way. */
  get openBytes(): number {
    return this.#openBytes
  }

  /** Room for a body of `bytes`, to be given back by `leave`; `false` when there is none now or this process is stopping. */
  enter(bytes: number): boolean {
    if (this.#isStopping) return false
    if (this.#openBytes > 0 && this.#openBytes + bytes > this.#openBytesMax) return false
    this.#openBytes += bytes
    return true
  }

  leave(bytes: number): void {
    this.#openBytes -= bytes
  }

  /** Ingests, and merges runs of the same log afterwards, unless that is under way. */
  async take(delivery: HeadDelivery): Promise<Ingested> {
    const result = await ingest(this.#ports, delivery)
    const { enclave } = delivery.head
    if (result.ok && !this.#isStopping && !this.#merging.has(enclave)) {
      const merge = this.#pause()
        .then(() => this.#ports.store.mergeRuns(enclave))
        // Many small runs make lookups slower, never wrong: the next delivery tries again.
        .catch((error: unknown) => this.#log.warn('merge failed', { enclave, ...errorFields(error) }))
        .finally(() => this.#merging.delete(enclave))
      this.#merging.set(enclave, merge)
    }
    return result
  }

  /** Resolves when no delivery is under way, or has not for too long. */
  async #pause(): Promise<void> {
    const deadline = performance.now() + PAUSE_AWAITED_MS_MAX
    do {
      await new Promise((resolve) => setTimeout(resolve, PAUSE_LOOK_MS))
    } while (this.#openBytes > 0 && !this.#isStopping && performance.now() < deadline)
  }

  /** Takes nothing new and waits for the merges under way. Deliveries under way are the server's to wait for. */
  async close(): Promise<void> {
    this.#isStopping = true
    await Promise.all(this.#merging.values())
  }
}
