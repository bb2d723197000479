/** A thousand seeds of test/services/aggregatorSimulation.test.ts. Each kind of fault happens, or the run has shown less than it says. @module */
import { expect, test } from 'vitest'
import { FAULT_KINDS } from '../simulation/faults.ts'
import { describeRun, simulate } from '../simulation/simulate.ts'

const FIRST = 1_001
const SEEDS = 1_000
/** More would say nothing new. */
const FAILURES_SHOWN = 3

test(`in ${SEEDS} seeds nothing acknowledged is lost, whatever goes wrong`, async () => {
  const counts = new Map(FAULT_KINDS.map((kind) => [kind, 0]))
  const failures: string[] = []
  for (let seed = FIRST; seed < FIRST + SEEDS && failures.length < FAILURES_SHOWN; seed++) {
    const run = await simulate(seed)
    for (const [kind, count] of run.faults) counts.set(kind, (counts.get(kind) ?? 0) + count)
    if (run.findings.length + run.bugs.length > 0) failures.push(describeRun(run))
  }
  console.log('faults by kind:', Object.fromEntries(counts))
  expect(failures.join('\n\n')).toBe('')
  expect([...counts].filter(([, count]) => count === 0).map(([kind]) => kind)).toEqual([])
})
