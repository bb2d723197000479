/** What a setting may be, in words: for the sentence about a mistake and for docs/configuration.md. @module */
import type { Schema } from '#protocol/wire/json.ts'
import { inner, isOptional, nodeOf, optionsOf, type SchemaNode } from './schemaNode.ts'

/** One setting: `path` like `limits.openRequestsMax`, `[]` after the name of a list of objects. */
export type Setting = {
  readonly path: string
  readonly type: string
  /** As JSON; undefined where there is none. */
  readonly initial?: string
  readonly isRequired: boolean
}

/** Every setting of a schema in its order; of alternatives all, each once. */
export function listSettings(schema: Schema<unknown>): readonly Setting[] {
  const settings = new Map<string, Setting>()
  collect(nodeOf(schema), '', undefined, settings)
  return [...settings.values()]
}

function collect(node: SchemaNode, place: string, initial: unknown, settings: Map<string, Setting>): void {
  const here = inner(node)
  for (const [key, entry] of Object.entries(here.entries ?? {})) {
    const path = place === '' ? key : `${place}.${key}`
    const own = initialOf(entry) ?? (isPlain(initial) ? initial[key] : undefined)
    const isObject = hasSettings(entry)
    const known = settings.get(path)
    const words = describeBriefly(entry)
    const type = known === undefined || known.type === words ? words : `${known.type} or ${words}`
    settings.set(path, {
      path,
      type,
      isRequired: !isOptional(entry),
      ...(own === undefined || (isObject && inner(entry).type !== 'array') ? {} : { initial: toText(own) }),
    })
    const below = inner(entry)
    if (below.item !== undefined) collect(below.item, `${path}[]`, undefined, settings)
    else collect(entry, path, own, settings)
  }
  if (here.entries === undefined) for (const option of optionsOf(here)) collect(option, place, initial, settings)
}

function initialOf(node: SchemaNode): unknown {
  return node.wrapped === undefined ? undefined : node.default
}

function hasSettings(node: SchemaNode): boolean {
  const here = inner(node)
  return here.entries !== undefined || here.item !== undefined || optionsOf(here).some(hasSettings)
}

function isPlain(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function toText(value: unknown): string {
  return JSON.stringify(value, (_key, entry: unknown) => (typeof entry === 'bigint' ? entry.toString() : entry))
}

/** The same without naming the settings of objects, which stand in rows of their own. */
function describeBriefly(node: SchemaNode): string {
  const here = inner(node)
  if (here.entries !== undefined || here.type === 'intersect' || here.type === 'variant') return 'object'
  if (here.type === 'array' && here.item !== undefined && hasSettings(here.item))
    return `list${describeCount(here)} objects`
  if (here.type === 'union') return [...new Set(optionsOf(here).map(describeBriefly))].join(' or ')
  return describe(here)
    .replace(/^a list/, 'list')
    .replace(/^a (whole )?number/, '$1number')
    .replace(/^a /, '')
    .replace(/ of: an? /, ': ')
    .replace(/ of: /, ': ')
}

/** Words for what a value at this place must be. */
export function describe(node: SchemaNode): string {
  const here = inner(node)
  if (here.entries !== undefined) return `an object with ${Object.keys(here.entries).join(', ')}`
  switch (here.type) {
    case 'boolean':
      return 'true or false'
    case 'number':
      return describeNumber(here)
    case 'string':
      return describeText(here)
    case 'literal':
      return JSON.stringify(here.literal)
    case 'picklist':
      return oneOf((here.options ?? []).map((option) => JSON.stringify(option)))
    case 'array':
      return `a list${describeCount(here)} of: ${here.item === undefined ? 'anything' : describe(here.item)}`
    case 'intersect':
      return `an object with ${optionsOf(here)
        .flatMap((option) => Object.keys(inner(option).entries ?? {}))
        .join(', ')}`
    case 'variant': {
      const kinds = optionsOf(here).map((option) => JSON.stringify(option.entries?.[here.key ?? '']?.literal))
      return `an object whose ${here.key} is ${oneOf(kinds)}`
    }
    case 'union':
      return optionsOf(here).map(describe).join(', or ')
    default:
      return here.type
  }
}

function oneOf(words: readonly string[]): string {
  return words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`
}

function stepsOf(node: SchemaNode, type: string): readonly SchemaNode[] {
  return (node.pipe ?? []).filter((step) => step.type === type)
}

/** The tightest bound: pipes may be made of pipes. */
function boundOf(node: SchemaNode, type: 'min_value' | 'max_value' | 'min_length' | 'max_length'): number | undefined {
  const bounds = allSteps(node).flatMap((step) => (step.type === type ? [Number(step.requirement)] : []))
  if (bounds.length === 0) return undefined
  return type.startsWith('min') ? Math.max(...bounds) : Math.min(...bounds)
}

function allSteps(node: SchemaNode): readonly SchemaNode[] {
  return (node.pipe ?? []).flatMap((step) => (step.pipe === undefined ? [step] : allSteps(step)))
}

function describeNumber(node: SchemaNode): string {
  const what = allSteps(node).some(({ type }) => type === 'integer') ? 'a whole number' : 'a number'
  const [least, most] = [boundOf(node, 'min_value'), boundOf(node, 'max_value')]
  if (least !== undefined && most !== undefined) return `${what} from ${least} to ${most}`
  if (least !== undefined) return `${what} of at least ${least}`
  return most === undefined ? what : `${what} of at most ${most}`
}

function describeText(node: SchemaNode): string {
  const steps = allSteps(node)
  if (steps.some(({ type }) => type === 'url')) return 'a URL'
  const patterns = steps.flatMap(({ type, requirement, message }) =>
    type === 'regex' && requirement instanceof RegExp ? [{ source: requirement.source, message }] : [],
  )
  for (const { source, message } of patterns) {
    if (typeof message === 'string') return message.replace(/^expected /, '')
    const hex = /^\^0x\[0-9a-fA-F\]\{(\d+)\}\$$/.exec(source)
    if (hex !== null) return `0x and ${hex[1]} hex digits`
    if (source === '^(?:0|[1-9][0-9]{0,77})$') return `a whole number as text${describeBits(steps)}`
    return `text of the form ${source.replace(/^\^|\$$/g, '')}`
  }
  const [least, most] = [boundOf(node, 'min_length'), boundOf(node, 'max_length')]
  if (most !== undefined) return `text of ${least ?? 0} to ${most} characters`
  return least === undefined || least < 2 ? 'text' : `text of at least ${least} characters`
}

function describeBits(steps: readonly SchemaNode[]): string {
  for (const { type, message } of steps) {
    const bits = type === 'check' && typeof message === 'string' ? /at most (\d+) bits/.exec(message) : null
    if (bits !== null) return ` below 2^${bits[1]}`
  }
  return ''
}

function describeCount(node: SchemaNode): string {
  const least = stepsOf(node, 'min_length').map(({ requirement }) => Number(requirement))[0]
  const most = stepsOf(node, 'max_length').map(({ requirement }) => Number(requirement))[0]
  if (most !== undefined) return ` of ${least ?? 0} to ${most}`
  return least === undefined ? '' : ` of at least ${least}`
}
