/**
 * The explorer as a stranger meets it: built as for publication, served below a path of a plain file server, opened in a real Chromium. What it loads, asks and
 * complains of is written down. @module
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { extname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core'
import { build } from 'vite'
import { expect } from 'vitest'
import { toJson } from '#protocol/wire/json.ts'
import type { ExplorerConfig } from '../../offchain/explorer/config.ts'

export const CHROMIUM: string = process.env.CHROMIUM ?? '/usr/bin/chromium'
export const isChromiumMissing: boolean = !existsSync(CHROMIUM)

const EXPLORER = fileURLToPath(new URL('../../offchain/explorer/', import.meta.url))
/** Static hosts often serve below a path. */
const SUB_PATH = '/some/where/'
const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.json': 'application/json',
}

/** What somebody downloads to see a page, or to ask from it: gzipped. */
export const LOAD_BYTES_MAX = 150_000

export const VIEWS: readonly { readonly name: string; readonly options: BrowserContextOptions }[] = [
  { name: 'light', options: { viewport: { width: 1000, height: 900 }, colorScheme: 'light' } },
  { name: 'dark', options: { viewport: { width: 1000, height: 900 }, colorScheme: 'dark' } },
  { name: 'phone', options: { viewport: { width: 390, height: 844 }, colorScheme: 'light' } },
]

export class ExplorerStage {
  /** Names of the files that were asked for, in order. */
  readonly served: string[] = []
  /** What pages complained of since one was opened last: errors, warnings, and requests to anybody who is not named in their sources. */
  readonly faults: string[] = []
  /** What stands in explorer.json. */
  sources: ExplorerConfig | undefined
  #folder: string | undefined
  #site: Server | undefined
  #browser: Browser | undefined

  /** Builds the pages and opens the browser. */
  async start(): Promise<void> {
    this.#folder = mkdtempSync(join(tmpdir(), 'sealpath-explorer-'))
    await build({
      configFile: join(EXPLORER, 'vite.config.ts'),
      logLevel: 'warn',
      build: { outDir: this.siteFolder },
    })
    const site = createServer((request, response) => {
      const name = new URL(request.url ?? '/', 'http://site').pathname.slice(SUB_PATH.length) || 'index.html'
      this.served.push(name)
      const bytes = this.bytesOf(name)
      response.writeHead(bytes === undefined ? 404 : 200, {
        'content-type': TYPES[extname(name)] ?? 'application/octet-stream',
      })
      response.end(bytes)
    })
    await new Promise<void>((resolve) => site.listen(0, '127.0.0.1', resolve))
    this.#site = site
    this.#browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox'] })
  }

  get siteFolder(): string {
    if (this.#folder === undefined) throw new Error('start the stage first')
    return join(this.#folder, 'site')
  }

  /** Ends with a slash. */
  get siteUrl(): string {
    if (this.#site === undefined) throw new Error('start the stage first')
    return `http://127.0.0.1:${(this.#site.address() as AddressInfo).port}${SUB_PATH}`
  }

  get browser(): Browser {
    if (this.#browser === undefined) throw new Error('start the stage first')
    return this.#browser
  }

  /** A file as it is served; undefined where there is none. */
  bytesOf(name: string): Buffer | undefined {
    if (name === 'explorer.json') return this.sources === undefined ? undefined : Buffer.from(toJson(this.sources))
    const path = join(this.siteFolder, name)
    return existsSync(path) ? readFileSync(path) : undefined
  }

  /** What was served since `served` was emptied, gzipped, each file once. */
  get servedBytes(): number {
    return [...new Set(this.served)].reduce((sum, name) => sum + gzipSync(this.bytesOf(name) ?? '').length, 0)
  }

  /** A new page in a browser profile of its own. */
  async openPage(fragment: string, options: BrowserContextOptions = {}): Promise<Page> {
    const page = await this.browser.newPage(options)
    this.watch(page)
    await page.goto(`${this.siteUrl}${fragment}`)
    return page
  }

  /** Writes down what `page` complains of from now on, and forgets what others did. */
  watch(page: Page): void {
    const { faults } = this
    faults.length = 0
    // What never comes fails all the same, what is late on a busy machine does not.
    page.setDefaultTimeout(90_000)
    page.on('pageerror', (error) => faults.push(`page: ${error.message}`))
    page.on('console', (message) => {
      if (message.type() === 'error' || message.type() === 'warning') faults.push(`console: ${message.text()}`)
    })
    const { rpcUrl, aggregatorUrl, relayUrl } = this.sources ?? {}
    const named = [this.siteUrl, rpcUrl, aggregatorUrl, relayUrl, 'http://127.0.0.1:9']
    const origins = named.flatMap((url) => (url === undefined ? [] : [new URL(url).origin]))
    page.on('request', (request) => {
      const { origin, protocol } = new URL(request.url())
      if (/^https?:$/.test(protocol) && !origins.includes(origin)) faults.push(`request: ${request.url()}`)
    })
  }

  async close(): Promise<void> {
    await this.#browser?.close()
    this.#site?.closeAllConnections()
    this.#site?.close()
    if (this.#folder !== undefined) rmSync(this.#folder, { recursive: true, force: true })
  }
}

/** Nothing is wider than the window; where SEALPATH_SCREENSHOTS names a folder, the whole page goes there as `explorer-{what}.png`. */
export async function lookAt(page: Page, what: string): Promise<void> {
  const overflow = await page.evaluate(
    () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
  )
  expect(overflow, `${what} is wider than the window`).toBe(0)
  const shots = process.env.SEALPATH_SCREENSHOTS
  if (shots !== undefined) await page.screenshot({ path: join(shots, `explorer-${what}.png`), fullPage: true })
}

/** Takes a file that the page hands over when `act` is done. */
export async function savedBy(page: Page, act: () => Promise<void>): Promise<string> {
  const saving = page.waitForEvent('download')
  await act()
  return readFileSync(await (await saving).path(), 'utf8')
}

/** What a layer's column says: the lines of each entry by its id. */
export async function layerOf(page: Page, layer: string): Promise<Record<string, readonly string[]>> {
  const entries = await page.locator(`[data-layer=${layer}] [data-entry]`).evaluateAll((all) =>
    all.map((each) => {
      const lines = [...each.querySelectorAll('.line')].map(({ textContent }) => textContent ?? '')
      return [each.getAttribute('data-entry') ?? '', lines] as const
    }),
  )
  return Object.fromEntries(entries)
}

/** The state of every step of a check by its name, once all are made. */
export async function stepsOf(page: Page): Promise<Record<string, string>> {
  await page.locator('[data-verdict]').first().waitFor()
  const steps = await page
    .locator('[data-step]')
    .evaluateAll((all) => all.map((each) => [each.getAttribute('data-step'), each.getAttribute('data-state')]))
  return Object.fromEntries(steps) as Record<string, string>
}
