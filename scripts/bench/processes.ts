/** Processes of a benchmark: forked, ready when they say so, ended together. @module */
import { type ChildProcess, fork } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const ROOT = new URL('../../', import.meta.url)

export class BenchProcesses {
  /** For configurations and what processes keep; removed at the end. */
  readonly folder: string = mkdtempSync(join(tmpdir(), 'sealpath-bench-'))
  readonly #children: ChildProcess[] = []

  /** Starts a module of the repository, and answers its first message. */
  async start(module: string, args: readonly string[] = [], env: Record<string, string> = {}): Promise<Started> {
    const child = fork(new URL(module, ROOT), args, {
      execArgv: ['--disable-warning=ExperimentalWarning'],
      env: { ...process.env, ...env },
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    })
    this.#children.push(child)
    const message = await new Promise<unknown>((resolve, reject) => {
      child.once('message', resolve)
      child.once('exit', (code) => reject(new Error(`${module} ended with ${code} before it was ready`)))
    })
    return { child, message }
  }

  /** Starts a role's main.ts, or a module that imports it, with this configuration. */
  async startRole(name: string, module: string, config: unknown): Promise<ChildProcess> {
    const configFile = join(this.folder, `${name}.json`)
    writeFileSync(configFile, JSON.stringify(config))
    return (await this.start(module, [], { SEALPATH_CONFIG: configFile })).child
  }

  async stop(): Promise<void> {
    const ended = this.#children.map((child) => new Promise((resolve) => child.once('exit', resolve)))
    for (const [i, child] of this.#children.entries()) {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL')
      else ended[i] = Promise.resolve()
    }
    await Promise.all(ended)
    rmSync(this.folder, { recursive: true, force: true })
  }
}

export type Started = { readonly child: ChildProcess; readonly message: unknown }
