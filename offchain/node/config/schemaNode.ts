/** A schema as a tree that can be walked: which settings it knows, what each may be, and which part of it a value is meant for. @module */
import { isRecord } from '#protocol/isRecord.ts'
import type { Schema } from '#protocol/wire/json.ts'

/** What valibot's schemas and the steps of their pipes say of themselves; each kind has some of it. */
export type SchemaNode = {
  readonly type: string
  readonly entries?: Readonly<Record<string, SchemaNode>>
  readonly item?: SchemaNode
  readonly wrapped?: SchemaNode
  readonly options?: readonly unknown[]
  readonly key?: string
  readonly literal?: unknown
  readonly default?: unknown
  readonly pipe?: readonly SchemaNode[]
  readonly requirement?: unknown
  readonly message?: unknown
}

export type Key = string | number

export function nodeOf(schema: Schema<unknown>): SchemaNode {
  if (!isNode(schema)) throw new TypeError('expected a schema')
  return schema
}

/** The schema behind `optional`: what a value must be if there is one. */
export function inner(node: SchemaNode): SchemaNode {
  return node.wrapped === undefined ? node : inner(node.wrapped)
}

export function isOptional(node: SchemaNode): boolean {
  return node.wrapped !== undefined
}

/** The schemas of a union, a variant or an intersection. */
export function optionsOf(node: SchemaNode): readonly SchemaNode[] {
  return (node.options ?? []).filter(isNode)
}

/** The settings of an object, those of all parts of an intersection; undefined of what is no object. `value` decides between alternatives. */
export function entriesFor(node: SchemaNode, value: unknown): Readonly<Record<string, SchemaNode>> | undefined {
  const here = inner(node)
  if (here.entries !== undefined) return here.entries
  if (here.type === 'intersect') {
    return Object.assign({}, ...optionsOf(here).map((option) => entriesFor(option, value) ?? {}))
  }
  const option = optionFor(here, value)
  return option === undefined ? undefined : entriesFor(option, value)
}

/** Which alternative of a union or variant `value` is meant to be; undefined where nothing tells. */
export function optionFor(node: SchemaNode, value: unknown): SchemaNode | undefined {
  if (node.type !== 'union' && node.type !== 'variant') return undefined
  const options = optionsOf(node)
  if (!isRecord(value)) return options.find((option) => inner(option).type === typeof value)
  if (node.type === 'variant' && node.key !== undefined) {
    const { key } = node
    return options.find((option) => option.entries?.[key]?.literal === value[key])
  }
  const score = (option: SchemaNode) => Object.keys(option.entries ?? {}).filter((key) => key in value).length
  const best = options.toSorted((a, b) => score(b) - score(a))[0]
  return best === undefined || score(best) === 0 ? undefined : best
}

/** The schema at `path` of a `value`; undefined where the schema has no such place. */
export function nodeAt(node: SchemaNode, path: readonly Key[], value: unknown): SchemaNode | undefined {
  const [key, ...rest] = path
  if (key === undefined) return node
  const below = isRecord(value) || Array.isArray(value) ? (value as Readonly<Record<Key, unknown>>)[key] : undefined
  const here = inner(node)
  const chosen = optionFor(here, value) ?? here
  const next = chosen.item ?? entriesFor(chosen, value)?.[key]
  // Of a variant whose kind is wrong, every alternative has the key that tells them apart.
  if (next === undefined && here.type === 'variant' && key === here.key) return here
  return next === undefined ? undefined : nodeAt(next, rest, below)
}

function isNode(value: unknown): value is SchemaNode {
  return typeof value === 'object' && value !== null && 'type' in value && typeof value.type === 'string'
}
