/** The histories of test/integration/plainSettlement.test.ts, longer and many more. @module */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { comparePlainHistory, MET_IN_MANY, type Met } from '../support/plainHistory.ts'
import { PlainStage } from '../support/plainStage.ts'

const HISTORIES = 200
const STEPS = 120
/** Others than those of every commit. */
const FIRST_SEED = 1_000

let stage: PlainStage
beforeAll(async () => {
  stage = await PlainStage.open()
})
afterAll(() => stage.close())

it('agrees with the plain reference in two hundred longer histories', async () => {
  const met: Met = new Map()
  for (let i = 0; i < HISTORIES; i++) await comparePlainHistory(stage, FIRST_SEED + i, STEPS, met)
  expect(MET_IN_MANY.filter((name) => !met.has(name))).toEqual([])
})
