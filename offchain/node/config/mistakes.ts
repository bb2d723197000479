/**
 * All that is wrong with a configuration, a sentence each: the place, what belongs there, and what is there. Unlike messages of peers
 * (#protocol/wire/json.ts), which are refused at the first mistake, a configuration was written by a person who wants to hear of all.
 * @module
 */
import * as v from 'valibot'
import { isRecord } from '#protocol/isRecord.ts'
import type { Schema } from '#protocol/wire/json.ts'
import { describe } from './describe.ts'
import { entriesFor, inner, type Key, nodeAt, nodeOf, optionFor, optionsOf, type SchemaNode } from './schemaNode.ts'

export type Mistake = {
  /** Like `gateways.0.url`; `the whole` of a file that is no object. */
  readonly place: string
  readonly sentence: string
}

/** Settings into which a deployment file is pasted whole: what else it says is let be. */
const PASTED: ReadonlySet<string> = new Set(['deployment', 'chain'])

/** One mistake a place, in the order of the file's schema; those of settings that nobody knows come last. */
export function findMistakes(schema: Schema<unknown>, value: unknown): readonly Mistake[] {
  const node = nodeOf(schema)
  const found = [...misshapen(schema, node, value, []), ...unknownSettings(node, value, [])]
  const places = new Map<string, Mistake>()
  for (const mistake of found) if (!places.has(mistake.place)) places.set(mistake.place, mistake)
  return [...places.values()]
}

export function placeOf(path: readonly Key[]): string {
  return path.length === 0 ? 'the whole' : path.join('.')
}

function misshapen(schema: Schema<unknown>, node: SchemaNode, value: unknown, before: readonly Key[]): Mistake[] {
  const { issues } = v.safeParse(schema, value)
  return (issues ?? []).flatMap((issue) => {
    const path = (issue.path ?? []).map(({ key }) => (typeof key === 'number' ? key : String(key)))
    const at = [...before, ...path]
    // A setting that a strict object does not know: `unknownSettings` says it better.
    if (issue.type === 'strict_object' && issue.expected === 'never') return []
    const here = nodeAt(node, path, value)
    if (issue.type === 'union' && here !== undefined && isRecord(issue.input)) {
      const option = optionFor(inner(here), issue.input)
      if (option !== undefined && isSchema(option)) return misshapen(option, option, issue.input, at)
    }
    return [{ place: placeOf(at), sentence: sentenceOf(issue, here) }]
  })
}

function sentenceOf(issue: v.BaseIssue<unknown>, node: SchemaNode | undefined): string {
  const isOurs = !issue.message.startsWith('Invalid ')
  if (isOurs && !issue.message.startsWith('expected ')) return issue.message
  if (isOurs && isRecord(issue.input)) return issue.message
  const expected = isOurs ? issue.message : `expected ${expectedAt(issue, node)}`
  return `${expected}; there is ${shown(issue.input, node)}`
}

function expectedAt(issue: v.BaseIssue<unknown>, node: SchemaNode | undefined): string {
  if (node === undefined) return issue.expected ?? 'something else'
  if (node.type !== 'variant') return describe(node)
  // What tells the alternatives apart is missing or none of them.
  const { key = '' } = node
  return optionsOf(node)
    .map((option) => JSON.stringify(option.entries?.[key]?.literal))
    .join(' or ')
}

/** Content only where it can be no secret and no peer's: numbers, and words where one of a few is expected. */
function shown(value: unknown, node: SchemaNode | undefined): string {
  if (value === undefined) return 'nothing'
  if (value === null || typeof value === 'number' || typeof value === 'boolean') return String(value)
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : `a list of ${value.length}`
  if (typeof value !== 'string') return 'an object'
  const isChoice = node !== undefined && ['literal', 'picklist', 'variant'].includes(inner(node).type)
  if (/^-?[0-9.]{1,20}$/.test(value) || (isChoice && /^[\w./-]{1,32}$/.test(value))) return JSON.stringify(value)
  return value === '' ? 'empty text' : `text of ${value.length} character${value.length === 1 ? '' : 's'}`
}

function unknownSettings(node: SchemaNode, value: unknown, path: readonly Key[]): Mistake[] {
  const here = inner(node)
  const chosen = optionFor(here, value) ?? here
  if (Array.isArray(value)) {
    const { item } = chosen
    if (item !== undefined) return value.flatMap((entry, i) => unknownSettings(item, entry, [...path, i]))
    // A list is an object as well for JavaScript, one without any setting.
    const isObject = entriesFor(chosen, value) !== undefined
    return isObject
      ? [{ place: placeOf(path), sentence: `expected ${describe(here)}; there is ${shown(value, here)}` }]
      : []
  }
  const entries = entriesFor(chosen, value)
  if (entries === undefined || !isRecord(value)) return []
  const isPasted = path.length === 1 && PASTED.has(String(path[0]))
  return Object.entries(value).flatMap(([key, below]) => {
    const entry = Object.hasOwn(entries, key) ? entries[key] : undefined
    const at = [...path, key]
    if (entry !== undefined) return unknownSettings(entry, below, at)
    return isPasted ? [] : [{ place: placeOf(at), sentence: unknownSentence(key, Object.keys(entries)) }]
  })
}

function unknownSentence(key: string, known: readonly string[]): string {
  const near = nearest(key, known)
  if (near !== undefined) return `there is no such setting; did you mean ${near}?`
  return `there is no such setting; known here: ${known.join(', ')}`
}

/** The known name that differs least, where it differs little. */
export function nearest(name: string, known: readonly string[]): string | undefined {
  const scored = known
    .map((candidate) => ({ candidate, edits: editDistance(name.toLowerCase(), candidate.toLowerCase()) }))
    .toSorted((a, b) => a.edits - b.edits)
  const [best] = scored
  return best !== undefined && best.edits <= Math.max(1, Math.floor(name.length / 4)) ? best.candidate : undefined
}

/** Letters to insert, delete or replace to make `b` of `a` (Levenshtein). */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const replaced = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min(replaced, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1))
    }
    row = next
  }
  return row[b.length] ?? 0
}

function isSchema(node: SchemaNode): node is SchemaNode & Schema<unknown> {
  return 'kind' in node && node.kind === 'schema'
}
