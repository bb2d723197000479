/** The whole matrix of test/e2e/creditFaults.test.ts: every victim at every step, the message that was held passed on, lost, and passed on long after. @module */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type FaultNetwork, startFaultNetwork } from '../e2e/faultNetwork.ts'
import { FaultRunner } from '../e2e/faultRunner.ts'
import { type Fate, type FaultCase, STEPS, VICTIMS } from '../e2e/faultSteps.ts'

const FATES: readonly Fate[] = ['passed', 'lost', 'late']
/** Steps that hold no message: whatever is held goes on. */
const HOLD_NO_MESSAGE: ReadonlySet<number> = new Set([5, 9])

// A network and a wallet for each step: the time that restoring takes grows with what a wallet has paid.
describe.each(STEPS)('step $number: $is', ({ number: step }) => {
  let network: FaultNetwork | undefined
  let runner: FaultRunner
  beforeAll(async () => {
    network = await startFaultNetwork(26_545)
    runner = await FaultRunner.start(network)
  }, 240_000)
  afterAll(() => network?.stop(), 60_000)

  const fates = HOLD_NO_MESSAGE.has(step) ? FATES.slice(0, 1) : FATES
  const cases = VICTIMS.flatMap((victim) => fates.map((fate): FaultCase => ({ step, victim, fate })))
  it.each(cases)('the $victim is killed, and what was held is $fate', (fault) => runner.run(fault), 120_000)

  it('in the end every unit is held or captured, as the clearing on chain says', async () => {
    expect(await runner.finish()).toEqual(FaultRunner.FINISHED)
  }, 120_000)
})
