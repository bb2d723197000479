/** Child processes of the local network: started, watched, stopped, none left behind. @module */
import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'

/** A sentence for the person at the terminal. */
export class StartError extends Error {
  override readonly name = 'StartError'
}

export type Child = {
  readonly name: string
  readonly process: ChildProcess
  readonly logFile: string
  isExpectedToEnd: boolean
}

export class Processes {
  readonly #folder: string
  readonly #children: Child[] = []
  readonly #onCrash: (error: StartError) => void
  #isStopped = false

  /** `onCrash` is told once of each child that ends by itself. Logs go to `folder`. */
  constructor(folder: string, onCrash: (error: StartError) => void) {
    this.#folder = folder
    this.#onCrash = onCrash
  }

  /** Starts a program in a process group of its own, so that a Ctrl-C at the terminal reaches it only through us. */
  start(name: string, command: string, args: readonly string[], env: Record<string, string> = {}): Child {
    if (this.#isStopped) throw new StartError(`${name} was not started: everything is stopping`)
    const logFile = join(this.#folder, `${name}.log`)
    const log = openSync(logFile, 'a')
    const child: Child = {
      name,
      logFile,
      isExpectedToEnd: false,
      process: spawn(command, args, {
        stdio: ['ignore', log, log, 'ipc'],
        env: { ...process.env, ...env },
        detached: true,
      }),
    }
    closeSync(log)
    child.process.on('error', () =>
      this.#onCrash(new StartError(`${name} could not be started: is ${command} installed?`)),
    )
    child.process.on('exit', (code, signal) => {
      if (child.isExpectedToEnd) return
      this.#onCrash(
        new StartError(`${name} stopped by itself (${signal ?? `exit code ${code}`}): ${lastWords(logFile)}`),
      )
    })
    this.#children.push(child)
    return child
  }

  /** Kills at once, as a power cut would. */
  async kill(child: Child): Promise<void> {
    child.isExpectedToEnd = true
    const ended = hasEnded(child)
    child.process.kill('SIGKILL')
    await ended
  }

  /** Asks every child to stop, last started first, and kills what has not after `graceMs`. */
  async stopAll(graceMs: number): Promise<void> {
    this.#isStopped = true
    for (const child of this.#children) child.isExpectedToEnd = true
    for (const child of this.#children.toReversed()) {
      if (child.process.exitCode !== null || child.process.signalCode !== null) continue
      const ended = hasEnded(child)
      child.process.kill('SIGTERM')
      const timer = setTimeout(() => child.process.kill('SIGKILL'), graceMs)
      await ended
      clearTimeout(timer)
    }
  }
}

function hasEnded(child: Child): Promise<void> {
  if (child.process.exitCode !== null || child.process.signalCode !== null) return Promise.resolve()
  return new Promise((resolve) => child.process.once('exit', () => resolve()))
}

/** The reason in the last structured log entry that has one, or else the last line that speaks of an error. */
function lastWords(logFile: string): string {
  const lines = readFileSync(logFile, 'utf8').trim().split('\n')
  for (const line of lines.toReversed()) {
    const reason = line.startsWith('{') ? reasonOf(line) : undefined
    if (reason !== undefined) return reason
  }
  return (
    lines.findLast((line) => /error/i.test(line))?.slice(0, 200) ?? lines.at(-1)?.slice(0, 200) ?? 'it said nothing'
  )
}

function reasonOf(line: string): string | undefined {
  try {
    const { reason } = JSON.parse(line) as { reason?: unknown }
    return typeof reason === 'string' ? reason : undefined
  } catch {
    // A line that was cut by the crash.
    return undefined
  }
}

/** Throws `StartError` when the port is taken. */
export function requireFreePort(port: number, what: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const probe = createServer()
    probe.once('error', () => {
      reject(
        new StartError(`port ${port} (${what}) is taken by another program: stop it, or choose others with --port`),
      )
    })
    probe.listen(port, '127.0.0.1', () => probe.close(() => resolve()))
  })
}

/** Waits until `probe` answers true. Throws `StartError` naming `what` after `timeoutMs`. */
export async function waitFor(what: string, probe: () => Promise<boolean>, timeoutMs: number): Promise<void> {
  const deadline = performance.now() + timeoutMs
  for (;;) {
    if (await probe().catch(() => false)) return
    if (performance.now() > deadline) throw new StartError(`${what} was not ready after ${timeoutMs / 1000} seconds`)
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

/** Whether a role says it can do its work. */
export async function isReady(url: string): Promise<boolean> {
  const response = await fetch(new URL('/readyz', url), { signal: AbortSignal.timeout(2_000) })
  return response.ok
}
