/** Solidity's part: a sample of mutants, each compiled and put in the place of the contracts that the tests deploy. @module */
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { countByFile, type Part, type PartOptions } from '../part.ts'
import { CONTRACTS, EVIDENCE_PATH } from '../sources.ts'
import { type Digests, isCounted, type Mutant, nameMutants, sha, shuffle, type Trial } from '../trial.ts'
import { type Bench, openBench } from './bench.ts'
import { type Compiler, createCompiler } from './compiler.ts'
import { type Edit, mutateSolidity } from './mutators.ts'

const TESTS = ['test/contracts/**/*.sol', 'test/vectors/*.json', 'test/integration/nitro*.test.ts', 'test/support/*.ts']

/** No change at all, which every test must survive. */
const ORIGINAL: Mutant = {
  key: '(no change)',
  file: '',
  line: 0,
  place: '',
  mutator: '',
  original: '',
  replacement: '',
}

/** Tries mutants in the seed's order until `sample` of them compiled to other code. */
export async function runContracts({ root, seed, sample, progress, say }: PartOptions): Promise<Part> {
  const compiler = await createCompiler(root)
  const asts = analyzeAll(root, compiler)
  const found = listContractMutants(root, asts)
  const edits = new Map(found.map(({ mutant, edit }) => [mutant.key, edit]))
  const mutants = found.map(({ mutant }) => mutant)
  const tests = digestOf(root, TESTS)
  say(`${mutants.length} mutants of contracts, ${sample} to try`)
  const trials: Trial[] = []
  let bench: Bench | undefined
  try {
    for (const mutant of inOrder(mutants, seed)) {
      if (trials.filter(({ outcome }) => isCounted(outcome)).length >= sample) break
      const digests: Digests = { source: sha(readFileSync(join(root, mutant.file))), tests }
      const known = progress.known(mutant, digests)
      if (known !== undefined) {
        trials.push({ mutant, ...known })
        continue
      }
      if (bench === undefined) {
        bench = openBench(root, compiler, asts)
        const original = { mutant: ORIGINAL, outcome: 'survived' } as const
        const all = { source: digestOf(root, ['contracts/**/*.sol']), tests }
        if (progress.known(ORIGINAL, all) === undefined) {
          await bench.askOriginal()
          progress.record(original, all)
        }
      }
      const edit = edits.get(mutant.key)
      if (edit === undefined) throw new Error(`expected the edit of ${mutant.key}`)
      const begun = performance.now()
      const answer = await bench.ask(
        mutant.file,
        applyEdit(readFileSync(join(root, mutant.file)), edit),
        CONTRACTS[mutant.file] ?? [],
      )
      const trial = { mutant, ...answer }
      trials.push(trial)
      progress.record(trial, digests)
      const seconds = ((performance.now() - begun) / 1000).toFixed(0)
      say(`${trial.outcome} in ${seconds} s: ${mutant.key}${answer.by === undefined ? '' : ` by ${answer.by}`}`)
    }
  } finally {
    bench?.close()
  }
  return { name: 'contracts', possible: countByFile(mutants), trials }
}

/** The seed's order, with every fourth from the evidence verifier, whose tests take longer. */
function inOrder(mutants: readonly Mutant[], seed: string): readonly Mutant[] {
  const shuffled = shuffle(mutants, seed)
  const evidence = shuffled.filter(({ file }) => file.startsWith(EVIDENCE_PATH))
  const others = shuffled.filter(({ file }) => !file.startsWith(EVIDENCE_PATH))
  const merged = evidence.flatMap((mutant, i) => [...others.slice(3 * i, 3 * (i + 1)), mutant])
  return [...merged, ...others.slice(3 * evidence.length)]
}

function digestOf(root: string, patterns: readonly string[]): string {
  const files = globSync([...patterns], { cwd: root }).sort()
  return sha(files.map((file) => sha(readFileSync(join(root, file)))).join())
}

/** Every mutant of the sources that count, with the edit that makes it. */
export function listContractMutants(
  root: string,
  asts: ReadonlyMap<string, unknown>,
): readonly { readonly mutant: Mutant; readonly edit: Edit }[] {
  const found = Object.keys(CONTRACTS).flatMap((file) => {
    const source = readFileSync(join(root, file))
    return mutateSolidity(source, asts.get(file)).map((edit) => ({ file, source, edit }))
  })
  const mutants = nameMutants(
    found.map(({ file, source, edit }) => ({
      file,
      line: source.subarray(0, edit.start).toString().split('\n').length,
      place: edit.place,
      mutator: edit.mutator,
      original: source.subarray(edit.start, edit.end).toString(),
      replacement: edit.replacement,
    })),
  )
  return mutants.flatMap((mutant, i) => {
    const edit = found[i]?.edit
    return edit === undefined ? [] : [{ mutant, edit }]
  })
}

/** `source` with one change. */
export function applyEdit(source: Uint8Array, { start, end, replacement }: Edit): string {
  return Buffer.concat([source.subarray(0, start), Buffer.from(replacement), source.subarray(end)]).toString()
}

/** Syntax trees of all contracts and of what tests them. */
export function analyzeAll(root: string, compiler: Compiler): ReadonlyMap<string, unknown> {
  return compiler.analyze(globSync(['contracts/**/*.sol', 'test/contracts/**/*.sol'], { cwd: root }).sort())
}
