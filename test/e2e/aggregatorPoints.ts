/** The numbered points at which an aggregator is killed: how a process is brought there from outside, and what is expected of the broadcasts. @module */
import { setTimeout as sleep } from 'node:timers/promises'
import { parseGwei } from 'viem'
import type { Hex } from '#protocol/bytes.ts'
import type { DatabaseMoment } from '../support/databaseProxy.ts'
import type { Hold } from '../support/gate.ts'
import { HONEST, type Meddle } from '../support/rpcProxy.ts'
import type { TestLog } from '../support/testLog.ts'
import type { Taken } from './aggregatorJudge.ts'
import { type Aggregator, type AggregatorNetwork, type AggregatorOptions, eventually } from './aggregatorNetwork.ts'

export type Stage = {
  readonly network: AggregatorNetwork
  readonly aggregator: Aggregator
  readonly log: TestLog
  /** Delivers the whole log. Resolves to whether it was acknowledged. */
  readonly deliver: () => Promise<boolean>
}

/** The process is at the point. */
export type Reached = {
  readonly acknowledged: Promise<boolean>
  /** What is on its way; dropped with a process that is killed, passed on to one that lives. */
  readonly held?: Hold
  /** What happens in the world while the process is dead. */
  readonly meanwhile?: () => Promise<void>
  /** What happens once it runs. */
  readonly after?: () => Promise<void>
}

export type Point = {
  readonly number: string
  readonly is: string
  /** How the processes of this point are configured. */
  readonly options?: AggregatorOptions
  readonly reach: (stage: Stage) => Promise<Reached>
  /** As in `Claim`. */
  readonly taken?: readonly Taken[]
  readonly foreign?: number
}

export const HEAD: RegExp = /insert into heads\b/
const TRANSACTION = /insert into transactions\b/
const ATTEMPT = /insert into attempts\b/
const BATCH = /insert into batches\b/
const SEND = 'eth_sendRawTransaction'
const RECEIPT = 'eth_getTransactionReceipt'
const AGAIN: readonly Taken[] = [{ times: 2, attempts: 1 }]
const STRANGE: Hex = `0x${'5e'.repeat(32)}`
const ETHER = 10n ** 18n
const ARRIVAL_MS_MAX = 15_000

/** Holds what the database is told, and delivers. */
export async function atDatabase(
  stage: Stage,
  statement: RegExp,
  at: DatabaseMoment,
): Promise<Reached & { held: Hold }> {
  const held = stage.network.databaseProxy.hold(statement, at)
  const acknowledged = stage.deliver()
  await arrival(held)
  return { acknowledged, held }
}

export async function atBroadcast(
  stage: Stage,
  part: 'request' | 'response' = 'request',
): Promise<Reached & { held: Hold }> {
  const held = stage.network.gate.hold({ method: SEND, part })
  const acknowledged = stage.deliver()
  await arrival(held)
  return { acknowledged, held }
}

/** Throws when nothing comes: whoever should send it has failed. */
function arrival(hold: Hold): Promise<void> {
  const late = sleep(ARRIVAL_MS_MAX, undefined, { ref: false }).then(() => {
    throw new Error(`nothing came that was to be held within ${ARRIVAL_MS_MAX} ms`)
  })
  return Promise.race([hold.arrived, late])
}

/** Broadcast and noted, while nothing is mined. */
export async function submitted(stage: Stage): Promise<{ acknowledged: Promise<boolean> }> {
  await stage.network.chain.control.setAutomine(false)
  const acknowledged = stage.deliver()
  await reaches(stage, 'submitted')
  return { acknowledged }
}

/** Mined; the process is about to learn it. */
async function atReceipt(stage: Stage): Promise<Reached> {
  const { acknowledged } = await submitted(stage)
  const held = stage.network.gate.hold({ method: RECEIPT, part: 'response', of: (receipt) => receipt !== null })
  await stage.network.mine(1)
  await arrival(held)
  return { acknowledged, held }
}

export const reaches = ({ network, log }: Stage, state: string): Promise<true> =>
  eventually(`${state} after ${log.size} leaves`, async () => (await network.newestState()) === state)

/** Included and noted; then the chain forgets it and its last `depth` blocks, and has others. */
async function reorganised(stage: Stage, depth: number): Promise<Reached> {
  const { control } = stage.network.chain
  const { acknowledged, held } = await atBroadcast(stage)
  const snapshot = await control.snapshot()
  held.pass()
  await reaches(stage, 'included')
  if (depth > 1) {
    await stage.network.mine(depth - 1)
    await reaches(stage, 'safe')
  }
  return {
    acknowledged,
    async meanwhile() {
      await control.revert({ id: snapshot })
      await stage.network.mine(depth)
    },
  }
}

/** The second of three endpoints lies about receipts from now on; the first is held when it tells the truth. */
async function besideLiar(stage: Stage, lie: (honest: unknown) => unknown): Promise<Reached> {
  const [, liar] = stage.network.gates
  if (liar === undefined) throw new Error('expected three endpoints')
  const meddle: Meddle = async ({ method }, pass) => {
    const honest = await pass()
    return { result: method === RECEIPT ? lie(honest) : honest }
  }
  liar.meddle = meddle
  return atReceipt(stage)
}

export const POINTS: readonly Point[] = [
  {
    number: '1',
    is: 'the body is on its way into the database, not committed',
    reach: (stage) => atDatabase(stage, HEAD, 'commit'),
  },
  {
    number: '2',
    is: 'the body is committed and not acknowledged',
    reach: (stage) => atDatabase(stage, HEAD, 'committed'),
  },
  {
    number: '3',
    is: 'the head is acknowledged and not sealed',
    async reach(stage) {
      const reached = await atDatabase(stage, TRANSACTION, 'statement')
      await reached.acknowledged
      return reached
    },
  },
  { number: '4', is: 'the batch is sealed', reach: (stage) => atDatabase(stage, TRANSACTION, 'committed') },
  {
    number: '5',
    is: 'the nonce is taken and the raw bytes are not stored',
    reach: (stage) => atDatabase(stage, ATTEMPT, 'commit'),
  },
  { number: '6', is: 'the raw bytes are stored and not broadcast', reach: (stage) => atBroadcast(stage) },
  {
    number: '7',
    is: 'the transaction is broadcast, which is not noted',
    async reach(stage) {
      await stage.network.chain.control.setAutomine(false)
      return atBroadcast(stage, 'response')
    },
  },
  { number: '8', is: 'the transaction is included, which is not noted', reach: atReceipt },
  {
    number: '9',
    is: 'the inclusion is noted, and the follower has not recorded the batch',
    async reach(stage) {
      const { databaseProxy, gate } = stage.network
      const { acknowledged } = await submitted(stage)
      const asked = gate.hold({ method: RECEIPT, part: 'request' })
      await arrival(asked)
      const held = databaseProxy.hold(BATCH, 'statement')
      await stage.network.mine(1)
      asked.pass()
      await arrival(held)
      await reaches(stage, 'included')
      return { acknowledged, held }
    },
  },
  {
    number: '12a',
    is: 'the block of the inclusion is reorganised away',
    reach: (stage) => reorganised(stage, 1),
    taken: AGAIN,
  },
  {
    number: '12b',
    is: 'six blocks are reorganised away, the inclusion in the first',
    reach: (stage) => reorganised(stage, 6),
    taken: AGAIN,
  },
  {
    number: '13a',
    is: 'one endpoint of three hides receipts',
    options: { endpoints: 3 },
    reach: (stage) => besideLiar(stage, () => null),
  },
  {
    number: '13b',
    is: 'one endpoint of three tells of receipts that are not',
    options: { endpoints: 3 },
    async reach(stage) {
      const { chain } = stage.network
      // A true one, of another transaction: whoever believes it takes the heads for settled.
      const { transactions } = await chain.client.getBlock({ blockNumber: 1n })
      const other = await chain.client.request({ method: RECEIPT, params: [transactions[0] ?? STRANGE] })
      return besideLiar(stage, (honest) => (honest === null ? other : { ...Object(honest), blockHash: STRANGE }))
    },
  },
  {
    number: '14',
    is: 'the base fee has jumped above what was offered',
    // Long enough that nothing is raised before the jump.
    options: { resubmitSeconds: 2 },
    async reach(stage) {
      const { chain, gate } = stage.network
      const { acknowledged } = await submitted(stage)
      const offered = gate.broadcasts.at(-1)
      if (offered === undefined) throw new Error('expected a broadcast')
      const spike = offered.fee * 3n + parseGwei('1')
      const raised = () => gate.broadcasts.some(({ nonce, fee }) => nonce === offered.nonce && fee > spike)
      return {
        acknowledged,
        async meanwhile() {
          await chain.control.setNextBlockBaseFeePerGas({ baseFeePerGas: spike })
          await stage.network.mine(1)
        },
        after: async () => void (await eventually('a raised fee', async () => raised())),
      }
    },
    taken: [{ times: 2, attempts: 2 }],
  },
  {
    number: '15',
    is: 'the account is empty',
    async reach(stage) {
      const { chain, gate } = stage.network
      const { address } = chain.account('settler')
      const { acknowledged, held } = await atBroadcast(stage)
      const balance = await chain.client.getBalance({ address })
      await chain.control.setBalance({ address, value: 0n })
      const seen = gate.broadcasts.length
      const refused = (from: number) => eventually('a refusal', async () => gate.broadcasts.length > from)
      held.pass()
      await refused(seen)
      return {
        acknowledged,
        async after() {
          await refused(gate.broadcasts.length)
          await chain.control.setBalance({ address, value: balance > 0n ? balance : ETHER })
        },
      }
    },
  },
  {
    number: '16',
    is: 'somebody else uses the nonce',
    async reach(stage) {
      const { chain } = stage.network
      const { acknowledged, held } = await atBroadcast(stage)
      return {
        acknowledged,
        held,
        async meanwhile() {
          const wallet = chain.wallet('settler')
          const hash = await wallet.sendTransaction({ to: wallet.account.address, value: 0n })
          await chain.client.waitForTransactionReceipt({ hash })
        },
      }
    },
    foreign: 1,
  },
]

/** Everything as it was before a case. */
export async function tidy({ chain, gates }: AggregatorNetwork): Promise<void> {
  for (const gate of gates) gate.meddle = HONEST
  await chain.control.setAutomine(true)
}
