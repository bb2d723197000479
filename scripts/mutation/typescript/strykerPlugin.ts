/**
 * What Stryker is told and what it tells: only the mutants of a sample are tried (others are refused before any test runs), and each result
 * is written down at once.
 * @module
 */
import { appendFileSync, readFileSync } from 'node:fs'
import { relative } from 'node:path'
import { type CheckResult, CheckStatus } from '@stryker-mutator/api/check'
import type { Mutant, MutantResult } from '@stryker-mutator/api/core'
import { declareClassPlugin, PluginKind } from '@stryker-mutator/api/plugin'
import { fromOne, spotOf } from './listMutants.ts'

/** Environment: a file with a JSON array of spots, and one that gets a line `{ spot, status, by }` for each result. */
export const SAMPLE_FILE = 'SEALPATH_MUTATION_SAMPLE'
export const RESULTS_FILE = 'SEALPATH_MUTATION_RESULTS'

class SampleChecker {
  private sample: ReadonlySet<string> = new Set()

  async init(): Promise<void> {
    const spots: unknown = JSON.parse(readFileSync(process.env[SAMPLE_FILE] ?? '', 'utf8'))
    this.sample = new Set(Array.isArray(spots) ? spots.map(String) : [])
  }

  async check(mutants: Mutant[]): Promise<Record<string, CheckResult>> {
    return Object.fromEntries(
      mutants.map((mutant): [string, CheckResult] => {
        const { fileName, location, mutatorName, replacement, id } = mutant
        const place = { start: fromOne(location.start), end: fromOne(location.end) }
        const spot = spotOf(fromRoot(fileName), place, mutatorName, replacement)
        return this.sample.has(spot)
          ? [id, { status: CheckStatus.Passed }]
          : [id, { status: CheckStatus.CompileError, reason: 'not in the sample' }]
      }),
    )
  }
}

class ResultsReporter {
  onMutantTested(result: Readonly<MutantResult>): void {
    const { fileName, location, mutatorName, replacement, status, killedBy, statusReason } = result
    // Refused by the checker above.
    if (status === 'CompileError') return
    const spot = spotOf(fromRoot(fileName), location, mutatorName, replacement)
    const by = killedBy?.length ? statusReason : undefined
    appendFileSync(process.env[RESULTS_FILE] ?? '', `${JSON.stringify({ spot, status, by })}\n`)
  }
}

/** Stryker names files from the root of the disk; it runs in the copy's root. */
function fromRoot(file: string): string {
  return relative(process.cwd(), file).replaceAll('\\', '/')
}

export const strykerPlugins: readonly unknown[] = [
  declareClassPlugin(PluginKind.Checker, 'sample', SampleChecker),
  declareClassPlugin(PluginKind.Reporter, 'results', ResultsReporter),
]
