/** A bounded number of places. @module */

export class Slots {
  readonly #countMax: number
  #taken = 0

  constructor(countMax: number) {
    this.#countMax = countMax
  }

  get taken(): number {
    return this.#taken
  }

  /** Takes a place, and answers how to give it back; giving it back again changes nothing. Undefined when none is free. */
  take(): (() => void) | undefined {
    if (this.#taken >= this.#countMax) return undefined
    this.#taken++
    let isHeld = true
    return () => {
      if (isHeld) this.#taken--
      isHeld = false
    }
  }
}
