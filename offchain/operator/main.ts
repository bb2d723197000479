/** Starts an operator agent. Configuration: config.ts. @module */
import { Hono } from 'hono'
import { readKeyFile } from '#node/keyFile.ts'
import { addGauge } from '#node/metrics.ts'
import { DRAIN_MS, runRole } from '#node/role.ts'
import { addHealth, startServer } from '#node/server.ts'
import { OperatorAgent } from './agent.ts'
import { OperatorConfigSchema } from './config.ts'
import { addDepositRoutes } from './deposits/depositApp.ts'
import { openDepositDesk } from './deposits/depositDesk.ts'
import { createPageApp } from './page/pageApp.ts'
import { Payouts } from './payouts.ts'
import { connectDuty, connectEnclave } from './peers.ts'
import { connectRegistry } from './registration.ts'
import { VaultDuty } from './vaultDuty.ts'

/** Answers at the vault have a day: this is often enough. */
const VAULT_POLL_MS = 15_000
/** A thaw takes a day: what is ready can wait some minutes. */
const PAYOUTS_POLL_MS = 300_000

await runRole('operator', OperatorConfigSchema, async (config, log, metrics) => {
  const access = await connectRegistry(config.rpcUrl, config.registry, readKeyFile(config.accountKeyFile))
  const enclave = connectEnclave(config.gatewayAgentUrl)
  const agent = new OperatorAgent(config, enclave, access, log)
  const { fromBlock } = config
  const payouts = new Payouts({ access, log, fromBlock, unitsMin: config.payouts?.unitsMin, pollMs: PAYOUTS_POLL_MS })
  addGauge(metrics, 'sealpath_operator_reachable', '1 while the enclave answers', () =>
    Number(agent.state.isEnclaveReachable),
  )
  addGauge(metrics, 'sealpath_operator_registered', '1 while it is registered', () => Number(agent.state.isRegistered))
  const app = new Hono()
  addHealth(app, () => [
    ...(agent.state.isEnclaveReachable ? [] : ['the enclave does not answer']),
    ...(agent.state.isRegistered ? [] : ['the enclave is not registered']),
  ])
  if (config.deposits !== undefined) {
    const { vault, accountKeyFile } = config.deposits
    const { client, wallet } = await connectRegistry(config.rpcUrl, config.registry, readKeyFile(accountKeyFile))
    const desk = await openDepositDesk({ client, wallet, vault, now: () => Date.now() / 1000 })
    addDepositRoutes(app, desk, log)
  }
  const server = await startServer(app, config.listen)
  const duty = new VaultDuty({
    access,
    enclave: connectDuty(config.gatewayAgentUrl),
    log,
    pollMs: VAULT_POLL_MS,
    fromBlock,
  })
  const page =
    config.page &&
    createPageApp({
      payouts,
      state: () => agent.state,
      log: () => agent.logState(),
      // An issuer has none.
      prices: () => enclave.prices().catch(() => undefined),
      logger: log,
    })
  const pageServer = page && config.page && (await startServer(page, config.page))
  if (pageServer !== undefined) log.info('page', { url: pageServer.url })
  agent.start()
  duty.start()
  payouts.start()
  return {
    async close() {
      await Promise.all([
        server.close(DRAIN_MS),
        pageServer?.close(DRAIN_MS),
        agent.close(),
        duty.close(),
        payouts.close(),
      ])
    },
  }
})
