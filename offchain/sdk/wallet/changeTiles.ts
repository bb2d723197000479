/**
 * What became of payments, read from an issuer's tiles. The first question shows no digit of any payment's locator, and one more is shown each
 * time that an answer did not fit: while all payments fit into one answer everybody asks the same single question, and later each question
 * hides a payment among a tile's worth of others. Spec: docs/spec.md section 9.
 * @module
 */
import type { Hex } from '#protocol/bytes.ts'
import { type ChangeTile, type LocatedPayment, TILE_DIGITS_MAX } from '#protocol/wire/issuerApi.ts'
import { SealpathError } from '../errors.ts'

/** Some megabytes each. A payment of one that was dropped asks again. */
const TILES_KEPT_MAX = 64

/** One session of questions: a tile that was read is not asked for again, and the digits that were needed once are shown from then on. */
export class ChangeTiles {
  readonly #read: (prefix: string) => Promise<ChangeTile>
  /** By their prefixes, none of which begins with another. */
  readonly #tiles = new Map<string, ChangeTile>()
  #digits = 0

  /** `prefix` is hex without 0x, and may be empty. */
  constructor(read: (prefix: string) => Promise<ChangeTile>) {
    this.#read = read
  }

  /** All payments with this locator. Throws what asking throws. */
  async find(locator: Hex): Promise<readonly LocatedPayment[]> {
    const { payments } = await this.#tileOf(locator.slice(2))
    return payments.filter((payment) => payment.locator === locator)
  }

  async #tileOf(digits: string): Promise<ChangeTile> {
    for (const [prefix, tile] of this.#tiles) if (digits.startsWith(prefix)) return tile
    for (;;) {
      const prefix = digits.slice(0, this.#digits)
      try {
        const tile = await this.#read(prefix)
        this.#keep(prefix, tile)
        return tile
      } catch (error) {
        const isTooLarge = error instanceof SealpathError && error.reason === 'TILE_TOO_LARGE'
        if (!isTooLarge || this.#digits === TILE_DIGITS_MAX) throw error
        this.#digits++
      }
    }
  }

  #keep(prefix: string, tile: ChangeTile): void {
    this.#tiles.set(prefix, tile)
    if (this.#tiles.size <= TILES_KEPT_MAX) return
    for (const oldest of this.#tiles.keys()) {
      this.#tiles.delete(oldest)
      return
    }
  }
}
