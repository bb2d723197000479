/** Wallets on a real network: purchases, restoring and exits over a chain and a relay. What they need is written as ports in buy.ts, restore.ts and exit.ts. @module */
import type { PublicClient } from 'viem'
import {
  chooseKeyset,
  openVault,
  readChainTime,
  readKeysets,
  type VaultAccess,
  type VaultKeyset,
} from '#chain/vault.ts'
import { countDeposits, readDeposit, readDepositAnswer, readDeposits } from '#chain/vaultDeposits.ts'
import { VaultError } from '#chain/vaultErrors.ts'
import { finishExits, openExits, readExitAllowance, readExits, readOpenedExits } from '#chain/vaultExits.ts'
import { type DepositWay, makeDeposit } from '#chain/vaultPayIn.ts'
import type { ChainSigner } from '#chain/vaultSigner.ts'
import type { Hex } from '#protocol/bytes.ts'
import type { Purchase } from '#protocol/credits/purchase.ts'
import type { SealingSuites } from '#protocol/sealing/suite.ts'
import { createWebSuites } from '#protocol/sealing/webSuites.ts'
import { SealpathError } from '../errors.ts'
import type { Network } from '../gateway.ts'
import type { WalletAccount } from './account.ts'
import { type DelayRange, type Depositor, drawDelay, type PurchasePorts } from './buy.ts'
import { ChangeTiles } from './changeTiles.ts'
import type { ExitPorts, ExitSender } from './exit.ts'
import { findKeysetIssuer, type IssuerAccess } from './issuerAccess.ts'
import { type Postponed, type Restored, resolvePayment, restoreWallet } from './restore.ts'
import type { Wallet } from './wallet.ts'

export type PurchasingOptions = {
  readonly client: PublicClient
  /** Address of EnclaveRegistry: the vault is found from it. */
  readonly registry: Hex
  /** The relay that requests go through. */
  readonly relayUrl: string
  /** Another one for purchases and restoring, so that no relay sees one address buy and spend. */
  readonly purchaseRelayUrl?: string
  /** Block from which the vault exists: spares reading all before it. */
  readonly fromBlock?: bigint
  readonly timeoutMs?: number
}

export type Purchasing = {
  readonly access: VaultAccess
  readonly purchasePorts: PurchasePorts
  /** All keysets of the vault, newest first; read once. Throws `VaultError`. */
  keysets(): Promise<readonly VaultKeyset[]>
  /** The account's wallet of the keyset to buy in, which signs for `seconds` more at least. Throws `VaultError` (`NO_KEYSET`). */
  buyingWallet(account: WalletAccount, seconds: number): Promise<Wallet>
  /** Whoever deposits, in the best way that the token knows or in the given one. */
  depositor(signer: ChainSigner, way?: DepositWay): Depositor
  exitPorts(signer?: ChainSigner): ExitPorts
  /**
   * Finds everything of the account's seed in every keyset; an interruption is made up for by calling it again. Deposits that are younger than the pause may
   * be are left open: asking about one at once would undo it. Throws `VaultError` before anything was restored.
   */
  restore(account: WalletAccount, delay: DelayRange): Promise<RestoredAccount>
  /** Asks after every payment whose change did not come. Answers how many it closed. Throws `SealpathError`. */
  recover(wallet: Wallet): Promise<number>
}

/** What can be spent, and the keysets that have to be restored later. */
export type RestoredAccount = Restored & {
  readonly failures: readonly { readonly keyset: Hex; readonly message: string }[]
}

const TIMEOUT_MS = 30_000

/** Throws `VaultError` (`CHAIN_FAILED`). */
export async function openPurchasing(options: PurchasingOptions): Promise<Purchasing> {
  const { client, registry, relayUrl, purchaseRelayUrl = relayUrl, timeoutMs = TIMEOUT_MS } = options
  const { fromBlock } = options
  const access = await openVault(client, registry, fromBlock === undefined ? {} : { fromBlock })
  const network: Network = { ...access, relayUrl: purchaseRelayUrl }
  const suites = createWebSuites()
  let known: Promise<readonly VaultKeyset[]> | undefined
  const keysets = (): Promise<readonly VaultKeyset[]> => {
    known ??= readKeysets(access).catch((error: unknown) => {
      known = undefined
      throw error
    })
    return known
  }
  /** Keysets that are being signed in change by the week, and this process may live longer. */
  const newestKeysets = (): Promise<readonly VaultKeyset[]> => {
    known = undefined
    return keysets()
  }
  const openedIn = async (id: Hex): Promise<bigint> =>
    (await keysets()).find((keyset) => keyset.id === id)?.block ?? access.fromBlock
  const now = async (): Promise<number> => Math.max(await readChainTime(access), Math.floor(Date.now() / 1000))
  const issuerOf = issuerFinder({ access, network, suites, timeoutMs })
  return {
    access,
    keysets,
    purchasePorts: {
      depositOf: (keyset, claimKey) => readDeposit(access, keyset, claimKey),
      answerOf: async (keyset, claimKey) => readDepositAnswer(access, keyset, claimKey, await openedIn(keyset)),
      issue: async (wallet, purchase) => (await issuerOf(wallet.keysetId)).issue(purchase),
      hidesAmong: async (keyset, units) => countDeposits(access, keyset, units, await openedIn(keyset)),
      isRelayShared: new URL(relayUrl).origin === new URL(purchaseRelayUrl).origin,
      now,
      sleep,
    },
    async buyingWallet(account, seconds) {
      const { keyset } = await chooseKeyset(access, await newestKeysets(), (await now()) + seconds)
      return account.walletOf(keyset)
    },
    depositor: (signer, way) => ({
      payer: signer.address,
      deposit: async (request) => (await makeDeposit(access, signer, request, way)).transaction,
    }),
    exitPorts: (signer) => exitPorts(access, signer),
    async recover(wallet) {
      const { openPayments } = wallet
      if (openPayments.length === 0) return 0
      const issuer = await issuerOf(wallet.keysetId)
      const tiles = new ChangeTiles((prefix) => issuer.changeTile(prefix))
      let closed = 0
      for (const { id } of openPayments) if ((await resolvePayment(wallet, id, tiles)) !== 'pending') closed++
      return closed
    },
    restore: (account, delay) => restoreAccount({ access, account, delay, now, issuerOf }, newestKeysets),
  }
}

type Restoring = {
  readonly access: VaultAccess
  readonly account: WalletAccount
  readonly delay: DelayRange
  readonly now: () => Promise<number>
  readonly issuerOf: IssuerFinder
}

/** Which keysets were used is read from the chain first; then each is restored by itself, so that one whose issuer is gone keeps no other back. */
async function restoreAccount(
  restoring: Restoring,
  readAll: () => Promise<readonly VaultKeyset[]>,
): Promise<RestoredAccount> {
  const { access, account } = restoring
  await account.beginRestoring()
  const used: { readonly keyset: VaultKeyset; readonly deposits: ReadonlyMap<Hex, bigint> }[] = []
  for (const keyset of (await readAll()).toReversed()) {
    const deposits = await readDeposits(access, keyset.id, keyset.block)
    const keys = account.keysOf(keyset.keyset)
    const claimKeys = Array.from({ length: LOOKS }, (_, number) => keys.claimKeyOf(number).toLowerCase() as Hex)
    if (claimKeys.some((claimKey) => deposits.has(claimKey))) used.push({ keyset, deposits })
  }
  await account.keepKeysets(used.map(({ keyset }) => keyset.keyset))
  let [credits, units] = [0, 0n]
  const failures: RestoredAccount['failures'][number][] = []
  for (const { keyset, deposits } of used) {
    const wallet = account.wallets.find(({ keysetId }) => keysetId === keyset.id)
    if (wallet === undefined) continue
    try {
      const found = await restoreKeyset(restoring, wallet, keyset, deposits)
      await account.endRestoring(keyset.id)
      credits += found.credits
      units += found.units
    } catch (error) {
      if (!(error instanceof SealpathError) && !(error instanceof VaultError)) throw error
      failures.push({ keyset: keyset.id, message: error.message })
    }
  }
  return { credits, units, failures }
}

type IssuerFinder = (keyset: Hex) => Promise<IssuerAccess>

/** Finds the issuer of a keyset, once for each as long as it does not fail. */
function issuerFinder(options: {
  readonly access: VaultAccess
  readonly network: Network
  readonly suites: SealingSuites
  readonly timeoutMs: number
}): IssuerFinder {
  const { access, network, suites, timeoutMs } = options
  const { chainId, vault } = access
  const found = new Map<Hex, Promise<IssuerAccess>>()
  return (keyset) => {
    const known = found.get(keyset)
    if (known !== undefined) return known
    const finding = findKeysetIssuer(network, { suites, chainId, vault, keyset, timeoutMs }).then(
      (issuer) => issuer.access,
    )
    found.set(keyset, finding)
    finding.catch(() => found.delete(keyset))
    return finding
  }
}

/** Claim keys that are looked for before a keyset is taken for unused: more than restoring counts over. */
const LOOKS = 8

async function restoreKeyset(
  restoring: Restoring,
  wallet: Wallet,
  { id, block }: VaultKeyset,
  deposits: ReadonlyMap<Hex, bigint>,
): Promise<Restored> {
  const { access, issuerOf } = restoring
  const issuer = await issuerOf(id)
  return restoreWallet(wallet, {
    changeTile: (prefix) => issuer.changeTile(prefix),
    spentPage: (from) => issuer.spentPage(from),
    depositOf: async (claimKey) => deposits.get(claimKey.toLowerCase() as Hex),
    issue: (purchase) => issueAgain(restoring, id, block, issuer, purchase),
    openedExits: () => readOpenedExits(access, id, block),
  })
}

/** The same signatures again: from the chain where the issuer had to post them, from the issuer otherwise. */
async function issueAgain(
  { access, delay, now }: Restoring,
  keyset: Hex,
  block: bigint,
  issuer: IssuerAccess,
  purchase: Purchase,
): Promise<readonly Uint8Array[] | Postponed> {
  const deposit = await readDeposit(access, keyset, purchase.claimKey)
  if (deposit?.state === 'answered') {
    const posted = await readDepositAnswer(access, keyset, purchase.claimKey, block)
    if (posted !== undefined) return posted
  }
  const isFresh = deposit?.state === 'open' && (await now()) < deposit.depositedAt + delay.maximumSeconds
  return isFresh ? { delaySeconds: drawDelay(delay) } : issuer.issue(purchase)
}

function exitPorts(access: VaultAccess, signer: ChainSigner | undefined): ExitPorts {
  const ports = {
    readExits: (credits: readonly Hex[]) => readExits(access, credits),
    allowance: (keyset: Hex) => readExitAllowance(access, keyset),
    now: () => readChainTime(access),
  }
  if (signer === undefined) return ports
  const sender: ExitSender = {
    open: (keyset, recipient, credits) => openExits(access, signer, keyset, recipient, credits),
    finish: (credits) => finishExits(access, signer, credits),
  }
  return { ...ports, sender }
}

function sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted()
    const onAbort = () => {
      clearTimeout(timer)
      reject(signal?.reason)
    }
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', onAbort)
      resolve()
    }, milliseconds)
    signal?.addEventListener('abort', onAbort, { once: true })
  })
}
