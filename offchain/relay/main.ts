/** Starts a relay. Configuration: config.ts. @module */
import { DRAIN_MS, runRole } from '#node/role.ts'
import { startServer } from '#node/server.ts'
import { createRelayApp, type RelayState } from './app.ts'
import { RelayConfigSchema } from './config.ts'

await runRole('relay', RelayConfigSchema, async (config, log) => {
  const state: RelayState = { openRequests: 0, isDraining: false }
  const server = await startServer(createRelayApp(config, state), config.listen)
  log.info('listening', { url: server.url, gateways: config.gateways.length })
  return {
    async close() {
      state.isDraining = true
      await server.close(DRAIN_MS)
    },
  }
})
