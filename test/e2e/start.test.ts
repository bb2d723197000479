/** `npm start` as a person types it: it shows the main job, survives a killed aggregator, and says clearly what is wrong. @module */
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { parseReceiptFile } from '#protocol/wire/receiptFile.ts'
import { PORT_COUNT } from '../../scripts/local/network.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const PORT = 19_545

type Outcome = { readonly code: number | null; readonly output: string }

/** Runs `npm start` in a process group of its own. `onOutput` may answer a signal to send to it, once; while it makes up its mind it is not asked again. */
function start(
  args: readonly string[],
  onOutput: (output: string) => NodeJS.Signals | undefined | Promise<NodeJS.Signals> = () => undefined,
): Promise<Outcome> {
  return new Promise((resolve) => {
    const child = spawn(
      process.execPath,
      ['--disable-warning=ExperimentalWarning', 'scripts/start.ts', '--port', `${PORT}`, ...args],
      {
        cwd: ROOT,
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    )
    let output = ''
    let isSignalled = false
    const take = (data: Buffer) => {
      output += data.toString()
      const signal = isSignalled ? undefined : onOutput(output)
      if (signal === undefined) return
      isSignalled = true
      void Promise.resolve(signal).then(
        (name) => child.kill(name),
        () => child.kill('SIGINT'),
      )
    }
    child.stdout.on('data', take)
    child.stderr.on('data', take)
    child.on('close', (code) => resolve({ code, output }))
  })
}

async function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer()
    probe.once('error', () => resolve(false))
    probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)))
  })
}

async function expectNothingLeft(): Promise<void> {
  // The explorer's comes after the network's.
  for (let port = PORT; port <= PORT + PORT_COUNT; port++) expect(await isFree(port), `port ${port}`).toBe(true)
}

const LAST_LINE = /leaf 0x[0-9a-f]{64}, batch \d+, gas per head \d+, verified by contract: yes/

describe('npm start', () => {
  it('shows a sealed answer settle and ends with the contract saying yes, also when the aggregator is killed in the middle', async () => {
    const { code, output } = await start(['--once', '--fault', 'aggregator'])
    expect(output).toContain('aggregator killed')
    for (const step of ['deposit made', 'credits issued', 'change taken', 'clearing settled', 'earnings withdrawn']) {
      expect(output).toContain(step)
    }
    expect(output).toContain('open settlement system for private AI inference')
    expect(output).toMatch(LAST_LINE)
    expect(code).toBe(0)
    await expectNothingLeft()
  })

  it('runs on until Ctrl-C with the explorer of this network, and leaves nothing behind', async () => {
    const seen: { page?: string; sources?: unknown; receipt?: string } = {}
    const look = async (text: string): Promise<NodeJS.Signals> => {
      const [, page = ''] = /page +(http:\S+)/.exec(text) ?? []
      const [, receiptFile = ''] = /receipt +(\S+\.json)/.exec(text) ?? []
      seen.page = await (await fetch(page)).text()
      seen.sources = await (await fetch(new URL('explorer.json', page))).json()
      seen.receipt = readFileSync(receiptFile, 'utf8')
      return 'SIGINT'
    }
    const { code, output } = await start([], (text) =>
      text.includes('See the settled proof') ? look(text) : undefined,
    )
    expect(output).toMatch(LAST_LINE)
    expect(output).toContain('curl http://127.0.0.1:')
    expect(seen.page).toContain('<title>Sealpath explorer</title>')
    const sources = { rpcUrl: `http://127.0.0.1:${PORT}`, relayUrl: `http://127.0.0.1:${PORT + 1}` }
    expect(seen.sources).toMatchObject(sources)
    expect(parseReceiptFile(seen.receipt ?? '').index).toBe(0n)
    expect(code).toBe(0)
    await expectNothingLeft()
  })

  it('stops cleanly when it is interrupted while it starts', async () => {
    const { code } = await start([], (text) => (text.includes('chain started') ? 'SIGINT' : undefined))
    expect(code).toBe(1)
    await expectNothingLeft()
  })

  it('names a taken port in one sentence', async () => {
    const holder = createServer()
    await new Promise<void>((resolve) => holder.listen(PORT + 2, '127.0.0.1', resolve))
    const { code, output } = await start(['--once'])
    holder.close()
    expect(output.trim()).toBe(
      `sealpath: port ${PORT + 2} (gateway) is taken by another program: stop it, or choose others with --port`,
    )
    expect(code).toBe(1)
  })

  it('refuses options that it does not know', async () => {
    const { code, output } = await start(['--fault', 'chain'])
    expect(output).toContain('--fault knows only: aggregator')
    expect(code).toBe(2)
  })
})
