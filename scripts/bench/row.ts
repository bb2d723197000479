/** One measured number beside its target, and beside what others need for the same. @module */

export type Row = {
  /** Stable: runs of years are compared by it. */
  readonly id: string
  readonly name: string
  /** The median, where there were several runs. */
  readonly value: number
  readonly unit: string
  /** What lay around the median. Gas needs none where every run costs the same. */
  readonly runs?: Runs
  /** What it must reach, and in which direction. */
  readonly target?: { readonly value: number; readonly direction: 'at most' | 'at least' }
  /** Others, measured in the same run on the same machine. */
  readonly others?: readonly Other[]
  /** Others, as measured elsewhere from their own sources, or as they say themselves. */
  readonly published?: string
  /** Of a model of somebody else's contract: the figure of their own source, which the model must meet. */
  readonly calibration?: Calibration
}

export type Runs = { readonly count: number; readonly least: number; readonly most: number }

export type Other = { readonly name: string; readonly value: number; readonly unit: string }

export type Calibration = {
  readonly figure: number
  /** How far the model may lie from it, as a share of it. */
  readonly tolerance: number
  /** Whose source, and its commit. */
  readonly source: string
}

/** The middle of an odd number of values. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
}

/** Median and spread of what was measured, with so many digits behind the point. */
export function summarize(values: readonly number[], digits = 0): { readonly value: number; readonly runs: Runs } {
  return {
    value: round(median(values), digits),
    runs: {
      count: values.length,
      least: round(Math.min(...values), digits),
      most: round(Math.max(...values), digits),
    },
  }
}

/** Times of `runs` calls in milliseconds, after one that is not counted. */
export async function timesMs(runs: number, work: () => unknown): Promise<number[]> {
  await work()
  const times: number[] = []
  for (let i = 0; i < runs; i++) {
    const begun = performance.now()
    await work()
    times.push(performance.now() - begun)
  }
  return times
}

/** The model's distance from the figure, as a share of it: 0.05 for five per cent more. */
export function deviation(value: number, { figure }: Calibration): number {
  return value / figure - 1
}

export function meetsTarget({ value, target, calibration }: Row): boolean {
  if (calibration !== undefined) {
    const { figure, tolerance } = calibration
    if (Math.abs(value - figure) > tolerance * figure) return false
  }
  if (target === undefined) return true
  return target.direction === 'at most' ? value <= target.value : value >= target.value
}

export function round(value: number, digits = 0): number {
  return Math.round(value * 10 ** digits) / 10 ** digits
}
