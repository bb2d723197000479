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
import { DRAIN_MS, runRole } from '#node/role.ts'
import { createNodeSuites } from '#node/sealing/nodeSuites.ts'
import { SEALED_SERVER_LIMITS } from '#node/sealing/openHttpRequest.ts'
import { ReplayMemory } from '#node/sealing/replayMemory.ts'
import { createSealedServer } from '#node/sealing/sealedServer.ts'
import { startServer } from '#node/server.ts'
import { createIssuerApp } from './app.ts'
import { connectChain } from './chainReader.ts'
import { addClearingRoutes, ClearingBook } from './clearing.ts'
import { IssuerConfigSchema } from './config.ts'
import { watchExits } from './exitWatch.ts'
import { ISSUER_TIMING, IssuerLife } from './issuer.ts'
import { createFileKeys } from './keysetKeys.ts'
import { MIGRATIONS } from './migrations.ts'
import { PaymentMemory } from './paymentMemory.ts'
import { captureExpired } from './payments.ts'
import type { IssuerPorts } from './ports.ts'
import { createIssuerStore } from './postgresStore.ts'
import { connectWitness } from './witness.ts'

/** The longest request is an issue of 64 outputs, some 7 kB. */
const REQUEST_BYTES_MAX = 65_536
const EXITS_POLL_MS = 4_000
const SWEEP_MS = 1_000

await runRole('issuer', IssuerConfigSchema, async (config, log) => {
  const { chain: contracts, limits } = config
  const domain = { chainId: contracts.chainId, vault: contracts.vault }
  const secrets = await createFileKeys(config.keys, domain).read()
  const chain = await connectChain({ ...contracts, rpcUrls: config.rpcUrls })
  const suites = createNodeSuites()
  const attester = await openAttester(config.attester, contracts.chainId, 'issuer')
  const { vault: _vault, fromBlock, ...binding } = contracts
  const enclave = await bootEnclave('issuer', binding, attester, suites)
  const url = process.env.DATABASE_URL
  const database = await openDatabase(url === undefined || url === '' ? config.database : { url }, log)
  await migrate(database.sql, MIGRATIONS)
  const store = createIssuerStore(database.sql)
  const keysets = await Promise.all(
    secrets.map(async ({ id, keyset, secretKeys }) => {
      const signer = await createSignerPool(secretKeys)
      return [id, { id, terms: keyset, signer }] as const
    }),
  )
  const memory = new PaymentMemory()
  const clearings = new ClearingBook(binding, enclave.privateKey)
  const life = new IssuerLife({
    enclave: enclave.statement.enclave,
    privateKey: enclave.privateKey,
    domain: binding,
    keysets: keysets.map(([id]) => id),
    store,
    chain,
    witnessing: { witnesses: config.witnesses.urls.map(connectWitness), quorum: config.witnesses.quorum },
    memory,
    clearings,
    log,
    timing: { ...ISSUER_TIMING, leaseMs: limits.leaseSeconds * 1_000 },
  })
  const exits = watchExits(chain, fromBlock, EXITS_POLL_MS, log)
  const ports: IssuerPorts = {
    domain,
    keysets: new Map(keysets),
    chain,
    suites,
    keys: enclave.keys,
    memory,
    policy: config.reserve,
    active: () => life.state,
    isExiting: exits.isExiting,
    now: () => Date.now() / 1000,
    random: randomBytes,
  }
  const onFault = (error: unknown) => log.warn('answer failed', errorFields(error))
  const sealed = createSealedServer({
    keys: enclave.keys,
    suites,
    replay: new ReplayMemory(Date.now, {
      windowSeconds: limits.dateWindowSeconds,
      entriesPerKeyMax: limits.replaysMax,
    }),
    handle: createIssuerApp({ ports, store, openMax: limits.openMax, onFault }),
    limits: { ...SEALED_SERVER_LIMITS, contentBytesMax: REQUEST_BYTES_MAX, messageBytesMax: 2 * REQUEST_BYTES_MAX },
    onRefused: (code) => log.warn('request refused', { code }),
    onFault,
  })
  let isDraining = false
  const notReady = () => [
    ...(isDraining ? ['draining'] : []),
    ...(enclave.evidence() === undefined ? ['no evidence yet: the operator agent has not asked for it'] : []),
    ...life.notReady(),
    ...(exits.isCurrent ? [] : ['exits cannot be read from the chain']),
  ]
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
  const server = await startServer(createPublicApp(enclave, sealed, notReady), config.listen)
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
      await Promise.all([life.close(), exits.close()])
      await agentServer.close(1_000)
      await Promise.all(keysets.map(([, { signer }]) => signer.close()))
      await database.close()
    },
  }
})
