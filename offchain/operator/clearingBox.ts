/** The newest clearings of an issuer, and which aggregator has which. In memory: the enclave serves them, aggregators keep them. @module */
import type { Hex } from '#protocol/bytes.ts'
import type { SignedClearing } from '#protocol/wire/agentApi.ts'

/** A repeat costs little, and tells an aggregator that lost its database in between. */
const REPEAT_MS = 600_000

export class ClearingBox {
  #clearings: readonly SignedClearing[] = []
  readonly #delivered = new Map<string, Map<Hex, { readonly signature: Hex; readonly at: number }>>()

  /** Puts what the enclave serves now in place of what it served before. */
  replace(clearings: readonly SignedClearing[]): void {
    this.#clearings = clearings
  }

  /** What an aggregator has not acknowledged, or did so long ago. `now` in milliseconds. */
  due(aggregator: string, now: number): SignedClearing[] {
    const delivered = this.#delivered.get(aggregator)
    return this.#clearings.filter(({ keyset, r }) => {
      const last = delivered?.get(keyset)
      return last === undefined || last.signature !== r || now - last.at >= REPEAT_MS
    })
  }

  noteDelivered(aggregator: string, { keyset, r }: SignedClearing, now: number): void {
    const delivered = this.#delivered.get(aggregator) ?? new Map()
    // One entry a keyset: signatures are deterministic, so a clearing is known by its own.
    delivered.set(keyset, { signature: r, at: now })
    this.#delivered.set(aggregator, delivered)
  }
}
