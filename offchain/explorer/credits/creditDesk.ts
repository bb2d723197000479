/** The page's own credit wallet: made here, kept here, filled by deposits, found again from its words. One page at a time has it open. @module */
import { createPublicClient, http, type PublicClient } from 'viem'
import type { ChainSigner } from '#chain/vaultSigner.ts'
import { SEED_BYTES } from '#protocol/credits/derivation.ts'
import { isLocalChain } from '#protocol/evidence/localChains.ts'
import { BASE_UNITS_PER_UNIT } from '#protocol/prices.ts'
import { WalletAccount } from '../../sdk/wallet/account.ts'
import {
  ANSWER_MARGIN_SECONDS,
  advancePurchase,
  advancePurchases,
  DELAY_DEFAULT,
  type DelayRange,
  NO_DELAY,
  type PurchaseResult,
  startPurchase,
} from '../../sdk/wallet/buy.ts'
import { openPurchasing, type Purchasing, type RestoredAccount } from '../../sdk/wallet/purchasing.ts'
import type { PurchaseStep } from '../../sdk/wallet/steps.ts'
import type { ExplorerConfig } from '../config.ts'
import { injectedProvider, openDevelopmentAccount, openExtension } from './payers.ts'
import { type BrowserStore, openBrowserStore } from './walletStore.ts'

export type PayerKind = 'extension' | 'development'

export class CreditDesk {
  readonly #config: ExplorerConfig
  readonly #client: PublicClient
  readonly #purchasing: Purchasing
  readonly #kept: Kept
  /** One purchase after the other: two that go on with the same one would disturb each other. */
  #turn: Promise<unknown> = Promise.resolve()
  #listener: (step: PurchaseStep) => void = () => {}

  private constructor(config: ExplorerConfig, client: PublicClient, purchasing: Purchasing, kept: Kept) {
    this.#config = config
    this.#client = client
    this.#purchasing = purchasing
    this.#kept = kept
  }

  /**
   * Finds the vault, and the account that was kept for it, where there is one. Throws `DeskError` (another page has it open), `VaultError`, and what the browser throws
   * that keeps nothing.
   */
  static open(config: ExplorerConfig, relayUrl: string): Promise<CreditDesk> {
    const known = desks.get(config)
    if (known !== undefined) return known
    const opening = CreditDesk.#open(config, relayUrl)
    desks.set(config, opening)
    opening.catch(() => desks.delete(config))
    return opening
  }

  static async #open(config: ExplorerConfig, relayUrl: string): Promise<CreditDesk> {
    const { rpcUrl, deployment } = config
    const { registry, fromBlock } = deployment
    const client = createPublicClient({ transport: http(rpcUrl), pollingInterval: 1_000 }) as PublicClient
    const purchasing = await openPurchasing({ client, registry, relayUrl, fromBlock: BigInt(fromBlock) })
    const { chainId, vault } = purchasing.access
    return new CreditDesk(config, client, purchasing, await openKept(`${chainId}:${vault}`))
  }

  get account(): WalletAccount | undefined {
    return this.#kept.account
  }

  /** Whether nothing is at stake here, so that nobody waits between deposit and credits. */
  get isLocal(): boolean {
    return isLocalChain(this.#purchasing.access.chainId)
  }

  /** Has `listener` told of the steps of purchases from now on, and nobody else. */
  listen(listener: (step: PurchaseStep) => void): void {
    this.#listener = listener
  }

  /** Who could pay, the best first. */
  get payers(): readonly PayerKind[] {
    return [
      ...(injectedProvider() === undefined ? [] : (['extension'] as const)),
      ...(this.isLocal ? (['development'] as const) : []),
    ]
  }

  /** A seed for a new account. Its words are shown before `make` keeps it. */
  newSeed(): Uint8Array {
    return crypto.getRandomValues(new Uint8Array(SEED_BYTES))
  }

  /** Keeps a new account of this seed, whose words were written down. */
  async make(seed: Uint8Array): Promise<WalletAccount> {
    return this.#create(seed, false)
  }

  /** Finds everything of a seed that was used before. What could not be found now is found by doing it again. Throws `VaultError`. */
  async restore(seed?: Uint8Array): Promise<{ account: WalletAccount; found: RestoredAccount }> {
    const account = seed === undefined ? this.account : await this.#create(seed, true)
    if (account === undefined) throw new DeskError('There is no wallet to restore.')
    return { account, found: await this.#purchasing.restore(account, this.#delay) }
  }

  /** Deposits `units` and asks for the credits after the pause. Throws `PayerError`, `VaultError`, `SealpathError`. */
  buy(units: bigint, payer: PayerKind): Promise<PurchaseResult> {
    return this.#inTurn(() => this.#buy(units, payer))
  }

  /** Goes on with purchases that were interrupted. */
  resume(): Promise<readonly PurchaseResult[]> {
    return this.#inTurn(() => this.#resume())
  }

  async #buy(units: bigint, payer: PayerKind): Promise<PurchaseResult> {
    const onStep = (step: PurchaseStep): void => this.#listener(step)
    const account = this.#requireAccount()
    const signer = await this.#signer(payer, units)
    const { purchasePorts, depositor, buyingWallet } = this.#purchasing
    const wallet = await buyingWallet(account, this.#delay.maximumSeconds + ANSWER_MARGIN_SECONDS)
    const number = await startPurchase(wallet, units, purchasePorts, { delay: this.#delay, onStep })
    return advancePurchase(wallet, number, purchasePorts, { depositor: depositor(signer), waits: true, onStep })
  }

  async #resume(): Promise<readonly PurchaseResult[]> {
    const onStep = (step: PurchaseStep): void => this.#listener(step)
    const wallets = this.#requireAccount().usableWallets.filter(({ openPurchases }) => openPurchases.length > 0)
    const { purchasePorts } = this.#purchasing
    const results = wallets.map((wallet) => advancePurchases(wallet, purchasePorts, { waits: true, onStep }))
    return (await Promise.all(results)).flat()
  }

  /** Removes the account from this browser. What it holds is found again from its words. */
  async forget(): Promise<void> {
    await this.#kept.store.remove()
    this.#kept.account = undefined
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work, work)
    this.#turn = result.catch(() => undefined)
    return result
  }

  get #delay(): DelayRange {
    return this.isLocal ? NO_DELAY : DELAY_DEFAULT
  }

  async #create(seed: Uint8Array, isRestoring: boolean): Promise<WalletAccount> {
    const { chainId, vault } = this.#purchasing.access
    const account = await WalletAccount.create(this.#kept.store, { seed, chainId, vault, isRestoring })
    this.#kept.account = account
    // Browsers that are short of space throw away what was not asked to be kept.
    await navigator.storage.persist()
    return account
  }

  #requireAccount(): WalletAccount {
    const { account } = this
    if (account === undefined) throw new DeskError('There is no wallet yet.')
    return account
  }

  async #signer(payer: PayerKind, units: bigint): Promise<ChainSigner> {
    const { chainId, token } = this.#purchasing.access
    const { rpcUrl } = this.#config
    const provider = injectedProvider()
    if (payer === 'extension' && provider !== undefined) return openExtension(provider, chainId, rpcUrl)
    return openDevelopmentAccount(this.#client, { chainId, rpcUrl, token }, units * BASE_UNITS_PER_UNIT)
  }
}

/** A sentence for the person at the page. */
export class DeskError extends Error {
  override readonly name = 'DeskError'
}

/** One for each configuration, as long as the page lives. */
const desks = new WeakMap<ExplorerConfig, Promise<CreditDesk>>()
const held = new Set<string>()

type Kept = { readonly store: BrowserStore; account: WalletAccount | undefined }

/** One for each vault and page, whatever endpoints it is asked about through. */
const opened = new Map<string, Promise<Kept>>()

function openKept(name: string): Promise<Kept> {
  const known = opened.get(name)
  if (known !== undefined) return known
  const opening = (async (): Promise<Kept> => {
    await holdAlone(name)
    const store = await openBrowserStore(name)
    const account = (await store.load()) === undefined ? undefined : await WalletAccount.open(store)
    return { store, account }
  })()
  opened.set(name, opening)
  opening.catch(() => opened.delete(name))
  return opening
}

/** Until this page is closed: two that pay from one wallet would spend the same credits and lose track of their change. */
function holdAlone(name: string): Promise<void> {
  if (held.has(name)) return Promise.resolve()
  return new Promise((resolve, reject) => {
    const forEver = new Promise<never>(() => {})
    navigator.locks
      .request(`sealpath wallet ${name}`, { ifAvailable: true }, async (lock) => {
        if (lock === null) throw new DeskError('This wallet is open on another page: close that one first.')
        held.add(name)
        resolve()
        await forEver
      })
      .catch(reject)
  })
}
