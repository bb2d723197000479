/** Everything random in a simulation, from one seed of 32 bits. @module */
import { seededWords } from '../support/seededWords.ts'

export class Random {
  readonly #next: () => number

  constructor(seed: number) {
    // Xorshift never leaves zero, and neighbouring seeds begin alike: both are mixed away (the finaliser of MurmurHash3).
    let mixed = Math.imul(seed ^ (seed >>> 16), 0x85ebca6b)
    mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35)
    this.#next = seededWords((mixed ^ (mixed >>> 16) ^ 0x9e3779b9) | 1)
    for (let i = 0; i < 8; i++) this.#next()
  }

  /** A generator of its own: what one part of the simulation draws does not shift what another draws. */
  fork(): Random {
    return new Random(this.#next())
  }

  word(): number {
    return this.#next()
  }

  /** From `min` (inclusive) to `max` (inclusive). */
  integer(min: number, max: number): number {
    return min + (this.#next() % (max - min + 1))
  }

  /** True with this probability. */
  chance(probability: number): boolean {
    return this.#next() / 2 ** 32 < probability
  }

  /** One of at least one. */
  pick<T>(values: readonly T[]): T {
    const index = this.integer(0, values.length - 1)
    if (index >= values.length) throw new RangeError('expected something to pick from')
    return values[index] as T
  }
}
