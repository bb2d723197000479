/**
 * Who bought cannot be told from who spends. Two buyers' credits are spent in one order and, in a second run, in the other; what relay,
 * gateway, issuer and chain can write down is the same both times but for values that are fresh and random anyway. And of what issuer and
 * relay hold from a purchase, a restore or an exit, nothing occurs in what they see at spending.
 *
 * Gateway and issuer are the real processes; a preload writes down what their enclaves see behind the seal.
 * @module
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { decodeFunctionData } from 'viem'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { creditVaultAbi } from '#chain/generated/abis.ts'
import { openVault } from '#chain/vault.ts'
import { finishExits, openExits, readExitAllowance, readExits } from '#chain/vaultExits.ts'
import { signerOfWallet } from '#chain/vaultSigner.ts'
import { fromHex, type Hex } from '#protocol/bytes.ts'
import { decodePayment } from '#protocol/credits/payment.ts'
import { DEPOSIT_SIZES } from '#protocol/credits/purchase.ts'
import { connect } from '../../offchain/sdk/connect.ts'
import { advanceExits, startExits } from '../../offchain/sdk/wallet/exit.ts'
import { restoreWallet } from '../../offchain/sdk/wallet/restore.ts'
import { Wallet } from '../../offchain/sdk/wallet/wallet.ts'
import { type Bought, createMemoryStore } from '../../scripts/local/credits.ts'
import { type AccountName, type LocalNetwork, startLocalNetwork } from '../../scripts/local/network.ts'
import { waitFor } from '../../scripts/local/processes.ts'
import { type ModelServer, startModelServer, TEST_MODEL } from '../support/modelServer.ts'
import { type Exchange, openRecordingProxy, type RecordingProxy } from '../support/recordingProxy.ts'
import {
  bytesOf,
  decoded,
  type Entry,
  shapeOfEntries,
  shapeOfEntry,
  shapeOfExchanges,
  sharedWindows,
  valuesOf,
} from '../support/roleViews.ts'

const PRELOAD = fileURLToPath(new URL('../support/recordRole.ts', import.meta.url))
const QUESTION = 'Who can read my prompt?'
const KIB = 1_024
/** An answer that takes so long is of the same class of length, 1.6 to 3.2 s, however busy the machine is. */
const ANSWER_MS = 2_000
const WORDS_BEFORE_PAUSE = 4

/** What each could write down in one phase of a run. */
type View = {
  readonly relay: readonly Exchange[]
  readonly gateway: readonly Entry[]
  readonly issuer: readonly Entry[]
  readonly chain: readonly { readonly name: string; readonly bytes: number }[]
}
type Run = Record<'purchases' | 'spending' | 'others' | 'spendingAgain', View>

let model: ModelServer
let network: LocalNetwork
let relay: RecordingProxy
let runs: readonly [Run, Run]

beforeAll(async () => {
  model = await startModelServer()
  network = await startLocalNetwork({
    port: 22_545,
    upstream: { url: model.url, models: [TEST_MODEL] },
    preload: PRELOAD,
    onCrash: (error) => {
      throw error
    },
  })
  relay = await openRecordingProxy(network.urls.relay)
  // The first receipt of a log has no path, and its answer is the only one that is so short.
  await ask((await buy(new Uint8Array(32).fill(0x20), 'buyer')).wallet)
  runs = [await run(1, ['buyer', 'protocol']), await run(2, ['protocol', 'buyer'])]
}, 300_000)

afterAll(async () => {
  await relay?.close()
  await network?.stop()
  await model?.close()
})

/** Two accounts buy; the first one's wallet pays, then the second's; one restores, the other exits; the first pays again. */
async function run(number: number, buyers: readonly [AccountName, AccountName]): Promise<Run> {
  const record = await recorder()
  const first = await buy(new Uint8Array(32).fill(number), buyers[0])
  const second = await buy(new Uint8Array(32).fill(0x10 + number), buyers[1])
  const purchases = await record()
  await ask(first.wallet)
  await ask(second.wallet)
  const spending = await record()
  await restore(new Uint8Array(32).fill(number), first)
  await exitOne(second.wallet, buyers[1])
  const others = await record()
  await ask(first.wallet)
  return { purchases, spending, others, spendingAgain: await record() }
}

const buy = (seed: Uint8Array, account: AccountName): Promise<Bought> =>
  network.buyCredits({ seed, buyer: network.wallet(account), relayUrl: relay.url })

async function ask(wallet: Wallet): Promise<void> {
  const before = wallet.balance.spendable
  const sealed = await connect({
    rpcUrl: network.urls.rpc,
    relayUrl: relay.url,
    registry: network.deployment().registry,
    wallet,
  })
  const body = { model: TEST_MODEL, temperature: 0, messages: [{ role: 'user', content: QUESTION }], max_tokens: 64 }
  const { reached, goOn } = model.pauseAfter(WORDS_BEFORE_PAUSE)
  void reached.then(() => setTimeout(goOn, ANSWER_MS))
  const response = await sealed.fetch(`${sealed.baseURL}/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  expect(response.status).toBe(200)
  await response.text()
  await waitFor('the change', async () => wallet.openPayments.length === 0 && wallet.balance.spendable < before, 10_000)
}

async function restore(seed: Uint8Array, { wallet, access }: Bought): Promise<void> {
  const again = await Wallet.open({ seed, keyset: network.keyset.keyset, store: createMemoryStore() })
  const { vault } = network.deployment()
  const depositOf = async (claimKey: Hex) => {
    const args = [network.keyset.id, claimKey] as const
    const contract = { address: vault, abi: creditVaultAbi } as const
    const deposit = await network.client.readContract({ ...contract, functionName: 'depositOf', args })
    return deposit.state === 0 ? undefined : DEPOSIT_SIZES[deposit.size]
  }
  await restoreWallet(again, { ...access, depositOf })
  expect(again.balance.spendable).toBe(wallet.balance.spendable)
}

async function exitOne(wallet: Wallet, account: AccountName): Promise<void> {
  const access = await openVault(network.client, network.deployment().registry)
  const signer = signerOfWallet(network.wallet(account))
  const now = async () => Number((await network.client.getBlock()).timestamp)
  await startExits([wallet], 1n, network.account(account).address, await now())
  const report = await advanceExits(wallet, {
    readExits: (credits) => readExits(access, credits),
    allowance: (keyset) => readExitAllowance(access, keyset),
    now,
    sender: {
      open: (keyset, recipient, credits) => openExits(access, signer, keyset, recipient, credits),
      finish: (credits) => finishExits(access, signer, credits),
    },
  })
  expect(report.waiting).toHaveLength(1)
}

/** Answers a function that answers what was seen since it was last called. */
async function recorder(): Promise<() => Promise<View>> {
  let [exchanges, gatewayEntries, issuerEntries] = [
    relay.exchanges.length,
    entriesOf('gateway').length,
    entriesOf('issuer').length,
  ]
  let block = await network.client.getBlockNumber()
  return async () => {
    const [gateway, issuer] = [entriesOf('gateway'), entriesOf('issuer')]
    const view: View = {
      relay: relay.exchanges.slice(exchanges),
      gateway: gateway.slice(gatewayEntries),
      issuer: issuer.slice(issuerEntries),
      chain: await vaultCallsSince(block),
    }
    ;[exchanges, gatewayEntries, issuerEntries] = [relay.exchanges.length, gateway.length, issuer.length]
    block = await network.client.getBlockNumber()
    return view
  }
}

function entriesOf(role: 'gateway' | 'issuer'): Entry[] {
  const text = readFileSync(join(network.folder, `${role}.transcript`), 'utf8')
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Entry)
}

/** What users do at the vault. When aggregators settle is their own business and not in it. */
async function vaultCallsSince(block: bigint): Promise<View['chain']> {
  const calls: { name: string; bytes: number }[] = []
  const latest = await network.client.getBlockNumber()
  for (let blockNumber = block + 1n; blockNumber <= latest; blockNumber++) {
    const { transactions } = await network.client.getBlock({ blockNumber, includeTransactions: true })
    for (const { to, input } of transactions) {
      if (to?.toLowerCase() !== network.deployment().vault) continue
      const { functionName } = decodeFunctionData({ abi: creditVaultAbi, data: input })
      calls.push({ name: functionName, bytes: fromHex(input).length })
    }
  }
  return calls
}

/** What everybody knows: it may occur anywhere. */
function publicValues(): Buffer[] {
  const { registry, settlement, vault, token } = network.deployment()
  return [...[network.keyset.id, registry, settlement, vault, token].map(decoded), Buffer.from('application/json')]
}

const shared = (a: readonly Buffer[], b: readonly Buffer[]) => sharedWindows(a, b, publicValues())
const requestsOf = (entries: readonly Entry[]) => entries.filter(({ kind }) => kind !== 'response')
const pathsOf = (entries: readonly Entry[]) =>
  entries.flatMap((entry) => (entry.kind === 'request' ? [entry.path] : []))
const postsOf = (exchanges: readonly Exchange[]) => exchanges.filter(({ method }) => method === 'POST')
const bodiesOf = (exchanges: readonly Exchange[]) =>
  postsOf(exchanges).flatMap(({ request, response }) => [request, response])

/** How often somebody had to ask again before a deposit was final is a matter of milliseconds. */
const once = (shapes: readonly unknown[]) => [...new Set(shapes)].sort()

function shapeOf(phase: keyof Run, view: View): Record<keyof View, unknown> {
  const relayStrands = shapeOfExchanges(view.relay)
  const issuerShapes = shapeOfEntries(view.issuer)
  const isBuying = phase === 'purchases'
  return {
    relay: isBuying ? Object.entries(relayStrands).map(([path, shapes]) => [path, once(shapes)]) : relayStrands,
    gateway: shapeOfEntries(view.gateway),
    issuer: isBuying ? once(issuerShapes) : issuerShapes,
    chain: view.chain,
  }
}

describe('two runs with the buyers swapped', () => {
  it('show relay, gateway, issuer and chain the same structure and the same lengths', () => {
    const [first, second] = runs
    for (const phase of ['purchases', 'spending', 'others', 'spendingAgain'] as const) {
      const [a, b] = [shapeOf(phase, first[phase]), shapeOf(phase, second[phase])]
      for (const who of ['relay', 'gateway', 'issuer', 'chain'] as const)
        expect(b[who], `${who}, ${phase}`).toEqual(a[who])
    }
  })

  it('and within one run one payer looks like the other', () => {
    for (const { spending } of runs) {
      const payments = spending.issuer.filter(({ kind }) => kind === 'payment').map(shapeOfEntry)
      expect(payments).toHaveLength(2)
      expect(payments[0]).toEqual(payments[1])
    }
  })
})

describe('what is held from before', () => {
  it('the issuer finds nothing of a purchase, a restore or an exit again in what it sees at spending', () => {
    for (const { purchases, spending, others, spendingAgain } of runs) {
      const atSpending = valuesOf([...spending.issuer, ...spendingAgain.issuer])
      expect(atSpending.length).toBeGreaterThan(10)
      expect(shared(valuesOf(purchases.issuer), atSpending)).toEqual([])
      // What it publishes of past spendings it gives to everybody; what it is asked is what could betray somebody.
      expect(shared(valuesOf(requestsOf(others.issuer)), atSpending)).toEqual([])
    }
  })

  it('the relay finds nothing of a purchase, a restore or a spending again in what it carries at the next one', () => {
    const phases = runs.flatMap(({ purchases, spending, others, spendingAgain }) => [
      purchases,
      spending,
      others,
      spendingAgain,
    ])
    for (const [i, { relay: carried }] of phases.entries()) {
      expect(postsOf(carried).length).toBeGreaterThan(1)
      const before = phases.slice(0, i).flatMap((phase) => bodiesOf(phase.relay))
      expect(shared(before, bodiesOf(carried))).toEqual([])
    }
  })

  it('the relay sees few lengths of what is sealed to the issuer, and of what it answers', () => {
    const toIssuer = runs
      .flatMap((phases) => Object.values(phases))
      .flatMap(({ relay: carried }) => postsOf(carried).filter(({ path }) => path.endsWith('/issuer')))
    const overhead = Math.min(...toIssuer.map(({ request }) => request.length)) - KIB
    const requests = new Set(toIssuer.map(({ request }) => request.length - overhead))
    // Every question; and the outputs of a deposit.
    expect([...requests].sort()).toEqual([KIB, 8 * KIB])
    // Refusals and keysets; the signatures of a deposit; tiles and pages.
    const answers = new Set(toIssuer.map(({ response }) => Math.floor(response.length / (4 * KIB))))
    expect([...answers].sort((a, b) => a - b)).toEqual([1, 2, 17])
  })

  it('the gateway sees neither payer nor claim key nor anything else of a purchase', () => {
    for (const { purchases, spending, spendingAgain } of runs) {
      const atGateway = valuesOf([...spending.gateway, ...spendingAgain.gateway])
      const accounts = (['buyer', 'protocol'] as const).map((name) => decoded(network.account(name).address))
      expect(shared([...valuesOf(purchases.issuer), ...accounts], atGateway)).toEqual([])
    }
  })

  it('gateway and issuer find nothing of one request again in the next one of the same payer', () => {
    for (const { spending, spendingAgain } of runs) {
      const payments = spending.issuer.flatMap((entry) => (entry.kind === 'payment' ? [bytesOf(entry.plaintext)] : []))
      const gateways = payments.map((payment) => decoded(decodePayment(payment).enclave))
      const known = [...publicValues(), ...gateways, ...[QUESTION, TEST_MODEL].map((text) => Buffer.from(text))]
      for (const who of ['gateway', 'issuer'] as const) {
        const [first, second] = [spending, spendingAgain].map((view) => valuesOf(requestsOf(view[who])))
        expect(sharedWindows(first ?? [], second ?? [], known), who).toEqual([])
      }
    }
  })

  it('a restore asks the issuer what everybody asks: for all payments, and for all spent credits', () => {
    for (const { others } of runs) {
      const { id } = network.keyset
      expect(pathsOf(others.issuer)).toEqual(['/v1/issue', `/v1/change/${id}/`, `/v1/spent/${id}/0`])
    }
  })

  it('and the comparison would see it: a purchase shares its claim key with the chain', () => {
    const [{ purchases }] = runs
    const claim = purchases.issuer.flatMap((entry) =>
      entry.kind === 'request' && entry.path === '/v1/issue'
        ? [decoded((JSON.parse(bytesOf(entry.body).toString()) as { claimKey: string }).claimKey)]
        : [],
    )
    expect(claim.length).toBeGreaterThan(0)
    expect(shared(claim, valuesOf(purchases.issuer)).length).toBeGreaterThan(0)
  })
})
