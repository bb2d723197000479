/** TypeScript's part: a sample of Stryker's mutants, tried by Stryker on the unit tests. @module */
import { existsSync, globSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as v from 'valibot'
import { runCommand } from '../command.ts'
import { makeMirror } from '../mirror.ts'
import { countByFile, type Part, type PartOptions } from '../part.ts'
import { typescriptSources } from '../sources.ts'
import { type Digests, excerpt, type Outcome, sha, shuffle, type Trial } from '../trial.ts'
import { EXCLUDED_MUTATIONS, listMutants, type Spotted } from './listMutants.ts'
import { RESULTS_FILE, SAMPLE_FILE } from './strykerPlugin.ts'

const UNIT_TESTS = 'offchain/{protocol,chain,issuer,sdk}/**/*.test.ts'
const RUN_TIMEOUT_MS = 4 * 3_600_000
/** More than the slowest test takes besides what Stryker measured for it. */
const MUTANT_TIMEOUT_MS = 20_000

const ResultSchema = v.object({
  spot: v.string(),
  status: v.picklist(['Killed', 'Survived', 'NoCoverage', 'Timeout', 'RuntimeError', 'Ignored']),
  by: v.optional(v.string()),
})

/** A file that does not load fails the tests as much as a test that does. */
const OUTCOMES: Readonly<Record<v.InferOutput<typeof ResultSchema>['status'], Outcome>> = {
  Killed: 'killed',
  RuntimeError: 'killed',
  Timeout: 'timeout',
  Survived: 'survived',
  NoCoverage: 'survived',
  Ignored: 'static',
}

/** Tries the first `sample` mutants in the seed's order. */
export async function runTypescript({ root, seed, sample, progress, say }: PartOptions): Promise<Part> {
  const mutants = await listMutants(root, typescriptSources(root))
  const bySpot = new Map(mutants.map((mutant) => [mutant.spot, mutant]))
  const byKey = new Map(mutants.map((mutant) => [mutant.key, mutant]))
  const chosen = shuffle(mutants, seed).slice(0, sample)
  const tests = sha(
    globSync(UNIT_TESTS, { cwd: root })
      .sort()
      .map((file) => sha(read(root, file)))
      .join(),
  )
  const digestsOf = (file: string): Digests => ({ source: sha(read(root, file)), tests })
  const trials = new Map<string, Trial>()
  for (const mutant of chosen) {
    const known = progress.known(mutant, digestsOf(mutant.file))
    if (known !== undefined) trials.set(mutant.key, { mutant, ...known })
  }
  const open = chosen.flatMap(({ key }) => (trials.has(key) ? [] : (byKey.get(key) ?? [])))
  say(`${mutants.length} mutants in TypeScript, ${chosen.length} in the sample, ${open.length} to try`)
  if (open.length > 0) {
    await runStryker(root, open, (spot, outcome, by) => {
      const mutant = bySpot.get(spot)
      if (mutant === undefined || !open.includes(mutant)) return
      const trial = { mutant, outcome, by }
      trials.set(mutant.key, trial)
      progress.record(trial, digestsOf(mutant.file))
      say(`${outcome}: ${mutant.file}:${mutant.line} ${excerpt(mutant.original)} -> ${excerpt(mutant.replacement)}`)
    })
    const missing = open.filter(({ key }) => !trials.has(key))
    if (missing.length > 0) throw new Error(`expected a result for each mutant, ${missing.length} have none`)
  }
  return {
    name: 'typescript',
    possible: countByFile(mutants),
    trials: chosen.flatMap(({ key }) => trials.get(key) ?? []),
  }
}

async function runStryker(
  root: string,
  mutants: readonly Spotted[],
  take: (spot: string, outcome: Outcome, by: string | undefined) => void,
): Promise<void> {
  const mirror = makeMirror(root, ['artifacts', 'cache', 'contracts', 'docs'])
  const { folder } = mirror
  const [sampleFile, resultsFile] = [join(folder, 'mutants.json'), join(folder, 'results.jsonl')]
  const seen = new Set<string>()
  const readResults = () => {
    if (!existsSync(resultsFile)) return
    const lines = readFileSync(resultsFile, 'utf8').split('\n').slice(0, -1)
    for (const line of lines) {
      const { spot, status, by } = v.parse(ResultSchema, JSON.parse(line))
      if (!seen.has(spot)) take(spot, OUTCOMES[status], by)
      seen.add(spot)
    }
  }
  writeFileSync(sampleFile, JSON.stringify(mutants.map(({ spot }) => spot)))
  writeFileSync(join(folder, 'stryker.conf.json'), JSON.stringify(strykerOptions(mutants)))
  const timer = setInterval(readResults, 1_000)
  try {
    const { status, output } = await runCommand(
      process.execPath,
      [join('node_modules', '@stryker-mutator', 'core', 'bin', 'stryker.js'), 'run', 'stryker.conf.json'],
      {
        folder,
        timeoutMs: RUN_TIMEOUT_MS,
        env: { [SAMPLE_FILE]: sampleFile, [RESULTS_FILE]: resultsFile, FORCE_COLOR: '0' },
      },
    )
    readResults()
    if (status !== 0) throw new Error(`expected Stryker to end well, got ${status}: ${output.slice(-4_000)}`)
  } finally {
    clearInterval(timer)
    mirror.remove()
  }
}

function strykerOptions(mutants: readonly Spotted[]): unknown {
  return {
    plugins: ['@stryker-mutator/vitest-runner', './scripts/mutation/typescript/strykerPlugin.ts'],
    // Whole files: a range would take in what stands inside of it too.
    mutate: [...new Set(mutants.map(({ file }) => file))],
    mutator: { excludedMutations: EXCLUDED_MUTATIONS },
    testRunner: 'vitest',
    vitest: { configFile: 'scripts/mutation/typescript/vitest.config.ts', related: true },
    checkers: ['sample'],
    reporters: ['results'],
    coverageAnalysis: 'perTest',
    ignoreStatic: true,
    // The copy is ours.
    inPlace: true,
    disableTypeChecks: false,
    concurrency: 1,
    timeoutMS: MUTANT_TIMEOUT_MS,
    dryRunTimeoutMinutes: 30,
    allowConsoleColors: false,
    clearTextReporter: { allowColor: false },
  }
}

function read(root: string, file: string): string {
  return readFileSync(join(root, file), 'utf8')
}
