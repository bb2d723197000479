/** Some seeds of the simulation of aggregator, store and chain; a thousand of them run at night. `SEALPATH_SEED=n` runs that one. */
import { describe, expect, test } from 'vitest'
import { describeRun, simulate } from '../simulation/simulate.ts'

const SEEDS = 30
const wanted = process.env.SEALPATH_SEED

describe.runIf(wanted === undefined)('whatever goes wrong', () => {
  test.each(Array.from({ length: SEEDS }, (_, i) => i + 1))('nothing acknowledged is lost: seed %i', async (seed) => {
    const run = await simulate(seed)
    expect(run.findings.length + run.bugs.length, describeRun(run)).toBe(0)
  })

  test('a seed does the same each time', async () => {
    const [first, second] = [await simulate(7), await simulate(7)]
    expect(first.observation.broadcasts.length).toBeGreaterThan(0)
    expect(second.observation.broadcasts).toEqual(first.observation.broadcasts)
    expect(second.trace).toEqual(first.trace)
  })
})

test.runIf(wanted !== undefined)('the seed that was asked for', async () => {
  const run = await simulate(Number(wanted))
  console.log(describeRun(run))
  expect([...run.findings, ...run.bugs]).toEqual([])
})
