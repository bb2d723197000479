/** Uniform choice: what a client picks at random, nobody else can foresee or lean towards. @module */

/** Draws 32 random bits. */
export type RandomWord = () => number

/** From the runtime's cryptographic generator. */
export const cryptoWord: RandomWord = () => crypto.getRandomValues(new Uint32Array(1))[0] ?? 0

const WORDS = 2 ** 32

/** A whole number from 0 below `bound` (at most 2^32), each as likely: draws beyond the last whole multiple of `bound` are thrown away. */
export function randomBelow(bound: number, word: RandomWord): number {
  if (!Number.isInteger(bound) || bound < 1 || bound > WORDS) throw new RangeError('expected a bound from 1 to 2^32')
  const limit = WORDS - (WORDS % bound)
  for (;;) {
    const drawn = word()
    if (drawn < limit) return drawn % bound
  }
}

/** A copy in random order, each order as likely (Fisher and Yates). */
export function shuffled<Item>(items: readonly Item[], word: RandomWord): Item[] {
  const order = [...items]
  for (let last = order.length - 1; last > 0; last--) {
    const picked = randomBelow(last + 1, word)
    const [a, b] = [order[last], order[picked]]
    if (a === undefined || b === undefined) continue
    order[last] = b
    order[picked] = a
  }
  return order
}
