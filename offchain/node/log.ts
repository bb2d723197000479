/**
 * Structured logs: one JSON object a line on standard error.
 *
 * Callers pass counts, codes, hashes and durations. Bodies, prompts, keys and client addresses never come here: the type takes no
 * bytes and no nested values, so that nothing slips in whole.
 * @module
 */

export type LogFields = Readonly<Record<string, string | number | bigint | boolean | undefined>>

export type LogLevel = 'info' | 'warn' | 'error'

export type Logger = {
  info(event: string, fields?: LogFields): void
  warn(event: string, fields?: LogFields): void
  error(event: string, fields?: LogFields): void
}

/** Logs for one role. `write` takes one line without its newline. */
export function createLogger(role: string, write: (line: string) => void = writeToStandardError): Logger {
  const log = (level: LogLevel, event: string, fields: LogFields = {}) => {
    const entry = { time: new Date().toISOString(), level, role, event, ...fields }
    write(JSON.stringify(entry, (_key, value: unknown) => (typeof value === 'bigint' ? value.toString() : value)))
  }
  return {
    info: (event, fields) => log('info', event, fields),
    warn: (event, fields) => log('warn', event, fields),
    error: (event, fields) => log('error', event, fields),
  }
}

/** What an error may say in a log: its class and code, never its message (that of a peer may quote content). */
export function errorFields(error: unknown): { error: string; code?: string } {
  if (!(error instanceof Error)) return { error: 'unknown' }
  const code = 'code' in error && typeof error.code === 'string' ? error.code : undefined
  return code === undefined ? { error: error.name } : { error: error.name, code }
}

function writeToStandardError(line: string): void {
  process.stderr.write(`${line}\n`)
}
