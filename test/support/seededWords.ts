/** Random 32-bit words from a seed, the same in every run (xorshift32). @module */

export function seededWords(seed: number): () => number {
  let state = seed
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return state >>> 0
  }
}
