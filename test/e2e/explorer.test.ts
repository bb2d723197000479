/**
 * The explorer in a real Chromium, as built for publication and served below a path of a plain file server, on a live local network: every page, and a receipt that is
 * accepted, settled and saved, or refused with the step that failed. And a question asked from the page and paid for, held against what the processes really got: a preload
 * writes down what gateway and issuer see behind the seal.
 * @module
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { creditVaultAbi } from '#chain/generated/abis.ts'
import { fromHex, type Hex, toHex } from '#protocol/bytes.ts'
import { creditMessage } from '#protocol/credits/message.ts'
import { decodePayment, paymentId } from '#protocol/credits/payment.ts'
import { toJson } from '#protocol/wire/json.ts'
import {
  parseProofBundle,
  type ReceiptFile,
  serializeProofBundle,
  serializeReceiptFile,
} from '#protocol/wire/receiptFile.ts'
import type { ExplorerConfig } from '../../offchain/explorer/config.ts'
import { connect, type SealedClient } from '../../offchain/sdk/connect.ts'
import type { SealedReceipt } from '../../offchain/sdk/sealedReceipt.ts'
import { DEMO_MODEL } from '../../scripts/local/demoPrices.ts'
import { type LocalNetwork, startLocalNetwork } from '../../scripts/local/network.ts'
import {
  CHROMIUM,
  ExplorerStage,
  isChromiumMissing,
  LOAD_BYTES_MAX,
  layerOf,
  lookAt,
  savedBy,
  stepsOf,
  VIEWS,
} from '../support/explorerStage.ts'
import { openRecordingProxy } from '../support/recordingProxy.ts'
import { bytesOf, type Entry } from '../support/roleViews.ts'

const PORT = 24_145
const PRELOAD = fileURLToPath(new URL('../support/recordRole.ts', import.meta.url))

/** In the order they are shown. */
const OPENINGS = ['request', 'output', 'nonce', 'response', 'toolCalls']
const OWN_STEPS = [...OPENINGS, 'path', 'head']
const CHAIN_STEPS = ['chain', 'contracts', 'enclave', 'proof', 'settled', 'final']

it.runIf(isChromiumMissing && process.env.CI)('has a Chromium to try the explorer in', () => {
  expect.fail(`expected Chromium at ${CHROMIUM}: install it, or name it in CHROMIUM`)
})

describe.skipIf(isChromiumMissing)('the explorer', () => {
  const stage = new ExplorerStage()
  const { faults, served } = stage
  let network: LocalNetwork
  let sealed: SealedClient
  let receipt: SealedReceipt
  let batch: bigint

  beforeAll(async () => {
    const started = stage.start()
    network = await startLocalNetwork({
      port: PORT,
      preload: PRELOAD,
      onCrash: (error) => {
        throw error
      },
    })
    await started
    stage.sources = sources()
    sealed = await connectClient()
    await (await ask()).settled({ timeoutMs: 60_000 })
    // The second, so that it has a path.
    receipt = await ask()
    batch = (await receipt.settled({ timeoutMs: 60_000 })).settled.batch
  }, 240_000)

  afterAll(async () => {
    await stage.close()
    await network?.stop()
  })

  function sources(): ExplorerConfig {
    const { rpc: rpcUrl, aggregator: aggregatorUrl, relay: relayUrl } = network.urls
    return { rpcUrl, aggregatorUrl, relayUrl, deployment: network.deployment() }
  }

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

  const openPage = stage.openPage.bind(stage)

  const drop = (page: Page, text: string) =>
    page
      .getByLabel('Receipt file')
      .setInputFiles({ name: 'receipt.json', mimeType: 'application/json', buffer: Buffer.from(text) })

  const verdictOf = (page: Page) => page.locator('[data-verdict]').first().textContent()
  const passing = (names: readonly string[]) => Object.fromEntries(names.map((name) => [name, 'passed']))

  it('is static files that name nothing outside, and the first page loads few bytes', async () => {
    served.length = 0
    const page = await openPage('')
    await page.getByRole('img', { name: /^Receipts settled/ }).waitFor()
    const html = String(stage.bytesOf('index.html'))
    expect(html.match(/(?:src|href)="(?!\.\/|data:)[^"]*"/g)).toBeNull()
    expect(html).toContain("default-src 'none'")
    expect(stage.servedBytes).toBeLessThan(LOAD_BYTES_MAX)
    // What verifies evidence is loaded where evidence is shown.
    expect([...new Set(served)].length).toBeLessThan(readdirSync(join(stage.siteFolder, 'assets')).length + 2)
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

  it('asks again for evidence that it could not have at first', async () => {
    const page = await openPage('#/')
    await page.clock.install()
    const isEvidence = (url: URL): boolean => url.pathname.endsWith('/evidence')
    await page.route(isEvidence, (route) => route.abort())
    await page.goto(`${stage.siteUrl}#/enclave/${receipt.file.public.enclave}`)
    await page.getByText(/^The relay .* does not lead to this enclave\.$/).waitFor()
    await page.unroute(isEvidence)
    await page.clock.fastForward(15_000)
    expect(new Set(Object.values(await stepsOf(page)))).toEqual(new Set(['passed']))
    await page.close()
  })

  it('accepts the receipt with every step passed, and saves a proof bundle that needs no aggregator', async () => {
    const page = await openPage('#/receipt')
    await drop(page, receipt.toJson())
    expect(await stepsOf(page)).toEqual(passing([...OWN_STEPS, ...CHAIN_STEPS]))
    expect(await verdictOf(page)).toBe('The receipt holds: every step passed.')
    await page.getByText('This receipt is of a development enclave').waitFor()
    await page.getByText('settlement system').waitFor()
    const bundle = await savedBy(page, () => page.getByRole('button', { name: 'Save the proof bundle' }).click())
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
    await page.goto(`${stage.siteUrl}#/receipt?rpc=nothing`)
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
    const look = (what: string): Promise<void> => lookAt(page, `${what}-${name}`)
    for (const [what, fragment] of pages) {
      await page.goto(`${stage.siteUrl}${fragment}`)
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

  const entriesOf = (role: 'gateway' | 'issuer'): Entry[] =>
    readFileSync(join(network.folder, `${role}.transcript`), 'utf8')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Entry)

  async function sendFromPage(page: Page, prompt: string): Promise<void> {
    await page.getByLabel('Your question').fill(prompt)
    await page.getByLabel('Your question').press('Enter')
  }

  /** The page as it is, in every view. */
  async function lookAtAll(page: Page, what: string): Promise<void> {
    for (const { name, options } of VIEWS) {
      await page.setViewportSize(options.viewport ?? { width: 1000, height: 900 })
      await page.emulateMedia({ colorScheme: options.colorScheme ?? null })
      await lookAt(page, `${what}-${name}`)
    }
  }

  it('pays for a question from a wallet of its own, and shows of it what issuer and chain got', async () => {
    const prompt = 'Who can link what I paid with?'
    const relay = await openRecordingProxy(network.urls.relay)
    stage.sources = { ...sources(), relayUrl: relay.url }
    // One profile: the wallet stays in it.
    const context = await stage.browser.newContext(VIEWS[0]?.options)
    const page = await context.newPage()
    stage.watch(page)
    await page.goto(`${stage.siteUrl}#/chat`)

    await sendFromPage(page, prompt)
    const refusal = await page.getByRole('alert').textContent()
    expect(refusal).toMatch(/answers for credits: at most 0\.\d+ OPG .* Nothing was answered and nothing was charged/)
    await page.getByRole('button', { name: 'To the wallet' }).click()
    await page.getByRole('button', { name: 'Make a new wallet' }).click()
    const words = await page.locator('[data-words] li').allTextContents()
    expect(words).toHaveLength(24)
    await lookAtAll(page, 'chat-words')
    await page.getByRole('button', { name: 'I have written them down' }).click()
    await page.getByText('whose keys everybody knows').waitFor()
    await page.getByRole('button', { name: 'Pay with a development account' }).click()
    await page.getByText('Bought: 1 OPG in blind credits.').waitFor({ timeout: 60_000 })

    // What was not answered stands there to be sent again.
    await page.getByLabel('Your question').press('Enter')
    await page.getByRole('link', { name: 'Check this receipt' }).waitFor({ timeout: 60_000 })
    await page.locator('[data-layer=chain] [data-entry=transaction]').waitFor({ timeout: 60_000 })
    const layers = {
      you: await layerOf(page, 'you'),
      relay: await layerOf(page, 'relay'),
      gateway: await layerOf(page, 'gateway'),
      issuer: await layerOf(page, 'issuer'),
      chain: await layerOf(page, 'chain'),
    }
    const asked = entriesOf('gateway').findLast((entry) => entry.kind === 'request' && entry.method === 'POST')
    if (asked?.kind !== 'request') throw new Error('the gateway opened nothing')
    expect(layers.gateway.opened).toEqual([bytesOf(asked.body).toString()])
    expect(JSON.parse(bytesOf(asked.body).toString())).toMatchObject({ messages: [{ role: 'user', content: prompt }] })
    const paid = entriesOf('issuer').findLast((entry) => entry.kind === 'payment')
    if (paid?.kind !== 'payment') throw new Error('the issuer opened no payment')
    const { keyset, enclave, credits } = decodePayment(bytesOf(paid.plaintext))
    const { chainId, vault } = network.deployment()
    const ids = credits.map(({ exitKey, secret }) => toHex(creditMessage({ chainId, vault, keyset }, exitKey, secret)))
    const shown = (layers.issuer.credits ?? []).map((line) => line.split(' ').at(-1))
    expect(shown.toSorted()).toEqual(ids.toSorted())
    expect(layers.issuer.for).toEqual([enclave])
    expect(layers.gateway.payment).toEqual([paymentId(bytesOf(paid.plaintext))])
    expect(layers.issuer['issuer-payment']).toEqual(layers.gateway.payment)
    // What it had signed is among what it was asked to sign, and no credit that is spent is.
    const signed = entriesOf('issuer').flatMap((entry) =>
      entry.kind === 'request' && entry.path === '/v1/issue' ? [bytesOf(entry.body).toString()] : [],
    )
    const [blinded = ''] = layers.issuer.blinded ?? []
    expect(signed.some((body) => body.includes(Buffer.from(fromHex(blinded)).toString('base64')))).toBe(true)
    const sent = relay.exchanges.findLast(({ requestHeaders, request }) => {
      return requestHeaders.includes('incremental') && request.length > 4_000
    })
    expect(layers.relay['sealed-in']).toEqual([`${sent?.request.subarray(0, 32).toString('hex')} …`])
    expect(layers.relay.search).toEqual(['your prompt: not found', 'your answer: not found'])

    const held = JSON.parse(await savedBy(page, () => page.getByRole('button', { name: 'Save the receipt' }).click()))
    const settled = await sealed.openReceipt(JSON.stringify(held)).settled({ timeoutMs: 10_000 })
    expect(layers.chain.batch).toEqual([`batch ${settled.settled.batch}, block ${settled.settled.block}`])
    expect(layers.chain.transaction).toEqual([settled.settled.transaction])
    expect(layers.chain.head?.[0]).toBe(enclave)
    await lookAtAll(page, 'chat-paid')
    await page.getByRole('link', { name: 'Check this receipt' }).click()
    expect(await stepsOf(page)).toEqual(passing([...OWN_STEPS, ...CHAIN_STEPS]))
    expect(await verdictOf(page)).toBe('The receipt holds: every step passed.')

    // Kept in this browser, refused to a second page of it, and found again anywhere by its words.
    await page.goto(`${stage.siteUrl}#/chat`)
    await page.reload()
    await page.getByRole('button', { name: 'Open a wallet' }).click()
    const balance = await page.locator('[data-balance]').textContent()
    expect(balance).toMatch(/^0\.99\d* OPG in \d+ credits/)
    const second = await context.newPage()
    await second.goto(`${stage.siteUrl}#/chat`)
    await second.getByRole('button', { name: 'Open a wallet' }).click()
    await second.getByText('This wallet is open on another page').waitFor()
    await context.close()
    const elsewhere = await stage.openPage('#/chat')
    await elsewhere.getByRole('button', { name: 'Open a wallet' }).click()
    await elsewhere.getByText('Restore a wallet from its words').click()
    await elsewhere.getByLabel('The 24 words').fill(`${words.join(' ')}q`)
    await elsewhere.getByRole('button', { name: 'Restore' }).click()
    await elsewhere.getByText('These are not the 24 words').waitFor()
    await elsewhere.getByLabel('The 24 words').fill(words.join(' '))
    await elsewhere.getByRole('button', { name: 'Restore' }).click()
    await elsewhere.getByText(/^Restored: 0\.99/).waitFor({ timeout: 60_000 })
    expect(await elsewhere.locator('[data-balance]').textContent()).toBe(balance)
    expect(faults).toEqual([])
    await elsewhere.close()
    await relay.close()
  }, 180_000)

  it('buys through the wallet extension of the browser, whose owner may say no', async () => {
    const context = await stage.browser.newContext()
    const { address } = network.account('buyer')
    // As extensions do it: an object in the page that asks its owner, and an endpoint of its own.
    await context.addInitScript(
      ({ rpcUrl, from }) => {
        const state = { saysYes: false }
        const request = async ({ method, params = [] }: { method: string; params?: unknown[] }): Promise<unknown> => {
          if (method === 'eth_requestAccounts' || method === 'eth_accounts') return [from]
          const isSigning = method === 'eth_sendTransaction' || method === 'eth_signTypedData_v4'
          if (isSigning && !state.saysYes) throw Object.assign(new Error('User rejected the request.'), { code: 4001 })
          const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method, params })
          const headers = { 'content-type': 'application/json' }
          const { result, error } = await (await fetch(rpcUrl, { method: 'POST', headers, body })).json()
          if (error !== undefined) throw Object.assign(new Error(error.message), error)
          return result
        }
        Object.assign(globalThis, { ethereum: { request, on: () => {}, removeListener: () => {} }, extension: state })
      },
      { rpcUrl: network.urls.rpc, from: address },
    )
    stage.sources = sources()
    const page = await context.newPage()
    stage.watch(page)
    await page.goto(`${stage.siteUrl}#/chat`)
    await page.getByRole('button', { name: 'Open a wallet' }).click()
    await page.getByRole('button', { name: 'Make a new wallet' }).click()
    await page.getByRole('button', { name: 'I have written them down' }).click()
    const pay = page.getByRole('button', { name: 'Pay with your wallet extension' })
    await pay.click()
    await page.getByRole('alert').waitFor()
    expect(await page.getByRole('alert').textContent()).toMatch(/did not sign for the deposit/)
    expect(await page.locator('[data-balance]').textContent()).toContain('0 OPG')
    await page.evaluate('extension.saysYes = true')
    await pay.click()
    await page.getByText('Bought: 1 OPG in blind credits.').waitFor({ timeout: 60_000 })
    const vault = { address: network.deployment().vault, abi: creditVaultAbi, eventName: 'Deposited' } as const
    const deposits = await network.client.getContractEvents({ ...vault, fromBlock: 0n })
    expect(deposits.at(-1)?.args).toMatchObject({ payer: address })
    expect(faults).toEqual([])
    await context.close()
  }, 90_000)
})
