/** docs/mutation.json and docs/mutation.md: what a run found, with what explained.json says of each survivor. @module */
import * as v from 'valibot'
import type { Part } from './part.ts'
import { excerpt, isCounted, type Trial } from './trial.ts'

/** Why a survivor is no gap (`equivalent`: no test can tell it from the original), or what is missing (`gap`). */
export type Explanation = { readonly verdict: 'equivalent' | 'gap'; readonly why: string }
export type Explanations = Readonly<Record<string, Explanation>>

/** `score` is killed and timed out of all that were tried, in percent, rounded down to a tenth: equivalent ones count against it. */
export type Counts = {
  readonly tried: number
  readonly killed: number
  readonly timedOut: number
  readonly survived: number
  readonly score: number
}

export type PartReport = Counts & {
  readonly mutants: number
  readonly sameCode: number
  readonly notCompiling: number
  readonly static: number
  readonly files: readonly (Counts & { readonly file: string; readonly mutants: number })[]
  readonly survivors: readonly (Survivor & Partial<Explanation>)[]
}

export type Survivor = {
  readonly key: string
  readonly file: string
  readonly line: number
  readonly place: string
  readonly change: string
}

export type Report = { readonly seed: string; readonly contracts: PartReport; readonly typescript: PartReport }

export const ExplanationsSchema: v.GenericSchema<Explanations> = v.record(
  v.string(),
  v.object({ verdict: v.picklist(['equivalent', 'gap']), why: v.pipe(v.string(), v.minLength(20)) }),
)

const TITLES = { contracts: 'Contracts', typescript: 'TypeScript' } as const

export function reportPart({ possible, trials }: Part, explanations: Explanations): PartReport {
  const count = (outcome: Trial['outcome']) => trials.filter((trial) => trial.outcome === outcome).length
  return {
    mutants: [...possible.values()].reduce((sum, n) => sum + n, 0),
    ...countsOf(trials),
    sameCode: count('same code'),
    notCompiling: count('not compiling'),
    static: count('static'),
    files: [...possible].map(([file, mutants]) => ({
      file,
      mutants,
      ...countsOf(trials.filter(({ mutant }) => mutant.file === file)),
    })),
    survivors: trials
      .filter(({ outcome }) => outcome === 'survived')
      .map(({ mutant: { key, file, line, place, original, replacement } }) => ({
        key,
        file,
        line,
        place,
        change: `${excerpt(original)} -> ${excerpt(replacement) || '(nothing)'}`,
        ...explanations[key],
      }))
      .sort((a, b) => (a.file === b.file ? a.line - b.line : a.file < b.file ? -1 : 1)),
  }
}

export function toMarkdown({ seed, contracts, typescript }: Report): string {
  return `# Mutation tests

Written by \`node scripts/mutation/main.ts\`. One change at a time is made to the code that holds money or decides about evidence, and the tests run on
it. A change that no test notices has **survived**: either it changes nothing that anyone could see, or a test is missing. The sample is drawn by the
seed \`${seed}\`; the same sources and seed draw the same one. A change that does not compile, or compiles to the same code, is no mutant and does not count;
one that keeps the tests from ending counts as noticed. A mutant that is equivalent to the original counts against the score.

Mutants of contracts are made on the compiler's syntax tree, compiled (in few steps of optimizing), and deployed by the Solidity tests. Not
asked are tests of gas and the long invariants (\`Money\`, \`CreditMoney\`), which would notice more. Mutants of the evidence verifier are shown to the
tests against its TypeScript twin too; as that takes longer, at most every fourth of the sample is one. Mutants of TypeScript are StrykerJS's (without
emptied texts), on the unit tests of \`protocol\`, \`chain\`, \`issuer\` and the wallet; other tests, with compiled contracts, databases and whole networks, are not asked and would notice more. Static ones, which change what a
module computes when it loads, are drawn but not tried, because every test would have to run for each.

| | possible | tried | noticed | of them by time | survived | score | same code | not compiling | static |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
${summary('contracts', contracts)}
${summary('typescript', typescript)}

${section('contracts', contracts)}

${section('typescript', typescript)}
`
}

function summary(name: keyof typeof TITLES, part: PartReport): string {
  const { mutants, tried, killed, timedOut, survived, score, sameCode, notCompiling } = part
  return row([
    TITLES[name],
    mutants,
    tried,
    killed + timedOut,
    timedOut,
    survived,
    `**${score.toFixed(1)} %**`,
    sameCode,
    notCompiling,
    part.static,
  ])
}

function section(name: keyof typeof TITLES, { files, survivors }: PartReport): string {
  const lines = files.map(({ file, mutants, tried, killed, timedOut, survived, score }) =>
    row([`\`${file}\``, mutants, tried, killed + timedOut, survived, tried === 0 ? '-' : `${score.toFixed(1)} %`]),
  )
  return `## ${TITLES[name]}

| source | possible | tried | noticed | survived | score |
| --- | --- | --- | --- | --- | --- |
${lines.join('\n')}

### What survived

${survivors.length === 0 ? 'Nothing.' : survivors.map(survivorLine).join('\n')}`
}

function survivorLine({ file, line, place, change, verdict, why }: Survivor & Partial<Explanation>): string {
  const explained = verdict === undefined ? '**Not explained yet.**' : `**${verdictText(verdict)}:** ${why}`
  return `- \`${file}:${line}\` in \`${place}\`: \`${change.replaceAll('`', "'")}\`. ${explained}`
}

function verdictText(verdict: Explanation['verdict']): string {
  return verdict === 'equivalent' ? 'Equivalent' : 'No test yet'
}

function countsOf(trials: readonly Trial[]): Counts {
  const counted = trials.filter(({ outcome }) => isCounted(outcome))
  const count = (outcome: Trial['outcome']) => counted.filter((trial) => trial.outcome === outcome).length
  const [tried, killed, timedOut] = [counted.length, count('killed'), count('timeout')]
  const score = tried === 0 ? 0 : Math.floor(((killed + timedOut) / tried) * 1_000) / 10
  return { tried, killed, timedOut, survived: count('survived'), score }
}

function row(cells: readonly (string | number)[]): string {
  return `| ${cells.join(' | ')} |`
}
