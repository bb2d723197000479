/** Starts a relay. Configuration: config.ts. @module */
import { setFlagsFromString } from 'node:v8'
import { addCounter, addGauge } from '#node/metrics.ts'
import { runRole } from '#node/role.ts'
import { startServer } from '#node/server.ts'
import { createRelayApp, type RelayState } from './app.ts'
import { RelayConfigSchema } from './config.ts'

// Thousands of streams make much short-lived garbage, and the engine answers by growing the space for it: a hundred MiB that nothing needs. Held at
// what the start took, it is collected a little more often, which costs nothing that can be measured (row relay.streams).
setFlagsFromString('--semi-space-growth-factor=1')

await runRole('relay', RelayConfigSchema, async (config, log, metrics) => {
  const state: RelayState = { openRequests: 0, isDraining: false }
  const count = addCounter(
    metrics,
    'sealpath_relay_requests_total',
    'requests to gateways by what became of them',
    'outcome',
  )
  addGauge(metrics, 'sealpath_relay_open_requests', 'requests under way', () => state.openRequests)
  const app = createRelayApp(config, state, count, (gateway, reason) =>
    log.warn('gateway not trusted', { gateway, reason }),
  )
  const server = await startServer(app, config.listen, config.limits, { log })
  log.info('listening', { url: server.url, gateways: config.gateways.length })
  return {
    async close() {
      state.isDraining = true
      await server.close(config.limits.drainTimeoutMs)
    },
  }
})
