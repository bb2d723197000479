/**
 * JSON Schema (draft 2020-12) of what a wire schema takes as JSON, read from the schema itself.
 *
 * What a schema checks by a function (that a number fits so many bits, that base64 is canonical) JSON Schema cannot say and is left out: the
 * description then allows more than the wire does, never less.
 * @module
 */
import { strict as assert } from 'node:assert'
import type { Schema } from '#protocol/wire/json.ts'

export type JsonSchema = { readonly [keyword: string]: unknown }

/** The schema of `schema`'s input. Throws for a kind of schema that none of the wire's uses: it has to be added here. */
export function jsonSchemaOf(schema: Schema<unknown>): JsonSchema {
  return convert(schema)
}

type Part = Readonly<Record<string, unknown>>

function convert(value: unknown): JsonSchema {
  const part = partOf(value)
  if (!Array.isArray(part.pipe)) return convertOne(part)
  const [first, ...actions]: unknown[] = part.pipe
  const base = convert(first)
  return Object.assign({}, base, ...actions.map((action) => convertAction(partOf(action), base.type === 'array')))
}

function convertOne(part: Part): JsonSchema {
  switch (part.type) {
    case 'string':
    case 'number':
    case 'boolean':
      return { type: part.type }
    case 'literal':
      return { const: part.literal }
    case 'picklist':
      return { enum: part.options }
    case 'array':
      return { type: 'array', items: convert(part.item) }
    case 'union':
    case 'variant':
      assert(Array.isArray(part.options), 'a union has options')
      return { oneOf: part.options.map(convert) }
    case 'object':
      return convertObject(partOf(part.entries))
    default:
      assert.fail(`no JSON Schema is written down for ${String(part.type)}`)
  }
}

function convertObject(entries: Part): JsonSchema {
  const optional = ([, entry]: [string, unknown]) => partOf(entry).type === 'exact_optional'
  const all = Object.entries(entries)
  const properties = all.map(([name, entry]): [string, JsonSchema] => {
    const part = partOf(entry)
    return [name, convert(part.type === 'exact_optional' ? part.wrapped : part)]
  })
  const required = all.filter((entry) => !optional(entry)).map(([name]) => name)
  return { type: 'object', properties: Object.fromEntries(properties), required }
}

function convertAction({ type, requirement }: Part, isList: boolean): JsonSchema {
  switch (type) {
    case 'regex':
      assert(requirement instanceof RegExp, 'a pattern is a regular expression')
      return { pattern: requirement.source }
    case 'min_length':
      return { [isList ? 'minItems' : 'minLength']: requirement }
    case 'max_length':
      return { [isList ? 'maxItems' : 'maxLength']: requirement }
    case 'min_value':
      return { minimum: requirement }
    case 'max_value':
      return { maximum: requirement }
    case 'integer':
      return { type: 'integer' }
    case 'check':
    case 'transform':
    case 'raw_transform':
      return {}
    default:
      assert.fail(`no JSON Schema is written down for ${String(type)}`)
  }
}

function partOf(value: unknown): Part {
  assert(typeof value === 'object' && value !== null, 'a schema is an object')
  return value as Part
}
