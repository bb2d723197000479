/** Gateways that the registry called active a moment ago, so that not every payment waits for the chain. @module */
import type { Hex } from '#protocol/bytes.ts'

/** An enclave that was active a moment ago counts as active; captures are cleared only for what the settlement contract accepts. */
const TTL_MS = 60_000
/** The one noted longest ago is forgotten for another. */
const REMEMBERED_MAX = 10_000

export class ActiveGateways {
  readonly #now: () => number
  readonly #until = new Map<Hex, number>()

  /** `now` in milliseconds since some fixed moment. */
  constructor(now: () => number) {
    this.#now = now
  }

  has(enclave: Hex): boolean {
    const until = this.#until.get(enclave)
    return until !== undefined && until > this.#now()
  }

  note(enclave: Hex): void {
    this.#until.delete(enclave)
    this.#until.set(enclave, this.#now() + TTL_MS)
    const [oldest] = this.#until.keys()
    if (this.#until.size > REMEMBERED_MAX && oldest !== undefined) this.#until.delete(oldest)
  }

  forget(enclave: Hex): void {
    this.#until.delete(enclave)
  }
}
