/** Options that the commands with a wallet share, and what they open with them. @module */
import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { createPublicClient, http, type PublicClient } from 'viem'
import type { DepositWay } from '#chain/vaultPayIn.ts'
import type { ChainSigner } from '#chain/vaultSigner.ts'
import type { Hex } from '#protocol/bytes.ts'
import { formatOpg, parseOpg } from '#protocol/credits/amounts.ts'
import { DEPOSIT_SIZES } from '#protocol/credits/purchase.ts'
import { isLocalChain } from '#protocol/evidence/localChains.ts'
import { WalletAccount } from '../sdk/wallet/account.ts'
import { DELAY_DEFAULT, type DelayRange, NO_DELAY } from '../sdk/wallet/buy.ts'
import { openPurchasing, type Purchasing } from '../sdk/wallet/purchasing.ts'
import { openSigner, readKeyFile } from './account.ts'
import { addressOf, required, UsageError, urlOf } from './command.ts'
import { openWalletFile, readWalletFile, type WalletFile } from './walletFile.ts'
import { readPassphrase } from './walletTerminal.ts'

/** For `readArguments`. */
export const WALLET_OPTIONS = {
  wallet: { type: 'string' },
  'passphrase-file': { type: 'string' },
} as const

export const NETWORK_OPTIONS = {
  rpc: { type: 'string' },
  relay: { type: 'string' },
  registry: { type: 'string' },
} as const

export const PURCHASE_OPTIONS = {
  'purchase-relay': { type: 'string' },
  'from-block': { type: 'string' },
  'key-file': { type: 'string' },
} as const

export const WALLET_USAGE = `  --wallet FILE            the wallet, ~/.sealpath/wallet unless told  (SEALPATH_WALLET)
  --passphrase-file FILE   asked on the terminal if neither is given   (SEALPATH_PASSPHRASE)`

export const NETWORK_USAGE = `  --rpc URL                JSON-RPC endpoint of the chain              (SEALPATH_RPC)
  --relay URL              the relay                                   (SEALPATH_RELAY)
  --registry ADDRESS       EnclaveRegistry                             (SEALPATH_REGISTRY)`

export const PURCHASE_USAGE = `  --purchase-relay URL     another relay for purchases                 (SEALPATH_PURCHASE_RELAY)
  --key-file FILE          private key of the paying account, 0x hex   (SEALPATH_KEY_FILE)
  --from-block NUMBER      block that the vault was deployed in, or any before`

export type WalletValues = { readonly wallet?: string | undefined; readonly 'passphrase-file'?: string | undefined }
export type NetworkValues = {
  readonly rpc?: string | undefined
  readonly relay?: string | undefined
  readonly registry?: string | undefined
}
export type PurchaseValues = NetworkValues & {
  readonly 'purchase-relay'?: string | undefined
  readonly 'from-block'?: string | undefined
  readonly 'key-file'?: string | undefined
}

export function walletPath({ wallet }: WalletValues): string {
  return wallet ?? process.env.SEALPATH_WALLET ?? join(homedir(), '.sealpath', 'wallet')
}

/** Opens a wallet that exists. Throws `UsageError`, and what `openWalletFile` throws. */
export async function openAccount(values: WalletValues): Promise<{ file: WalletFile; account: WalletAccount }> {
  const path = requireWallet(values)
  const file = await openWalletFile(path, await readPassphrase(values['passphrase-file'], false))
  try {
    return { file, account: await WalletAccount.open(file.store) }
  } catch (error) {
    file.close()
    throw error
  }
}

/** Opens it to be looked at. */
export async function readAccount(values: WalletValues): Promise<WalletAccount> {
  const path = requireWallet(values)
  return WalletAccount.open(await readWalletFile(path, await readPassphrase(values['passphrase-file'], false)))
}

function requireWallet(values: WalletValues): string {
  const path = walletPath(values)
  if (existsSync(path)) return path
  throw new Error(
    `there is no wallet ${path}: sealpath credits buy makes one, sealpath credits restore finds one again`,
  )
}

export type NetworkAccess = {
  readonly rpcUrl: string
  readonly relayUrl: string
  readonly registry: Hex
}

/** Throws `UsageError` naming what is missing or wrong. */
export function networkOf(values: NetworkValues): NetworkAccess {
  return {
    rpcUrl: urlOf(required(values.rpc, '--rpc', 'SEALPATH_RPC'), '--rpc'),
    relayUrl: urlOf(required(values.relay, '--relay', 'SEALPATH_RELAY'), '--relay'),
    registry: addressOf(required(values.registry, '--registry', 'SEALPATH_REGISTRY'), '--registry'),
  }
}

export type Money = {
  readonly purchasing: Purchasing
  /** The paying account; undefined without a key file. */
  readonly signer: ChainSigner | undefined
  /** 10 to 60 minutes where something is at stake. */
  readonly delayDefault: DelayRange
}

/** Connects to the vault. Throws `UsageError`, `VaultError` (`CHAIN_FAILED`). */
export async function openMoney(values: PurchaseValues): Promise<Money> {
  const { rpcUrl, relayUrl, registry } = networkOf(values)
  const purchaseRelayUrl = values['purchase-relay'] ?? process.env.SEALPATH_PURCHASE_RELAY
  const fromBlock = values['from-block']
  if (fromBlock !== undefined && !/^\d{1,15}$/.test(fromBlock)) throw new UsageError('--from-block is a block number')
  const keyFile = values['key-file'] ?? process.env.SEALPATH_KEY_FILE
  const key = keyFile === undefined ? undefined : readKeyFile(keyFile)
  const client = createPublicClient({ transport: http(rpcUrl), pollingInterval: 500 }) as PublicClient
  const purchasing = await openPurchasing({
    client,
    registry,
    relayUrl,
    ...(purchaseRelayUrl === undefined ? {} : { purchaseRelayUrl: urlOf(purchaseRelayUrl, '--purchase-relay') }),
    ...(fromBlock === undefined ? {} : { fromBlock: BigInt(fromBlock) }),
  })
  const { chainId } = purchasing.access
  return {
    purchasing,
    signer: key === undefined ? undefined : openSigner(rpcUrl, chainId, key),
    delayDefault: isLocalChain(chainId) ? NO_DELAY : DELAY_DEFAULT,
  }
}

/** Throws `UsageError` without a key file. */
export function requireSigner({ signer }: Money): ChainSigner {
  if (signer === undefined) throw new UsageError('give --key-file, or set SEALPATH_KEY_FILE')
  return signer
}

/** Units of decimal OPG. Throws `UsageError` naming what it is for. */
export function amountOf(text: string, what: string): bigint {
  const units = parseOpg(text)
  if (units === undefined || units === 0n) {
    throw new UsageError(`${what} is an amount like 10 or 2.5 OPG, with at most six decimals`)
  }
  return units
}

const PURCHASES_MAX = 20

/** The deposits that an amount takes, largest first. Throws `UsageError` for an amount that no deposits make up. */
export function depositsOf(text: string): bigint[] {
  let rest = amountOf(text, 'what is bought')
  const deposits: bigint[] = []
  for (const size of DEPOSIT_SIZES.toReversed()) {
    for (; rest >= size && deposits.length <= PURCHASES_MAX; rest -= size) deposits.push(size)
  }
  if (deposits.length > PURCHASES_MAX) throw new UsageError(`buy at most ${PURCHASES_MAX} deposits at once`)
  if (rest === 0n) return deposits
  throw new UsageError(`credits are bought in ${DEPOSIT_SIZES.map(formatOpg).join(', ')}: give a whole number of OPG`)
}

/** One of the sizes of deposits. Throws `UsageError`. */
export function depositOf(text: string, option: string): bigint {
  const units = amountOf(text, option)
  if (DEPOSIT_SIZES.includes(units)) return units
  throw new UsageError(`${option} is one of ${DEPOSIT_SIZES.map(formatOpg).join(', ')}`)
}

/** Minutes, or a range of minutes. Throws `UsageError`. */
export function delayOf(text: string | undefined, otherwise: DelayRange): DelayRange {
  if (text === undefined) return otherwise
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text)
  const [minimum, maximum] = [Number(match?.[1]), Number(match?.[2] ?? match?.[1])]
  if (match === null || minimum > maximum) throw new UsageError('--delay is minutes, like 0, 30 or 10-60')
  return { minimumSeconds: 60 * minimum, maximumSeconds: 60 * maximum }
}

export function wayOf(text: string | undefined): DepositWay | undefined {
  if (text === undefined || text === 'authorization' || text === 'permit' || text === 'approve') return text
  throw new UsageError('--way is authorization, permit or approve')
}
