/** A copy of the repository in which contracts are replaced by their mutants, and the tests that are asked about them. @module */
import { cpSync, globSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { stripVTControlCharacters } from 'node:util'
import { type Ended, runCommand } from '../command.ts'
import { makeMirror } from '../mirror.ts'
import { CONTRACTS, EVIDENCE_PATH, EVIDENCE_TESTS, NOT_ASKED, TESTS_OF_GAS } from '../sources.ts'
import type { Outcome } from '../trial.ts'
import type { Compiled, Compiler, ContractName, Profile } from './compiler.ts'
import { contractsWithCodeOf } from './dependents.ts'

export type Bench = {
  /** Runs the tests on `text` in the place of `file`, `first` (names of Solidity tests) before all others, until one fails. */
  ask(file: string, text: string, first: readonly string[]): Promise<{ outcome: Outcome; by?: string }>
  /** Runs every test on the contracts as they are. Throws unless all pass: then no mutant could be told from the original. */
  askOriginal(): Promise<void>
  close(): void
}

const TIMEOUT_MS = 900_000
const OUTPUT_SHOWN = 2_000

/** `root` must be compiled (`npm run build:contract-tests`). */
export function openBench(root: string, compiler: Compiler, asts: ReadonlyMap<string, unknown>): Bench {
  const mirror = makeMirror(root)
  const { folder } = mirror
  const tests = globSync('test/contracts/*.t.sol', { cwd: root })
    .map((file) => basename(file, '.t.sol'))
    .filter((name) => !NOT_ASKED.includes(name))
    .sort()
  const artifactOf = ({ source, name }: ContractName) => join('artifacts', source, `${name}.json`)
  const restore = (contract: ContractName) =>
    cpSync(join(root, artifactOf(contract)), join(folder, artifactOf(contract)))

  function install(contract: Compiled): void {
    const artifact: unknown = JSON.parse(readFileSync(join(root, artifactOf(contract)), 'utf8'))
    const code = { bytecode: `0x${contract.bytecode}`, deployedBytecode: `0x${contract.deployedBytecode}` }
    writeFileSync(join(folder, artifactOf(contract)), JSON.stringify({ ...Object(artifact), ...code }))
  }
  async function solidity(names: readonly string[]): Promise<Verdict> {
    if (names.length === 0) return { isFailed: false }
    const files = names.map((name) => `test/contracts/${name}.t.sol`)
    const options = ['--no-compile', '--grep-exclude', TESTS_OF_GAS]
    const ended = await runTool(folder, 'hardhat', ['test', 'solidity', ...files, ...options])
    return verdictOf(ended, /(\d+) failing/, 'a Solidity test')
  }
  async function evidence(): Promise<Verdict> {
    const files = EVIDENCE_TESTS.map((name) => `test/integration/${name}.test.ts`)
    const ended = await runTool(folder, 'vitest', ['run', '--project', 'integration', '--bail', '1', ...files])
    return verdictOf(ended, /(?:Tests|Test Files) .*?(\d+) failed/, 'a test of evidence')
  }

  return {
    async ask(file, text, first) {
      const replaced = { [file]: text }
      const concerned = contractsWithCodeOf(file, asts)
      const rest = tests.filter((name) => !first.includes(name))
      const isOf = (names: readonly string[], source: string) => names.some((name) => source.endsWith(`/${name}.t.sol`))
      /** What is asked, in order, and what has to be compiled for it: tests take in libraries too. */
      const stages: readonly Stage[] = [
        { needs: (source) => isFor(source, 'most tests') || isOf(first, source), run: () => solidity(first) },
        ...(file.startsWith(EVIDENCE_PATH)
          ? [{ needs: (source: string) => isFor(source, 'evidence'), run: () => evidence() }]
          : []),
        { needs: (source) => isFor(source, 'examples') || isOf(rest, source), run: () => solidity(rest) },
      ]
      const made: Compiled[] = []
      try {
        for (const { needs, run } of stages) {
          const compiled = compiler.compile(
            concerned.filter(({ source }) => needs(source)),
            profileOf(file),
            replaced,
          )
          if (!compiled.ok) return { outcome: 'not compiling' }
          for (const contract of compiled.contracts) install(contract)
          made.push(...compiled.contracts)
          const verdict = await run()
          if (verdict.isFailed) return { outcome: verdict.isLate ? 'timeout' : 'killed', by: verdict.by }
        }
        const original = compiler.compile(made, profileOf(file))
        const isSame = original.ok && original.contracts.every(({ bytecode }, i) => bytecode === made[i]?.bytecode)
        return { outcome: isSame ? 'same code' : 'survived' }
      } finally {
        for (const contract of concerned) restore(contract)
      }
    },
    async askOriginal() {
      const isQuick = (file: string) => profileOf(file) === 'quick'
      const contracts = deployedWithCodeOf(Object.keys(CONTRACTS).filter(isQuick), asts)
      const compiled = compiler.compile(contracts, 'quick')
      if (!compiled.ok) throw new Error(`expected contracts that compile, got ${compiled.errors.join()}`)
      for (const contract of compiled.contracts) install(contract)
      requirePassed(await solidity(tests))
      for (const contract of contracts) restore(contract)
      // On a chain as it is: what is compiled quickly may be too large for it.
      requirePassed(await evidence())
    },
    close() {
      mirror.remove()
    },
  }
}

/** `output` is the end of what the tests said. */
type Verdict =
  | { readonly isFailed: false }
  | { readonly isFailed: true; readonly isLate: boolean; readonly by: string; readonly output: string }

function requirePassed(verdict: Verdict): void {
  if (!verdict.isFailed) return
  throw new Error(`expected tests that pass without a change, failed: ${verdict.by}\n${verdict.output}`)
}

/** Throws for a command that failed without a failed test: the mutant is not to blame, or cannot be known to be. */
function verdictOf({ status, output }: Ended, failed: RegExp, by: string): Verdict {
  if (status === 0) return { isFailed: false }
  const plain = stripVTControlCharacters(output)
  const end = plain.slice(-OUTPUT_SHOWN)
  if (status === undefined) return { isFailed: true, isLate: true, by, output: end }
  if (Number(failed.exec(plain)?.[1] ?? '0') === 0) throw new Error(`expected a failed test, got ${end}`)
  return { isFailed: true, isLate: false, by: firstFailure(plain) ?? by, output: end }
}

/** The first test that failed, as Hardhat numbers them or as Vitest names them. */
function firstFailure(output: string): string | undefined {
  return (/^\s*1\) (\S.*)$/m.exec(output) ?? /^\s*FAIL\s+(.*)$/m.exec(output))?.[1]?.trim()
}

function runTool(folder: string, name: string, args: readonly string[]): Promise<Ended> {
  const env = { NODE_OPTIONS: '--disable-warning=ExperimentalWarning', FORCE_COLOR: '0' }
  return runCommand(join('node_modules', '.bin', name), args, { folder, timeoutMs: TIMEOUT_MS, env })
}

/** What tests deploy, each once. */
function deployedWithCodeOf(files: readonly string[], asts: ReadonlyMap<string, unknown>): readonly ContractName[] {
  const all = files
    .flatMap((file) => contractsWithCodeOf(file, asts))
    .filter(({ source }) => !source.endsWith('.t.sol'))
  return [...new Map(all.map((contract) => [`${contract.source}:${contract.name}`, contract])).values()]
}

/** The verifier of evidence must stay below the gas of a transaction, as its tests demand. */
function profileOf(file: string): Profile {
  return file.startsWith(EVIDENCE_PATH) ? 'default' : 'quick'
}

type Stage = { readonly needs: (source: string) => boolean; readonly run: () => Promise<Verdict> }

/** Whether `source` is deployed by these tests. */
function isFor(source: string, tests: 'most tests' | 'evidence' | 'examples'): boolean {
  if (source.startsWith('contracts/examples/')) return tests === 'examples'
  if (source.startsWith('contracts/') || source.startsWith('test/contracts/utils/')) return tests === 'most tests'
  return source.startsWith('test/contracts/support/') && tests === 'evidence'
}
