/** One language's share of a run. @module */
import type { Progress, Trial } from './trial.ts'

/** `possible`: mutants by file, in the sample or not. `trials` in the order in which the sample was drawn. */
export type Part = {
  readonly name: 'contracts' | 'typescript'
  readonly possible: ReadonlyMap<string, number>
  readonly trials: readonly Trial[]
}

/** `sample`: how many mutants. `say` gets a line for each. */
export type PartOptions = {
  readonly root: string
  readonly seed: string
  readonly sample: number
  readonly progress: Progress
  readonly say: (line: string) => void
}

/** How many there are in each file. */
export function countByFile(mutants: readonly { readonly file: string }[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>()
  for (const { file } of mutants) counts.set(file, (counts.get(file) ?? 0) + 1)
  return counts
}
