/** Every change that StrykerJS would make to TypeScript sources, without making any. @module */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Logger } from '@stryker-mutator/api/logging'
import { Instrumenter } from '@stryker-mutator/instrumenter'
import { type Mutant, nameMutants } from '../trial.ts'

/** What a change is called between here and Stryker's own run: `spot` below. */
export type Spotted = Mutant & { readonly spot: string }

/** Lines and columns from 1. */
export type Position = { readonly line: number; readonly column: number }
export type Place = { readonly start: Position; readonly end: Position }

/** Emptied texts: most are messages for people, which no test should repeat. */
export const EXCLUDED_MUTATIONS: readonly string[] = ['StringLiteral']

/** Mutants of `files` below `root`, in the order of the text. */
export async function listMutants(root: string, files: readonly string[]): Promise<readonly Spotted[]> {
  const instrumenter = new Instrumenter(silent())
  const contents = new Map(files.map((file) => [file, readFileSync(join(root, file), 'utf8')]))
  const { mutants } = await instrumenter.instrument(
    [...contents].map(([name, content]) => ({ name, content, mutate: true })),
    { plugins: null, excludedMutations: [...EXCLUDED_MUTATIONS], ignorers: [] },
  )
  const found = mutants
    .filter(({ status }) => status === undefined)
    .map(({ fileName, location, mutatorName, replacement }) => {
      const place = { start: fromOne(location.start), end: fromOne(location.end) }
      const lines = (contents.get(fileName) ?? '').split('\n')
      return {
        spot: spotOf(fileName, place, mutatorName, replacement),
        mutant: {
          file: fileName,
          line: place.start.line,
          place: functionAround(lines, place.start.line),
          mutator: mutatorName,
          original: cut(lines, place),
          replacement,
        },
      }
    })
  const named = nameMutants(found.map(({ mutant }) => mutant))
  return named.map((mutant, i) => ({ ...mutant, spot: found[i]?.spot ?? '' }))
}

/** One name for a change in both runs. */
export function spotOf(file: string, { start, end }: Place, mutator: string, replacement: string): string {
  return `${file}:${start.line}:${start.column}-${end.line}:${end.column} ${mutator} ${replacement}`
}

/** Stryker counts from 0 inside and from 1 in its reports. */
export function fromOne({ line, column }: Position): Position {
  return { line: line + 1, column: column + 1 }
}

/** The last declaration at the beginning of a line, which is how our files are written: small functions and few classes. */
function functionAround(lines: readonly string[], line: number): string {
  const declaration = /^(?:export )?(?:async )?(?:function\*?|const|class|type) (\w+)/
  for (let i = line - 1; i >= 0; i--) {
    const name = declaration.exec(lines[i] ?? '')?.[1]
    if (name !== undefined) return name
  }
  return ''
}

function cut(lines: readonly string[], { start, end }: Place): string {
  const part = lines.slice(start.line - 1, end.line)
  const last = part.length - 1
  return part
    .map((text, i) => text.slice(i === 0 ? start.column - 1 : 0, i === last ? end.column - 1 : undefined))
    .join('\n')
}

function silent(): Logger {
  const nothing = () => {}
  const no = () => false
  return {
    isTraceEnabled: no,
    isDebugEnabled: no,
    isInfoEnabled: no,
    isWarnEnabled: no,
    isErrorEnabled: no,
    isFatalEnabled: no,
    trace: nothing,
    debug: nothing,
    info: nothing,
    warn: nothing,
    error: nothing,
    fatal: nothing,
  }
}
