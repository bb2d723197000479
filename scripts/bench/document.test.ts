import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { type Entry, findProblems, mergeEntries, REQUIRED_IDS, toMarkdown } from './document.ts'
import { meetsTarget, type Row, summarize } from './row.ts'

const FIRST = { machine: 'one core', day: '2026-01-01' }
const SECOND = { machine: 'two cores', day: '2026-02-02' }

describe('a part that is measured again', () => {
  const before = mergeEntries(
    [],
    new Map([
      ['gas', [row('a'), row('b')]],
      ['log', [row('c')]],
    ]),
    ['gas', 'log'],
    FIRST,
  )
  const after = mergeEntries(before, new Map([['log', [row('c', 2), row('d')]]]), ['gas', 'log'], SECOND)

  it('replaces its own rows and keeps those of the others with their machine and day', () => {
    expect(after.map(({ id, value, day }) => [id, value, day])).toEqual([
      ['a', 1, '2026-01-01'],
      ['b', 1, '2026-01-01'],
      ['c', 2, '2026-02-02'],
      ['d', 1, '2026-02-02'],
    ])
  })

  it('says in the document which part was measured where', () => {
    const text = toMarkdown(after)
    expect(text).toContain('- gas: on 2026-01-01, one core')
    expect(text).toContain('- log: on 2026-02-02, two cores')
    expect(toMarkdown(before)).toContain('Measured on 2026-01-01, one core.')
  })

  it('drops the rows of a part that is no more', () => {
    expect(mergeEntries(before, new Map(), ['log'], SECOND).map(({ id }) => id)).toEqual(['c'])
  })
})

describe('the document', () => {
  it('has a row for each entry, with target, spread, and others of the same run', () => {
    const measured: Row = {
      ...row('log.build.1m', 0.8),
      unit: 's',
      runs: { count: 5, least: 0.7, most: 0.9 },
      target: { value: 2, direction: 'at most' },
      others: [{ name: 'another tree', value: 99, unit: 's' }],
      published: 'about 305 s',
    }
    const line = '| `log.build.1m` | work | at most 2 s | **0.8 s** | 0.7 to 0.9, 5 | another tree 99 s | about 305 s |'
    expect(toMarkdown([entry(measured)])).toContain(line)
  })

  it('lists models apart, with how far they are from the figure', () => {
    const text = toMarkdown([entry(modelRow(104))])
    expect(text).toContain('| `model.x` | work | **104 gas** | 100 | 4.0 % | them@abc |')
  })
})

describe('what is wrong', () => {
  const complete = REQUIRED_IDS.map((id) => entry(row(id)))

  it('is nothing where every number is there and meets its target', () => {
    expect(findProblems(complete)).toEqual([])
  })

  it('is a number of the design that is missing', () => {
    expect(findProblems(complete.slice(1))).toEqual(['gas.settle.10k is missing'])
  })

  it('is a target that is missed, on either side', () => {
    const most = { ...row('x', 3), target: { value: 2, direction: 'at most' } } as const
    const least = { ...row('y', 1), target: { value: 2, direction: 'at least' } } as const
    expect(findProblems([...complete, entry(most), entry(least)])).toEqual([
      'x is 3 gas, and must be at most 2 gas',
      'y is 1 gas, and must be at least 2 gas',
    ])
  })

  it('is a model that is more than a tenth from its figure', () => {
    expect([90, 110].map((value) => meetsTarget(modelRow(value)))).toEqual([true, true])
    expect([89, 111].map((value) => meetsTarget(modelRow(value)))).toEqual([false, false])
    expect(findProblems([...complete, entry(modelRow(111))])).toEqual([
      'model.x is 111 gas, and must lie within 10 % of 100',
    ])
  })
})

describe('a median', () => {
  it('stands between the least and the most of the runs', () => {
    expect(summarize([5, 1.004, 3, 2, 4], 2)).toEqual({ value: 3, runs: { count: 5, least: 1, most: 5 } })
  })
})

it('finds every number of the design in docs/benchmarks.json', () => {
  const file = new URL('../../docs/benchmarks.json', import.meta.url)
  const ids = new Set((JSON.parse(readFileSync(file, 'utf8')) as Entry[]).map(({ id }) => id))
  expect(REQUIRED_IDS.filter((id) => !ids.has(id))).toEqual([])
})

function row(id: string, value = 1): Row {
  return { id, name: 'work', value, unit: 'gas' }
}

function modelRow(value: number): Row {
  return { ...row('model.x', value), calibration: { figure: 100, tolerance: 0.1, source: 'them@abc' } }
}

function entry(measured: Row): Entry {
  return { ...measured, part: 'gas', ...FIRST }
}
