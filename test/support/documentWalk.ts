/**
 * Follows a document as a reader would: every `sh` block, command by command, in one folder. A command that starts a role goes on in the background until
 * the end; every other one has to succeed. Blocks of other kinds are for reading only.
 * @module
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { compileCache } from './compileCache.ts'
import { readCommands } from './documentCommands.ts'

const REPOSITORY = fileURLToPath(new URL('../../', import.meta.url))
const ROLE = /^sealpath (gateway|operator|relay|issuer|aggregator) --config (\S+)$/
const READY_MS_MAX = 60_000
const STOP_MS_MAX = 20_000

export type WalkHooks = {
  /** Told of each command before it runs, with what the document's world would do meanwhile. */
  readonly before?: (command: string) => Promise<void>
  readonly after?: (command: string, output: string) => Promise<void>
}

export type Role = { readonly command: string; readonly process: ChildProcess }

export class DocumentWalk {
  readonly folder: string
  readonly env: Record<string, string>
  /** By their configuration's path. */
  readonly roles: Map<string, Role> = new Map()

  /** `folder` is where the reader works; `env` what the reader's shell has set. */
  constructor(folder: string, env: Record<string, string>) {
    this.folder = folder
    const bin = join(folder, 'bin')
    mkdirSync(bin, { recursive: true })
    const main = join(REPOSITORY, 'offchain/cli/main.ts')
    const script = `#!/bin/sh\nexec '${process.execPath}' --disable-warning=ExperimentalWarning '${main}' "$@"\n`
    writeFileSync(join(bin, 'sealpath'), script)
    chmodSync(join(bin, 'sealpath'), 0o755)
    this.env = { PATH: `${bin}:${process.env.PATH ?? ''}`, HOME: folder, ...compileCache(), ...env }
  }

  /** Runs a document's commands with `changes` made to their text. */
  async follow(
    document: string,
    changes: readonly (readonly [string, string])[],
    hooks: WalkHooks = {},
  ): Promise<void> {
    const commands = readCommands(readFileSync(join(REPOSITORY, document), 'utf8'))
    if (commands.length === 0) throw new Error(`${document} has no command`)
    for (const { text: written } of commands) {
      const command = changes.reduce((text, [from, to]) => text.replaceAll(from, to), written)
      await hooks.before?.(command)
      await hooks.after?.(command, await this.run(command))
    }
  }

  /** Runs one command and answers what it printed on both streams. Throws when it fails. */
  async run(command: string): Promise<string> {
    const setting = /^export (\w+)=(.*)$/.exec(command)
    if (setting !== null) {
      this.env[setting[1] ?? ''] = setting[2] ?? ''
      return ''
    }
    const role = ROLE.exec(command)
    if (role !== null) {
      await this.#startRole(command, role[1] ?? '', role[2] ?? '')
      return ''
    }
    const { code, output } = await this.attempt(command)
    if (code !== 0) throw new Error(`${command}\nended with ${code}:\n${output}`)
    return output
  }

  /** The same, whatever becomes of it. */
  async attempt(command: string): Promise<{ readonly code: number | null; readonly output: string }> {
    const child = spawn('bash', ['-c', command], { cwd: this.folder, env: this.env, stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8')
      stream.on('data', (text: string) => {
        output += text
      })
    }
    const [code] = (await once(child, 'close')) as [number | null]
    return { code, output }
  }

  /** Ends a role: SIGTERM as a restart would, SIGKILL as a power cut. */
  async end(config: string, signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    const role = this.roles.get(config)
    if (role === undefined) throw new Error(`nothing runs from ${config}`)
    this.roles.delete(config)
    if (role.process.exitCode !== null || role.process.signalCode !== null) throw new Error(`${role.command} had ended`)
    const ended = once(role.process, 'exit')
    role.process.kill(signal)
    const [code] = (await ended) as [number | null]
    if (signal === 'SIGTERM' && code !== 0) throw new Error(`${role.command} ended with ${code} after a drain`)
  }

  /** Ends what still runs, softly, as an embedded PostgreSQL must not outlive its role. */
  async stop(): Promise<void> {
    for (const [config, role] of [...this.roles].toReversed()) {
      this.roles.delete(config)
      if (role.process.exitCode !== null || role.process.signalCode !== null) continue
      const ended = once(role.process, 'exit')
      role.process.kill('SIGTERM')
      const timer = setTimeout(() => role.process.kill('SIGKILL'), STOP_MS_MAX)
      await ended
      clearTimeout(timer)
    }
  }

  async #startRole(command: string, role: string, config: string): Promise<void> {
    const child = spawn(join(this.folder, 'bin/sealpath'), [role, '--config', config], {
      cwd: this.folder,
      env: this.env,
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    this.roles.set(config, { command, process: child })
    let log = ''
    const ready = new Promise<void>((resolve, reject) => {
      child.stderr?.setEncoding('utf8').on('data', (text: string) => {
        log = `${log}${text}`.slice(-20_000)
        if (log.includes('"ready"')) resolve()
      })
      child.once('exit', (code) => reject(new Error(`${command}\nended with ${code}:\n${log}`)))
    })
    const late = Promise.withResolvers<never>()
    const timer = setTimeout(() => late.reject(new Error(`${command}\nis not ready:\n${log}`)), READY_MS_MAX)
    try {
      await Promise.race([ready, late.promise])
    } finally {
      clearTimeout(timer)
      // From here on its end is the walk's business; `end` looks at it.
      ready.catch(() => {})
    }
  }
}
