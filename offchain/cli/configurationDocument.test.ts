/** docs/configuration.md says of every setting of every role what its schema says, and speaks of no other. */
import { readFileSync } from 'node:fs'
import * as v from 'valibot'
import { expect, test } from 'vitest'
import { listSettings, type Setting } from '#node/config/describe.ts'
import { MetricsConfigSchema } from '#node/metrics.ts'
import type { Schema } from '#protocol/wire/json.ts'
import { GatewayConfigSchema } from '../../gateway/config.ts'
import { AggregatorConfigSchema } from '../aggregator/config.ts'
import { IssuerConfigSchema } from '../issuer/config.ts'
import { OperatorConfigSchema } from '../operator/config.ts'
import { RelayConfigSchema } from '../relay/config.ts'

const document = readFileSync(new URL('../../docs/configuration.md', import.meta.url), 'utf8')
const SCHEMAS: readonly (readonly [string, Schema<unknown>])[] = [
  ['gateway', GatewayConfigSchema],
  ['relay', RelayConfigSchema],
  ['issuer', IssuerConfigSchema],
  ['aggregator', AggregatorConfigSchema],
  ['operator', OperatorConfigSchema],
]

/** The table of a role: cells of each row, without the head. */
function rowsOf(role: string): string[][] {
  const section = document.split(/^## /m).find((text) => text.startsWith(`${role}\n`)) ?? ''
  const rows = section.split('\n').filter((line) => line.startsWith('| `'))
  return rows.map((row) => row.slice(2, -2).split(' | '))
}

/** The first three cells of a setting's row. */
function cellsOf({ path, type, initial, isRequired }: Setting): string[] {
  const standard = initial === undefined ? '' : `\`${initial}\``
  return [`\`${path}\``, type, isRequired ? 'required' : standard]
}

test.each(SCHEMAS)(
  'every setting of %s stands in its table, in its order, with its type and default',
  (role, schema) => {
    const settings = listSettings(v.intersect([schema, MetricsConfigSchema]))
    expect(settings.length).toBeGreaterThan(10)
    // What is not in the left list is missing in docs/configuration.md; what is not in the right one no longer exists.
    expect(rowsOf(role).map((cells) => cells.slice(0, 3))).toEqual(settings.map(cellsOf))
  },
)

test.each(SCHEMAS)('every setting of %s is explained in a sentence', (role) => {
  for (const [name, , , sentence, ...more] of rowsOf(role)) {
    expect([name, sentence, more]).toEqual([name, expect.stringMatching(/^[A-Z`a-z].*\.$/), []])
  }
})

test('every role that there is has a table, and no other', () => {
  const tables = document
    .split(/^## /m)
    .flatMap((text) => (text.includes('\n| Setting |') ? [text.split('\n')[0]] : []))
  expect(tables).toEqual(SCHEMAS.map(([role]) => role))
})
