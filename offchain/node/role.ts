/**
 * What every role's `main.ts` has in common: a configuration from the environment and a file, metrics, signals, an end.
 *
 * A role is started with the path of its JSON configuration in SEALPATH_CONFIG.
 * @module
 */
import { readFileSync } from 'node:fs'
import type { Registry } from 'prom-client'
import * as v from 'valibot'
import type { Schema } from '#protocol/wire/json.ts'
import { AppError } from './appError.ts'
import { exposedFiles, findMissingFiles, findSecrets } from './config/configFiles.ts'
import { findMistakes, type Mistake } from './config/mistakes.ts'
import { createLogger, errorFields, type Logger } from './log.ts'
import { createMetrics, type MetricsConfig, MetricsConfigSchema, serveMetrics } from './metrics.ts'
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
    for (const { place, file } of exposedFiles(config)) {
      log.warn('secret readable by others', { place, file, remedy: `chmod 600 ${file}` })
    }
    const { metrics: address } = config
    metricsServer = address && (await serveMetrics(metrics, address))
    role = await start(config, log, metrics)
    if (metricsServer !== undefined) log.info('metrics', { url: metricsServer.url })
  } catch (error) {
    if (!(error instanceof AppError)) throw error
    // Each mistake of a configuration is a line of its own.
    for (const reason of error.message.split('\n')) log.error('start failed', { code: error.code, reason })
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

/**
 * Reads and checks a configuration file, and the files that it names. Throws `AppError` (`BAD_CONFIG`) with all that is wrong, a line each that names
 * file and place.
 */
export function readConfig<Config>(schema: Schema<Config>, path: string | undefined): Config & MetricsConfig {
  const value = readConfigFile(path)
  return parseConfig(schema, value, `configuration ${path}`, [...findSecrets(value), ...findMissingFiles(value)])
}

/**
 * Checks a configuration of any role that is JSON already. `more` are mistakes that were found besides. Throws `AppError` (`BAD_CONFIG`) with all of
 * them, a line each that begins with `what` and the place.
 */
export function parseConfig<Config>(
  schema: Schema<Config>,
  value: unknown,
  what: string,
  more: readonly Mistake[] = [],
): Config & MetricsConfig {
  const whole: Schema<Config & MetricsConfig> = v.intersect([schema, MetricsConfigSchema])
  const places = new Set<string>()
  const mistakes = [...findMistakes(whole, value), ...more].filter(({ place }) => {
    const isNew = !places.has(place)
    places.add(place)
    return isNew
  })
  if (mistakes.length > 0) {
    const lines = mistakes.map(({ place, sentence }) => `${what}: ${place}: ${sentence}`)
    throw new AppError('BAD_CONFIG', lines.join('\n'))
  }
  return v.parse(whole, value)
}

/** The JSON of a configuration file. Throws `AppError` (`BAD_CONFIG`) naming the file. */
export function readConfigFile(path: string | undefined): unknown {
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
    return JSON.parse(text)
  } catch (cause) {
    throw new AppError('BAD_CONFIG', `configuration ${path}: expected JSON; ${jsonComplaint(cause, text)}`)
  }
}

/** Where the JSON goes wrong, without its text, which the parser's own sentence would quote. */
function jsonComplaint(cause: unknown, text: string): string {
  const at = cause instanceof Error ? /position (\d+)/.exec(cause.message)?.[1] : undefined
  if (at === undefined) return text.trim() === '' ? 'the file is empty' : 'there is something else'
  const before = text.slice(0, Number(at)).split('\n')
  return `it goes wrong at line ${before.length}, column ${(before.at(-1)?.length ?? 0) + 1}`
}
