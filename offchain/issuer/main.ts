/** Starts an issuer. Configuration: config.ts. @module */
import { randomBytes } from 'node:crypto'
import { openAttester } from '#node/attesters/openAttester.ts'
import { createSignerPool } from '#node/credits/signerPool.ts'
import { migrate, openDatabase } from '#node/database.ts'
import { createAgentApp } from '#node/enclave/agentApp.ts'
import { bootEnclave } from '#node/enclave/enclave.ts'
import { createPublicApp } from '#node/enclave/publicApp.ts'
import { ReceiptLog } from '#node/enclave/receiptLog.ts'
import { errorFields } from '#node/log.ts'
import { addCounter, addGauge } from '#node/metrics.ts'
import { DRAIN_MS, runRole } from '#node/role.ts'
import { createNodeSuites } from '#node/sealing/nodeSuites.ts'
import { ReplayMemory } from '#node/sealing/replayMemory.ts'
import { createSealedServer } from '#node/sealing/sealedServer.ts'
import { SERVER_LIMITS, startServer } from '#node/server.ts'
import type { Hex } from '#protocol/bytes.ts'
import { signKeysetOffer } from '#protocol/credits/keysetOffer.ts'
import { addKeysetRoutes } from './agentRoutes.ts'
import { createIssuerApp, ISSUER_REQUEST_LIMITS } from './app.ts'
import { openChainClock } from './chainClock.ts'
import { connectChain } from './chainReader.ts'
import { addClearingRoutes, ClearingBook } from './clearing.ts'
import { IssuerConfigSchema } from './config.ts'
import { addDutyRoutes } from './dutyRoutes.ts'
import { watchExits } from './exitWatch.ts'
import { createHandover } from './handover.ts'
import { HandoverTaker } from './handoverTaker.ts'
import { ISSUER_TIMING, IssuerLife } from './issuer.ts'
import { createKeysetKeys, type SecretKeyset } from './keysetKeys.ts'
import { MIGRATIONS } from './migrations.ts'
import { PaymentMemory } from './paymentMemory.ts'
import { captureExpired } from './payments.ts'
import { peerRoots } from './peerEnclave.ts'
import type { IssuerKeyset, IssuerPorts } from './ports.ts'
import { createIssuerStore } from './postgresStore.ts'
import { connectWitness } from './witness.ts'

const EXITS_POLL_MS = 4_000
const TIME_POLL_MS = 4_000
const SWEEP_MS = 1_000
/** How often a standby asks for its keysets anew, though the writer is the same. */
const HANDOVER_RENEW_MS = 60_000

await runRole('issuer', IssuerConfigSchema, async (config, log, metrics) => {
  const { chain: contracts, limits } = config
  const domain = { chainId: contracts.chainId, vault: contracts.vault }
  const nowSeconds = () => Date.now() / 1000
  const chain = await connectChain({ ...contracts, rpcUrls: config.rpcUrls })
  const clock = await openChainClock(chain, TIME_POLL_MS, log)
  const born = await createKeysetKeys(config.keys, domain, clock.now()).read()
  const suites = createNodeSuites()
  const attester = await openAttester(config.attester, contracts.chainId, 'issuer')
  const { vault: _vault, fromBlock, ...binding } = contracts
  const enclave = await bootEnclave('issuer', binding, attester, suites, config.keyOverlapSeconds)
  const url = process.env.DATABASE_URL
  const database = await openDatabase(url === undefined || url === '' ? config.database : { url }, log)
  await migrate(database.sql, MIGRATIONS)
  const store = createIssuerStore(database.sql)
  const secrets = new Map<Hex, SecretKeyset>()
  const keysets = new Map<Hex, IssuerKeyset>()
  const addKeyset = async (secret: SecretKeyset): Promise<void> => {
    keysets.set(secret.id, { id: secret.id, terms: secret.keyset, signer: await createSignerPool(secret.secretKeys) })
    secrets.set(secret.id, secret)
  }
  await Promise.all(born.map(addKeyset))
  const memory = new PaymentMemory()
  const clearings = new ClearingBook(binding, enclave.privateKey)
  const handing = {
    enclave,
    attester: attester.kind,
    binding,
    domain,
    roots: peerRoots(config.attester),
    chain,
    suites,
    now: nowSeconds,
    log,
  }
  const leaseMs = limits.leaseSeconds * 1_000
  const taker =
    'from' in config.keys
      ? new HandoverTaker({
          ...handing,
          urls: config.keys.from,
          predecessors: config.keys.predecessors ?? [],
          timing: { pollMs: leaseMs / 4, renewMs: HANDOVER_RENEW_MS },
          async onKeyset(secret) {
            await addKeyset(secret)
            life.addKeyset(secret.id)
          },
        })
      : undefined
  const life: IssuerLife = new IssuerLife({
    enclave: enclave.statement.enclave,
    privateKey: enclave.privateKey,
    domain: binding,
    keysets: [...keysets.keys()],
    ...(taker === undefined ? {} : { standby: taker }),
    store,
    chain,
    witnessing: {
      witnesses: config.witnesses.urls.map((url) => connectWitness(url, binding)),
      quorum: config.witnesses.quorum,
    },
    memory,
    clearings,
    log,
    timing: { ...ISSUER_TIMING, leaseMs },
  })
  const exits = watchExits(chain, fromBlock, EXITS_POLL_MS, log)
  const ports: IssuerPorts = {
    domain,
    keysets,
    chain,
    suites,
    keys: enclave.keys,
    memory,
    policy: config.reserve,
    active: () => life.state,
    isExiting: exits.isExiting,
    now: clock.now,
    random: randomBytes,
  }
  const keysetsToGive = () => [...secrets.values()]
  const handover = createHandover({ ...handing, successors: config.successors, keysets: keysetsToGive })
  const countRefused = addCounter(metrics, 'sealpath_issuer_refused_total', 'requests refused unread, by why', 'code')
  const countFaults = addCounter(
    metrics,
    'sealpath_issuer_faults_total',
    'answers that failed, by class of error',
    'error',
  )
  const onFault = (error: unknown) => {
    countFaults(errorFields(error).error)
    log.warn('answer failed', errorFields(error))
  }
  const sealed = createSealedServer({
    keys: enclave.keys,
    suites,
    replay: new ReplayMemory(Date.now, {
      windowSeconds: limits.dateWindowSeconds,
      entriesPerKeyMax: limits.replaysMax,
    }),
    handle: createIssuerApp({ ports, store, handover, openMax: limits.openMax, onFault }),
    limits: ISSUER_REQUEST_LIMITS,
    onRefused(code) {
      countRefused(code)
      log.warn('request refused', { code })
    },
    onFault,
  })
  let isDraining = false
  const notReady = () => [
    ...(isDraining ? ['draining'] : []),
    ...(enclave.evidence() === undefined ? ['no evidence yet: the operator agent has not asked for it'] : []),
    ...life.notReady(),
    ...(exits.isCurrent ? [] : ['exits cannot be read from the chain']),
  ]
  addGauge(metrics, 'sealpath_issuer_keysets', 'keysets whose keys are here', () => keysets.size)
  addGauge(metrics, 'sealpath_issuer_not_ready', 'reasons for not being ready', () => notReady().length)
  // An issuer hands its log to the witnesses itself: through the agent it hands over nothing.
  const noReceipts = new ReceiptLog({
    enclave: enclave.statement.enclave,
    privateKey: enclave.privateKey,
    domain: binding,
    tick: { receipts: 1, seconds: 1 },
    leavesKeptMax: 0,
  })
  const agentApp = createAgentApp(enclave, noReceipts, log)
  addClearingRoutes(agentApp, clearings)
  addDutyRoutes(agentApp, { store, signerOf: (keyset) => keysets.get(keyset)?.signer })
  const { vault } = contracts
  addKeysetRoutes(agentApp, {
    vault,
    keysets: keysetsToGive,
    sign: (keyset) =>
      signKeysetOffer(
        { keyset, writer: enclave.statement.enclave },
        { chainId: config.chain.chainId, vault },
        enclave.privateKey,
      ),
    successions: () => life.successions(),
  })
  const server = await startServer(createPublicApp(enclave, sealed, notReady), config.listen, SERVER_LIMITS, { log })
  const agentServer = await startServer(agentApp, config.agentListen)
  let sweeping = Promise.resolve()
  let isSweeping = false
  const sweeper = setInterval(() => {
    memory.sweep(ports.now())
    if (isSweeping) return
    isSweeping = true
    sweeping = captureExpired(ports)
      .then((count) => {
        if (count > 0) log.info('payments expired', { count })
      })
      .catch(onFault)
      .finally(() => {
        isSweeping = false
      })
  }, SWEEP_MS)
  log.info('listening', { url: server.url, enclave: enclave.statement.enclave, attester: attester.kind })
  return {
    async close() {
      isDraining = true
      await server.close(DRAIN_MS)
      clearInterval(sweeper)
      await sweeping
      await taker?.close()
      await Promise.all([life.close(), exits.close(), clock.close()])
      await agentServer.close(1_000)
      await Promise.all([...keysets.values()].map(({ signer }) => signer.close()))
      for (const { secretKeys } of secrets.values()) for (const key of secretKeys) key.fill(0)
      await database.close()
    },
  }
})
