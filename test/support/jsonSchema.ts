/** Checks values against the JSON Schema that descriptions here are written in: the keywords they use, and no others. @module */

type Json = { readonly [key: string]: unknown }

/** Where `value` is not as `schema` says, as sentences; none when it is. `root` is the document that references start from. */
export function schemaFaults(schema: Json, value: unknown, root: Json, place = 'it'): string[] {
  return Object.entries(schema).flatMap(([keyword, rule]) => {
    const check = KEYWORDS[keyword]
    if (check === undefined) throw new Error(`the keyword ${keyword} is not known`)
    return check(rule, value, root, place)
  })
}

type Check = (rule: unknown, value: unknown, root: Json, place: string) => string[]

const KEYWORDS: Readonly<Record<string, Check>> = {
  $ref: (rule, value, root, place) => schemaFaults(resolve(String(rule), root), value, root, place),
  type: (rule, value, _root, place) => faultUnless(typeOf(value, rule) === rule, `${place} is not of type ${rule}`),
  const: (rule, value, _root, place) => faultUnless(value === rule, `${place} is not ${rule}`),
  enum: (rule, value, _root, place) => faultUnless(asArray(rule).includes(value), `${place} is none of ${rule}`),
  pattern: (rule, value, _root, place) =>
    faultUnless(typeof value !== 'string' || new RegExp(String(rule), 'u').test(value), `${place} is not like ${rule}`),
  minLength: bound((value) => (typeof value === 'string' ? value.length : undefined), 1),
  maxLength: bound((value) => (typeof value === 'string' ? value.length : undefined), -1),
  minItems: bound((value) => (Array.isArray(value) ? value.length : undefined), 1),
  maxItems: bound((value) => (Array.isArray(value) ? value.length : undefined), -1),
  minimum: bound((value) => (typeof value === 'number' ? value : undefined), 1),
  maximum: bound((value) => (typeof value === 'number' ? value : undefined), -1),
  items: (rule, value, root, place) =>
    Array.isArray(value) ? value.flatMap((each, i) => schemaFaults(asJson(rule), each, root, `${place}[${i}]`)) : [],
  properties: (rule, value, root, place) =>
    Object.entries(asJson(rule)).flatMap(([name, own]) =>
      isObject(value) && name in value ? schemaFaults(asJson(own), value[name], root, `${place}.${name}`) : [],
    ),
  required: (rule, value, _root, place) =>
    asArray(rule).flatMap((name) =>
      faultUnless(!isObject(value) || String(name) in value, `${place}.${name} is missing`),
    ),
  oneOf: (rule, value, root, place) => {
    const fitting = asArray(rule).filter((each) => schemaFaults(asJson(each), value, root, place).length === 0)
    return faultUnless(fitting.length === 1, `${place} fits ${fitting.length} of the alternatives`)
  },
}

function bound(measure: (value: unknown) => number | undefined, sign: 1 | -1): Check {
  return (rule, value, _root, place) => {
    const measured = measure(value)
    return faultUnless(measured === undefined || sign * (measured - Number(rule)) >= 0, `${place} is beyond ${rule}`)
  }
}

function resolve(reference: string, root: Json): Json {
  const path = reference.replace(/^#\//, '').split('/')
  return path.reduce<Json>((at, name) => asJson(at[name]), root)
}

function typeOf(value: unknown, wanted: unknown): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'array'
  return wanted === 'integer' && Number.isInteger(value) ? 'integer' : typeof value
}

function faultUnless(isFine: boolean, fault: string): string[] {
  return isFine ? [] : [fault]
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function asJson(value: unknown): Json {
  if (!isObject(value)) throw new Error('expected a schema')
  return value
}

function asArray(value: unknown): readonly unknown[] {
  if (!Array.isArray(value)) throw new Error('expected a list')
  return value
}
