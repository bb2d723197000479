/** Client, gateway, issuer and their databases killed at every step of reserve, capture and change: no credit is lost, none is spent twice. @module */
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { creditVaultAbi } from '#chain/generated/abis.ts'
import { CaptureAnswerSchema, IssuerKeysetsSchema } from '#protocol/wire/issuerApi.ts'
import { waitFor } from '../../scripts/local/processes.ts'
import { askIssuer } from '../support/issuerRecords.ts'
import { type FaultNetwork, SLOTS, startFaultNetwork } from './faultNetwork.ts'
import { FaultRunner } from './faultRunner.ts'
import { type FaultCase, STEPS } from './faultSteps.ts'

/** Each step and each victim once at least; the rest of the matrix runs at night. */
const CASES: readonly FaultCase[] = [
  { step: 4, victim: 'client and its file', fate: 'passed' },
  { step: 1, victim: 'client', fate: 'lost' },
  { step: 2, victim: 'gateway', fate: 'passed' },
  { step: 3, victim: 'issuer', fate: 'lost' },
  { step: 5, victim: 'gateway', fate: 'passed' },
  { step: 6, victim: 'database', fate: 'passed' },
  { step: 7, victim: 'issuer', fate: 'lost' },
  { step: 8, victim: 'client', fate: 'lost' },
  { step: 9, victim: 'client', fate: 'lost' },
]

let network: FaultNetwork | undefined
let runner: FaultRunner
beforeAll(async () => {
  network = await startFaultNetwork(25_545)
  runner = await FaultRunner.start(network)
}, 240_000)
afterAll(() => network?.stop(), 60_000)

const nameOf = ({ step }: FaultCase) => STEPS.find(({ number }) => number === step)?.is ?? ''
it.each(CASES.map((fault) => ({ ...fault, is: nameOf(fault) })))(
  'step $step, $is; the $victim is killed, and the message is $fate',
  (fault) => runner.run(fault),
  60_000,
)

it('in the end every unit is held or captured, as the clearing on chain says', async () => {
  expect(await runner.finish()).toEqual(FaultRunner.FINISHED)
}, 90_000)

it('a second writer on the same database answers nothing while the first lives', async () => {
  const { network, client } = runner
  const rival = await network.startRival()
  await waitFor(
    'the rival',
    async () => (await (await fetch(`${rival.url}/readyz`)).text()).includes('stands by'),
    20_000,
  )
  expect(await askIssuer(rival.url, IssuerKeysetsSchema, 'GET', '/v1/keysets')).toEqual({ keysets: [] })
  const [payment] = client.payments.keys()
  const signature = { r: payment, vs: payment }
  const capture = askIssuer(rival.url, CaptureAnswerSchema, 'POST', '/v1/capture', { payment, fee: 0n, signature })
  await expect(capture).rejects.toThrow('UNAVAILABLE')
  await runner.askOnce()
  await network.processes.kill(rival.child)
})

it('an issuer whose database was rolled back says so and answers nothing, and credits are exited without it', async () => {
  const { network, client } = runner
  const { client: reader, deployment, keyset, addressOf } = network.chain
  const vault = { address: deployment.vault, abi: creditVaultAbi } as const
  const writer = await network.writer()
  const successor = SLOTS.find((slot) => slot !== writer) ?? writer
  const named = () => reader.readContract({ ...vault, functionName: 'keysetOf', args: [keyset.id] })
  const { writer: before } = await named()
  const copy = join(network.folder, 'older-database')
  network.database.copy(copy)
  await runner.askOnce()

  await network.killIssuer(writer)
  await network.database.kill()
  network.database.rollBack(copy)
  await network.database.start()
  const says = async () => (await network.notWriting(successor)).includes('older than what the witnesses hold')
  await waitFor('the successor to notice', says, 30_000)
  const url = network.issuerUrl(successor)
  const [payment] = client.payments.keys()
  const signature = { r: payment, vs: payment }
  const capture = askIssuer(url, CaptureAnswerSchema, 'POST', '/v1/capture', { payment, fee: 0n, signature })
  await expect(capture).rejects.toThrow('EXIT_ONLY')
  await client.reconnect()
  expect((await client.ask()).status).not.toBe(200)
  expect((await named()).writer).toBe(before)

  const [recipient, units] = [addressOf('recipient'), 1_000n]
  expect(await client.exit(units, recipient)).toBeGreaterThanOrEqual(units)
  const opened = await reader.getContractEvents({ ...vault, eventName: 'ExitsOpened', fromBlock: 0n, strict: true })
  expect(opened.map(({ args }) => args.recipient)).toEqual([recipient])
}, 90_000)
