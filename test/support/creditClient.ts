/** A client as a process of its own: the SDK over a wallet in a file, told by its parent what to do. Interface: creditClientApi.ts. @module */
import { readFileSync } from 'node:fs'
import { createPublicClient, createWalletClient, http, type PublicClient } from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import { hardhat } from 'viem/chains'
import { signerOfWallet } from '#chain/vaultSigner.ts'
import { fromHex, type Hex, toHex } from '#protocol/bytes.ts'
import { DEPOSIT_SIZES } from '#protocol/credits/purchase.ts'
import { keccak256 } from '#protocol/hash.ts'
import { openWalletFile } from '../../offchain/cli/walletFile.ts'
import { connect, type SealedClient } from '../../offchain/sdk/connect.ts'
import { SealpathError } from '../../offchain/sdk/errors.ts'
import { type AccountStore, WalletAccount } from '../../offchain/sdk/wallet/account.ts'
import type { AccountState } from '../../offchain/sdk/wallet/accountState.ts'
import { advancePurchase, NO_DELAY, startPurchase } from '../../offchain/sdk/wallet/buy.ts'
import { advanceExits, startExits } from '../../offchain/sdk/wallet/exit.ts'
import { openPurchasing, type Purchasing } from '../../offchain/sdk/wallet/purchasing.ts'
import type { Wallet } from '../../offchain/sdk/wallet/wallet.ts'
import { WalletError } from '../../offchain/sdk/wallet/walletError.ts'
import type { OpenPayment } from '../../offchain/sdk/wallet/walletState.ts'
import type { Asked, ClientCommand, ClientEvent, CreditClientConfig, Holdings, MadePayment } from './creditClientApi.ts'

const config = JSON.parse(process.env.SEALPATH_CREDIT_CLIENT ?? '') as CreditClientConfig
const TIMEOUT_MS = 20_000
/** Long enough for a gateway's retries, and short enough for a test. */
const MAX_TOKENS = 32

const key = readFileSync(config.keyFile, 'utf8').trim() as Hex
const chain = { ...hardhat, rpcUrls: { default: { http: [config.rpcUrl] } } }
const transport = http(config.rpcUrl)
const client = createPublicClient({ chain, transport, pollingInterval: 100 }) as PublicClient
const signer = signerOfWallet(createWalletClient({ chain, transport, account: privateKeyToAccount(key) }))

let storing: PromiseWithResolvers<void> | undefined
let lastPayment: Hex = '0x'
const known = new Set<Hex>()

let purchasing: Promise<Purchasing> | undefined
let sealed: Promise<SealedClient> | undefined
const account = await openAccount()

process.on('message', (message: { readonly call: number; readonly command: ClientCommand }) => {
  const { call, command } = message
  carryOut(command).then(
    (value) => tell({ event: 'done', call, value }),
    (error: unknown) => tell({ event: 'failed', call, message: error instanceof Error ? (error.stack ?? '') : '' }),
  )
})
// The parent is gone: nobody needs this process.
process.on('disconnect', () => process.exit(0))
await tell({ event: 'started' })

async function openAccount(): Promise<WalletAccount> {
  const { store } = await openWalletFile(config.walletFile, 'correct horse')
  const state = await store.load()
  for (const { id } of paymentsOf(state)) known.add(id)
  const watched: AccountStore = { load: () => store.load(), save: (next) => watch(store, next) }
  if (state !== undefined) return WalletAccount.open(watched)
  const access = (await openMoney()).access
  const { chainId, vault } = access
  return WalletAccount.create(watched, { seed: fromHex(config.seed, 32), chainId, vault, isRestoring: false })
}

/** Tells of every payment before it is stored, and so before it leaves. */
async function watch(store: AccountStore, next: AccountState): Promise<void> {
  const payments = paymentsOf(next)
  for (const payment of payments) {
    if (known.has(payment.id)) continue
    known.add(payment.id)
    lastPayment = payment.id
    await tell({ event: 'paying', payment: describe(payment) })
  }
  const isClosing = [...known].some((id) => !payments.some((payment) => payment.id === id))
  if (storing !== undefined && isClosing) {
    await tell({ event: 'storing' })
    await storing.promise
    storing = undefined
  }
  for (const id of known) if (!payments.some((payment) => payment.id === id)) known.delete(id)
  await store.save(next)
}

function paymentsOf(state: AccountState | undefined): readonly OpenPayment[] {
  return (state?.keysets ?? []).flatMap((entry) => entry.state.payments)
}

function describe({ id, enclave: gateway, firstBlank, credits }: OpenPayment): MadePayment {
  const { keys } = requireWallet()
  return {
    id,
    gateway,
    locator: toHex(keccak256(keys.blank(firstBlank))),
    credits: credits.map((credit) => ({ id: keys.idOf(credit), exponent: credit.exponent })),
  }
}

function requireWallet(): Wallet {
  const [wallet] = account.wallets
  if (wallet === undefined) throw new Error('expected a wallet of a keyset')
  return wallet
}

function openMoney(): Promise<Purchasing> {
  const { registry, relayUrl } = config
  purchasing ??= openPurchasing({ client, registry, relayUrl, timeoutMs: TIMEOUT_MS })
  return purchasing
}

function openSealed(): Promise<SealedClient> {
  const { rpcUrl, relayUrl, registry } = config
  sealed ??= connect({
    rpcUrl,
    relayUrl,
    registry,
    wallet: account,
    timeoutMs: TIMEOUT_MS,
    onStep(step) {
      if (step.kind !== 'receipt-verified') return
      void tell({ event: 'receipt', payment: lastPayment, fee: step.feeUnits.toString() })
    },
  })
  sealed.catch(() => {
    sealed = undefined
  })
  return sealed
}

async function carryOut(command: ClientCommand): Promise<unknown> {
  switch (command.do) {
    case 'buy':
      return buy()
    case 'ask':
      return ask()
    case 'recover':
      return (await openSealed()).recover()
    case 'restore':
      return (await (await openMoney()).restore(account, NO_DELAY)).failures.map(({ message }) => message)
    case 'holdings':
      return holdings()
    case 'exit':
      return exit(BigInt(command.units), command.recipient)
    case 'stopBeforeStoring':
      storing = Promise.withResolvers<void>()
      return null
    case 'store':
      storing?.resolve()
      return null
    case 'reconnect':
      sealed = undefined
      purchasing = undefined
      return null
  }
}

async function buy(): Promise<string> {
  const { purchasePorts, depositor, buyingWallet } = await openMoney()
  const wallet = await buyingWallet(account, 600)
  const number = await startPurchase(wallet, DEPOSIT_SIZES[0] ?? 0n, purchasePorts, { delay: NO_DELAY })
  const options = { depositor: depositor(signer), waits: true }
  return (await advancePurchase(wallet, number, purchasePorts, options)).state
}

async function ask(): Promise<Asked> {
  const messages = [{ role: 'user', content: 'What happens to my credits?' }]
  const body = JSON.stringify({ model: config.model, stream: true, max_tokens: MAX_TOKENS, messages })
  try {
    const client = await openSealed()
    const headers = { 'content-type': 'application/json' }
    const response = await client.fetch(`${client.baseURL}/chat/completions`, { method: 'POST', headers, body })
    const text = await response.text()
    if (response.status === 200) {
      await client.receiptOf(response)
      await client.idle()
    }
    return { status: response.status, text }
  } catch (error) {
    if (!(error instanceof SealpathError) && !(error instanceof WalletError)) throw error
    return { status: 0, text: '', code: error.code, message: error.message }
  }
}

function holdings(): Holdings {
  const { credits, keys, openPayments } = requireWallet()
  return {
    open: openPayments.map(({ id }) => id),
    credits: credits.map((credit) => {
      const { exponent, exitKey, secret, signature } = keys.spent(credit)
      return { exponent, exitKey, secret: toHex(secret), signature: toHex(signature) }
    }),
  }
}

/** Answers the units that the vault waits to pay. */
async function exit(units: bigint, recipient: Hex): Promise<string> {
  const wallet = requireWallet()
  await startExits([wallet], units, recipient, Math.floor(Date.now() / 1000))
  const report = await advanceExits(wallet, (await openMoney()).exitPorts(signer))
  return report.waiting.reduce((sum, waiting) => sum + waiting.units, 0n).toString()
}

function tell(event: ClientEvent): Promise<void> {
  return new Promise((resolve, reject) => {
    process.send?.(event, (error: Error | null) => (error === null ? resolve() : reject(error)))
  })
}
