/** Settlement beside a second, slow and obvious reference of it: random histories, everything compared after every call. @module */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { comparePlainHistory, MET_IN_MANY, type Met } from '../support/plainHistory.ts'
import { PlainStage } from '../support/plainStage.ts'

const HISTORIES = 4
const STEPS = 70

let stage: PlainStage
beforeAll(async () => {
  stage = await PlainStage.open()
})
afterAll(() => stage.close())

it('answers and keeps in every history what the plain reference does, refusals by name', async () => {
  const met: Met = new Map()
  for (let seed = 1; seed <= HISTORIES; seed++) await comparePlainHistory(stage, seed, STEPS, met)
  expect(MET_IN_MANY.filter((name) => !met.has(name))).toEqual([])
})
