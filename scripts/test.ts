/**
 * `npm test`: the commit tier. Types, lint, import rules, unit tests, Solidity tests, integration tests on real processes. `--night` adds the
 * long runs. Goes on after a failure, so that one run shows everything; ends with `N passed, N failed`.
 * @module
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'

type Result = {
  readonly name: string
  readonly passed: number
  readonly failed: number
  readonly seconds: number
  /** What failed and why, one text each: said again at the end, where it is found. */
  readonly failures: readonly string[]
}

const bin = (name: string) => join('node_modules', '.bin', name)
const folder = mkdtempSync(join(tmpdir(), 'sealpath-test-'))
const isNight = process.argv.includes('--night')
let isAlone = false

/** What `npm run snapshot` writes to snapshots/ and .gas-snapshot. */
const GAS_TESTS = ['test/contracts/GasSnapshotEvidence.t.sol', 'test/contracts/GasSnapshotSettlement.t.sol']

/**
 * Three lanes of about the same length, for two cores. The third mostly waits; it begins when all is compiled, as its networks look whether it is, and two
 * compilers at once take each other's files away.
 */
const compile = async (): Promise<Result[]> => [
  await check('contracts compile', bin('hardhat'), ['build', '--quiet', '--no-tests']),
  await check('their tests compile', bin('hardhat'), [
    'build',
    '--quiet',
    '--no-contracts',
    '--build-profile',
    'tests',
  ]),
]
const compiled = compile()
const contracts = async (): Promise<Result[]> => [
  ...(await compiled),
  await check('types', bin('tsc'), ['-p', '.']),
  await solidity('Solidity tests'),
  await check('gas snapshot', bin('hardhat'), ['test', 'solidity', ...GAS_TESTS, '--no-compile', '--snapshot-check']),
  await vitest('services', 'services'),
]
const sources = async (): Promise<Result[]> => [
  await check('lint', bin('biome'), ['check', '--error-on-warnings', '.']),
  await check('import rules', bin('depcruise'), [
    '--config',
    '.dependency-cruiser.mjs',
    '--output-type',
    'err',
    'gateway',
    'offchain',
    'scripts',
    'test',
  ]),
  await check('contract lint', bin('solhint'), ['--max-warnings', '0', 'contracts/**/*.sol']),
  await vitest('unit tests', 'unit'),
]
const faults = async (): Promise<Result[]> => {
  await compiled
  return [await vitest('faults', 'faults')]
}
const inLanes = (await Promise.all([contracts(), sources(), faults()])).flat()
isAlone = true
const results: Result[] = [
  ...inLanes,
  await vitest('integration tests', 'integration'),
  ...(isNight ? [await vitest('night tests', 'night')] : []),
]
rmSync(folder, { recursive: true, force: true })
report(results)

/** One command that either holds or does not. */
async function check(name: string, command: string, args: readonly string[]): Promise<Result> {
  const { status, seconds, output } = await run(name, command, args)
  if (status === 0) return { name, passed: 1, failed: 0, seconds, failures: [] }
  return { name, passed: 0, failed: 1, seconds, failures: [lastLines(output)] }
}

async function vitest(name: string, project: string): Promise<Result> {
  const file = join(folder, `${project}.json`)
  const args = ['run', '--project', project, '--reporter', 'default', '--reporter', 'json', '--outputFile', file]
  const { status, seconds, output } = await run(name, bin('vitest'), args)
  const { passed, failed, failures } = readCounts(file)
  // A run that fails without a failed test (a file that does not load, an unhandled rejection) is a failure all the same.
  if (failed === 0 && status !== 0) return { name, passed, failed: 1, seconds, failures: [lastLines(output)] }
  return { name, passed, failed, seconds, failures }
}

/** What vitest's JSON reporter writes, as far as it is read here. */
type VitestReport = {
  readonly numPassedTests: number
  readonly numFailedTests: number
  readonly testResults: readonly {
    readonly name: string
    readonly assertionResults: readonly {
      readonly status: string
      readonly fullName: string
      readonly failureMessages: readonly string[]
    }[]
  }[]
}

function readCounts(file: string): Pick<Result, 'passed' | 'failed' | 'failures'> {
  let found: VitestReport
  try {
    found = JSON.parse(readFileSync(file, 'utf8'))
  } catch {
    // No report was written: the run's status decides.
    return { passed: 0, failed: 0, failures: [] }
  }
  const failures = found.testResults.flatMap(({ name, assertionResults }) =>
    assertionResults
      .filter(({ status }) => status === 'failed')
      .map(({ fullName, failureMessages: [why = ''] }) => `${relative('.', name)} > ${fullName}\n${ownLines(why)}`),
  )
  return { passed: found.numPassedTests, failed: found.numFailedTests, failures }
}

/** The beginning of an error, without the places in vitest that it came through. */
function ownLines(error: string): string {
  const lines = error.split('\n').filter((line) => !/^ +at (.*node_modules|new Promise|process\.)/.test(line))
  return lines.slice(0, 20).join('\n')
}

/** The end of an output, as the reason of a failure that has no name. */
function lastLines(output: string): string {
  return output.trimEnd().split('\n').slice(-20).join('\n')
}

async function solidity(name: string): Promise<Result> {
  const { status, seconds, output } = await run(name, bin('hardhat'), ['test', 'solidity', '--no-compile'])
  const count = (word: string) => Number(new RegExp(`(\\d+) ${word}`).exec(output)?.[1] ?? '0')
  if (status === 0) return { name, passed: count('passing'), failed: 0, seconds, failures: [] }
  return {
    name,
    passed: count('passing'),
    failed: Math.max(count('failing'), 1),
    seconds,
    failures: [lastLines(output)],
  }
}

/** Runs a command. While there are lanes, what it says is shown when it has ended, so that they do not talk over each other. */
async function run(
  name: string,
  command: string,
  args: readonly string[],
): Promise<{ status: number | null; seconds: number; output: string }> {
  process.stdout.write(`\n== ${name} begins\n`)
  const begun = performance.now()
  const child = spawn(command, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...process.env,
      NODE_OPTIONS: '--disable-warning=ExperimentalWarning',
      // Some hundred processes of ours are started: what the first has compiled, the others read.
      NODE_COMPILE_CACHE: join(folder, 'compiled'),
    },
  })
  let output = ''
  const take = (text: string) => {
    output += text
    if (isAlone) process.stdout.write(text)
  }
  child.stdout.setEncoding('utf8').on('data', take)
  child.stderr.setEncoding('utf8').on('data', take)
  const [status] = (await once(child, 'close')) as [number | null]
  const seconds = (performance.now() - begun) / 1000
  process.stdout.write(`\n== ${name}, ${seconds.toFixed(1)} s\n${isAlone ? '' : output}`)
  return { status, seconds, output }
}

function report(all: readonly Result[]): void {
  process.stdout.write('\n')
  for (const { name, passed, failed, seconds } of all) {
    const counts = `${passed} passed, ${failed} failed`
    process.stdout.write(
      `${failed === 0 ? 'ok    ' : 'FAILED'}  ${name.padEnd(20)}${counts.padEnd(28)}${seconds.toFixed(1)} s\n`,
    )
  }
  for (const { name, failures } of all) for (const failure of failures) process.stdout.write(`\n${name}: ${failure}\n`)
  const sum = (key: 'passed' | 'failed') => all.reduce((total, result) => total + result[key], 0)
  process.stdout.write(`\n${sum('passed')} passed, ${sum('failed')} failed\n`)
  if (sum('failed') > 0) process.exitCode = 1
}
