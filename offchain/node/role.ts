/**
 * What every role's `main.ts` has in common: a configuration from the environment and a file, metrics, signals, an end.
 *
 * A role is started with the path of its JSON configuration in SEALPATH_CONFIG, or with `{}` when it needs none.
 * @module
 */
import { readFileSync } from 'node:fs'
import type { Registry } from 'prom-client'
import { parseJson, type Schema, WireError } from '#protocol/wire/json.ts'
import { AppError } from './appError.ts'
import { createLogger, errorFields, type Logger } from './log.ts'
import { createMetrics, MetricsConfigSchema, serveMetrics } from './metrics.ts'
import type { RunningServer } from './server.ts'

/** How long a role may finish what it has begun after it was told to stop. */
export const DRAIN_MS = 10_000

export type Role = { close(): Promise<void> }

/**
 * Runs a role until SIGINT or SIGTERM, drains it, and exits: 0 after a drain, 1 when it could not start. Announces readiness to a
 * parent process that forked it.
 */
export async function runRole<Config>(
  name: string,
  schema: Schema<Config>,
  start: (config: Config, log: Logger, metrics: Registry) => Promise<Role>,
): Promise<void> {
  const log = createLogger(name)
  const metrics = createMetrics(name)
  const path = process.env.SEALPATH_CONFIG
  let role: Role
  let metricsServer: RunningServer | undefined
  try {
    const config = readConfig(schema, path)
    const { metrics: address } = readConfig(MetricsConfigSchema, path)
    metricsServer = address && (await serveMetrics(metrics, address))
    role = await start(config, log, metrics)
    if (metricsServer !== undefined) log.info('metrics', { url: metricsServer.url })
  } catch (error) {
    if (!(error instanceof AppError)) throw error
    log.error('start failed', { code: error.code, reason: error.message })
    process.exit(1)
  }
  log.info('ready')
  process.send?.('ready')
  let isStopping = false
  const stop = async (signal: string) => {
    if (isStopping) return
    isStopping = true
    log.info('draining', { signal })
    try {
      await role.close()
      await metricsServer?.close(0)
      process.exit(0)
    } catch (error) {
      log.error('drain failed', errorFields(error))
      process.exit(1)
    }
  }
  process.on('SIGINT', () => void stop('SIGINT'))
  process.on('SIGTERM', () => void stop('SIGTERM'))
  // A parent that was killed cannot send a signal: its channel closes, and the role must not outlive it.
  process.on('disconnect', () => void stop('disconnect'))
}

/** Reads and checks a configuration file. Throws `AppError` (`BAD_CONFIG`) with a sentence that names file and place. */
export function readConfig<Config>(schema: Schema<Config>, path: string | undefined): Config {
  if (path === undefined || path === '') {
    throw new AppError('BAD_CONFIG', 'set SEALPATH_CONFIG to the path of a JSON configuration file')
  }
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (cause) {
    throw new AppError('BAD_CONFIG', `cannot read the configuration file ${path}`, { cause })
  }
  try {
    return parseJson(schema, text, `configuration ${path}`)
  } catch (cause) {
    if (cause instanceof WireError) throw new AppError('BAD_CONFIG', cause.message, { cause })
    throw cause
  }
}
