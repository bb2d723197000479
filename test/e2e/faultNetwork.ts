/**
 * A whole network whose parts can be killed: a chain, one aggregator as the witness, two issuers that take each other's place on one PostgreSQL, a gateway,
 * their agents and a relay, all of them processes; and between them gates at which a message can be held.
 * @module
 */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { readLiveEnclaves } from '#chain/registry.ts'
import type { Hex } from '#protocol/bytes.ts'
import { ENCLAVE_ROLE } from '#protocol/evidence/statement.ts'
import { PublicEvidenceSchema } from '#protocol/wire/agentApi.ts'
import { parseJson } from '#protocol/wire/json.ts'
import { REPOSITORY } from '../../scripts/local/contracts.ts'
import { openIssuersKeyset } from '../../scripts/local/credits.ts'
import { demoPrices } from '../../scripts/local/demoPrices.ts'
import { type Child, isReady, Processes, StartError, waitFor } from '../../scripts/local/processes.ts'
import { type Gate, openGate } from '../support/gate.ts'
import { KillableDatabase } from '../support/killableDatabase.ts'
import { type ModelServer, startModelServer, TEST_MODEL } from '../support/modelServer.ts'
import { type AccountName, type FaultChain, startChain } from './faultChain.ts'

const HOST = '127.0.0.1'
const LEASE_SECONDS = 2
/** How long a reserve lasts that nobody captures. */
export const RESERVE_SECONDS = 8

export const SLOTS = ['a', 'b'] as const
export type Slot = (typeof SLOTS)[number]

export type FaultNetwork = {
  readonly folder: string
  readonly chain: FaultChain
  readonly relayUrl: string
  readonly model: ModelServer
  readonly database: KillableDatabase
  /** Between relay and gateway, between gateway and each issuer, between issuers and witness. */
  readonly gates: { readonly gateway: Gate; readonly issuer: Record<Slot, Gate>; readonly witness: Gate }
  readonly processes: Processes
  issuerUrl(slot: Slot): string
  /** Why an issuer does not write: '' when it does. */
  notWriting(slot: Slot): Promise<string>
  /** The issuer that writes now. Throws `StartError` when none does for half a minute. */
  writer(): Promise<Slot>
  killIssuer(slot: Slot): Promise<void>
  /** Waits for a writer, and starts the other issuer again, as a new enclave, unless it stands by. */
  settleIssuers(): Promise<void>
  killDatabase(): Promise<void>
  /** Starts it again, and waits until the issuer that stood by has taken it: the lock of the one that wrote is lost. */
  startDatabase(): Promise<void>
  killGateway(): Promise<void>
  /** Starts it again, as a new enclave, and waits until its agent has registered it. */
  startGateway(): Promise<void>
  /** Every enclave that was a gateway here. */
  readonly gateways: readonly Hex[]
  /** Starts an issuer that has the keys as well, on the same database. */
  startRival(): Promise<{ readonly url: string; readonly child: Child }>
  stop(): Promise<void>
}

/**
 * Starts it; throws `StartError` when something cannot start. Takes the ports from `firstPort` on, some twenty: fixed ones, as what is killed needs its port
 * again, and one that the system gave could be somebody's by then.
 */
export async function startFaultNetwork(firstPort: number): Promise<FaultNetwork> {
  const folder = mkdtempSync(join(tmpdir(), 'sealpath-faults-'))
  chmodSync(folder, 0o755)
  const crashes: Error[] = []
  const processes = new Processes(folder, (error) => crashes.push(error))
  const closing: (() => Promise<void>)[] = []
  const stop = async () => {
    await processes.stopAll(10_000)
    for (const close of closing.toReversed()) await close()
    rmSync(folder, { recursive: true, force: true })
    if (crashes[0] !== undefined) throw crashes[0]
  }
  try {
    return { ...(await startAll(folder, processes, closing, firstPort)), stop }
  } catch (error) {
    await stop().catch(() => {
      // What failed first is what is told.
    })
    throw error
  }
}

async function startAll(
  folder: string,
  processes: Processes,
  closing: (() => Promise<void>)[],
  firstPort: number,
): Promise<Omit<FaultNetwork, 'stop'>> {
  const names: string[] = []
  const listenOn = (name: string) => {
    if (!names.includes(name)) names.push(name)
    return { host: HOST, port: firstPort + names.indexOf(name) }
  }
  const urlOf = (name: string) => `http://${HOST}:${listenOn(name).port}`
  const chain = await startChain(folder, processes, listenOn('chain').port)
  const { rpcUrl, client, deployment, keysetFile, rootFile, wallet, keyFile, addressOf } = chain
  const startRole = (name: string, main: string, config: unknown): Child => {
    const file = join(folder, `${name}.json`)
    writeFileSync(file, JSON.stringify(config))
    return processes.start(name, process.execPath, [join(REPOSITORY, main)], { SEALPATH_CONFIG: file })
  }
  const gate = async (url: string): Promise<Gate> => {
    const opened = await openGate(url)
    closing.push(() => opened.close())
    return opened
  }

  const database = new KillableDatabase(join(folder, 'database'), listenOn('database').port)
  closing.push(() => database.stop())
  await database.start()
  const model = await startModelServer()
  closing.push(() => model.close())
  const attester = { kind: 'development', rootFile }
  const { chainId, registry, settlement, vault } = deployment
  const chainOf = (name: AccountName) => ({ chainId, registry, settlement, operator: addressOf(name) })

  const aggregatorUrl = urlOf('aggregator')
  startRole('aggregator', 'offchain/aggregator/main.ts', {
    listen: listenOn('aggregator'),
    rpcUrls: [rpcUrl],
    deployment: { chainId, registry, settlement, fromBlock: deployment.fromBlock.toString() },
    accountKeyFiles: [keyFile('aggregator')],
    database: { folder: join(folder, 'aggregator-data'), port: listenOn('aggregator-data').port },
    settle: { everySeconds: 1, leaseSeconds: 4 },
  })
  const gates = {
    gateway: await gate(urlOf('gateway')),
    issuer: { a: await gate(urlOf('issuer-a')), b: await gate(urlOf('issuer-b')) },
    witness: await gate(aggregatorUrl),
  }
  const issuers: Partial<Record<Slot, Child>> = {}
  const issuerConfig = (name: string, keys: unknown) => ({
    listen: listenOn(name),
    agentListen: listenOn(`${name}-agent`),
    chain: { ...chainOf('issuer'), vault, fromBlock: deployment.fromBlock.toString() },
    // Two endpoints of one node: the least that an issuer takes.
    rpcUrls: [rpcUrl, `${rpcUrl}/`],
    attester,
    keys,
    database: { url: database.url },
    witnesses: { urls: [gates.witness.url], quorum: 1 },
    reserve: { seconds: RESERVE_SECONDS, renewedSecondsMax: 120 },
    limits: { openMax: 64, replaysMax: 10_000, dateWindowSeconds: 300, leaseSeconds: LEASE_SECONDS },
  })
  const startIssuer = (slot: Slot, keys: unknown): void => {
    const name = `issuer-${slot}`
    issuers[slot] = startRole(name, 'offchain/issuer/main.ts', issuerConfig(name, keys))
  }
  const startAgent = (name: string, from: AccountName): void => {
    startRole(`${name}-operator`, 'offchain/operator/main.ts', {
      listen: listenOn(`${name}-operator`),
      gatewayAgentUrl: urlOf(`${name}-agent`),
      rpcUrl,
      registry,
      accountKeyFile: keyFile(from),
      aggregators: [aggregatorUrl],
      dataFolder: join(folder, `${name}-outbox`),
      pollMs: 50,
    })
  }
  const enclaveOf = async (url: string): Promise<Hex> => {
    const text = await (await fetch(`${url}/evidence`)).text()
    return parseJson(PublicEvidenceSchema, text, 'evidence').statement.enclave
  }
  const isRegistered = (url: string, role: 'gateway' | 'issuer') => async () => {
    const enclave = await enclaveOf(url)
    const live = await readLiveEnclaves(client, registry, ENCLAVE_ROLE[role])
    return live.some((entry) => entry.enclave === enclave)
  }

  const gatewayUrl = urlOf('gateway')
  const gateways: Hex[] = []
  let gateway: Child | undefined
  const startGateway = async (): Promise<void> => {
    gateway = startRole('gateway', 'gateway/main.ts', {
      listen: listenOn('gateway'),
      agentListen: listenOn('gateway-agent'),
      chain: chainOf('operator'),
      attester,
      issuer: { urls: [gates.issuer.a.url, gates.issuer.b.url], vault },
      backends: [
        { kind: 'openai', url: model.url, models: [{ name: TEST_MODEL, contextTokens: 4_096 }], source: 'operator' },
      ],
      prices: demoPrices([TEST_MODEL], 'operator'),
    })
    await waitFor('the registration of the gateway', isRegistered(gatewayUrl, 'gateway'), 30_000)
    gateways.push(await enclaveOf(gatewayUrl))
  }
  const issuerUrls = { a: urlOf('issuer-a'), b: urlOf('issuer-b') }
  const notWriting = async (slot: Slot): Promise<string> => {
    const response = await fetch(`${issuerUrls[slot]}/readyz`, { signal: AbortSignal.timeout(2_000) })
    return response.ok ? '' : response.text()
  }
  const findWriter = async (): Promise<Slot | undefined> => {
    const reasons = await Promise.all(SLOTS.map((slot) => notWriting(slot).catch(() => 'down')))
    return SLOTS.find((_, i) => reasons[i] === '')
  }
  const writer = async (): Promise<Slot> => {
    let found: Slot = 'a'
    const find = async () => {
      const slot = await findWriter()
      found = slot ?? found
      return slot !== undefined
    }
    await waitFor('an issuer that writes', find, 30_000)
    return found
  }
  const standsBy = (slot: Slot) => async () => (await notWriting(slot)).includes('stands by')
  const otherOf = (slot: Slot): Slot => (slot === 'a' ? 'b' : 'a')
  const kill = async (child: Child | undefined) => {
    if (child !== undefined) await processes.kill(child)
  }
  const startStandby = async (slot: Slot): Promise<void> => {
    startIssuer(slot, { from: [issuerUrls[otherOf(slot)]] })
    await waitFor(`issuer ${slot} as a standby`, standsBy(slot), 30_000)
  }

  let lastWriter: Slot = 'a'

  startIssuer('a', { files: [keysetFile] })
  startAgent('issuer-a', 'issuer')
  startAgent('issuer-b', 'issuer')
  startAgent('gateway', 'operator')
  const relayUrl = urlOf('relay')
  startRole('relay', 'offchain/relay/main.ts', {
    listen: listenOn('relay'),
    operator: 'test',
    gateways: [
      { name: 'gateway', url: gates.gateway.url },
      { name: 'issuer-a', url: issuerUrls.a },
      { name: 'issuer-b', url: issuerUrls.b },
    ],
  })
  await Promise.all([
    startGateway(),
    waitFor('the aggregator', () => isReady(aggregatorUrl), 60_000),
    waitFor('the relay', () => isReady(relayUrl), 30_000),
    waitFor('the registration of issuer a', isRegistered(issuerUrls.a, 'issuer'), 60_000),
  ])
  const issuerAgent = urlOf('issuer-a-agent')
  await openIssuersKeyset(client, wallet('deployer'), deployment, issuerAgent, await enclaveOf(issuerUrls.a))
  await waitFor('the keyset', async () => (await findWriter()) === 'a', 60_000)
  await startStandby('b')

  return {
    folder,
    chain,
    relayUrl,
    model,
    database,
    gates,
    processes,
    issuerUrl: (slot) => issuerUrls[slot],
    notWriting,
    writer,
    killIssuer: (slot) => kill(issuers[slot]),
    async settleIssuers() {
      const other = otherOf(await writer())
      const isDown = issuers[other]?.process.signalCode !== null
      if (!isDown && (await standsBy(other)())) return
      await kill(issuers[other])
      await startStandby(other)
    },
    async killDatabase() {
      lastWriter = await writer()
      await database.kill()
    },
    async startDatabase() {
      await database.start()
      const isLeft = async () => (await notWriting(lastWriter)) !== ''
      await waitFor('the take-over of the database', isLeft, 30_000).catch(async (cause: unknown) => {
        const reasons = await Promise.all(SLOTS.map((slot) => notWriting(slot).catch(String)))
        throw new StartError(
          `nobody took the database over: ${SLOTS.map((slot, i) => `${slot}: ${reasons[i] || 'writes'}`).join('; ')}`,
          { cause },
        )
      })
    },
    killGateway: () => kill(gateway),
    startGateway,
    gateways,
    async startRival() {
      const config = issuerConfig('rival', { files: [keysetFile] })
      const child = startRole('rival', 'offchain/issuer/main.ts', config)
      const url = urlOf('rival')
      await waitFor('the rival', async () => (await fetch(`${url}/healthz`)).ok, 30_000)
      return { url, child }
    },
  }
}
