/**
 * The explorer in a real Chromium, as built for publication and served below a path of a plain file server, on a live local network: every page, and a receipt that is
 * accepted, settled and saved, or refused with the step that failed.
 * @module
 */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { extname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core'
import { build } from 'vite'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Hex } from '#protocol/bytes.ts'
import { toJson } from '#protocol/wire/json.ts'
import {
  parseProofBundle,
  type ReceiptFile,
  serializeProofBundle,
  serializeReceiptFile,
} from '#protocol/wire/receiptFile.ts'
import { connect, type SealedClient } from '../../offchain/sdk/connect.ts'
import type { SealedReceipt } from '../../offchain/sdk/sealedReceipt.ts'
import { DEMO_MODEL } from '../../scripts/local/demoPrices.ts'
import { type LocalNetwork, startLocalNetwork } from '../../scripts/local/network.ts'

const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium'
const isMissing = !existsSync(CHROMIUM)
const EXPLORER = fileURLToPath(new URL('../../offchain/explorer/', import.meta.url))
const PORT = 24_145
/** Static hosts often serve below a path. */
const SUB_PATH = '/some/where/'
const FIRST_LOAD_BYTES_MAX = 150_000

/** In the order they are shown. */
const OPENINGS = ['request', 'output', 'nonce', 'response', 'toolCalls']
const OWN_STEPS = [...OPENINGS, 'path', 'head']
const CHAIN_STEPS = ['chain', 'contracts', 'enclave', 'proof', 'settled', 'final']

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.json': 'application/json',
}

const VIEWS: readonly { readonly name: string; readonly options: BrowserContextOptions }[] = [
  { name: 'light', options: { viewport: { width: 1000, height: 900 }, colorScheme: 'light' } },
  { name: 'dark', options: { viewport: { width: 1000, height: 900 }, colorScheme: 'dark' } },
  { name: 'phone', options: { viewport: { width: 390, height: 844 }, colorScheme: 'light' } },
]

it.runIf(isMissing && process.env.CI)('has a Chromium to try the explorer in', () => {
  expect.fail(`expected Chromium at ${CHROMIUM}: install it, or name it in CHROMIUM`)
})

describe.skipIf(isMissing)('the explorer', () => {
  let folder: string
  let site: Server
  let siteUrl: string
  let network: LocalNetwork
  let browser: Browser
  let sealed: SealedClient
  let receipt: SealedReceipt
  let batch: bigint
  const served: string[] = []
  const faults: string[] = []

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'sealpath-explorer-'))
    const built = build({
      configFile: join(EXPLORER, 'vite.config.ts'),
      logLevel: 'warn',
      build: { outDir: join(folder, 'site') },
    })
    network = await startLocalNetwork({
      port: PORT,
      onCrash: (error) => {
        throw error
      },
    })
    await built
    site = createServer((request, response) => {
      const name = new URL(request.url ?? '/', 'http://site').pathname.slice(SUB_PATH.length) || 'index.html'
      served.push(name)
      const path = join(folder, 'site', name)
      const isThere = existsSync(path)
      response.writeHead(isThere ? 200 : 404, { 'content-type': TYPES[extname(name)] ?? 'application/octet-stream' })
      response.end(isThere ? readFileSync(path) : '')
    })
    await new Promise<void>((resolve) => site.listen(0, '127.0.0.1', resolve))
    siteUrl = `http://127.0.0.1:${(site.address() as AddressInfo).port}${SUB_PATH}`
    const { rpc: rpcUrl, aggregator: aggregatorUrl, relay: relayUrl } = network.urls
    const config = toJson({ rpcUrl, aggregatorUrl, relayUrl, deployment: network.deployment() })
    writeFileSync(join(folder, 'site', 'explorer.json'), config)
    browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox'] })
    sealed = await connectClient()
    await (await ask()).settled({ timeoutMs: 60_000 })
    // The second, so that it has a path.
    receipt = await ask()
    batch = (await receipt.settled({ timeoutMs: 60_000 })).settled.batch
  }, 240_000)

  afterAll(async () => {
    await browser?.close()
    await network?.stop()
    site?.closeAllConnections()
    site?.close()
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true })
  }, 60_000)

  async function connectClient(): Promise<SealedClient> {
    const { wallet } = await network.buyCredits({ seed: new Uint8Array(32).fill(23) })
    const { rpc: rpcUrl, aggregator: aggregatorUrl, relay: relayUrl } = network.urls
    return connect({ rpcUrl, aggregatorUrl, relayUrl, registry: network.deployment().registry, wallet })
  }

  async function ask(): Promise<SealedReceipt> {
    const messages = [{ role: 'user', content: 'What is Sealpath?' }]
    const response = await sealed.fetch(`${sealed.baseURL}/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model: DEMO_MODEL, max_tokens: 64, messages }),
    })
    await response.text()
    return sealed.receiptOf(response)
  }

  async function openPage(fragment: string, options: BrowserContextOptions = {}): Promise<Page> {
    faults.length = 0
    const page = await browser.newPage(options)
    page.on('pageerror', (error) => faults.push(`page: ${error.message}`))
    page.on('console', (message) => {
      if (message.type() === 'error' || message.type() === 'warning') faults.push(`console: ${message.text()}`)
    })
    const { rpc, aggregator, relay } = network.urls
    const ours = [siteUrl, rpc, aggregator, relay, 'http://127.0.0.1:9'].map((url) => new URL(url).origin)
    page.on('request', (request) => {
      const { origin, protocol } = new URL(request.url())
      if (/^https?:$/.test(protocol) && !ours.includes(origin)) faults.push(`request: ${request.url()}`)
    })
    await page.goto(`${siteUrl}${fragment}`)
    return page
  }

  const drop = (page: Page, text: string) =>
    page
      .getByLabel('Receipt file')
      .setInputFiles({ name: 'receipt.json', mimeType: 'application/json', buffer: Buffer.from(text) })

  /** The state of every step by its name, once all are made. */
  async function stepsOf(page: Page): Promise<Record<string, string>> {
    await page.locator('[data-verdict]').first().waitFor()
    const steps = await page
      .locator('[data-step]')
      .evaluateAll((all) => all.map((each) => [each.getAttribute('data-step'), each.getAttribute('data-state')]))
    return Object.fromEntries(steps) as Record<string, string>
  }

  const verdictOf = (page: Page) => page.locator('[data-verdict]').first().textContent()
  const passing = (names: readonly string[]) => Object.fromEntries(names.map((name) => [name, 'passed']))

  it('is static files that name nothing outside, and the first page loads few bytes', async () => {
    served.length = 0
    const page = await openPage('')
    await page.getByRole('img', { name: /^Receipts settled/ }).waitFor()
    const html = readFileSync(join(folder, 'site', 'index.html'), 'utf8')
    expect(html.match(/(?:src|href)="(?!\.\/|data:)[^"]*"/g)).toBeNull()
    expect(html).toContain("default-src 'none'")
    const bytes = [...new Set(served)].reduce(
      (sum, name) => sum + gzipSync(readFileSync(join(folder, 'site', name))).length,
      0,
    )
    expect(bytes).toBeLessThan(FIRST_LOAD_BYTES_MAX)
    // What verifies evidence is loaded where evidence is shown.
    expect([...new Set(served)].length).toBeLessThan(readdirSync(join(folder, 'site', 'assets')).length + 2)
    expect(faults).toEqual([])
    await page.close()
  })

  it('shows the network, an enclave with its evidence verified, and a batch', async () => {
    const page = await openPage('#/')
    const fact = (name: string) => page.locator('dl.facts > div', { hasText: name }).locator('dd')
    await page.getByText(/^Live: /).waitFor()
    await expect.poll(() => fact('Live gateways').textContent(), { timeout: 20_000 }).toBe('1')
    expect(await fact('Live issuers').textContent()).toBe('1')
    expect(await fact('Receipts settled').textContent()).toBe('2')
    expect(await fact('Earned').textContent()).toMatch(/^0\.0\d+ OPG/)
    await page.getByRole('link', { name: `Batch ${batch}` }).click()
    await page.getByRole('heading', { name: `Batch ${batch}` }).waitFor()
    expect(await stepsOf(page)).toEqual(passing(['root', 'final']))
    await page.locator('a.mono').first().click()
    await page.getByText(receipt.file.public.enclave).waitFor()
    const evidence = await stepsOf(page)
    expect(new Set(Object.values(evidence))).toEqual(new Set(['passed']))
    expect(Object.keys(evidence)).toEqual(
      expect.arrayContaining(['root', 'document-signature', 'freshness', 'measurement', 'statement', 'keys']),
    )
    await page.getByText('A development enclave: its evidence').waitFor()
    expect(faults).toEqual([])
    await page.close()
  })

  it('accepts the receipt with every step passed, and saves a proof bundle that needs no aggregator', async () => {
    const page = await openPage('#/receipt')
    await drop(page, receipt.toJson())
    expect(await stepsOf(page)).toEqual(passing([...OWN_STEPS, ...CHAIN_STEPS]))
    expect(await verdictOf(page)).toBe('The receipt holds: every step passed.')
    await page.getByText('This receipt is of a development enclave').waitFor()
    await page.getByText('settlement system').waitFor()
    const saving = page.waitForEvent('download')
    await page.getByRole('button', { name: 'Save the proof bundle' }).click()
    const bundle = readFileSync(await (await saving).path(), 'utf8')
    expect(parseProofBundle(bundle).settled.batch).toBe(batch)
    expect(faults).toEqual([])
    await page.close()

    const away = await openPage(`#/receipt?aggregator=${encodeURIComponent('http://127.0.0.1:9')}`)
    await away.getByText('This link names sources of its own (aggregator)').waitFor()
    // By the keyboard alone, as text.
    await away.getByText('Paste it as text').press('Enter')
    await away.getByLabel('Receipt as text').fill(bundle)
    await away.getByRole('button', { name: 'Check this text' }).press('Enter')
    expect(await stepsOf(away)).toEqual(passing([...OWN_STEPS, ...CHAIN_STEPS]))
    await away.close()
  })

  const flip = (hex: Hex): Hex => `${hex.slice(0, -1)}${hex.endsWith('0') ? '1' : '0'}` as Hex

  it.each<{ what: string; tamper: (file: ReceiptFile) => ReceiptFile; failing: string[]; named: string }>([
    {
      what: 'the commitment to the answer',
      tamper: (file) => ({ ...file, public: { ...file.public, output: flip(file.public.output) } }),
      // Another commitment is another leaf, which is not in the log.
      failing: ['output', 'path'],
      named: 'The answer opens its commitment',
    },
    {
      what: 'the root of the head',
      tamper: (file) => ({ ...file, head: { ...file.head, root: flip(file.head.root) } }),
      failing: ['path', 'head'],
      named: 'The receipt is in the log',
    },
    {
      what: 'the path',
      tamper: (file) => ({ ...file, path: file.path.map(flip) }),
      failing: ['path'],
      named: 'The receipt is in the log',
    },
    {
      what: "the head's signature",
      tamper: (file) => ({
        ...file,
        head: { ...file.head, signature: { ...file.head.signature, r: flip(file.head.signature.r) } },
      }),
      failing: ['head'],
      named: 'The enclave signed the log’s head',
    },
  ])('refuses a receipt with one digit changed in $what, and names the step', async ({ tamper, failing, named }) => {
    const page = await openPage('#/receipt')
    await drop(page, serializeReceiptFile(tamper(receipt.file)))
    const steps = await stepsOf(page)
    const names = Object.keys(steps).filter((name) => steps[name] === 'failed')
    expect(names).toEqual(failing)
    expect(await verdictOf(page)).toMatch(new RegExp(`^The receipt does NOT hold: .*“${named}”`))
    // Nobody is asked about what does not hold by itself.
    expect(CHAIN_STEPS.map((name) => steps[name])).toEqual(CHAIN_STEPS.map(() => 'skipped'))
    expect(faults).toEqual([])
    await page.close()
  })

  it('refuses a proof that leads nowhere and contracts of another network, and leaves open what nobody answers', async () => {
    const bundle = await receipt.settled({ timeoutMs: 10_000 })
    const { settled } = bundle
    const page = await openPage('#/receipt')
    const others = { ...settled, logPath: settled.logPath.map(flip) }
    await drop(page, serializeProofBundle({ ...bundle, settled: others }))
    expect(await stepsOf(page)).toMatchObject({
      ...passing(OWN_STEPS),
      proof: 'passed',
      settled: 'failed',
      final: 'skipped',
    })
    expect(await verdictOf(page)).toContain('“The proof leads to a root on chain” failed')
    await page.close()

    const deployment = toJson({ ...network.deployment(), settlement: network.deployment().registry })
    const elsewhere = await openPage(`#/receipt?${new URLSearchParams({ deployment })}`)
    await drop(elsewhere, serializeProofBundle(bundle))
    expect(await stepsOf(elsewhere)).toMatchObject({ chain: 'passed', contracts: 'failed', settled: 'skipped' })
    await elsewhere.close()

    const alone = await openPage(`#/receipt?${new URLSearchParams({ rpc: 'http://127.0.0.1:9' })}`)
    await drop(alone, serializeProofBundle(bundle))
    expect(await stepsOf(alone)).toMatchObject({ ...passing(OWN_STEPS), chain: 'open', settled: 'skipped' })
    expect(await verdictOf(alone)).toContain('Open: “It is a receipt of this chain”')
    await alone.close()
  })

  it('says what a file is that is no receipt, and where nothing is configured asks for sources', async () => {
    const page = await openPage('#/receipt')
    await drop(page, '{"format":"sealpath-receipt/1"}')
    await page.getByRole('alert').getByText('This is no receipt').waitFor()
    await page.goto(`${siteUrl}#/receipt?rpc=nothing`)
    await page.getByRole('alert').getByText('rpcUrl').waitFor()
    await page.getByRole('button', { name: 'Read from these' }).waitFor()
    await page.close()
  })

  it.each(VIEWS)('fits the window: $name', async ({ name, options }) => {
    const pages = [
      ['network', '#/'],
      ['enclave', `#/enclave/${receipt.file.public.enclave}`],
      ['batch', `#/batch/${batch}`],
      ['sources', '#/sources'],
      ['receipt', '#/receipt'],
    ] as const
    const page = await openPage('', options)
    const look = async (what: string): Promise<void> => {
      const overflow = await page.evaluate(
        () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
      )
      expect(overflow, `${what} is wider than the window`).toBe(0)
      const shots = process.env.SEALPATH_SCREENSHOTS
      if (shots !== undefined)
        await page.screenshot({ path: join(shots, `explorer-${what}-${name}.png`), fullPage: true })
    }
    for (const [what, fragment] of pages) {
      await page.goto(`${siteUrl}${fragment}`)
      if (what === 'network' || what === 'enclave') await page.locator('.chart canvas').waitFor()
      if (what === 'enclave' || what === 'batch') await stepsOf(page)
      if (what === 'network') await page.getByText('development').first().waitFor()
      await look(what)
    }
    await drop(page, receipt.toJson())
    await stepsOf(page)
    await look('receipt-accepted')
    const { head } = receipt.file
    await drop(page, serializeReceiptFile({ ...receipt.file, head: { ...head, root: flip(head.root) } }))
    await page.locator('[data-verdict=refused]').waitFor()
    await look('receipt-refused')
    await page.close()
  })

  it('shows what settles while it is looked at', async () => {
    const page = await openPage('#/')
    await page.getByText(/^Live: /).waitFor()
    await (await ask()).settled({ timeoutMs: 60_000 })
    const settled = page.locator('dl.facts > div', { hasText: 'Receipts settled' }).locator('dd')
    await settled.getByText('3', { exact: true }).waitFor()
    await page.getByRole('img', { name: /^Receipts settled: from 0 at .* to 3 at / }).waitFor()
    expect(faults).toEqual([])
    await page.close()
  })
})
