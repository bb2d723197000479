/** One change of one source, and what the tests said of it. @module */
import { createHash } from 'node:crypto'
import { appendFileSync, existsSync, mkdirSync, readFileSync } from 'node:fs'
import { dirname } from 'node:path'
import * as v from 'valibot'

/** `line` is the first that it changes, from 1; `place` the function or contract, empty where unknown. */
export type Mutant = {
  readonly key: string
  readonly file: string
  readonly line: number
  readonly place: string
  readonly mutator: string
  readonly original: string
  readonly replacement: string
}

/**
 * `killed`: a test failed. `timeout`: the tests did not end. `survived`: all passed, or none reaches it. `same code`: the compiler makes the
 * same code of both. `not compiling`: no mutant. `static`: it changes what a module computes when it loads, for which all tests would have to run; not
 * tried.
 */
export type Outcome = (typeof OUTCOMES)[number]

/** `by` says which tests killed it. */
export type Trial = { readonly mutant: Mutant; readonly outcome: Outcome; readonly by?: string | undefined }

const EXCERPT_MAX = 160
const OUTCOMES = ['killed', 'timeout', 'survived', 'same code', 'not compiling', 'static'] as const

const LineSchema = v.object({
  key: v.string(),
  digest: v.string(),
  outcome: v.picklist(OUTCOMES),
  by: v.optional(v.string()),
})

/** Names each mutant by what it changes and not by line, so that the name survives other edits of the file. */
export function nameMutants(mutants: readonly Omit<Mutant, 'key'>[]): readonly Mutant[] {
  const seen = new Map<string, number>()
  return mutants.map((mutant) => {
    const { file, place, mutator, original, replacement } = mutant
    const name = `${file} ${place}: ${mutator}: ${excerpt(original)} -> ${excerpt(replacement)}`
    const count = (seen.get(name) ?? 0) + 1
    seen.set(name, count)
    return { ...mutant, key: count === 1 ? name : `${name} (${count})` }
  })
}

/** `text` on one line, cut where it is long. */
export function excerpt(text: string): string {
  const line = text.replace(/\s+/g, ' ').trim()
  return line.length <= EXCERPT_MAX ? line : `${line.slice(0, EXCERPT_MAX - 12)}...${sha(line).slice(0, 8)}`
}

/** All `mutants` in an order that only `seed` and their names decide: the first n are a sample, and the first n + 1 are the same and one more. */
export function shuffle(mutants: readonly Mutant[], seed: string): readonly Mutant[] {
  const rank = (mutant: Mutant) => sha(`${seed} ${mutant.key}`)
  return mutants
    .map((mutant) => ({ mutant, at: rank(mutant) }))
    .sort((a, b) => (a.at < b.at ? -1 : 1))
    .map(({ mutant }) => mutant)
}

/** Whether it counts towards a score: a test could have failed. */
export function isCounted(outcome: Outcome): boolean {
  return outcome === 'killed' || outcome === 'timeout' || outcome === 'survived'
}

export function sha(text: string | Uint8Array): string {
  return createHash('sha256').update(text).digest('hex')
}

/** What earlier runs found out, so that a run which was stopped goes on. */
export type Progress = {
  /** What is known of a mutant under sources and tests with these digests. A survivor is tried again when tests change, others are not. */
  known(mutant: Mutant, digests: Digests): Pick<Trial, 'outcome' | 'by'> | undefined
  record(trial: Trial, digests: Digests): void
}

export type Digests = { readonly source: string; readonly tests: string }

/** Knows nothing and keeps nothing. */
export const NO_PROGRESS: Progress = { known: () => undefined, record: () => {} }

/** Progress in `file`, one line a trial, written at once. */
export function openProgress(file: string): Progress {
  mkdirSync(dirname(file), { recursive: true })
  const lines = existsSync(file) ? readFileSync(file, 'utf8').split('\n').slice(0, -1) : []
  const known = new Map(
    lines.map((line) => {
      const entry = v.parse(LineSchema, JSON.parse(line))
      return [`${entry.key} ${entry.digest}`, entry]
    }),
  )
  const digestOf = (outcome: Outcome, { source, tests }: Digests) =>
    outcome === 'survived' ? `${source} ${tests}` : source
  return {
    known({ key }, digests) {
      return known.get(`${key} ${digests.source}`) ?? known.get(`${key} ${digests.source} ${digests.tests}`)
    },
    record({ mutant, outcome, by }, digests) {
      const entry = { key: mutant.key, digest: digestOf(outcome, digests), outcome, by }
      known.set(`${entry.key} ${entry.digest}`, entry)
      appendFileSync(file, `${JSON.stringify(entry)}\n`)
    },
  }
}
