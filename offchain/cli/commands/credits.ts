/** `sealpath credits`: the wallet. Buys, shows, restores, exits and refunds; whatever was interrupted goes on. @module */
import { existsSync } from 'node:fs'
import { isAddress, zeroAddress } from 'viem'
import { finishRefund, requestRefund } from '#chain/vaultDeposits.ts'
import type { Hex } from '#protocol/bytes.ts'
import { formatOpg } from '#protocol/credits/amounts.ts'
import { SEED_BYTES } from '#protocol/credits/derivation.ts'
import { WalletAccount } from '../../sdk/wallet/account.ts'
import {
  ANSWER_MARGIN_SECONDS,
  advancePurchase,
  advancePurchases,
  NO_DELAY,
  type PurchaseResult,
  startPurchase,
} from '../../sdk/wallet/buy.ts'
import { advanceExits, type ExitReport, startExits } from '../../sdk/wallet/exit.ts'
import type { PurchaseStep } from '../../sdk/wallet/steps.ts'
import { wordsOf } from '../../sdk/wallet/walletWords.ts'
import { addressOf, type Command, readArguments, say, UsageError } from '../command.ts'
import { openWalletFile } from '../walletFile.ts'
import {
  amountOf,
  delayOf,
  depositsOf,
  type Money,
  NETWORK_OPTIONS,
  NETWORK_USAGE,
  openAccount,
  openMoney,
  PURCHASE_OPTIONS,
  PURCHASE_USAGE,
  type PurchaseValues,
  readAccount,
  requireSigner,
  WALLET_OPTIONS,
  WALLET_USAGE,
  type WalletValues,
  walletPath,
  wayOf,
} from '../walletOptions.ts'
import { createStepTeller, describePurchase, sayBalance, sayExits } from '../walletReport.ts'
import { readPassphrase, readSeed } from '../walletTerminal.ts'

export const credits: Command = {
  name: 'credits',
  summary: 'Buy, show, restore, exit and refund the credits of a wallet',
  usage: `usage: sealpath credits buy AMOUNT --key-file FILE [options]
       sealpath credits balance [options]
       sealpath credits resume [options]
       sealpath credits restore [options]
       sealpath credits exit [AMOUNT] --to ADDRESS --key-file FILE [options]
       sealpath credits exit --cancel [options]
       sealpath credits refund --key-file FILE [options]

AMOUNT is OPG: bought in deposits of 1, 10 and 100 OPG; exited in any amount, all without one.

  buy       deposits, and asks for the credits after a pause; makes a new wallet and shows its 24 words if there is none
  balance   what the wallet holds and what is under way; asks nobody
  resume    goes on with purchases, payments and exits that were interrupted
  restore   finds everything again from the 24 words, on the terminal or standard input
  exit      turns credits back into OPG: opened now, drawn a day later with resume; --cancel gives back what was not opened
  refund    asks deposits back that the issuer did not answer within an hour, and draws them a day later

${WALLET_USAGE}
${NETWORK_USAGE}
${PURCHASE_USAGE}
  --delay MINUTES          pause between deposit and asking, like 30 or 10-60; 10-60 unless told, 0 on local chains
  --no-wait                deposits only: resume asks for the credits
  --way WAY                authorization (ERC-3009), permit (ERC-2612) or approve; the best that the token knows unless told`,
  async run([name, ...args]) {
    const command = COMMANDS.find((candidate) => candidate.name === name)
    if (command === undefined) {
      throw new UsageError(`say what to do: ${COMMANDS.map((candidate) => candidate.name).join(', ')}`)
    }
    return command.run(args)
  },
}

const COMMANDS: readonly { readonly name: string; run(args: string[]): Promise<number> }[] = [
  { name: 'buy', run: buy },
  { name: 'balance', run: balance },
  { name: 'resume', run: resume },
  { name: 'restore', run: restore },
  { name: 'exit', run: exit },
  { name: 'refund', run: refund },
]

const SHARED_OPTIONS = { ...WALLET_OPTIONS, ...NETWORK_OPTIONS, ...PURCHASE_OPTIONS } as const

async function buy(args: string[]): Promise<number> {
  const { values, positionals } = readArguments({
    args,
    allowPositionals: true,
    options: {
      ...SHARED_OPTIONS,
      delay: { type: 'string' },
      'no-wait': { type: 'boolean', default: false },
      way: { type: 'string' },
    },
  })
  const deposits = depositsOf(oneOf(positionals, 'an amount of OPG'))
  const way = wayOf(values.way)
  delayOf(values.delay, NO_DELAY)
  const money = await openMoney(values)
  const depositor = money.purchasing.depositor(requireSigner(money), way)
  const delay = delayOf(values.delay, money.delayDefault)
  return withAccount(values, money, { makesNew: true }, async (account) => {
    const { purchasing } = money
    const onStep = createStepTeller()
    const wallet = await purchasing.buyingWallet(account, delay.maximumSeconds + ANSWER_MARGIN_SECONDS)
    for (const units of deposits) {
      const number = await startPurchase(wallet, units, purchasing.purchasePorts, { delay, onStep })
      await advancePurchase(wallet, number, purchasing.purchasePorts, { depositor, waits: false, onStep })
    }
    const left = await collect(account, money, !values['no-wait'], onStep)
    sayBalance(account, nowSeconds())
    return left.some(({ state }) => state === 'unanswered') ? 1 : 0
  })
}

async function balance(args: string[]): Promise<number> {
  const { values, positionals } = readArguments({
    args,
    allowPositionals: true,
    options: { ...SHARED_OPTIONS },
  })
  noneOf(positionals)
  sayBalance(await readAccount(values), nowSeconds())
  return 0
}

async function resume(args: string[]): Promise<number> {
  const { values, positionals } = readArguments({
    args,
    allowPositionals: true,
    options: { ...SHARED_OPTIONS, 'no-wait': { type: 'boolean', default: false } },
  })
  noneOf(positionals)
  const money = await openMoney(values)
  return withAccount(values, money, { makesNew: false }, async (account) => {
    for (const wallet of account.usableWallets) {
      if (wallet.openPayments.length > 0) await money.purchasing.recover(wallet)
    }
    const left = await collect(account, money, !values['no-wait'])
    await goOnWithExits(account, money)
    sayBalance(account, nowSeconds())
    return left.some(({ state }) => state === 'unanswered') ? 1 : 0
  })
}

async function restore(args: string[]): Promise<number> {
  const { values, positionals } = readArguments({
    args,
    allowPositionals: true,
    options: { ...SHARED_OPTIONS, delay: { type: 'string' } },
  })
  noneOf(positionals)
  delayOf(values.delay, NO_DELAY)
  const money = await openMoney(values)
  const seed = existsSync(walletPath(values)) ? undefined : await readSeed()
  return withAccount(values, money, { makesNew: seed !== undefined, ...(seed && { seed }) }, async (account) => {
    const delay = delayOf(values.delay, money.delayDefault)
    const { units, failures } = await money.purchasing.restore(account, delay)
    for (const { keyset, message } of failures) {
      process.stderr.write(`keyset ${keyset} could not be restored: ${message}; run sealpath credits restore again\n`)
    }
    say(`restored ${formatOpg(units)}`)
    if (failures.length === 0) await collect(account, money, false)
    sayBalance(account, nowSeconds())
    return failures.length === 0 ? 0 : 1
  })
}

async function exit(args: string[]): Promise<number> {
  const { values, positionals } = readArguments({
    args,
    allowPositionals: true,
    options: { ...SHARED_OPTIONS, to: { type: 'string' }, cancel: { type: 'boolean', default: false } },
  })
  if (values.cancel) {
    noneOf(positionals)
    return cancelExits(values)
  }
  const units =
    positionals.length === 0 ? undefined : amountOf(oneOf(positionals, 'an amount'), 'what leaves the wallet')
  if (values.to === undefined) throw new UsageError('give --to, the address that is paid')
  const recipient = recipientOf(values.to)
  const money = await openMoney(values)
  requireSigner(money)
  return withAccount(values, money, { makesNew: false }, async (account) => {
    const wallets = account.usableWallets
    const isUnderWay = wallets.some(({ openExits }) => openExits.length > 0)
    const isEmpty = wallets.every(({ credits: held }) => held.length === 0)
    // Everything is on its way already: then this call only goes on.
    if (units !== undefined || !isEmpty || !isUnderWay) {
      const leaving = await startExits(wallets, units, recipient, await money.purchasing.purchasePorts.now())
      process.stderr.write(`${formatOpg(leaving)} leave the wallet\n`)
    }
    await goOnWithExits(account, money)
    return 0
  })
}

async function cancelExits(values: WalletValues): Promise<number> {
  const { file, account } = await openAccount(values)
  try {
    let back = 0n
    for (const wallet of account.usableWallets) back += await wallet.returnExits()
    say(`back in the wallet: ${formatOpg(back)}`)
    return 0
  } finally {
    file.close()
  }
}

async function refund(args: string[]): Promise<number> {
  const { values, positionals } = readArguments({ args, allowPositionals: true, options: { ...SHARED_OPTIONS } })
  noneOf(positionals)
  const money = await openMoney(values)
  const signer = requireSigner(money)
  return withAccount(values, money, { makesNew: false }, async (account) => {
    const { access, purchasePorts } = money.purchasing
    const now = await purchasePorts.now()
    for (const wallet of account.usableWallets) {
      const results = await advancePurchases(wallet, purchasePorts, { waits: false, onStep: createStepTeller() })
      for (const result of results) {
        const claimKey = wallet.keys.claimKeyOf(result.purchase)
        if (result.state === 'unanswered' && result.refundableAt <= now) {
          await requestRefund(access, signer, wallet.keysetId, claimKey)
          say(`asked back: ${formatOpg(result.units)}, to be drawn a day from now`)
        } else if (result.state === 'refundRequested' && result.refundReadyAt <= now) {
          await finishRefund(access, signer, wallet.keysetId, claimKey)
          await wallet.dropPurchase(result.purchase)
          say(`refunded: ${formatOpg(result.units)}`)
        } else {
          say(describePurchase(result) ?? `purchase ${result.purchase}: ${formatOpg(result.units)} bought after all`)
        }
      }
    }
    return 0
  })
}

/** Asks for the credits of every open purchase, and says what is left of each. */
async function collect(
  account: WalletAccount,
  { purchasing }: Money,
  waits: boolean,
  onStep: (step: PurchaseStep) => void = createStepTeller(),
): Promise<PurchaseResult[]> {
  const results = await Promise.all(
    account.usableWallets.map((wallet) => advancePurchases(wallet, purchasing.purchasePorts, { waits, onStep })),
  )
  const left = results.flat().filter(({ state }) => state !== 'bought')
  for (const result of left) process.stderr.write(`${describePurchase(result) ?? ''}\n`)
  return left
}

async function goOnWithExits(account: WalletAccount, { purchasing, signer }: Money): Promise<void> {
  for (const wallet of account.wallets) {
    if (wallet.openExits.length === 0) continue
    const report: ExitReport = await advanceExits(wallet, purchasing.exitPorts(signer))
    sayExits(report)
  }
}

/** Opens the wallet, or makes a new one where that is meant, and closes it afterwards. */
async function withAccount(
  values: WalletValues & PurchaseValues,
  { purchasing }: Money,
  { makesNew, seed }: { readonly makesNew: boolean; readonly seed?: Uint8Array },
  act: (account: WalletAccount) => Promise<number>,
): Promise<number> {
  const path = walletPath(values)
  const isNew = makesNew && !existsSync(path)
  const { chainId, vault } = purchasing.access
  const { file, account } = isNew ? await makeAccount(values, { chainId, vault }, seed) : await openAccount(values)
  try {
    if (account.chainId !== chainId || account.vault !== vault) {
      throw new UsageError(`the wallet ${path} is of vault ${account.vault} on chain ${account.chainId}`)
    }
    return await act(account)
  } finally {
    file.close()
  }
}

async function makeAccount(
  values: WalletValues,
  place: { readonly chainId: number; readonly vault: Hex },
  seed: Uint8Array | undefined,
): ReturnType<typeof openAccount> {
  const path = walletPath(values)
  const file = await openWalletFile(path, await readPassphrase(values['passphrase-file'], true))
  try {
    const own = seed ?? crypto.getRandomValues(new Uint8Array(SEED_BYTES))
    // Before it is stored: a wallet whose words nobody has seen must not come to hold anything.
    if (seed === undefined) process.stderr.write(wordsNotice(path, own))
    const options = { ...place, seed: own, isRestoring: seed !== undefined }
    return { file, account: await WalletAccount.create(file.store, options) }
  } catch (error) {
    file.close()
    throw error
  }
}

function wordsNotice(path: string, seed: Uint8Array): string {
  return `A new wallet, ${path}. Write down its 24 words: they are shown this once, and bring everything back if the file is lost.\n\n  ${wordsOf(seed)}\n\n`
}

/** Mixed case is a checksum (EIP-55), and then it has to be right: nobody brings back what went to a mistyped address. */
function recipientOf(text: string): Hex {
  const address = addressOf(text, '--to')
  const isMixed = /[a-f]/.test(address.slice(2)) && /[A-F]/.test(address.slice(2))
  if (isMixed && !isAddress(address)) throw new UsageError('--to has a wrong checksum: check it for typing errors')
  if (address === zeroAddress) throw new UsageError('--to is the zero address: what is paid to it is lost')
  return address.toLowerCase() as Hex
}

function oneOf(positionals: readonly string[], what: string): string {
  const text = positionals.join(' ')
  if (text === '') throw new UsageError(`give ${what}`)
  return text
}

function noneOf(positionals: readonly string[]): void {
  const [first] = positionals
  if (first !== undefined) throw new UsageError(`${first} is not expected here`)
}

function nowSeconds(): number {
  return Math.floor(Date.now() / 1000)
}
