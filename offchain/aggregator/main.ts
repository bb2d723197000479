/** Starts an aggregator. Configuration: config.ts; DATABASE_URL names a database other than the configured one. @module */
import { readFileSync } from 'node:fs'
import { AppError } from '#node/appError.ts'
import { runRole } from '#node/role.ts'
import type { Hex } from '#protocol/bytes.ts'
import { startAggregator } from './aggregator.ts'
import { AggregatorConfigSchema } from './config.ts'

await runRole('aggregator', AggregatorConfigSchema, async (config, log, metrics) => {
  const url = process.env.DATABASE_URL
  const database = url === undefined || url === '' ? config.database : { url }
  const aggregator = await startAggregator({ ...config, database }, config.accountKeyFiles.map(readKey), log, metrics)
  log.info('listening', { url: aggregator.url })
  return aggregator
})

function readKey(path: string): Hex {
  let text: string
  try {
    text = readFileSync(path, 'utf8').trim()
  } catch (cause) {
    throw new AppError('BAD_CONFIG', `cannot read the key file ${path}`, { cause })
  }
  if (!/^0x[0-9a-f]{64}$/i.test(text)) {
    throw new AppError('BAD_CONFIG', `${path} does not hold a private key of 32 bytes in hex`)
  }
  return text as Hex
}
