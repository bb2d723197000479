/**
 * The client for browsers in a real Chromium: a small page, as a person might write it, holds a sealed chat with a network of real processes. @module
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { type Browser, chromium, type Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { buildBrowser } from '../../scripts/browserBuild.ts'
import { type FreeNetwork, startFreeNetwork } from '../support/freeNetwork.ts'
import { type ModelServer, startModelServer, TEST_ANSWER, TEST_MODEL } from '../support/modelServer.ts'

const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium'
const isMissing = !existsSync(CHROMIUM)
if (isMissing && !process.env.CI) process.stderr.write(`no Chromium at ${CHROMIUM}: the browser build is not tried\n`)

/** What the page keeps for the test to look at. */
type Seen = {
  readonly text: string
  readonly steps: readonly { readonly kind: string; readonly postQuantum?: boolean }[]
  readonly receipt?: { readonly leaf: string; readonly enclave: string; readonly outcome: string }
  readonly error?: string
}

const PAGE = `<!doctype html>
<meta charset="utf-8">
<title>Sealed chat</title>
<link rel="icon" href="data:,">
<output id="answer"></output>
<script type="module">
  import { connect, SealpathError } from './sealpath.js'

  const seen = (window.seen = { text: '', steps: [] })
  const options = JSON.parse(decodeURIComponent(location.hash.slice(1)))
  window.ask = async (question) => {
    try {
      const sealed = await connect({ ...options, onStep: (step) => seen.steps.push(step) })
      const response = await sealed.fetch(sealed.baseURL + '/chat/completions', {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: 'Bearer none' },
        body: JSON.stringify({ model: options.model, stream: true, messages: [{ role: 'user', content: question }] }),
      })
      let rest = ''
      for (const reader = response.body.pipeThrough(new TextDecoderStream()).getReader(); ; ) {
        const { done, value } = await reader.read()
        if (done) break
        const lines = (rest + value).split('\\n')
        rest = lines.pop()
        for (const line of lines) {
          if (!line.startsWith('data: ') || line === 'data: [DONE]') continue
          seen.text += JSON.parse(line.slice(6)).choices[0]?.delta.content ?? ''
          document.getElementById('answer').textContent = seen.text
        }
      }
      const { leaf, file } = await sealed.receiptOf(response)
      seen.receipt = { leaf, enclave: file.public.enclave, outcome: file.public.outcome }
    } catch (error) {
      seen.error = (error instanceof SealpathError ? error.code + ': ' : '') + error.message
    }
  }
</script>`

it.runIf(isMissing && process.env.CI)('has a Chromium to try the browser build in', () => {
  expect.fail(`expected Chromium at ${CHROMIUM}: install it, or name it in CHROMIUM`)
})

describe.skipIf(isMissing)('a page in Chromium', () => {
  let folder: string
  let site: Server
  let siteUrl: string
  const served: string[] = []
  let model: ModelServer
  let network: FreeNetwork
  let browser: Browser
  let page: Page
  let faults: string[]

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'sealpath-browser-'))
    await buildBrowser(folder)
    site = createServer((request, response) => {
      const path = (request.url ?? '/').slice(1)
      served.push(path)
      const type = path === '' ? 'text/html' : 'text/javascript'
      const isThere = path === '' || existsSync(join(folder, path))
      response.writeHead(isThere ? 200 : 404, { 'content-type': type })
      response.end(path === '' ? PAGE : isThere ? readFileSync(join(folder, path)) : '')
    })
    await new Promise<void>((resolve) => site.listen(0, '127.0.0.1', resolve))
    siteUrl = `http://127.0.0.1:${(site.address() as AddressInfo).port}/`
    model = await startModelServer()
    network = await startFreeNetwork({ url: model.url, models: [TEST_MODEL] })
    browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox'] })
  }, 180_000)

  afterAll(async () => {
    await browser?.close()
    await network?.stop()
    await model?.close()
    site?.closeAllConnections()
    site?.close()
    rmSync(folder, { recursive: true, force: true })
  })

  beforeEach(async () => {
    served.length = 0
    faults = []
    page = await browser.newPage()
    page.on('pageerror', (error) => faults.push(`page: ${error.message}`))
    page.on('console', (message) => {
      if (message.type() === 'error' || message.type() === 'warning') faults.push(`console: ${message.text()}`)
    })
    // Not `requestfailed`: Chromium names requests aborted there whose bodies were read to the end.
    page.on('response', (response) => {
      if (!response.ok()) faults.push(`response: ${response.status()} ${response.url()}`)
    })
  })
  afterEach(() => page.close())

  async function open(change: Record<string, unknown> = {}): Promise<void> {
    const { rpcUrl, relayUrl, registry } = network
    const options = { rpcUrl, relayUrl, registry, model: TEST_MODEL, ...change }
    await page.goto(`${siteUrl}#${encodeURIComponent(JSON.stringify(options))}`)
    await page.waitForFunction(() => 'ask' in window)
  }

  const start = (question: string) =>
    page.evaluate((asked) => void (window as unknown as { ask(question: string): unknown }).ask(asked), question)
  const look = () => page.evaluate(() => (window as unknown as { seen: Seen }).seen)
  const finished = () =>
    page.waitForFunction(() => {
      const { receipt, error } = (window as unknown as { seen: Seen }).seen
      return receipt !== undefined || error !== undefined
    })

  it.each(['private', 'balanced'])('streams a sealed answer and verifies its receipt: %s', async (padding) => {
    await open({ padding })
    const pause = model.pauseAfter(4)
    await start('What do you see?')
    await pause.reached
    // The words are on the page while the model has not said the rest.
    await page.waitForFunction(() =>
      (document.getElementById('answer')?.textContent ?? '').startsWith('Nothing that is'),
    )
    const amid = await look()
    expect(TEST_ANSWER.startsWith(amid.text)).toBe(true)
    expect(amid.text.length).toBeLessThan(TEST_ANSWER.length)
    expect(amid.receipt).toBeUndefined()
    pause.goOn()
    await finished()
    const seen = await look()
    expect(seen.error).toBeUndefined()
    expect(seen.text).toBe(TEST_ANSWER)
    expect(seen.receipt).toMatchObject({ outcome: 'complete', leaf: expect.stringMatching(/^0x[0-9a-f]{64}$/) })
    const kinds = ['registry-read', 'gateway-chosen', 'request-sealed', 'answer-begun', 'receipt-verified']
    expect(seen.steps.map(({ kind }) => kind)).toEqual(kinds)
    expect(seen.steps.find(({ kind }) => kind === 'request-sealed')?.postQuantum).toBe(true)
    expect(faults).toEqual([])
    // Nobody loads what pays who does not pay, and everything together stays small.
    const loaded = served.filter((path) => path !== '')
    expect(loaded[0]).toBe('sealpath.js')
    expect(loaded.slice(1).every((path) => path === 'hpke-noble.js')).toBe(true)
    expect(gzipSync(readFileSync(join(folder, 'sealpath.js'))).length).toBeLessThan(60_000)
  })

  it('loads JavaScript algorithms where the browser lacks one, and seals just as well', async () => {
    await page.addInitScript(() => {
      Object.assign(SubtleCrypto, { supports: () => false })
      for (const name of ['generateKey', 'importKey'] as const) {
        const native = SubtleCrypto.prototype[name] as (...args: unknown[]) => unknown
        Object.assign(SubtleCrypto.prototype, {
          [name](this: SubtleCrypto, ...args: unknown[]) {
            if (/ML-?KEM/.test(JSON.stringify(args))) throw new DOMException('missing', 'NotSupportedError')
            return native.apply(this, args)
          },
        })
      }
    })
    await open({ padding: 'balanced' })
    await start('Hello?')
    await finished()
    const seen = await look()
    expect(seen.error).toBeUndefined()
    expect(seen.text).toBe(TEST_ANSWER)
    expect(seen.steps.find(({ kind }) => kind === 'request-sealed')?.postQuantum).toBe(true)
    expect(served).toEqual(['', 'sealpath.js', 'hpke-noble.js'])
    expect(faults).toEqual([])
  })

  it('loads what pays when it is asked for', async () => {
    await open()
    // As text: what stands here as code is rewritten for the test runner.
    const load =
      "import('./wallet.js').then(({ WalletAccount, openPayer }) => [typeof WalletAccount, typeof openPayer])"
    expect(await page.evaluate(load)).toEqual(['function', 'function'])
    expect(faults).toEqual([])
  })

  it('is told what is wrong by a code, in an error of the class that it imported', async () => {
    await open({ policy: { enclaves: [] } })
    await start('Hello?')
    await finished()
    expect((await look()).error).toMatch(/^EVIDENCE_REFUSED: /)
    expect(faults).toEqual([])
  })
})
