/** What every command of the command line is, and how it reads its arguments. @module */
import { type ParseArgsConfig, parseArgs } from 'node:util'

export type Command = {
  readonly name: string
  readonly summary: string
  readonly usage: string
  /** Answers the exit code. Throws `UsageError` for wrong arguments, anything else for a failure. */
  run(args: string[]): Promise<number>
}

export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** Like `parseArgs` of Node, with its complaints as `UsageError`. */
export function readArguments<Config extends ParseArgsConfig>(config: Config): ReturnType<typeof parseArgs<Config>> {
  try {
    return parseArgs(config)
  } catch (cause) {
    throw new UsageError(cause instanceof Error ? cause.message : 'wrong arguments', { cause })
  }
}

/** The option's value, or that of the environment variable. Throws `UsageError` naming both. */
export function required(value: string | undefined, option: string, variable: string): string {
  const known = value ?? process.env[variable]
  if (known === undefined || known === '') throw new UsageError(`give ${option}, or set ${variable}`)
  return known
}

/** Writes one line of a command's result, on standard output. */
export function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

/** An address in hex. Throws `UsageError` naming the option. */
export function addressOf(value: string, option: string): `0x${string}` {
  if (!/^0x[0-9a-fA-F]{40}$/.test(value)) throw new UsageError(`${option} must be an address: 0x and 40 hex digits`)
  return value as `0x${string}`
}

/** An http or https URL. Throws `UsageError` naming the option. */
export function urlOf(text: string, option: string): string {
  if (URL.canParse(text) && /^https?:$/.test(new URL(text).protocol)) return text
  throw new UsageError(`${option} must be an http or https URL`)
}

/** Says on standard error what is going on, if that is a terminal and it takes more than a second. Answers how to stop saying so. */
export function showProgress(what: string): () => void {
  if (!process.stderr.isTTY) return () => {}
  const begun = performance.now()
  const timer = setInterval(() => {
    process.stderr.write(`\r${what} ${Math.round((performance.now() - begun) / 1000)} s `)
  }, 1_000)
  return () => {
    clearInterval(timer)
    process.stderr.write('\r\x1b[K')
  }
}
