/**
 * A bounded memory of what never changes, in two generations: what is asked for while it is old becomes young again, and when the young
 * fill their half, the old are forgotten. So a hit costs one look, and what is used often stays.
 * @module
 */

export class Remembered<T> {
  readonly #youngMax: number
  #young = new Map<string, T>()
  #old = new Map<string, T>()

  constructor(entriesMax: number) {
    this.#youngMax = Math.max(1, Math.floor(entriesMax / 2))
  }

  get(key: string): T | undefined {
    const young = this.#young.get(key)
    if (young !== undefined) return young
    const old = this.#old.get(key)
    if (old !== undefined) this.set(key, old)
    return old
  }

  set(key: string, entry: T): void {
    this.#young.set(key, entry)
    if (this.#young.size < this.#youngMax) return
    this.#old = this.#young
    this.#young = new Map()
  }

  getOr(key: string, make: () => T): T {
    const known = this.get(key)
    if (known !== undefined) return known
    const made = make()
    this.set(key, made)
    return made
  }
}
