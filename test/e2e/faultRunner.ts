/**
 * Everything that is killed at every step of reserve, capture and change. A case holds one message of a request, kills somebody, lets the message go on or
 * lose its way, starts everything again, and asks once more; the auditor then says where every unit is.
 * @module
 */
import { join } from 'node:path'
import { expect } from 'vitest'
import { encodeUtf8, toHex } from '#protocol/bytes.ts'
import { keccak256 } from '#protocol/hash.ts'
import { feeRoundedUp, parsePriceList, type Usage } from '#protocol/prices.ts'
import { demoPrices } from '../../scripts/local/demoPrices.ts'
import { waitFor } from '../../scripts/local/processes.ts'
import { type Audit, audit, type IssuerRecords, readChainRecords, readCleared } from '../support/creditAuditor.ts'
import type { Asked } from '../support/creditClientApi.ts'
import { CreditClient } from '../support/creditClientProcess.ts'
import { readIssuer } from '../support/issuerRecords.ts'
import { COMPLETION_TOKENS, PROMPT_TOKENS, TEST_MODEL } from '../support/modelServer.ts'
import { type FaultNetwork, RESERVE_SECONDS } from './faultNetwork.ts'
import { type FaultCase, STEPS, type Victim } from './faultSteps.ts'

/** What an answer costs of which the client got no receipt: a whole one, or as many words as the model had said. */
const USAGES: readonly Usage[] = [
  { promptTokens: PROMPT_TOKENS, completionTokens: COMPLETION_TOKENS },
  ...Array.from({ length: COMPLETION_TOKENS }, (_, i) => ({ promptTokens: 0, completionTokens: i + 1 })),
]
const { models: PRICES } = parsePriceList(JSON.stringify(demoPrices([TEST_MODEL], 'operator')))
const FEES_WITHOUT_RECEIPT = PRICES.flatMap((price) => USAGES.map((usage) => feeRoundedUp(price, usage)))

const ARRIVES_MS = 20_000

/** One wallet and one network through many cases. */
export class FaultRunner {
  readonly network: FaultNetwork
  readonly client: CreditClient
  /** The other issuer that is started again meanwhile. */
  #settling: Promise<void> = Promise.resolve()
  #isFileLost = false

  private constructor(network: FaultNetwork) {
    this.network = network
    this.client = new CreditClient(network.processes, {
      rpcUrl: network.chain.rpcUrl,
      relayUrl: network.relayUrl,
      registry: network.chain.deployment.registry,
      walletFile: join(network.folder, 'wallet'),
      seed: toHex(keccak256(encodeUtf8('the seed of creditFaults'))),
      keyFile: network.chain.keyFile('buyer'),
      model: TEST_MODEL,
    })
  }

  /** Buys credits, and pays once. */
  static async start(network: FaultNetwork): Promise<FaultRunner> {
    const runner = new FaultRunner(network)
    await runner.client.start()
    expect(await runner.client.buy()).toBe('bought')
    await runner.askOnce()
    return runner
  }

  /** Expects that every unit is where it should be, whatever is still under way. */
  async run({ step, victim, fate }: FaultCase): Promise<void> {
    const { network, client } = this
    const point = STEPS.find(({ number }) => number === step)
    if (point === undefined) throw new RangeError(`there is no step ${step}`)
    if (victim === 'issuer' || victim === 'database') await this.#settling
    const held = await point.hold(network, client, await network.writer())
    const asking = client.ask().catch((error: unknown) => error)
    await within(held.arrived, ARRIVES_MS, `step ${step}: ${point.is}`)
    await this.#kill(victim)
    const release = () => (fate === 'lost' ? held.drop() : held.pass())
    if (fate !== 'late') release()
    await this.#mend(victim)
    if (fate === 'late') await this.#deliverLate(victim, release)
    await asking
    await client.recover()
    await this.askOnce()
    expect(await this.#auditAll()).toMatchObject({ faults: [], missing: 0n })
  }

  /** Asks, and expects an answer. */
  async askOnce(): Promise<void> {
    const asked = await this.client.ask()
    expect(asked).toMatchObject({ status: 200 } satisfies Partial<Asked>)
    expect(asked.text).toContain('data: [DONE]')
  }

  /** What was held arrives when its client has recovered. A client that had given its payment up learns from restoring that it was spent after all. */
  async #deliverLate(victim: Victim, release: () => void): Promise<void> {
    const { client } = this
    await client.recover()
    release()
    if (!victim.startsWith('client')) return
    const last = [...client.payments.values()].at(-1)
    const isCaptured = async () => {
      const { payments } = await this.#readIssuer()
      return payments.some(({ locator, change }) => locator === last?.locator && change !== undefined)
    }
    await waitFor('the capture of what came late', isCaptured, 30_000)
    await this.#restore()
  }

  /** What one try could not find, the next one may: an issuer does not answer while it has not read its name on chain. */
  #restore(): Promise<void> {
    return waitFor('the wallet', async () => (await this.client.restore()).length === 0, 30_000)
  }

  /** Of a wallet whose file was lost, what was reserved then comes back some time, and is found by looking again. */
  async #auditAll(): Promise<Audit> {
    const first = await this.audit()
    if (!this.#isFileLost || first.missing === 0n) return first
    await this.#restore()
    return this.audit()
  }

  /** Everything is started again, and every payment comes to its end. */
  async settle(): Promise<Audit> {
    const { client } = this
    await this.#settling
    await client.kill()
    await client.start()
    const isDone = async () => {
      await client.recover()
      const { payments } = await this.#readIssuer()
      return (await client.holdings()).open.length === 0 && payments.every(({ change }) => change !== undefined)
    }
    await waitFor('the end of all payments', isDone, (4 * RESERVE_SECONDS + 10) * 1_000)
    return this.#auditAll()
  }

  /**
   * Brings everything to its end, and compares what was paid with what is on chain. Answers what is wrong, which is `FaultRunner.FINISHED` when nothing is.
   */
  async finish(): Promise<Finish> {
    const { chain, gateways } = this.network
    const { faults, missing, ...units } = await this.settle()
    const read = () => readCleared(chain.client, chain.deployment.settlement, chain.keyset.id, gateways)
    const isThere = async () => (await read()).captured >= units.captured
    await waitFor('the clearing', isThere, 30_000).catch(() => undefined)
    const { issued, captured, by } = await read()
    const { unseen, reserved, untaken, capturedBy } = units
    return {
      faults,
      missing,
      underWay: unseen + reserved + untaken,
      notIssued: units.deposited - issued,
      notCleared: units.captured - captured,
      gatewaysWrong: [...capturedBy].filter(([gateway, fees]) => by.get(gateway) !== fees).map(([gateway]) => gateway),
    }
  }

  static readonly FINISHED: Finish = {
    faults: [],
    missing: 0n,
    underWay: 0n,
    notIssued: 0n,
    notCleared: 0n,
    gatewaysWrong: [],
  }

  async audit(): Promise<Audit> {
    const { client, network } = this
    const chain = await readChainRecords(network.chain.client, network.chain.deployment, network.chain.keyset.id)
    const { credits, open } = await client.holdings()
    const records = await this.#readIssuer()
    const { payments, receipts } = client
    return audit(
      chain,
      records,
      { payments: [...payments.values()], receipts, held: credits, open },
      FEES_WITHOUT_RECEIPT,
    )
  }

  async #readIssuer(): Promise<IssuerRecords> {
    const { network } = this
    return readIssuer(network.issuerUrl(await network.writer()), network.chain.keyset.id)
  }

  async #kill(victim: Victim): Promise<void> {
    const { network, client } = this
    if (victim === 'client' || victim === 'client and its file') await client.kill()
    else if (victim === 'gateway') await network.killGateway()
    else if (victim === 'issuer') await network.killIssuer(await network.writer())
    else await network.killDatabase()
    if (victim !== 'client and its file') return
    client.loseFile()
    this.#isFileLost = true
  }

  async #mend(victim: Victim): Promise<void> {
    const { network, client } = this
    if (victim === 'client') await client.start()
    else if (victim === 'client and its file') {
      await client.start()
      await this.#restore()
    } else if (victim === 'gateway') await network.startGateway()
    else if (victim === 'database') await network.startDatabase()
    if (victim !== 'issuer' && victim !== 'database') return
    await network.writer()
    // A client looks for its issuer when it begins and every few minutes: now it would still ask one that is gone.
    await client.reconnect()
    this.#settling = network.settleIssuers()
    this.#settling.catch(() => undefined)
  }
}

/** Throws when it takes longer. */
async function within(event: Promise<void>, ms: number, what: string): Promise<void> {
  const timer = Promise.withResolvers<never>()
  const timeout = setTimeout(() => timer.reject(new Error(`expected within ${ms} ms: ${what}`)), ms)
  await Promise.race([event, timer.promise]).finally(() => clearTimeout(timeout))
}

/** What is wrong in the end. Units. */
export type Finish = {
  readonly faults: readonly string[]
  readonly missing: bigint
  readonly underWay: bigint
  readonly notIssued: bigint
  readonly notCleared: bigint
  readonly gatewaysWrong: readonly string[]
}
