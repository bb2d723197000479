/** Strict assembly to bytecode with the npm package `solc`, the compiler of hardhat.config.ts. @module */
import { createRequire } from 'node:module'
import type { Hex } from '#protocol/bytes.ts'

type SolcOutput = {
  readonly errors?: readonly { readonly severity: string; readonly formattedMessage: string }[]
  readonly contracts?: Readonly<
    Record<
      string,
      Readonly<Record<string, { readonly evm: { readonly deployedBytecode: { readonly object: string } } }>>
    >
  >
}

/**
 * The runtime code of one Yul object: of its first inner object. The step optimizer is off (an empty sequence): it makes this code larger and dearer. Only the assembler's
 * peephole rules and the stack layout of the code generator stay. Throws `Error` with the compiler's words on a compile error.
 */
export function compileYul(source: string, object: string): Hex {
  const require = createRequire(import.meta.url)
  const solc = require('solc') as { compile(input: string): string }
  const input = {
    language: 'Yul',
    sources: { 'input.yul': { content: source } },
    settings: {
      evmVersion: 'osaka',
      optimizer: {
        enabled: true,
        runs: 1_000_000,
        details: {
          peephole: true,
          inliner: true,
          jumpdestRemover: true,
          orderLiterals: false,
          deduplicate: false,
          cse: false,
          constantOptimizer: false,
          yul: true,
          yulDetails: { stackAllocation: true, optimizerSteps: '' },
        },
      },
      outputSelection: { '*': { '*': ['evm.deployedBytecode.object'] } },
    },
  }
  const output = JSON.parse(solc.compile(JSON.stringify(input))) as SolcOutput
  const failure = output.errors?.find(({ severity }) => severity === 'error')
  if (failure !== undefined) throw new Error(failure.formattedMessage)
  const bytecode = output.contracts?.['input.yul']?.[object]?.evm.deployedBytecode.object
  if (bytecode === undefined) throw new Error(`expected an object named ${object} in the compiler's output`)
  return `0x${bytecode}`
}
