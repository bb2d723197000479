/** The whole matrix of test/e2e/aggregatorKills.test.ts: every point on both nodes, with the process killed and with its database killed. @module */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { hangLeader, terminate } from '../e2e/aggregatorLeaders.ts'
import { AggregatorMatrix, type Victim } from '../e2e/aggregatorMatrix.ts'
import { POINTS } from '../e2e/aggregatorPoints.ts'
import type { TestNode } from '../support/chain.ts'

const NODES: readonly TestNode[] = ['hardhat', 'anvil']
const VICTIMS: readonly Victim[] = ['process', 'database']
const CASE_MS_MAX = 120_000

describe.each(NODES)('on %s', (node) => {
  let matrix: AggregatorMatrix | undefined
  beforeAll(async () => {
    matrix = await AggregatorMatrix.start(node)
  }, 120_000)
  afterAll(async () => {
    console.log(matrix?.table())
    await matrix?.stop()
  }, 60_000)

  function running(): AggregatorMatrix {
    if (matrix === undefined) throw new Error('the network did not start')
    return matrix
  }

  describe.each(VICTIMS)('the %s is killed', (victim) => {
    it.each(POINTS)(
      'at point $number, $is',
      async (point) => {
        expect(await running().run(point, victim)).toEqual([])
      },
      CASE_MS_MAX,
    )
  })

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
})
