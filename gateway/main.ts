/** Starts a gateway. Configuration: config.ts; in an enclave SEALPATH_SETTINGS names what its host may change of it (settings.ts). @module */
import { readFileSync } from 'node:fs'
import { openAttester } from '#node/attesters/openAttester.ts'
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
import { serializePriceList } from '#protocol/prices.ts'
import { GatewayConfigSchema } from './config.ts'
import { sealedLimits } from './limits.ts'
import { openModels } from './models.ts'
import { openPayments } from './openPayments.ts'
import { createReceiptIssuer } from './receiptIssuer.ts'
import { applySettings, parseSettings } from './settings.ts'
import { createTarget } from './target.ts'

await runRole('gateway', GatewayConfigSchema, async (configured, log, metrics) => {
  const settings = process.env.SEALPATH_SETTINGS
  const config = settings ? applySettings(configured, parseSettings(readFileSync(settings, 'utf8'))) : configured
  const { chain, limits } = config
  const models = openModels(config.backends, config.prices)
  const suites = createNodeSuites()
  const attester = await openAttester(config.attester, chain.chainId, 'gateway')
  const enclave = await bootEnclave('gateway', chain, attester, suites, config.keyOverlapSeconds)
  const receipts = new ReceiptLog({
    enclave: enclave.statement.enclave,
    privateKey: enclave.privateKey,
    domain: chain,
    tick: config.tick,
    leavesKeptMax: limits.leavesKeptMax,
  })
  let isDraining = false
  const nowSeconds = () => Date.now() / 1000
  const priceList = serializePriceList(config.prices)
  const payments =
    config.issuer === undefined
      ? undefined
      : openPayments(config.issuer, { chain, attester: config.attester, enclave, suites, log, nowSeconds })
  const target = createTarget({
    models,
    priceList,
    ...(payments === undefined ? {} : { payments }),
    issuer: createReceiptIssuer(enclave.statement, priceList, receipts),
    limits,
    refusesBecause: () => {
      if (isDraining) return 'the gateway is stopping: try another one'
      return receipts.hasRoom ? undefined : "the gateway's operator does not fetch its log: try another one"
    },
    nowSeconds,
  })
  const countRefused = addCounter(metrics, 'sealpath_gateway_refused_total', 'requests refused unread, by why', 'code')
  const countFaults = addCounter(
    metrics,
    'sealpath_gateway_faults_total',
    'answers that failed, by class of error',
    'error',
  )
  addGauge(metrics, 'sealpath_gateway_open_answers', 'answers under way', () => target.openAnswers)
  addGauge(metrics, 'sealpath_gateway_log_leaves', 'receipts of this enclave', () => receipts.size)
  const sealed = createSealedServer({
    keys: enclave.keys,
    suites,
    replay: new ReplayMemory(Date.now, {
      windowSeconds: limits.dateWindowSeconds,
      entriesPerKeyMax: limits.replaysMax,
    }),
    handle: target.handle,
    limits: sealedLimits(limits),
    shapeOf: target.shapeOf,
    onRefused(code) {
      countRefused(code)
      log.warn('request refused', { code })
    },
    onFault(error) {
      countFaults(errorFields(error).error)
      log.warn('answer failed', errorFields(error))
    },
  })
  const notReady = () => [
    ...(isDraining ? ['draining'] : []),
    ...(enclave.evidence() === undefined ? ['no evidence yet: the operator agent has not asked for it'] : []),
    ...(receipts.hasRoom ? [] : ['the log is full: the operator agent does not fetch it']),
  ]
  const server = await startServer(createPublicApp(enclave, sealed, notReady), config.listen, SERVER_LIMITS, { log })
  const agentApp = createAgentApp(enclave, receipts, log)
  agentApp.get('/agent/prices', (c) => c.body(priceList, 200, { 'content-type': 'application/json' }))
  // An enclave gets no signals: its host asks for the end here.
  agentApp.post('/agent/drain', (c) => {
    setImmediate(() => process.kill(process.pid, 'SIGTERM'))
    return c.json({}, 202)
  })
  const agentServer = await startServer(agentApp, config.agentListen)
  const ticker = setInterval(() => receipts.tick(nowSeconds()), 250)
  log.info('listening', {
    url: server.url,
    enclave: enclave.statement.enclave,
    attester: attester.kind,
    models: models.size,
  })
  return {
    async close() {
      isDraining = true
      await server.close(DRAIN_MS)
      // Clients that the end of the drain cut off are still being accounted for.
      await waitUntil(() => target.openAnswers === 0, 1_000)
      await waitUntil(() => (payments?.pending ?? 0) === 0, 5_000)
      // The last receipts get their head at once, and the operator agent a moment to fetch it.
      receipts.tick(Number.POSITIVE_INFINITY)
      await waitUntil(() => receipts.isHandedOver, 2_000)
      clearInterval(ticker)
      await agentServer.close(1_000)
    },
  }
})

async function waitUntil(condition: () => boolean, timeoutMs: number): Promise<void> {
  const deadline = performance.now() + timeoutMs
  while (!condition() && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 50))
}
