/**
 * A sealed question from the explorer's page, in a real Chromium, on a network whose answers cost nothing: what each layer's column shows is held against the bytes that
 * passed on the wire and what the model was asked. What is paid for: explorer.test.ts.
 * @module
 */
import type { Page } from 'playwright-core'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { toHex } from '#protocol/bytes.ts'
import { verifyReceipt } from '#protocol/receipt/verifyReceipt.ts'
import { hashEncapsulated } from '#protocol/sealing/encapsulatedHash.ts'
import { parseReceiptFile } from '#protocol/wire/receiptFile.ts'
import {
  ExplorerStage,
  isChromiumMissing,
  LOAD_BYTES_MAX,
  layerOf,
  lookAt,
  savedBy,
  stepsOf,
  VIEWS,
} from '../support/explorerStage.ts'
import { type FreeNetwork, startFreeNetwork } from '../support/freeNetwork.ts'
import { type ModelServer, startModelServer, TEST_ANSWER, TEST_MODEL } from '../support/modelServer.ts'
import { type Exchange, openRecordingProxy, type RecordingProxy } from '../support/recordingProxy.ts'

const PROMPT = 'What do you see of me?\nSay it plainly.'
/** Nobody answers there. */
const NOWHERE = 'http://127.0.0.1:9'

describe.skipIf(isChromiumMissing)('asking from the explorer', () => {
  const stage = new ExplorerStage()
  let model: ModelServer
  let network: FreeNetwork
  let relay: RecordingProxy

  beforeAll(async () => {
    model = await startModelServer()
    const built = stage.start()
    network = await startFreeNetwork({ url: model.url, models: [TEST_MODEL] })
    relay = await openRecordingProxy(network.relayUrl)
    await built
  }, 180_000)

  beforeEach(() => {
    const { rpcUrl, deployment } = network
    stage.sources = { rpcUrl, deployment, relayUrl: relay.url, aggregatorUrl: NOWHERE }
  })

  afterAll(async () => {
    await stage.close()
    await relay?.close()
    await network?.stop()
    await model?.close()
  })

  const field = (page: Page) => page.getByLabel('Your question')
  const answered = (page: Page) => page.getByRole('link', { name: 'Check this receipt' })
  /** The aggregator that is not there is complained of by the browser itself. */
  const ownFaults = () => stage.faults.filter((fault) => !fault.includes('net::ERR_UNSAFE_PORT'))

  /** Sends a question, and answers what passed in front of the relay meanwhile. */
  async function ask(page: Page, prompt: string): Promise<readonly Exchange[]> {
    const before = relay.exchanges.length
    await field(page).fill(prompt)
    await field(page).press('Enter')
    await answered(page).waitFor({ timeout: 30_000 })
    return relay.exchanges.slice(before).filter(({ method }) => method !== 'OPTIONS')
  }

  it('streams a sealed answer, and shows each layer what passed there', async () => {
    stage.served.length = 0
    const page = await stage.openPage('#/chat')
    const pause = model.pauseAfter(4)
    const asking = ask(page, PROMPT)
    await pause.reached
    // Words are on the page while the model has not said the rest.
    const log = page.getByRole('log', { name: 'Answer' })
    await log.getByText('Nothing that is').waitFor()
    expect(((await log.textContent()) ?? '').length).toBeLessThan(TEST_ANSWER.length)
    pause.goOn()
    const passed = await asking
    expect(await log.textContent()).toBe(TEST_ANSWER)

    const saved = await savedBy(page, () => page.getByRole('button', { name: 'Save the receipt' }).click())
    const receipt = parseReceiptFile(saved)
    expect(verifyReceipt(receipt)).toMatchObject({ ok: true })
    const sealed = passed.find(({ request }) => toHex(hashEncapsulated(request)) === receipt.private.encapsulated)
    if (sealed === undefined) throw new Error('what the receipt names did not pass the relay')
    const [you, atRelay, gateway, issuer, chain] = await Promise.all(
      ['you', 'relay', 'gateway', 'issuer', 'chain'].map((name) => layerOf(page, name)),
    )
    expect(you).toMatchObject({ prompt: [PROMPT], answer: [TEST_ANSWER] })
    const { host } = new URL(relay.url)
    expect(atRelay).toMatchObject({
      to: [`${host}/gateways/free`],
      'sealed-in': [`${sealed.request.subarray(0, 32).toString('hex')} …`],
      'sealed-out': [`${sealed.response.subarray(0, 32).toString('hex')} …`],
      search: ['your prompt: not found', 'your answer: not found'],
      header: [expect.stringContaining('X-Wing')],
      class: [expect.stringContaining('padded to 1,024 bytes')],
    })
    await page.getByText(`Sealed request, ${sealed.request.length.toLocaleString('en-US')} bytes`).waitFor()
    await page.getByText(`Sealed answer, ${sealed.response.length.toLocaleString('en-US')} bytes`).waitFor()
    // Every other question that passed is named there too, and all of them are.
    const others = passed.filter((exchange) => exchange !== sealed)
    const counted = (atRelay?.others ?? []).reduce(
      (sum, line) => sum + Number(/, (\d+) times$/.exec(line)?.[1] ?? 1),
      0,
    )
    expect(counted).toBe(others.length)
    for (const { request, response } of passed) {
      expect(Buffer.concat([request, response]).includes('What do you see of me?')).toBe(false)
    }
    // What the enclave opened is what the model behind it was asked.
    const [opened = ''] = gateway?.opened ?? []
    expect(JSON.parse(opened)).toMatchObject({ messages: [{ role: 'user', content: PROMPT }] })
    expect(model.seen.at(-1)?.body.messages).toEqual([{ role: 'user', content: PROMPT }])
    expect(gateway).toMatchObject({
      enclave: [receipt.public.enclave],
      same: [receipt.private.encapsulated],
      payment: ['unpaid'],
    })
    expect(issuer).toEqual({ nothing: ['this request was not paid for'] })
    expect(chain).toMatchObject({
      leaf: [expect.stringMatching(/^0x[0-9a-f]{64}$/)],
      waiting: [expect.stringContaining('nothing yet')],
    })
    // Whoever does not pay loads nothing of it.
    expect(stage.servedBytes).toBeLessThan(LOAD_BYTES_MAX)
    expect(stage.served.some((name) => name.includes('CreditsPanel'))).toBe(false)

    await answered(page).click()
    const steps = await stepsOf(page)
    expect(Object.entries(steps).filter(([, state]) => state === 'failed')).toEqual([])
    expect(steps).toMatchObject({
      request: 'passed',
      output: 'passed',
      path: 'passed',
      head: 'passed',
      enclave: 'passed',
      proof: 'open',
    })
    // Back again, everything is still there.
    await page.goBack()
    await answered(page).waitFor()
    expect(await layerOf(page, 'relay')).toMatchObject({ search: atRelay?.search })
    expect(ownFaults()).toEqual([])
    await page.close()
  })

  it('is asked, stopped and asked again by the keyboard alone', async () => {
    const page = await stage.openPage('#/')
    await page.getByRole('link', { name: 'Ask' }).focus()
    await page.keyboard.press('Enter')
    await field(page).waitFor()
    for (
      let presses = 0;
      presses < 12 && !(await field(page).evaluate((it) => it === document.activeElement));
      presses++
    ) {
      await page.keyboard.press('Tab')
    }
    await page.keyboard.type('First line')
    await page.keyboard.press('Shift+Enter')
    await page.keyboard.type('second line')
    expect(await field(page).inputValue()).toBe('First line\nsecond line')
    const pause = model.pauseAfter(4)
    await page.keyboard.press('Enter')
    await pause.reached
    await page.getByRole('log', { name: 'Answer' }).getByText('Nothing that is').waitFor()
    await page.keyboard.press('Tab')
    expect(await page.evaluate(() => document.activeElement?.textContent)).toBe('Stop')
    await page.keyboard.press('Enter')
    await page.getByRole('alert').getByText('Stopped.').waitFor()
    pause.goOn()
    // What was not answered stands there again; the focus has not been lost.
    await expect.poll(() => field(page).inputValue()).toBe('First line\nsecond line')
    await page.keyboard.press('Enter')
    await answered(page).waitFor()
    expect(model.seen.at(-1)?.body.messages).toEqual([{ role: 'user', content: 'First line\nsecond line' }])
    await page.close()
  })

  it.each<{ what: string; change: Record<string, string | undefined>; says: RegExp }>([
    { what: 'a relay that is down', change: { relayUrl: NOWHERE }, says: /The relay 127\.0\.0\.1:9 does not answer/ },
    {
      what: 'a chain that does not answer',
      change: { rpcUrl: NOWHERE },
      says: /The chain’s endpoint 127\.0\.0\.1:9 does not answer: nothing was sealed/,
    },
  ])('says in words what is wrong: $what', async ({ change, says }) => {
    stage.sources = { ...stage.sources, ...change } as typeof stage.sources
    const page = await stage.openPage('#/chat')
    await field(page).fill('Hello?')
    await page.getByRole('button', { name: 'Send' }).click()
    expect(await page.getByRole('alert').textContent()).toMatch(says)
    await expect.poll(() => field(page).inputValue()).toBe('Hello?')
    await page.close()
  })

  it('says that there is no relay, that it is offline, and that the gateway is busy', async () => {
    const { relayUrl: _, ...without } = stage.sources ?? {}
    const { sources } = stage
    stage.sources = without as typeof sources
    const nowhere = await stage.openPage('#/chat')
    await nowhere.getByRole('alert').getByText('No relay is configured').waitFor()
    await nowhere.close()
    stage.sources = sources
    const page = await stage.openPage('#/chat')
    model.refuseNext(503, { error: { message: 'full' } })
    await field(page).fill('Hello?')
    await field(page).press('Enter')
    await page.getByRole('alert').getByText('The gateway cannot answer now').waitFor()
    await page.context().setOffline(true)
    await expect.poll(() => field(page).inputValue()).toBe('Hello?')
    await field(page).press('Enter')
    await page.getByRole('alert').getByText('Your browser is offline').waitFor()
    await page.context().setOffline(false)
    await ask(page, 'And now?')
    await page.close()
  })

  it('asks for nothing with an empty wallet, which nobody can be paid from', async () => {
    const page = await stage.openPage('#/chat')
    await page.getByRole('button', { name: 'Open a wallet' }).click()
    await page.getByRole('button', { name: 'Make a new wallet' }).click()
    await page.getByRole('button', { name: 'I have written them down' }).click()
    await page.locator('[data-balance]').getByText('0 OPG').waitFor()
    await ask(page, PROMPT)
    expect((await layerOf(page, 'gateway')).payment).toEqual(['unpaid'])
    // It is removed only by somebody who says that the words are kept.
    await page.getByText('Remove the wallet from this browser').click()
    const remove = page.getByRole('button', { name: 'Remove it' })
    expect(await remove.isDisabled()).toBe(true)
    await page.getByLabel('I have the words').check()
    await remove.click()
    await page.getByRole('button', { name: 'Make a new wallet' }).waitFor()
    expect(ownFaults()).toEqual([])
    await page.close()
  })

  it.each([
    ...VIEWS,
    { name: 'wide', options: { viewport: { width: 1500, height: 900 }, colorScheme: 'light' as const } },
  ])(
    'fits the window: $name',
    async ({ name, options }) => {
      const page = await stage.openPage('#/chat', options)
      await lookAt(page, `chat-empty-${name}`)
      await ask(page, PROMPT)
      await lookAt(page, `chat-${name}`)
      const columns = await page
        .locator('[data-layer]')
        .evaluateAll((all) => new Set(all.map((each) => each.getBoundingClientRect().left)).size)
      expect(columns).toBe({ light: 3, dark: 3, phone: 1, wide: 5 }[name])
      await page.close()
    },
    60_000,
  )
})
