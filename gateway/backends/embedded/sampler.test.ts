import { describe, expect, it } from 'vitest'
import { createSampler } from './sampler.ts'

const logits = Float32Array.from([0.1, 0.2, 0.4, 0.3], Math.log)

function counts(options: { temperature: number; topP: number; seed: number }, draws: number): number[] {
  const sample = createSampler(options)
  const seen = [0, 0, 0, 0]
  for (let i = 0; i < draws; i++) {
    const token = sample(logits)
    seen[token] = (seen[token] ?? 0) + 1
  }
  return seen
}

describe('createSampler', () => {
  it('always takes the likeliest token at temperature 0, the first of equals', () => {
    expect(counts({ temperature: 0, topP: 0.01, seed: 1 }, 10)).toEqual([0, 0, 10, 0])
    expect(createSampler({ temperature: 0, topP: 1, seed: 1 })(Float32Array.of(1, 2, 2))).toBe(1)
  })

  it('follows the probabilities at temperature 1', () => {
    const seen = counts({ temperature: 1, topP: 1, seed: 7 }, 20_000)
    // Four standard deviations of a binomial with 20,000 draws are below 280.
    for (const [i, expected] of [2_000, 4_000, 8_000, 6_000].entries()) {
      expect(Math.abs((seen[i] ?? 0) - expected)).toBeLessThan(280)
    }
  })

  it('sharpens the probabilities below temperature 1', () => {
    const [, , best = 0] = counts({ temperature: 0.5, topP: 1, seed: 7 }, 10_000)
    // Squared and normalised, 0.4 becomes 0.16 / 0.30.
    expect(Math.abs(best / 10_000 - 16 / 30)).toBeLessThan(0.02)
  })

  it('keeps the fewest likeliest tokens that reach top-p', () => {
    expect(counts({ temperature: 1, topP: 0.39, seed: 7 }, 1_000)).toEqual([0, 0, 1_000, 0])
    const [first, second] = counts({ temperature: 1, topP: 0.69, seed: 7 }, 1_000)
    expect([first, second]).toEqual([0, 0])
  })

  it('repeats its choices for the same seed, negative ones too, and not for another', () => {
    const draw = (seed: number): number[] => {
      const sample = createSampler({ temperature: 1, topP: 1, seed })
      return Array.from({ length: 40 }, () => sample(logits))
    }
    expect(draw(-5)).toEqual(draw(-5))
    expect(draw(-5)).not.toEqual(draw(5))
    expect(draw(2 ** 40)).not.toEqual(draw(0))
  })
})
