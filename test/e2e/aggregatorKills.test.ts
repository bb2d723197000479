/** An aggregator killed at every numbered point of its work: what it acknowledged is on chain exactly once, and nothing is lost. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { hangLeader, terminate } from './aggregatorLeaders.ts'
import { AggregatorMatrix } from './aggregatorMatrix.ts'
import { POINTS } from './aggregatorPoints.ts'

const CASE_MS_MAX = 60_000
/** The points at which the database is killed too; the others follow at night. */
const OF_DATABASE: ReadonlySet<string> = new Set(['2', '6', '8'])

let matrix: AggregatorMatrix | undefined
beforeAll(async () => {
  matrix = await AggregatorMatrix.start('hardhat')
})
afterAll(async () => {
  console.log(matrix?.table())
  await matrix?.stop()
})

function running(): AggregatorMatrix {
  if (matrix === undefined) throw new Error('the network did not start')
  return matrix
}

it.each(POINTS)(
  'point $number, $is: a process that is killed there leaves another to go on',
  async (point) => {
    expect(await running().run(point, 'process')).toEqual([])
  },
  CASE_MS_MAX,
)

it.each(POINTS.filter(({ number }) => OF_DATABASE.has(number)))(
  'point 10 at $number, $is: the database is killed and started again, and the process goes on',
  async (point) => {
    expect(await running().run(point, 'database')).toEqual([])
  },
  CASE_MS_MAX,
)

it.each(['6', '7'] as const)(
  'point 11 at %s: a leader that hangs there is taken over from, and does no harm when it comes back',
  async (at) => {
    expect(await hangLeader(running(), at)).toEqual([])
  },
  CASE_MS_MAX,
)

it(
  'point 17: a process that is asked to stop finishes what it has begun and hands the lease back',
  async () => {
    expect(await terminate(running())).toEqual([])
  },
  CASE_MS_MAX,
)
