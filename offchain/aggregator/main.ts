/** Starts an aggregator. Configuration: config.ts; DATABASE_URL names a database other than the configured one. @module */
import { readKeyFile } from '#node/keyFile.ts'
import { runRole } from '#node/role.ts'
import { startAggregator } from './aggregator.ts'
import { AggregatorConfigSchema } from './config.ts'

await runRole('aggregator', AggregatorConfigSchema, async (config, log, metrics) => {
  const url = process.env.DATABASE_URL
  const database = url === undefined || url === '' ? config.database : { url }
  const aggregator = await startAggregator(
    { ...config, database },
    config.accountKeyFiles.map(readKeyFile),
    log,
    metrics,
  )
  log.info('listening', { url: aggregator.url })
  return aggregator
})
