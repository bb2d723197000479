/** The compiler that hardhat.config.ts names, with its settings, asked for single contracts and for sources that no disk has. @module */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import solc from 'solc'
import * as v from 'valibot'

/** Name of a source and of a contract in it. */
export type ContractName = { readonly source: string; readonly name: string }

/** Code as hex without 0x, linked, without the hash of its metadata. */
export type Compiled = ContractName & { readonly bytecode: string; readonly deployedBytecode: string }

/** Settings of solc: as deployed, and with few steps of optimizing, in a third of the time. */
export type Profile = 'default' | 'quick'

/** Texts that stand in for files, by path from the root. */
export type Replaced = Readonly<Record<string, string>>

export type CompileResult = { readonly ok: true; readonly contracts: readonly Compiled[] } | Refusal
export type Refusal = { readonly ok: false; readonly errors: readonly string[] }

export type Compiler = {
  /** Code of `contracts`, and of nothing else. */
  compile(contracts: readonly ContractName[], profile: Profile, replaced?: Replaced): CompileResult
  /** Syntax trees by path, types included, of `files` and all that they import. Throws if they do not compile. */
  analyze(files: readonly string[], replaced?: Replaced): ReadonlyMap<string, unknown>
}

const CODE = ['evm.bytecode.object', 'evm.deployedBytecode.object']

const OutputSchema = v.object({
  errors: v.optional(v.array(v.object({ severity: v.string(), formattedMessage: v.string() })), []),
  sources: v.optional(v.record(v.string(), v.object({ ast: v.optional(v.unknown()) })), {}),
  contracts: v.optional(
    v.record(
      v.string(),
      v.record(
        v.string(),
        v.object({
          evm: v.optional(
            v.object({
              bytecode: v.object({ object: v.string() }),
              deployedBytecode: v.object({ object: v.string() }),
            }),
          ),
        }),
      ),
    ),
    {},
  ),
})

const ConfigSchema = v.object({
  solidity: v.object({
    profiles: v.object({ default: v.object({ settings: v.record(v.string(), v.unknown()) }) }),
  }),
})

const QUICK = { enabled: false, details: { yul: true, yulDetails: { optimizerSteps: 'dhfoDgvul:fDnTOcmu' } } }

/** A compiler of the sources below `root`. Imports that are not there are packages of `root`'s node_modules. */
export async function createCompiler(root: string): Promise<Compiler> {
  const { default: config } = await import('../../../hardhat.config.ts')
  const { settings: deployed } = v.parse(ConfigSchema, config).solidity.profiles.default
  const profiles: Readonly<Record<Profile, Record<string, unknown>>> = {
    default: deployed,
    quick: { ...deployed, optimizer: QUICK },
  }

  const read = (path: string, replaced?: Replaced): string | undefined => {
    if (replaced?.[path] !== undefined) return replaced[path]
    const place = [join(root, path), join(root, 'node_modules', path)].find((candidate) => existsSync(candidate))
    return place === undefined ? undefined : readFileSync(place, 'utf8')
  }
  const run = (files: readonly string[], settings: Record<string, unknown>, replaced?: Replaced) => {
    const sources = Object.fromEntries(files.map((file) => [file, { content: read(file, replaced) }]))
    const input = JSON.stringify({ language: 'Solidity', sources, settings })
    const callback = (path: string) => {
      const contents = read(path, replaced)
      return contents === undefined ? { error: 'no such file' } : { contents }
    }
    return v.parse(OutputSchema, JSON.parse(solc.compile(input, { import: callback })))
  }
  const errorsOf = (output: v.InferOutput<typeof OutputSchema>) =>
    output.errors.filter(({ severity }) => severity === 'error').map(({ formattedMessage }) => formattedMessage)

  return {
    compile(contracts, profile, replaced) {
      if (contracts.length === 0) return { ok: true, contracts: [] }
      const outputSelection: Record<string, Record<string, string[]>> = {}
      for (const { source, name } of contracts) outputSelection[source] = { ...outputSelection[source], [name]: CODE }
      // Two sources with the same code give the same bytes: nothing of the text is hashed into them.
      const metadata = { appendCBOR: false }
      const settings = { ...profiles[profile], metadata, outputSelection }
      const output = run(Object.keys(outputSelection), settings, replaced)
      const errors = errorsOf(output)
      if (errors.length > 0) return { ok: false, errors }
      const compiled = contracts.map(({ source, name }): Compiled => {
        const evm = output.contracts[source]?.[name]?.evm
        if (evm === undefined) throw new Error(`expected code of ${source}:${name}`)
        return { source, name, bytecode: evm.bytecode.object, deployedBytecode: evm.deployedBytecode.object }
      })
      return { ok: true, contracts: compiled }
    },
    analyze(files, replaced) {
      const output = run(files, { ...deployed, outputSelection: { '*': { '': ['ast'] } } }, replaced)
      const errors = errorsOf(output)
      if (errors.length > 0) throw new Error(`expected contracts that compile, got ${errors.join('\n')}`)
      return new Map(Object.entries(output.sources).map(([path, { ast }]) => [path, ast]))
    },
  }
}
