/**
 * `node scripts/mutation/main.ts [--seed S] [--sample N] [--only contracts|typescript] [--fresh] [--print]`: changes the code that holds money or decides
 * about evidence, one change at a time, and asks the tests. Writes docs/mutation.json and docs/mutation.md; with `--print` it writes neither and prints the
 * JSON. A run that was stopped goes on where it was (cache/mutation), unless `--fresh`. Needs `npm run build:contract-tests` before.
 * @module
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import * as v from 'valibot'
import type { Part, PartOptions } from './part.ts'
import { ExplanationsSchema, type PartReport, type Report, reportPart, toMarkdown } from './report.ts'
import { runContracts } from './solidity/runContracts.ts'
import { NO_PROGRESS, openProgress } from './trial.ts'
import { runTypescript } from './typescript/runTypescript.ts'

const RUNS: Readonly<Record<Part['name'], (options: PartOptions) => Promise<Part>>> = {
  contracts: runContracts,
  typescript: runTypescript,
}
/** Where the run says nothing else. TypeScript's mutants are cheaper. */
const SAMPLES: Readonly<Record<Part['name'], number>> = { contracts: 100, typescript: 250 }

const root = resolve(import.meta.dirname, '../..')
const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: 'sealpath 1' },
    sample: { type: 'string' },
    only: { type: 'string' },
    fresh: { type: 'boolean', default: false },
    print: { type: 'boolean', default: false },
  },
})
const only = v.parse(v.optional(v.picklist(['contracts', 'typescript'])), values.only)
const explanations = v.parse(ExplanationsSchema, readJson('scripts/mutation/explained.json'))
const say = (line: string) => process.stderr.write(`${line}\n`)

// Ends in order, so that what was started and copied ends too.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))

const contracts = await part('contracts')
const typescript = await part('typescript')
const report: Report = { seed: values.seed, contracts, typescript }
if (values.print) {
  process.stdout.write(`${JSON.stringify(report, null, 2)}\n`)
} else {
  writeFileSync(join(root, 'docs/mutation.json'), `${JSON.stringify(report, null, 2)}\n`)
  writeFileSync(join(root, 'docs/mutation.md'), toMarkdown(report))
}

/** What this run found, or where it was asked for the other part only, what the document says. */
async function part(name: Part['name']): Promise<PartReport> {
  if (only !== undefined && only !== name) {
    const old = existsSync(join(root, 'docs/mutation.json')) ? (readJson('docs/mutation.json') as Partial<Report>) : {}
    return old[name] ?? reportPart({ name, possible: new Map(), trials: [] }, explanations)
  }
  const progress = values.fresh ? NO_PROGRESS : openProgress(join(root, 'cache/mutation', `${name}.jsonl`))
  const sample = v.parse(v.pipe(v.number(), v.integer(), v.minValue(1)), Number(values.sample ?? SAMPLES[name]))
  return reportPart(await RUNS[name]({ root, seed: values.seed, sample, progress, say }), explanations)
}

function readJson(path: string): unknown {
  return JSON.parse(readFileSync(join(root, path), 'utf8'))
}
