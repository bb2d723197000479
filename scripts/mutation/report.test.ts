import { readFileSync } from 'node:fs'
import * as v from 'valibot'
import { describe, expect, it } from 'vitest'
import { ExplanationsSchema, type Report, reportPart, toMarkdown } from './report.ts'
import { nameMutants, type Outcome, type Trial } from './trial.ts'

const root = new URL('../../', import.meta.url)
const read = (path: string) => readFileSync(new URL(path, root), 'utf8')

function trial(outcome: Outcome, original: string): Trial {
  const [mutant] = nameMutants([
    { file: 'a.sol', line: 3, place: 'pay', mutator: 'comparison', original, replacement: '<' },
  ])
  if (mutant === undefined) throw new Error('expected a mutant')
  return { mutant, outcome }
}

describe('a report', () => {
  const trials = [
    trial('killed', '<='),
    trial('killed', '>='),
    trial('timeout', '!='),
    trial('survived', '=='),
    trial('survived', '>'),
    trial('same code', '+'),
    trial('not compiling', '-'),
    trial('static', '*'),
  ]
  const explanation = { verdict: 'equivalent', why: 'it is never reached with both equal' } as const
  const explanations = { 'a.sol pay: comparison: == -> <': explanation }
  const part = reportPart({ name: 'contracts', possible: new Map([['a.sol', 9]]), trials }, explanations)

  it('counts what a test could have noticed, equivalent or not', () => {
    expect(part).toMatchObject({ mutants: 9, tried: 5, killed: 2, timedOut: 1, survived: 2, score: 60 })
    expect(part).toMatchObject({ sameCode: 1, notCompiling: 1, static: 1 })
    expect(part.files).toEqual([
      { file: 'a.sol', mutants: 9, tried: 5, killed: 2, timedOut: 1, survived: 2, score: 60 },
    ])
  })

  it('says of each survivor what is known of it', () => {
    expect(part.survivors.map(({ change, why }) => [change, why])).toEqual([
      ['== -> <', explanation.why],
      ['> -> <', undefined],
    ])
    const text = toMarkdown({ seed: 's', contracts: part, typescript: part })
    expect(text).toContain(`**Equivalent:** ${explanation.why}`)
    expect(text).toContain('**Not explained yet.**')
  })
})

describe('docs/mutation.md', () => {
  const report = JSON.parse(read('docs/mutation.json')) as Report
  const explanations = v.parse(ExplanationsSchema, JSON.parse(read('scripts/mutation/explained.json')))

  it('is what docs/mutation.json says', () => {
    expect(read('docs/mutation.md')).toBe(toMarkdown(report))
  })

  it.each(['contracts', 'typescript'] as const)(
    'has a score of at least 80 for %s, and explains what survived',
    (name) => {
      const { score, tried, survivors } = report[name]
      expect(tried).toBeGreaterThan(0)
      expect(score).toBeGreaterThanOrEqual(80)
      for (const { key, verdict, why } of survivors) expect({ verdict, why }, key).toEqual(explanations[key])
    },
  )
})
