/** Money through a whole network: a deposit becomes credits, a request is paid, change comes back, a clearing credits the operator. Every role a process. @module */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import OpenAI from 'openai'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { creditVaultAbi, enclaveRegistryAbi, receiptSettlementAbi, testOPGAbi } from '#chain/generated/abis.ts'
import { advanceApproval, advanceKeyset } from '#chain/timelock.ts'
import { measureSources } from '#node/attesters/sourcePcrs.ts'
import type { Hex } from '#protocol/bytes.ts'
import { DEPOSIT_SIZES } from '#protocol/credits/purchase.ts'
import { measurementOf } from '#protocol/evidence/measurement.ts'
import { ENCLAVE_ROLE } from '#protocol/evidence/statement.ts'
import { createWebSuites } from '#protocol/sealing/webSuites.ts'
import { AgentStatusSchema } from '#protocol/wire/agentApi.ts'
import { parseJson } from '#protocol/wire/json.ts'
import { encodeKeys, generateKeyset, type SecretKeyset, writeKeysetFile } from '../../offchain/issuer/keysetKeys.ts'
import { connect } from '../../offchain/sdk/connect.ts'
import { findIssuers } from '../../offchain/sdk/gateway.ts'
import type { Step } from '../../offchain/sdk/options.ts'
import { accessIssuer } from '../../offchain/sdk/wallet/issuerAccess.ts'
import { restoreWallet } from '../../offchain/sdk/wallet/restore.ts'
import { Wallet, type WalletStore } from '../../offchain/sdk/wallet/wallet.ts'
import type { WalletState } from '../../offchain/sdk/wallet/walletState.ts'
import { DEMO_MODEL, demoPrices } from '../../scripts/local/demoPrices.ts'
import { type AccountName, type LocalNetwork, startLocalNetwork } from '../../scripts/local/network.ts'
import { isReady, Processes, waitFor } from '../../scripts/local/processes.ts'

const PORT = 19_545
const REPOSITORY = fileURLToPath(new URL('../../', import.meta.url))
const ONE_OPG = DEPOSIT_SIZES[0] ?? 0n
const ISSUER_BOND = 10_000_000_000n
const UNIT = 10n ** 12n
const SEED = new Uint8Array(32).fill(11)
const port = {
  issuer: PORT + 20,
  issuerAgent: PORT + 21,
  issuerDatabase: PORT + 22,
  issuerOperator: PORT + 23,
  gateway: PORT + 24,
  gatewayAgent: PORT + 25,
  gatewayOperator: PORT + 26,
  relay: PORT + 27,
}
const urlOf = (name: keyof typeof port) => `http://127.0.0.1:${port[name]}`

let network: LocalNetwork
let folder: string
let processes: Processes
let keyset: SecretKeyset

beforeAll(async () => {
  network = await startLocalNetwork({
    port: PORT,
    onCrash: (error) => {
      throw error
    },
  })
  folder = mkdtempSync(join(tmpdir(), 'sealpath-credits-'))
  processes = new Processes(folder, (error) => {
    throw error
  })
  await startIssuer()
  await startPaidGateway()
  start('relay-of-both', 'offchain/relay/main.ts', {
    listen: { host: '127.0.0.1', port: port.relay },
    operator: 'test',
    gateways: [
      { name: 'paid', url: urlOf('gateway') },
      { name: 'issuer', url: urlOf('issuer') },
    ],
  })
  await waitFor('the relay', () => isReady(urlOf('relay')), 30_000)
}, 240_000)

afterAll(async () => {
  await processes?.stopAll(10_000)
  await network?.stop()
  if (folder !== undefined && existsSync(folder)) rmSync(folder, { recursive: true, force: true })
}, 60_000)

function start(name: string, main: string, config: unknown): void {
  const file = join(folder, `${name}.json`)
  writeFileSync(file, JSON.stringify(config))
  processes.start(name, process.execPath, [join(REPOSITORY, main)], { SEALPATH_CONFIG: file })
}

function enclaveConfig() {
  const { chainId, registry, settlement } = network.deployment()
  return {
    chain: { chainId, registry, settlement, operator: network.account('operator').address },
    attester: { kind: 'development', rootFile: join(network.folder, 'development-root.json') },
  }
}

function startAgent(name: 'issuerOperator' | 'gatewayOperator', gatewayAgentUrl: string): void {
  start(name, 'offchain/operator/main.ts', {
    listen: { host: '127.0.0.1', port: port[name] },
    gatewayAgentUrl,
    rpcUrl: network.urls.rpc,
    registry: network.deployment().registry,
    accountKeyFile: join(network.folder, 'operator.key'),
    aggregators: [network.urls.aggregator],
    dataFolder: join(folder, name),
  })
}

async function startIssuer(): Promise<void> {
  const { chainId, registry, token, vault } = network.deployment()
  const now = Math.floor(Date.now() / 1000)
  const day = 86_400
  const times = { signUntil: now + day, spendUntil: now + 2 * day, exitUntil: now + 400 * day }
  keyset = generateKeyset({ chainId, vault }, times)
  const keyFile = join(folder, 'keyset.json')
  writeKeysetFile(keyFile, keyset)
  const { chain, attester } = enclaveConfig()
  start('issuer', 'offchain/issuer/main.ts', {
    listen: { host: '127.0.0.1', port: port.issuer },
    agentListen: { host: '127.0.0.1', port: port.issuerAgent },
    chain: { ...chain, vault, fromBlock: '0' },
    // Two endpoints of one node: the least that an issuer takes.
    rpcUrls: [network.urls.rpc, `${network.urls.rpc}/`],
    attester,
    keys: { files: [keyFile] },
    database: { folder: join(network.folder, 'issuer-database'), port: port.issuerDatabase },
    witnesses: { urls: [network.urls.aggregator], quorum: 1 },
  })
  await waitFor('the issuer', async () => (await fetch(`${urlOf('issuer')}/healthz`)).ok, 30_000)
  await approveIssuers()
  await send('operator', token, testOPGAbi, 'mint', [network.account('operator').address, ISSUER_BOND * UNIT])
  await send('operator', token, testOPGAbi, 'approve', [registry, ISSUER_BOND * UNIT])
  await send('operator', registry, enclaveRegistryAbi, 'depositBond', [
    network.account('operator').address,
    ISSUER_BOND,
  ])
  startAgent('issuerOperator', urlOf('issuerAgent'))
  await waitFor('the issuer registration', () => isReady(urlOf('issuerOperator')), 60_000)
  const status = await (await fetch(`${urlOf('issuerAgent')}/agent/status`)).text()
  const { enclave } = parseJson(AgentStatusSchema, status, 'issuer status').statement
  const access = { client: network.client, wallet: network.wallet('deployer'), ...network.deployment() }
  await advanceKeyset(access, { id: keyset.id, keys: encodeKeys(keyset.keyset), times, writer: enclave })
  await waitFor('the keyset', () => isReady(urlOf('issuer')), 60_000)
}

async function approveIssuers(): Promise<void> {
  const pcrs = measureSources(REPOSITORY, 'issuer')
  const [pcr0, pcr1, pcr2] = [0, 1, 2].map((index) => pcrs.get(index) ?? new Uint8Array(48))
  if (pcr0 === undefined || pcr1 === undefined || pcr2 === undefined) throw new Error('expected three PCRs')
  const measurement = measurementOf('development', pcr0, pcr1, pcr2)
  const access = { client: network.client, wallet: network.wallet('deployer'), ...network.deployment() }
  await advanceApproval(access, { role: ENCLAVE_ROLE.issuer, measurement })
}

async function startPaidGateway(): Promise<void> {
  start('paid-gateway', 'gateway/main.ts', {
    listen: { host: '127.0.0.1', port: port.gateway },
    agentListen: { host: '127.0.0.1', port: port.gatewayAgent },
    ...enclaveConfig(),
    backends: [{ kind: 'embedded' }],
    prices: JSON.parse(
      JSON.stringify(demoPrices([DEMO_MODEL], 'measured'), (_, value: unknown) =>
        typeof value === 'bigint' ? value.toString() : value,
      ),
    ),
    issuer: { url: urlOf('issuer'), vault: network.deployment().vault },
  })
  await waitFor('the paid gateway', async () => (await fetch(`${urlOf('gateway')}/healthz`)).ok, 30_000)
  startAgent('gatewayOperator', urlOf('gatewayAgent'))
  await waitFor('its registration', () => isReady(urlOf('gatewayOperator')), 60_000)
}

async function send(from: AccountName, address: Hex, abi: unknown, functionName: string, args: readonly unknown[]) {
  const hash = await network.wallet(from).writeContract({ address, abi, functionName, args } as never)
  const { status } = await network.client.waitForTransactionReceipt({ hash })
  if (status !== 'success') throw new Error(`${functionName} was reverted`)
}

function memoryStore(): WalletStore {
  let state: WalletState | undefined
  return {
    load: async () => state,
    async save(next) {
      state = next
    },
  }
}

async function issuerAccess() {
  const { chainId, registry, settlement, vault } = network.deployment()
  const relayUrl = urlOf('relay')
  const now = BigInt(Math.floor(Date.now() / 1000))
  const [issuer] = await findIssuers({ client: network.client, chainId, registry, settlement, relayUrl }, {}, now)
  if (issuer === undefined) throw new Error('expected an issuer behind the relay')
  return accessIssuer({ suites: createWebSuites(), issuer, chainId, vault, keyset: keyset.id, timeoutMs: 15_000 })
}

it('from deposit to credits, answer, change, clearing and the operator’s account, and back from the seed', async () => {
  const { registry, settlement, token, vault } = network.deployment()
  const wallet = await Wallet.open({ seed: SEED, keyset: keyset.keyset, store: memoryStore() })
  const purchase = await wallet.startPurchase(ONE_OPG)
  await send('sponsor', token, testOPGAbi, 'mint', [network.account('sponsor').address, ONE_OPG * UNIT])
  await send('sponsor', token, testOPGAbi, 'approve', [vault, ONE_OPG * UNIT])
  await send('sponsor', vault, creditVaultAbi, 'deposit', [keyset.id, 0, purchase.claimKey])
  const access = await issuerAccess()
  await waitFor('the deposit at finality', async () => (await access.issue(purchase)).length > 0, 30_000)
  await wallet.finishPurchase(purchase.number, await access.issue(purchase))
  expect(wallet.balance.spendable).toBe(ONE_OPG)

  const steps: Step[] = []
  const sealed = await connect({
    rpcUrl: network.urls.rpc,
    relayUrl: urlOf('relay'),
    registry,
    wallet,
    onStep: (step) => steps.push(step),
  })
  const openai = new OpenAI({ baseURL: sealed.baseURL, apiKey: 'none', fetch: sealed.fetch })
  const ask = () =>
    openai.chat.completions.create({
      model: DEMO_MODEL,
      messages: [{ role: 'user', content: 'What is Sealpath?' }],
      max_tokens: 64,
    })
  expect((await ask()).choices[0]?.message.content).toContain('Sealpath')
  await waitFor('the change', async () => steps.some(({ kind }) => kind === 'change-taken'), 10_000)
  const [fee] = steps.flatMap((step) => (step.kind === 'change-taken' ? [step.feeUnits] : []))
  const [receiptFee] = steps.flatMap((step) => (step.kind === 'receipt-verified' ? [step.feeUnits] : []))
  expect(fee).toBe(receiptFee)
  expect(wallet.balance).toMatchObject({ spendable: ONE_OPG - (fee ?? 0n), inPayments: 0n })

  const account = () =>
    network.client.readContract({
      address: settlement,
      abi: receiptSettlementAbi,
      functionName: 'accountOf',
      args: [sealed.gateway.enclave],
    })
  await waitFor(
    'head and clearing',
    async () => (await account()).earned === fee && (await account()).cleared === fee,
    60_000,
  )
  // Whichever came last, anyone may have credited what both agree on.
  await send('sponsor', settlement, receiptSettlementAbi, 'credit', [sealed.gateway.enclave])
  expect((await account()).credited).toBe(fee)

  // The same wallet on another machine, from nothing but its seed.
  const again = await Wallet.open({ seed: SEED, keyset: keyset.keyset, store: memoryStore() })
  const depositOf = async (claimKey: Hex) => {
    const deposit = await network.client.readContract({
      address: vault,
      abi: creditVaultAbi,
      functionName: 'depositOf',
      args: [keyset.id, claimKey],
    })
    return deposit.state === 0 ? undefined : DEPOSIT_SIZES[deposit.size]
  }
  await restoreWallet(again, { ...access, depositOf })
  expect(again.balance.spendable).toBe(wallet.balance.spendable)
}, 180_000)

it('without a wallet, or with an empty one, nothing is answered and nothing is charged', async () => {
  const { registry } = network.deployment()
  const ask = async (wallet: Wallet | undefined) => {
    const sealed = await connect({
      rpcUrl: network.urls.rpc,
      relayUrl: urlOf('relay'),
      registry,
      ...(wallet === undefined ? {} : { wallet }),
    })
    const body = JSON.stringify({ model: DEMO_MODEL, messages: [{ role: 'user', content: 'Hi' }], max_tokens: 8 })
    return sealed.fetch(`${sealed.baseURL}/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body,
    })
  }
  const refused = await ask(undefined)
  expect(refused.status).toBe(402)
  expect(await refused.json()).toMatchObject({ error: { type: 'insufficient_quota', code: 'payment_required' } })
  const empty = await Wallet.open({ seed: new Uint8Array(32), keyset: keyset.keyset, store: memoryStore() })
  await expect(ask(empty)).rejects.toMatchObject({ code: 'INSUFFICIENT' })
}, 60_000)
