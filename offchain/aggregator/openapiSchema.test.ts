/** JSON Schemas read from the schemas of the wire. @module */
import * as v from 'valibot'
import { expect, test } from 'vitest'
import { address, base64Of, type Schema, uintOf } from '#protocol/wire/json.ts'
import { jsonSchemaOf } from './openapiSchema.ts'

test('says what a schema takes as JSON', () => {
  const schema: Schema<unknown> = v.object({
    id: address,
    size: v.exactOptional(uintOf(53)),
    count: v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(9)),
    parts: v.pipe(v.array(base64Of(3)), v.minLength(1), v.maxLength(2)),
    kind: v.variant('state', [
      v.object({ state: v.literal('a') }),
      v.object({ state: v.picklist(['b', 'c']), isFinal: v.boolean() }),
    ]),
  })
  expect(jsonSchemaOf(schema)).toEqual({
    type: 'object',
    properties: {
      id: { type: 'string', pattern: '^0x[0-9a-fA-F]{40}$' },
      size: { type: 'string', pattern: '^(?:0|[1-9][0-9]{0,77})$' },
      count: { type: 'integer', minimum: 1, maximum: 9 },
      parts: { type: 'array', items: { type: 'string', maxLength: 4 }, minItems: 1, maxItems: 2 },
      kind: {
        oneOf: [
          { type: 'object', properties: { state: { const: 'a' } }, required: ['state'] },
          {
            type: 'object',
            properties: { state: { enum: ['b', 'c'] }, isFinal: { type: 'boolean' } },
            required: ['state', 'isFinal'],
          },
        ],
      },
    },
    required: ['id', 'count', 'parts', 'kind'],
  })
})

test.each([v.date(), v.pipe(v.string(), v.email())])('refuses a kind of schema that it does not know', (schema) => {
  expect(() => jsonSchemaOf(schema)).toThrow('no JSON Schema is written down')
})
