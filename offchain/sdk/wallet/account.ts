/**
 * A person's wallet over all keysets of one vault: bought in the newest, spent and exited from all. One store, one seed, one wallet for each keyset.
 * @module
 */
import type { Hex } from '#protocol/bytes.ts'
import { hashKeyset, type Keyset, keysetPhase } from '#protocol/credits/keyset.ts'
import type { AccountState, KeysetState } from './accountState.ts'
import { Wallet, type WalletStore } from './wallet.ts'
import { WalletError } from './walletError.ts'
import { WalletKeys } from './walletKeys.ts'
import { emptyState } from './walletState.ts'

/** Keeps the account durably: `save` resolves when a crash can no longer lose it. */
export type AccountStore = {
  load(): Promise<AccountState | undefined>
  save(state: AccountState): Promise<void>
}

/** Units; every unit of the account is in exactly one of them. */
export type AccountBalance = {
  readonly spendable: bigint
  /** Of keysets that are not spent any more: they can be exited. */
  readonly exitOnly: bigint
  readonly inPayments: bigint
  readonly inPurchases: bigint
  readonly inExits: bigint
  /** Credits that can be spent. */
  readonly credits: number
}

export class WalletAccount {
  readonly chainId: number
  readonly vault: Hex
  readonly #store: AccountStore
  readonly #wallets: Wallet[] = []
  #state: AccountState
  /** One change of state after the other: the wallets share the store. */
  #turn: Promise<unknown> = Promise.resolve()

  private constructor(store: AccountStore, state: AccountState) {
    this.#store = store
    this.#state = state
    this.chainId = state.chainId
    this.vault = state.vault
  }

  /** A new account, stored at once. `isRestoring` for a seed that may have been used before. */
  static async create(
    store: AccountStore,
    options: Pick<AccountState, 'seed' | 'chainId' | 'vault' | 'isRestoring'>,
  ): Promise<WalletAccount> {
    const state: AccountState = { format: 'sealpath-account/1', ...options, keysets: [] }
    await store.save(state)
    return new WalletAccount(store, state)
  }

  /** Throws `WalletError` (`NO_WALLET`) when nothing was stored, and what the store throws. */
  static async open(store: AccountStore): Promise<WalletAccount> {
    const state = await store.load()
    if (state === undefined) throw new WalletError('NO_WALLET', 'there is no wallet yet')
    const account = new WalletAccount(store, state)
    for (const { keyset } of state.keysets) account.#wallets.push(await account.#open(keyset))
    return account
  }

  /** One for each keyset, oldest first. */
  get wallets(): readonly Wallet[] {
    return this.#wallets
  }

  /** Whether something may be missing: under some keysets, or in the list of them. */
  get isRestoring(): boolean {
    return this.#state.isRestoring || this.#state.keysets.some(({ isRestoring }) => isRestoring)
  }

  /**
   * The wallets that may be used: those whose restoring has ended, as with counters that are behind something would be used twice. Throws `WalletError`
   * (`RESTORING`) as long as it is not known which keysets there are.
   */
  get usableWallets(): readonly Wallet[] {
    if (this.#state.isRestoring) throw stillRestoring()
    const restoring = new Set(
      this.#state.keysets.filter(({ isRestoring }) => isRestoring).map(({ state }) => state.keyset),
    )
    return this.#wallets.filter(({ keysetId }) => !restoring.has(keysetId))
  }

  /** What the seed makes of a keyset, without a wallet for it. Throws `CreditError` for a keyset that may not be used. */
  keysOf(keyset: Keyset): WalletKeys {
    return new WalletKeys(this.#state.seed, keyset)
  }

  /** The wallet of a keyset to buy in, made when there is none. Throws `WalletError` (`RESTORING`, `OTHER_KEYSET`). */
  async walletOf(keyset: Keyset): Promise<Wallet> {
    const wallet = await this.#walletOf(keyset, false)
    if (!this.usableWallets.includes(wallet)) throw stillRestoring()
    return wallet
  }

  /** Begins to find everything again from the seed: nothing can be used until `keepKeysets`. */
  beginRestoring(): Promise<void> {
    return this.#change((state) => ({ ...state, isRestoring: true }))
  }

  /** Names the keysets under which the seed was used. Each can be used once `endRestoring` was called for it. */
  async keepKeysets(keysets: readonly Keyset[]): Promise<void> {
    for (const keyset of keysets) await this.#walletOf(keyset, true)
    const ids = new Set(keysets.map(hashKeyset))
    await this.#change((account) => ({
      ...account,
      isRestoring: false,
      keysets: account.keysets.map(
        (entry): KeysetState => (ids.has(entry.state.keyset) ? { ...entry, isRestoring: true } : entry),
      ),
    }))
  }

  /** Everything under this keyset was found. */
  endRestoring(id: Hex): Promise<void> {
    return this.#change((account) => ({
      ...account,
      keysets: account.keysets.map(
        (entry): KeysetState => (entry.state.keyset === id ? { ...entry, isRestoring: false } : entry),
      ),
    }))
  }

  /** `now` in seconds since the epoch: which keysets are spent. */
  balance(now: number): AccountBalance {
    const sum = { spendable: 0n, exitOnly: 0n, inPayments: 0n, inPurchases: 0n, inExits: 0n, credits: 0 }
    for (const { balance, keyset } of this.#wallets) {
      const isSpent = isSpendable(keyset, now)
      sum[isSpent ? 'spendable' : 'exitOnly'] += balance.spendable
      sum.credits += isSpent ? balance.credits : 0
      sum.inPayments += balance.inPayments
      sum.inPurchases += balance.inPurchases
      sum.inExits += balance.inExits
    }
    return sum
  }

  async #walletOf(keyset: Keyset, isRestoring: boolean): Promise<Wallet> {
    const id = hashKeyset(keyset)
    const known = this.#wallets.find(({ keysetId }) => keysetId === id)
    if (known !== undefined) return known
    if (keyset.chainId !== this.chainId || keyset.vault !== this.vault) {
      throw new WalletError('OTHER_KEYSET', 'the wallet belongs to another chain or another vault')
    }
    const entry: KeysetState = { keyset, isRestoring, state: emptyState(id) }
    await this.#change((state) => ({ ...state, keysets: [...state.keysets, entry] }))
    const wallet = await this.#open(keyset)
    this.#wallets.push(wallet)
    return wallet
  }

  #open(keyset: Keyset): Promise<Wallet> {
    return Wallet.open({ seed: this.#state.seed, keyset, store: this.#storeOf(hashKeyset(keyset)) })
  }

  #storeOf(id: Hex): WalletStore {
    return {
      load: async () => this.#state.keysets.find(({ state }) => state.keyset === id)?.state,
      save: (next) =>
        this.#change((account) => ({
          ...account,
          keysets: account.keysets.map(
            (entry): KeysetState => (entry.state.keyset === id ? { ...entry, state: next } : entry),
          ),
        })),
    }
  }

  #change(step: (state: AccountState) => AccountState): Promise<void> {
    const run = async (): Promise<void> => {
      const next = step(this.#state)
      await this.#store.save(next)
      this.#state = next
    }
    const result = this.#turn.then(run, run)
    this.#turn = result.catch(() => undefined)
    return result
  }
}

function stillRestoring(): WalletError {
  return new WalletError('RESTORING', 'the wallet was not restored to its end: run sealpath credits restore again')
}

/** Whether credits of this keyset can be spent at `now`, in seconds. */
export function isSpendable(keyset: Keyset, now: number): boolean {
  const phase = keysetPhase(keyset, now)
  return phase === 'sign' || phase === 'spend'
}
