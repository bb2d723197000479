/** A client's work for a paid request, in Node and in Chromium: the same code, bundled for the latter. @module */
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { type ClientCosts, measureClient } from './creditsClientWork.ts'
import { type Row, summarize } from './row.ts'

const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium'
const TIMEOUT_MS = 60_000
const TARGET = { value: 60, direction: 'at most' } as const

export async function measureCreditsClient(): Promise<Row[]> {
  const rows = rowsOf('node', 'Node', await measureClient())
  if (existsSync(CHROMIUM)) return [...rows, ...rowsOf('chromium', 'Chromium', await measureInChromium())]
  process.stdout.write(`credits.client.chromium is not measured: there is no ${CHROMIUM}\n`)
  return rows
}

function rowsOf(id: string, where: string, { payMs, changeMs }: ClientCosts): Row[] {
  return [
    {
      id: `credits.client.${id}`,
      name: `client in ${where}: eight credits chosen, payment made, stored in memory, encoded and sealed (X-Wing), blanks prepared ahead`,
      ...summarize(payMs, 1),
      unit: 'ms',
      target: TARGET,
    },
    {
      id: `credits.client.${id}.change`,
      name: `client in ${where}, after the answer: change opened, verified and unblinded`,
      ...summarize(changeMs, 1),
      unit: 'ms',
    },
  ]
}

/** Serves the page and lets Chromium, without a window, come for it. */
async function measureInChromium(): Promise<ClientCosts> {
  const script = await bundlePage()
  const profile = mkdtempSync(join(tmpdir(), 'sealpath-chromium-'))
  const result = Promise.withResolvers<ClientCosts>()
  const server = createServer((request, response) => {
    if (request.url === '/result') {
      const parts: Buffer[] = []
      request.on('data', (part: Buffer) => parts.push(part))
      request.on('end', () => {
        response.end()
        const costs = JSON.parse(Buffer.concat(parts).toString()) as ClientCosts | { readonly failed: string }
        if ('failed' in costs) result.reject(new Error(`the page failed: ${costs.failed}`))
        else result.resolve(costs)
      })
      return
    }
    const isScript = request.url === '/page.js'
    response.setHeader('content-type', isScript ? 'text/javascript' : 'text/html')
    response.end(isScript ? script : '<!doctype html><script type="module" src="/page.js"></script>')
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('expected an address with a port')
  const flags = ['--headless=new', '--disable-gpu', '--no-first-run', `--user-data-dir=${profile}`]
  // Chromium's own sandbox does not start as root.
  if (process.getuid?.() === 0) flags.push('--no-sandbox')
  const browser = spawn(CHROMIUM, [...flags, `http://127.0.0.1:${address.port}/`], { stdio: 'ignore' })
  const ended = new Promise<void>((resolve) => {
    browser.once('error', (cause) => {
      result.reject(new Error('Chromium does not start', { cause }))
      resolve()
    })
    browser.once('exit', (code) => {
      result.reject(new Error(`Chromium ended with ${code} before it answered`))
      resolve()
    })
  })
  const timer = setTimeout(() => result.reject(new Error('Chromium does not answer')), TIMEOUT_MS)
  try {
    return await result.promise
  } finally {
    clearTimeout(timer)
    browser.kill()
    await ended
    server.closeAllConnections()
    server.close()
    rmSync(profile, { recursive: true, force: true, maxRetries: 5 })
  }
}

async function bundlePage(): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(new URL('./creditsClientPage.ts', import.meta.url))],
    bundle: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2024',
    minify: true,
    write: false,
  })
  return outputFiles[0]?.text ?? ''
}
