/** One measured number beside its target. @module */

export type Row = {
  /** Stable, from DESIGN section 10 where it has one. */
  readonly id: string
  readonly name: string
  readonly value: number
  readonly unit: string
  /** What it must reach, and in which direction. */
  readonly target?: { readonly value: number; readonly direction: 'at most' | 'at least' }
  /** The best of others, with where it was measured. */
  readonly peer?: string
}

/** The middle of an odd number of values. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
}

/** Median time of `runs` calls in milliseconds, after one that is not counted. */
export async function medianMs(runs: number, work: () => unknown): Promise<number> {
  await work()
  const times: number[] = []
  for (let i = 0; i < runs; i++) {
    const begun = performance.now()
    await work()
    times.push(performance.now() - begun)
  }
  return median(times)
}

export function meetsTarget({ value, target }: Row): boolean {
  if (target === undefined) return true
  return target.direction === 'at most' ? value <= target.value : value >= target.value
}
