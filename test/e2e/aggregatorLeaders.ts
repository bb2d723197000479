/** Points 11 and 17: two processes for one account, of which the one that sends hangs and comes back; and one that is asked to stop. @module */
import { SETTLE_POLICY } from '../../offchain/aggregator/config.ts'
import { type Before, judge } from './aggregatorJudge.ts'
import type { AggregatorMatrix } from './aggregatorMatrix.ts'
import { type Aggregator, eventually } from './aggregatorNetwork.ts'
import { atBroadcast, atDatabase, HEAD, reaches, type Stage, submitted } from './aggregatorPoints.ts'

const MORE_LEAVES = 3
const TAKEOVER_MS_MAX = 5_000
/** Nobody waits so long: whoever takes over sooner was handed the lease. */
const LONG_LEASE_SECONDS = 600

/** The leader hangs while its raw bytes are on their way to the node (6), or the answer is on its way back (7), until another has done the work. */
export function hangLeader(matrix: AggregatorMatrix, at: '6' | '7'): Promise<string[]> {
  const { network } = matrix
  return matrix.note(`11 at ${at}`, 'none: the leader hangs', async () => {
    const options = { leaseSeconds: SETTLE_POLICY.leaseSeconds }
    const { stage, before } = await matrix.set(options)
    await eventually('the lease of the first', async () => !(await network.isLeaseFree(SETTLE_POLICY.leaseSeconds - 1)))
    const standby = await network.startAggregator(options)
    try {
      return await takeOver(stage, standby, before, at)
    } finally {
      await matrix.end(stage.aggregator)
      // It hands the lease back, so that nobody has to wait for its end.
      await network.terminate(standby)
    }
  })
}

async function takeOver(stage: Stage, standby: Aggregator, before: Before, at: '6' | '7'): Promise<string[]> {
  const { network, log, aggregator: leader } = stage
  const { control } = network.chain
  if (at === '7') await control.setAutomine(false)
  const { acknowledged, held } = await atBroadcast(stage, at === '6' ? 'request' : 'response')
  const { length } = await network.takeovers()
  network.freeze(leader)
  const takeover = await eventually('a takeover', async () => (await network.takeovers())[length])
  if (at === '7') {
    await reaches(stage, 'submitted')
    await control.setAutomine(true)
    await network.mine(1)
  }
  await reaches(stage, 'included')
  const { broadcasts } = network.gate
  const { length: sent } = broadcasts
  network.thaw(leader)
  held.pass()
  if (at === '6') await eventually('the late broadcast', async () => broadcasts.length > sent)
  const isFirst = await acknowledged
  log.issue(MORE_LEAVES)
  const sizes = [log.size - MORE_LEAVES, log.size]
  const isSecond = await network.deliver(leader, log, log.size - MORE_LEAVES)
  const faults = await judge(network, standby, before, { log, acknowledged: isSecond ? log.size : 0, sizes })
  if (!isFirst || !isSecond) faults.push('a delivery was not acknowledged')
  if (takeover.tries !== 1) faults.push(`the lease was free, and given only at asking ${takeover.tries}`)
  if (SETTLE_POLICY.leaseSeconds * 1_000 + SETTLE_POLICY.pollMs > TAKEOVER_MS_MAX) faults.push('leases are too long')
  if ((await network.takeovers()).length !== length + 1) faults.push('the lease changed hands again')
  return faults
}

/** A process is asked to stop with a transaction under way and a delivery half taken in. */
export function terminate(matrix: AggregatorMatrix): Promise<string[]> {
  const { network } = matrix
  return matrix.note('17', 'process, by SIGTERM', async () => {
    const options = { leaseSeconds: LONG_LEASE_SECONDS }
    const { stage, before } = await matrix.set(options)
    const { aggregator, log } = stage
    const first = await submitted(stage)
    log.issue(MORE_LEAVES)
    const second = await atDatabase(stage, HEAD, 'commit')
    const ended = network.terminate(aggregator)
    await eventually('the drain', async () => network.logOf(aggregator).includes('"draining"'))
    second.held.pass()
    const [isFirst, isSecond, code] = await Promise.all([first.acknowledged, second.acknowledged, ended])
    const faults: string[] = []
    if (code !== 0) faults.push(`the exit code is ${code}`)
    if (!isFirst || !isSecond) faults.push('a delivery was not acknowledged')
    if (!(await network.isLeaseFree())) faults.push('the lease was not handed back')
    await matrix.end(aggregator)
    const successor = await matrix.start(options)
    await network.chain.control.setAutomine(true)
    const sizes = [log.size - MORE_LEAVES, log.size]
    faults.push(...(await judge(network, successor, before, { log, acknowledged: log.size, sizes })))
    await network.terminate(successor)
    await matrix.end(successor)
    return faults
  })
}
