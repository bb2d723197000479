/** Chooses the next token from logits: greedy, or by temperature and top-p with a seeded generator. @module */

export interface SamplerOptions {
  readonly temperature: number
  readonly topP: number
  /** Any safe integer; the same seed gives the same choices for the same logits. */
  readonly seed: number
}

/** A sampler of one request. With temperature 0 it takes the highest logit, the lowest id of equals. */
export function createSampler({ temperature, topP, seed }: SamplerOptions): (logits: Float32Array) => number {
  const random = createRandom(seed)
  return (logits) => (temperature === 0 ? likeliest(logits) : draw(logits, temperature, topP, random()))
}

function likeliest(logits: Float32Array): number {
  let best = 0
  let highest = Number.NEGATIVE_INFINITY
  for (let i = 0; i < logits.length; i++) {
    const logit = logits[i] ?? 0
    if (logit > highest) {
      highest = logit
      best = i
    }
  }
  return best
}

/** `at` from 0 to below 1 picks a token of the smallest set of likeliest tokens whose probabilities reach `topP`. */
function draw(logits: Float32Array, temperature: number, topP: number, at: number): number {
  const highest = logits[likeliest(logits)] ?? 0
  let sum = 0
  const candidates = Array.from(logits, (logit, token) => {
    const weight = Math.exp((logit - highest) / temperature)
    sum += weight
    return { token, weight }
  }).sort((a, b) => b.weight - a.weight || a.token - b.token)
  let kept = 0
  let count = 0
  for (const { weight } of candidates) {
    kept += weight
    count++
    if (kept >= topP * sum) break
  }
  let left = at * kept
  let last = 0
  for (const { token, weight } of candidates.slice(0, count)) {
    last = token
    left -= weight
    if (left < 0) break
  }
  return last
}

/** SplitMix64 (Steele, Lea, Flood 2014): uniform from 0 to below 1, with 53 bits. */
function createRandom(seed: number): () => number {
  let state = BigInt.asUintN(64, BigInt(seed))
  return () => {
    state = BigInt.asUintN(64, state + 0x9e3779b97f4a7c15n)
    let z = state
    z = BigInt.asUintN(64, (z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n)
    z = BigInt.asUintN(64, (z ^ (z >> 27n)) * 0x94d049bb133111ebn)
    return Number((z ^ (z >> 31n)) >> 11n) / 2 ** 53
  }
}
