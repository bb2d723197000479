/** `sealpath credits` and `sealpath chat --wallet` as processes on a whole local network, from the first deposit to the OPG back in an account. @module */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Wallet as EthersWallet, JsonRpcProvider } from 'ethers'
import OpenAI from 'openai'
import { createTestClient, http } from 'viem'
import { hardhat } from 'viem/chains'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { testOPGAbi } from '#chain/generated/abis.ts'
import { type Hex, toHex } from '#protocol/bytes.ts'
import { formatOpg, parseOpg } from '#protocol/credits/amounts.ts'
import { connect } from '../../offchain/sdk/connect.ts'
import { signerOfEthers } from '../../offchain/sdk/ethersSigner.ts'
import { type AccountStore, WalletAccount } from '../../offchain/sdk/wallet/account.ts'
import type { AccountState } from '../../offchain/sdk/wallet/accountState.ts'
import { advancePurchase, NO_DELAY, startPurchase } from '../../offchain/sdk/wallet/buy.ts'
import { openPurchasing } from '../../offchain/sdk/wallet/purchasing.ts'
import { DEMO_MODEL } from '../../scripts/local/demoPrices.ts'
import { type LocalNetwork, startLocalNetwork } from '../../scripts/local/network.ts'
import { waitFor } from '../../scripts/local/processes.ts'
import { compileCache } from '../support/compileCache.ts'

const MAIN = fileURLToPath(new URL('../../offchain/cli/main.ts', import.meta.url))
const OPG = 10n ** 18n
const UNIT = 10n ** 12n
const HOUR_SECONDS = 3_600
const DAY_SECONDS = 86_400
const RECIPIENT: Hex = '0x00000000000000000000000000000000cafe0003'
const PASSPHRASE = 'correct horse'

let network: LocalNetwork
let folder: string
let words: string

beforeAll(async () => {
  network = await startLocalNetwork({
    port: 21_545,
    onCrash: (error) => {
      throw error
    },
  })
  folder = mkdtempSync(join(tmpdir(), 'sealpath-wallet-'))
}, 240_000)

afterAll(async () => {
  await network?.stop()
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true })
})

/** Moves the chain's clock. */
async function passTime(seconds: number): Promise<void> {
  const clock = createTestClient({ mode: 'hardhat', chain: hardhat, transport: http(network.urls.rpc) })
  await clock.increaseTime({ seconds })
  await clock.mine({ blocks: 1 })
}

function memoryStore(): AccountStore {
  let state: AccountState | undefined
  return {
    load: async () => state,
    async save(next) {
      state = next
    },
  }
}

type Run = { readonly code: number | null; readonly out: string; readonly err: string }

type RunOptions = { readonly wallet?: string; readonly input?: string; readonly env?: Readonly<Record<string, string>> }

function start(args: readonly string[], { wallet = 'wallet', env = {} }: RunOptions): ChildProcessWithoutNullStreams {
  return spawn(process.execPath, ['--disable-warning=ExperimentalWarning', MAIN, ...args], {
    env: {
      PATH: process.env.PATH,
      HOME: folder,
      ...compileCache(),
      SEALPATH_WALLET: join(folder, wallet),
      SEALPATH_PASSPHRASE: PASSPHRASE,
      SEALPATH_RPC: network.urls.rpc,
      SEALPATH_RELAY: network.urls.relay,
      SEALPATH_REGISTRY: network.deployment().registry,
      SEALPATH_KEY_FILE: network.buyerKeyFile,
      ...env,
    },
    stdio: ['pipe', 'pipe', 'pipe'],
  })
}

async function sealpath(args: readonly string[], options: RunOptions = {}): Promise<Run> {
  const child = start(args, options)
  child.stdin.end(options.input ?? '')
  let [out, err] = ['', '']
  child.stdout.on('data', (data: Buffer) => {
    out += data
  })
  child.stderr.on('data', (data: Buffer) => {
    err += data
  })
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, out, err }
}

function unitsIn({ out }: Run, line: string): bigint {
  const text = new RegExp(`^${line} +([0-9.]+ OPG)`, 'm').exec(out)?.[1]
  const units = text === undefined ? undefined : parseOpg(text)
  if (units === undefined) throw new Error(`expected a line ${line} in: ${out}`)
  return units
}

function balanceOf(address: Hex): Promise<bigint> {
  return network.client.readContract({
    address: network.deployment().token,
    abi: testOPGAbi,
    functionName: 'balanceOf',
    args: [address],
  })
}

it('tells how the network is, part by part', async () => {
  const { aggregator, witness, gateway, issuer, operator } = network.urls
  const roles = [gateway, issuer, operator].flatMap((url) => ['--role', url])
  const well = await sealpath(['status', '--aggregator', aggregator, '--aggregator', witness, ...roles])
  expect(well).toMatchObject({ code: 0, err: '' })
  expect(well.out).toContain('live: 1 gateway, 1 issuer')
  expect(
    well.out
      .trim()
      .split('\n')
      .every((line) => line.startsWith('ok ')),
  ).toBe(true)
  const sick = await sealpath(['status', '--role', 'http://127.0.0.1:9'])
  expect(sick).toMatchObject({ code: 1, out: expect.stringContaining('BAD  role') })
  expect(await sealpath(['status', '--relay', 'ftp://127.0.0.1'])).toMatchObject({ code: 2 })
})

it('buys into a new wallet, shows its words once, and tells what it holds', async () => {
  const bought = await sealpath(['credits', 'buy', '2'])
  expect(bought.err).toMatch(/deposit of 1 OPG made, transaction 0x[0-9a-f]{64}/)
  expect(bought.err).toContain('warning: requests take the relay')
  expect(bought).toMatchObject({ code: 0 })
  words = /^ {2}((?:[a-z]+ ?){24})$/m.exec(bought.err)?.[1] ?? ''
  expect(words.split(' ')).toHaveLength(24)
  expect(await balanceOf(network.account('buyer').address)).toBe(98n * OPG)

  const shown = await sealpath(['credits', 'balance'])
  expect(shown).toMatchObject({ code: 0, err: '' })
  expect(unitsIn(shown, 'spendable')).toBe(2_000_000n)
  expect(statSync(join(folder, 'wallet')).mode & 0o777).toBe(0o600)
  expect(readdirSync(folder)).toEqual(['wallet'])
})

it('pays for an answer, and the change is in the wallet when the command ends', async () => {
  const before = unitsIn(await sealpath(['credits', 'balance']), 'spendable')
  const asked = await sealpath(['chat', '--max-tokens', '64', 'What is Sealpath?'])
  expect(asked.err).toContain('receipt verified')
  expect(asked).toMatchObject({ code: 0 })
  expect(asked.out).toContain('Sealpath')
  const fee = BigInt(/fee (\d+) units/.exec(asked.err)?.[1] ?? '0')
  expect(fee).toBeGreaterThan(0n)
  const after = await sealpath(['credits', 'balance'])
  expect(unitsIn(after, 'spendable')).toBe(before - fee)
  expect(unitsIn(after, 'in payments')).toBe(0n)
})

it('serves any program that speaks to OpenAI, several at once, and keeps their receipts', async () => {
  const receipts = join(folder, 'receipts')
  const child = start(['proxy', '--port', '0', '--receipts', receipts, '--padding', 'balanced'], {})
  let [out, err] = ['', '']
  child.stdout.on('data', (data: Buffer) => {
    out += data
  })
  child.stderr.on('data', (data: Buffer) => {
    err += data
  })
  await waitFor('the proxy', async () => err.includes('answers come from'), 30_000)
  const [, baseURL = ''] = /OPENAI_BASE_URL=(\S+)/.exec(out) ?? []
  const [, apiKey = ''] = /OPENAI_API_KEY=(\S+)/.exec(out) ?? []
  const openai = new OpenAI({ baseURL, apiKey })
  const messages = [{ role: 'user' as const, content: 'What is Sealpath?' }]
  const [whole, streamed, models] = await Promise.all([
    openai.chat.completions.create({ model: DEMO_MODEL, messages, max_tokens: 64 }),
    openai.chat.completions.create({ model: DEMO_MODEL, messages, max_tokens: 64, stream: true }),
    openai.models.list(),
  ])
  let text = ''
  for await (const chunk of streamed) text += chunk.choices[0]?.delta.content ?? ''
  expect(text).toBe(whole.choices[0]?.message.content)
  expect(text).toContain('Sealpath')
  expect(models.data.map(({ id }) => id)).toEqual([DEMO_MODEL])
  const stranger = new OpenAI({ baseURL, apiKey: 'sk-other', maxRetries: 0 })
  await expect(stranger.models.list()).rejects.toThrow(OpenAI.AuthenticationError)
  await waitFor('the receipts', async () => existsSync(receipts) && readdirSync(receipts).length === 2, 10_000)
  child.kill('SIGINT')
  const [code] = (await once(child, 'close')) as [number | null]
  expect([code, err]).toEqual([0, expect.stringContaining('finishing what was begun')])

  for (const file of readdirSync(receipts)) {
    expect(await sealpath(['verify', join(receipts, file)])).toMatchObject({ code: 0 })
  }
  const shown = await sealpath(['credits', 'balance'])
  expect(unitsIn(shown, 'in payments')).toBe(0n)
})

it('deposits now and collects later, and buys more by itself up to a limit', async () => {
  const other = { wallet: 'second-wallet' }
  const deposited = await sealpath(['credits', 'buy', '1', '--delay', '1', '--no-wait'], other)
  expect(deposited).toMatchObject({ code: 0 })
  expect(deposited.err).toContain('hides among 3 of 1 OPG')
  expect(unitsIn(deposited, 'in purchases')).toBe(1_000_000n)
  // Short, and allowed one purchase: the question waits for it. A second one would be above the limit.
  const chat = ['chat', '--max-tokens', '64', '--top-up', '1 OPG', '--top-up-limit', '1.5', 'What is a receipt?']
  const asked = await sealpath(chat, other)
  expect(asked.err).toContain('1 OPG bought')
  expect(asked).toMatchObject({ code: 0 })
  const held = await sealpath(['credits', 'balance'], other)
  expect(unitsIn(held, 'spendable')).toBeLessThan(1_000_000n)
  expect(unitsIn(held, 'in purchases')).toBe(1_000_000n)
}, 180_000)

it('restores from the words what the first wallet holds', async () => {
  const first = await sealpath(['credits', 'balance'])
  const wrong = await sealpath(['credits', 'restore'], { wallet: 'restored', input: words.replace(/^\w+/, 'zz') })
  expect(wrong.code).toBe(2)
  expect(existsSync(join(folder, 'restored'))).toBe(false)
  const restored = await sealpath(['credits', 'restore'], { wallet: 'restored', input: `${words}\n` })
  expect(restored).toMatchObject({ code: 0 })
  expect(restored.out.slice(restored.out.indexOf('spendable'))).toBe(first.out)
  const again = await sealpath(['credits', 'restore'], { wallet: 'restored' })
  expect(again.out.slice(again.out.indexOf('spendable'))).toBe(first.out)
}, 180_000)

it('goes on after it was killed behind its deposit, which is made once', async () => {
  const wallet = 'killed'
  const before = await balanceOf(network.account('buyer').address)
  const child = start(['credits', 'buy', '1'], { wallet })
  let err = ''
  child.stderr.on('data', (data: Buffer) => {
    err += data
    if (err.includes('deposit of 1 OPG made')) child.kill('SIGKILL')
  })
  await once(child, 'close')
  expect(existsSync(join(folder, `${wallet}.lock`))).toBe(true)
  const resumed = await sealpath(['credits', 'resume'], { wallet })
  expect(resumed).toMatchObject({ code: 0 })
  expect(unitsIn(resumed, 'spendable')).toBe(1_000_000n)
  expect(before - (await balanceOf(network.account('buyer').address))).toBe(OPG)
})

it('uses nothing of a wallet whose restoring was cut off, until it is restored to its end', async () => {
  const wallet = 'half'
  const noRelay = { SEALPATH_RELAY: 'http://127.0.0.1:9' }
  const cut = await sealpath(['credits', 'restore'], { wallet, input: words, env: noRelay })
  expect(cut.code).toBe(1)
  expect(cut.err).toContain('could not be restored')
  expect(cut.out).toContain('Not restored to its end')
  const refused = await sealpath(['credits', 'buy', '1'], { wallet })
  expect(refused).toMatchObject({ code: 1, err: expect.stringContaining('run sealpath credits restore again') })
  const whole = await sealpath(['credits', 'restore'], { wallet })
  expect(whole).toMatchObject({ code: 0 })
  expect(whole.out.slice(whole.out.indexOf('spendable'))).toBe((await sealpath(['credits', 'balance'])).out)
})

it('serves more requests at once than its credits allow: they wait for the change of others', async () => {
  const { chainId, registry, vault } = network.deployment()
  const relayUrl = network.urls.relay
  const purchasing = await openPurchasing({ client: network.client, registry, relayUrl })
  const account = await WalletAccount.create(memoryStore(), {
    seed: new Uint8Array(32).fill(21),
    chainId,
    vault,
    isRestoring: false,
  })
  const wallet = await purchasing.buyingWallet(account, 3_600)
  const provider = new JsonRpcProvider(network.urls.rpc, undefined, { staticNetwork: true, cacheTimeout: -1 })
  const key = toHex(network.account('buyer').getHdKey().privateKey ?? new Uint8Array())
  const depositor = purchasing.depositor(await signerOfEthers(new EthersWallet(key, provider)))
  const ports = purchasing.purchasePorts
  const number = await startPurchase(wallet, 1_000_000n, ports, { delay: NO_DELAY })
  expect(await advancePurchase(wallet, number, ports, { depositor, waits: true })).toMatchObject({ state: 'bought' })
  provider.destroy()

  const carried: number[] = []
  const sealed = await connect({
    rpcUrl: network.urls.rpc,
    relayUrl,
    registry,
    wallet: account,
    onStep(step) {
      if (step.kind !== 'payment-made') return
      carried.push(wallet.openPayments.find(({ id }) => id === step.payment)?.credits.length ?? 0)
    },
  })
  const ask = async () => {
    const body = JSON.stringify({ model: DEMO_MODEL, messages: [{ role: 'user', content: 'Hi' }], max_tokens: 8 })
    const headers = { 'content-type': 'application/json' }
    const response = await sealed.fetch(`${sealed.baseURL}/chat/completions`, { method: 'POST', headers, body })
    const { status } = response
    await response.text()
    return { status, fee: (await sealed.receiptOf(response)).file.private.fee }
  }
  // Eight credits each: there are enough for seven.
  const answers = await Promise.all(Array.from({ length: 12 }, ask))
  await sealed.idle()
  expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200))
  const fees = answers.reduce((sum, { fee }) => sum + fee, 0n)
  expect(account.balance(0)).toMatchObject({ spendable: 1_000_000n - fees, inPayments: 0n })
  expect(carried.filter((count) => count === 8).length).toBeGreaterThanOrEqual(7)
  // What the change is in does not matter: one after the other, every payment carries eight.
  carried.length = 0
  for (let i = 0; i < 3; i++) await ask().then(() => sealed.idle())
  expect(carried).toEqual([8, 8, 8])
})

it('says in one sentence what is wrong, with the code for it, and loses nothing', async () => {
  const before = await sealpath(['credits', 'balance'])
  const runs: [number, RegExp, Promise<Run>][] = [
    [2, /say what to do/, sealpath(['credits'])],
    [2, /whole number of OPG/, sealpath(['credits', 'buy', '1.5'])],
    [2, /amount like 10/, sealpath(['credits', 'buy', 'much'])],
    [2, /--delay is minutes/, sealpath(['credits', 'buy', '1', '--delay', '5-1'])],
    [2, /wrong checksum/, sealpath(['credits', 'exit', '--to', `0x${'aB'.repeat(20)}`])],
    [2, /zero address/, sealpath(['credits', 'exit', '--to', `0x${'00'.repeat(20)}`])],
    [2, /cannot read the key file/, sealpath(['credits', 'buy', '1'], { env: { SEALPATH_KEY_FILE: '/nowhere' } })],
    [2, /--relay must be/, sealpath(['credits', 'resume'], { env: { SEALPATH_RELAY: 'relay' } })],
    [1, /passphrase is wrong/, sealpath(['credits', 'balance'], { env: { SEALPATH_PASSPHRASE: 'battery' } })],
    [1, /there is no wallet/, sealpath(['credits', 'balance'], { wallet: 'none' })],
    [1, /the wallet holds .* shall leave it/, sealpath(['credits', 'exit', '100', '--to', RECIPIENT])],
    [
      1,
      /RPC endpoint does not answer/,
      sealpath(['credits', 'resume'], { env: { SEALPATH_RPC: 'http://127.0.0.1:9' } }),
    ],
  ]
  for (const [code, sentence, run] of runs) {
    const { err, ...rest } = await run
    expect(err).toMatch(sentence)
    expect(rest.code, err).toBe(code)
  }
  expect((await sealpath(['credits', 'balance'])).out).toBe(before.out)
})

it('asks a deposit back that the issuer did not answer, an hour later and not before', async () => {
  const options = { wallet: 'unanswered', env: { SEALPATH_RELAY: 'http://127.0.0.1:9' } }
  const bought = await sealpath(['credits', 'buy', '1', '--no-wait'], options)
  expect(bought.code).toBe(1)
  expect(bought.err).toMatch(/purchase 0 of 1 OPG is not answered \(RELAY_FAILED\): run sealpath credits resume/)
  const early = await sealpath(['credits', 'refund'], options)
  expect(early.out).toContain('is not answered (RELAY_FAILED)')
  await passTime(HOUR_SECONDS)
  expect((await sealpath(['credits', 'refund'], options)).out).toContain('asked back: 1 OPG')
  expect((await sealpath(['credits', 'refund'], options)).out).toContain('sealpath credits refund draws it from')
})

it('exits everything: opened now, drawn a day later', async () => {
  const held = unitsIn(await sealpath(['credits', 'balance']), 'spendable')
  const part = await sealpath(['credits', 'exit', '0.5', '--to', RECIPIENT])
  expect(part).toMatchObject({ code: 0 })
  const opened = await sealpath(['credits', 'exit', '--to', RECIPIENT])
  expect(opened).toMatchObject({ code: 0 })
  expect(opened.out).toMatch(/^opened: .* to 0x0{32}cafe0003, ready at /m)
  const waiting = await sealpath(['credits', 'balance'])
  expect(unitsIn(waiting, 'spendable')).toBe(0n)
  expect(unitsIn(waiting, 'in exits')).toBe(held)
  // A wallet that is restored meanwhile knows of them.
  const restored = await sealpath(['credits', 'restore'], { wallet: 'restored-later', input: words })
  expect(unitsIn(restored, 'in exits')).toBe(held)
  expect(await balanceOf(RECIPIENT)).toBe(0n)

  await passTime(DAY_SECONDS)
  const drawn = await sealpath(['credits', 'resume'])
  expect(drawn.out).toContain('paid out: ')
  expect(unitsIn(drawn, 'in exits')).toBe(0n)
  expect(formatOpg((await balanceOf(RECIPIENT)) / UNIT)).toBe(formatOpg(held))
  // The other copy finds them paid.
  const late = await sealpath(['credits', 'resume'], { wallet: 'restored-later' })
  expect(late).toMatchObject({ code: 0 })
  expect(unitsIn(late, 'in exits')).toBe(0n)
}, 180_000)

it('draws what was asked back a day later', async () => {
  const before = await balanceOf(network.account('buyer').address)
  const refunded = await sealpath(['credits', 'refund'], { wallet: 'unanswered' })
  expect(refunded).toMatchObject({ code: 0, out: 'refunded: 1 OPG\n' })
  expect((await balanceOf(network.account('buyer').address)) - before).toBe(OPG)
  const shown = await sealpath(['credits', 'balance'], { wallet: 'unanswered' })
  expect(unitsIn(shown, 'in purchases')).toBe(0n)
})
