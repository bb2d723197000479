/**
 * `npm test`: the commit tier. Types, lint, import rules, unit tests, Solidity tests, integration tests on real processes. `--night` adds the
 * long runs. Goes on after a failure, so that one run shows everything; ends with `N passed, N failed`.
 * @module
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

type Result = { readonly name: string; readonly passed: number; readonly failed: number; readonly seconds: number }

const bin = (name: string) => join('node_modules', '.bin', name)
const folder = mkdtempSync(join(tmpdir(), 'sealpath-test-'))
const isNight = process.argv.includes('--night')

/** What `npm run snapshot` writes to snapshots/ and .gas-snapshot. */
const GAS_TESTS = ['test/contracts/GasSnapshotEvidence.t.sol', 'test/contracts/GasSnapshotSettlement.t.sol']

const results: Result[] = [
  check('contracts compile', bin('hardhat'), ['build', '--quiet']),
  check('types', bin('tsc'), ['-p', '.']),
  check('lint', bin('biome'), ['check', '--error-on-warnings', '.']),
  check('import rules', bin('depcruise'), [
    '--config',
    '.dependency-cruiser.mjs',
    '--output-type',
    'err',
    'gateway',
    'offchain',
    'scripts',
    'test',
  ]),
  check('contract lint', bin('solhint'), ['--max-warnings', '0', 'contracts/**/*.sol']),
  vitest('unit tests', 'unit'),
  solidity('Solidity tests'),
  check('gas snapshot', bin('hardhat'), ['test', 'solidity', ...GAS_TESTS, '--snapshot-check']),
  vitest('integration tests', 'integration'),
  ...(isNight ? [vitest('night tests', 'night')] : []),
]
rmSync(folder, { recursive: true, force: true })
report(results)

/** One command that either holds or does not. */
function check(name: string, command: string, args: readonly string[]): Result {
  const { status, seconds } = run(name, command, args, 'inherit')
  return { name, passed: status === 0 ? 1 : 0, failed: status === 0 ? 0 : 1, seconds }
}

function vitest(name: string, project: string): Result {
  const file = join(folder, `${project}.json`)
  const args = ['run', '--project', project, '--reporter', 'default', '--reporter', 'json', '--outputFile', file]
  const { status, seconds } = run(name, bin('vitest'), args, 'inherit')
  const counts = readCounts(file)
  // A run that fails without a failed test (a file that does not load, an unhandled rejection) is a failure all the same.
  const failed = counts.failed === 0 && status !== 0 ? 1 : counts.failed
  return { name, passed: counts.passed, failed, seconds }
}

function readCounts(file: string): { passed: number; failed: number } {
  try {
    const { numPassedTests, numFailedTests } = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>
    return { passed: Number(numPassedTests), failed: Number(numFailedTests) }
  } catch {
    // No report was written: the run's status decides.
    return { passed: 0, failed: 0 }
  }
}

function solidity(name: string): Result {
  const { status, seconds, output } = run(name, bin('hardhat'), ['test', 'solidity'], 'pipe')
  process.stdout.write(output)
  const count = (word: string) => Number(new RegExp(`(\\d+) ${word}`).exec(output)?.[1] ?? '0')
  const failed = count('failing')
  return { name, passed: count('passing'), failed: failed === 0 && status !== 0 ? 1 : failed, seconds }
}

function run(
  name: string,
  command: string,
  args: readonly string[],
  output: 'inherit' | 'pipe',
): { status: number | null; seconds: number; output: string } {
  process.stdout.write(`\n== ${name}\n`)
  const begun = performance.now()
  const child = spawnSync(command, args, {
    stdio: ['ignore', output, 'inherit'],
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
    env: { ...process.env, NODE_OPTIONS: '--disable-warning=ExperimentalWarning' },
  })
  return { status: child.status, seconds: (performance.now() - begun) / 1000, output: child.stdout ?? '' }
}

function report(all: readonly Result[]): void {
  process.stdout.write('\n')
  for (const { name, passed, failed, seconds } of all) {
    const counts = `${passed} passed, ${failed} failed`
    process.stdout.write(
      `${failed === 0 ? 'ok    ' : 'FAILED'}  ${name.padEnd(20)}${counts.padEnd(28)}${seconds.toFixed(1)} s\n`,
    )
  }
  const sum = (key: 'passed' | 'failed') => all.reduce((total, result) => total + result[key], 0)
  process.stdout.write(`\n${sum('passed')} passed, ${sum('failed')} failed\n`)
  if (sum('failed') > 0) process.exitCode = 1
}
