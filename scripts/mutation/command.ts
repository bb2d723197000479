/** Runs a command within a time. @module */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { delimiter, dirname } from 'node:path'

/** `status` is undefined if the time was over. */
export type Ended = { readonly status: number | undefined; readonly output: string }

/** Runs `command` in `folder`; kills it and all that it started after `timeoutMs`. */
export async function runCommand(
  command: string,
  args: readonly string[],
  options: { readonly folder: string; readonly timeoutMs: number; readonly env?: NodeJS.ProcessEnv },
): Promise<Ended> {
  const child = spawn(command, args, {
    cwd: options.folder,
    // A group of its own, so that its children end with it.
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    // Scripts that ask for `node` get the one that this runs on.
    env: { ...process.env, PATH: [dirname(process.execPath), process.env.PATH].join(delimiter), ...options.env },
  })
  const end = () => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
    } catch {
      // It has ended by itself.
    }
  }
  let isLate = false
  const timer = setTimeout(() => {
    isLate = true
    end()
  }, options.timeoutMs)
  process.once('exit', end)
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text
    })
  }
  const [status] = (await once(child, 'close')) as [number | null]
  clearTimeout(timer)
  process.off('exit', end)
  return { status: isLate ? undefined : (status ?? 1), output }
}
