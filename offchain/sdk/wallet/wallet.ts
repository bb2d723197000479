/**
 * A wallet of blind credits under one keyset: buys, pays, takes change, exits, and finds what it lost. Every step is stored before anything leaves,
 * so that a crash at any point leaves at most a payment whose change is asked for again.
 *
 * It talks to nobody itself: who carries purchases, payments and exits is its caller's business. Spec: docs/spec.md section 9.
 * @module
 */
import type { Hex } from '#protocol/bytes.ts'
import { BLANK_SLOTS, chooseCredits, formatOpg } from '#protocol/credits/amounts.ts'
import { type Change, verifyChange } from '#protocol/credits/change.ts'
import type { Keyset } from '#protocol/credits/keyset.ts'
import { encodePayment, type Payment, paymentId } from '#protocol/credits/payment.ts'
import type { Purchase } from '#protocol/credits/purchase.ts'
import { WalletError } from './walletError.ts'
import { randomBytes, WalletKeys } from './walletKeys.ts'
import {
  emptyState,
  type OpenExit,
  type OpenPayment,
  type OpenPurchase,
  type TopUpRecord,
  unitsIn,
  type WalletCredit,
  type WalletState,
} from './walletState.ts'

/** Keeps the state durably: `save` resolves when a crash can no longer lose it. */
export type WalletStore = {
  load(): Promise<WalletState | undefined>
  save(state: WalletState): Promise<void>
}

/** Units; every unit of the wallet is in exactly one of them. */
export type Balance = {
  /** Units that can be spent. */
  readonly spendable: bigint
  /** Units of payments whose change has not come. */
  readonly inPayments: bigint
  /** Units of deposits that the issuer has not answered. */
  readonly inPurchases: bigint
  /** Units that the vault is paying out. */
  readonly inExits: bigint
  readonly credits: number
}

export type WalletOptions = { readonly seed: Uint8Array; readonly keyset: Keyset; readonly store: WalletStore }

export type PurchaseStart = {
  /** Seconds between the deposit and asking for its credits; 0 unless told. */
  readonly delaySeconds?: number
  /** Set for an automatic purchase: the time, in seconds. */
  readonly automaticAt?: number
}

/** What was found again. `spent` names credits of the wallet that it may still hold although they are gone. */
export type FoundCredits = {
  readonly credits: readonly WalletCredit[]
  readonly nextPurchase: number
  readonly nextBlank: number
  readonly purchases?: readonly OpenPurchase[]
  readonly exits?: readonly OpenExit[]
  readonly spent?: readonly WalletCredit[]
}

/** Automatic purchases that are remembered: far more than any limit looks back on. */
const TOP_UPS_KEPT = 1_000

type PreparedBlanks = { readonly firstBlank: number; readonly blanks: readonly Uint8Array[] }

export class Wallet {
  readonly keys: WalletKeys
  readonly #store: WalletStore
  #state: WalletState
  #prepared: PreparedBlanks | undefined
  /** One change of state after the other. */
  #turn: Promise<unknown> = Promise.resolve()

  private constructor(keys: WalletKeys, store: WalletStore, state: WalletState) {
    this.keys = keys
    this.#store = store
    this.#state = state
  }

  /** Throws `WalletError` (`OTHER_KEYSET`) and what the store throws. */
  static async open({ seed, keyset, store }: WalletOptions): Promise<Wallet> {
    const keys = new WalletKeys(seed, keyset)
    const state = (await store.load()) ?? emptyState(keys.keysetId)
    if (state.keyset !== keys.keysetId) {
      throw new WalletError('OTHER_KEYSET', 'the wallet holds credits of another keyset')
    }
    return new Wallet(keys, store, state)
  }

  get keysetId(): Hex {
    return this.keys.keysetId
  }

  get keyset(): Keyset {
    return this.keys.keyset
  }

  get balance(): Balance {
    const { credits, payments, purchases, exits } = this.#state
    const sum = (parts: readonly { readonly credits: readonly WalletCredit[] }[]) =>
      parts.reduce((units, part) => units + unitsIn(part.credits), 0n)
    return {
      spendable: unitsIn(credits),
      inPayments: sum(payments),
      inPurchases: purchases.reduce((units, purchase) => units + purchase.units, 0n),
      inExits: sum(exits),
      credits: credits.length,
    }
  }

  /** The credits that can be spent. */
  get credits(): readonly WalletCredit[] {
    return this.#state.credits
  }

  get openPurchases(): readonly OpenPurchase[] {
    return this.#state.purchases
  }

  get openPayments(): readonly OpenPayment[] {
    return this.#state.payments
  }

  get openExits(): readonly OpenExit[] {
    return this.#state.exits
  }

  get topUps(): readonly TopUpRecord[] {
    return this.#state.topUps
  }

  /** Begins a purchase of one deposit size: its claim key goes into the deposit, its outputs to the issuer. */
  startPurchase(units: bigint, { delaySeconds = 0, automaticAt }: PurchaseStart = {}): Promise<Purchase> {
    return this.#change((state) => {
      const purchase = this.keys.purchase(state.nextPurchase, units)
      const { number } = purchase
      const open = { number, units, delaySeconds, isAutomatic: automaticAt !== undefined }
      const topUps =
        automaticAt === undefined ? state.topUps : [...state.topUps, { at: automaticAt, units }].slice(-TOP_UPS_KEPT)
      return [{ ...state, nextPurchase: number + 1, purchases: [...state.purchases, open], topUps }, purchase]
    })
  }

  /** Takes the issuer's blind signatures. Throws `CreditError` and keeps the purchase open when they are not the keyset's. */
  finishPurchase(number: number, signatures: readonly Uint8Array[]): Promise<void> {
    return this.#change((state) => {
      const { units } = this.#openPurchase(state, number)
      const credits = this.keys.creditsOfPurchase(this.keys.purchase(number, units), signatures)
      return [{ ...withoutPurchase(state, number), credits: [...state.credits, ...credits] }, undefined]
    })
  }

  /** Forgets a purchase whose deposit was never made or was refunded. */
  dropPurchase(number: number): Promise<void> {
    return this.#change((state) => {
      this.#openPurchase(state, number)
      return [withoutPurchase(state, number), undefined]
    })
  }

  /** Blinds the next payment's blanks ahead of time, one after the other, so that paying takes no arithmetic and nothing else waits long. */
  async prepare(): Promise<void> {
    const firstBlank = this.#state.nextBlank
    if (this.#prepared?.firstBlank === firstBlank) return
    const blanks: Uint8Array[] = []
    while (blanks.length < BLANK_SLOTS && this.#state.nextBlank === firstBlank) {
      blanks.push(this.keys.blank(firstBlank + blanks.length))
      await new Promise((resolve) => setTimeout(resolve))
    }
    if (blanks.length === BLANK_SLOTS) this.#prepared = { firstBlank, blanks }
  }

  /** Makes a payment to a gateway and stores it. Throws `WalletError` (`INSUFFICIENT`). */
  pay(enclave: Hex, maximumFee: bigint): Promise<{ readonly payment: Payment; readonly id: Hex }> {
    return this.#change((state) => {
      const { spent, kept } = chooseFor(state.credits, maximumFee)
      const firstBlank = state.nextBlank
      const isPrepared = this.#prepared?.firstBlank === firstBlank
      const blanks = (isPrepared ? this.#prepared?.blanks : undefined) ?? this.keys.blanksFrom(firstBlank)
      const credits = spent.map((credit) => this.keys.spent(credit))
      const payment: Payment = { keyset: this.keysetId, enclave, maximumFee, credits, blanks }
      const id = paymentId(encodePayment(payment))
      const payments = [...state.payments, { id, enclave, maximumFee, firstBlank, credits: spent }]
      return [
        { ...state, nextBlank: firstBlank + BLANK_SLOTS, payments, credits: kept },
        { payment, id },
      ]
    })
  }

  /** Takes a payment's change and answers the fee. Throws `WalletError` (`UNKNOWN_PAYMENT`, `BAD_CHANGE`), keeping the payment open. */
  finishPayment(id: Hex, change: Change): Promise<bigint> {
    return this.#change((state) => {
      const open = this.#openPayment(state, id)
      // Those that were signed, and no others: each costs milliseconds.
      const blanks = this.keys.blanksFrom(open.firstBlank, change.signatures.length)
      const { maximumFee, credits: paid } = open
      const check = verifyChange({ maximumFee, credits: paid, blanks }, change, this.keyset, randomBytes)
      if (!check.ok) throw new WalletError('BAD_CHANGE', `the change is not what is owed: ${check.code}`)
      const credits = change.signatures.map(({ exponent, blindSignature }, i) =>
        this.keys.unblindChange(open.firstBlank + i, exponent, blindSignature),
      )
      return [closePayment(state, id, credits), change.fee]
    })
  }

  /** Gives back the credits of a payment that no issuer has seen. If one has after all, it will say so when they are spent again. */
  returnPayment(id: Hex): Promise<void> {
    return this.#change((state) => [closePayment(state, id, this.#openPayment(state, id).credits), undefined])
  }

  /** Sets credits aside to be paid out to `recipient`, those of each list in one transaction. What is not the wallet's any more stays out. */
  startExits(recipient: Hex, lists: readonly (readonly WalletCredit[])[]): Promise<void> {
    return this.#change((state) => {
      const own = new Set(state.credits.map(nameOf))
      const exits = lists.flatMap((list): OpenExit[] => {
        const credits = list.filter((credit) => own.has(nameOf(credit)))
        const [first] = credits
        return first === undefined ? [] : [{ id: this.keys.idOf(first), recipient, isSent: false, credits }]
      })
      const leaving = new Set(exits.flatMap(({ credits }) => credits.map(nameOf)))
      const credits = state.credits.filter((credit) => !leaving.has(nameOf(credit)))
      return [{ ...state, credits, exits: [...state.exits, ...exits] }, undefined]
    })
  }

  /** Stores what became of an exit; without credits it is over. Throws `WalletError` (`UNKNOWN_EXIT`). */
  updateExit(id: Hex, change: Partial<Omit<OpenExit, 'id' | 'recipient'>>): Promise<void> {
    return this.#change((state) => {
      if (!state.exits.some((exit) => exit.id === id)) throw new WalletError('UNKNOWN_EXIT', `no exit ${id} is open`)
      const exits = state.exits.map((exit) => (exit.id === id ? { ...exit, ...change } : exit))
      return [{ ...state, exits: exits.filter(({ credits }) => credits.length > 0) }, undefined]
    })
  }

  /** Makes the credits of exits spendable again that never left. Answers how many units these are. */
  returnExits(): Promise<bigint> {
    return this.#change((state) => {
      const back = state.exits.filter(({ isSent }) => !isSent).flatMap(({ credits }) => credits)
      const exits = state.exits.filter(({ isSent }) => isSent)
      return [{ ...state, exits, credits: [...state.credits, ...back] }, unitsIn(back)]
    })
  }

  /** Adds what was found again from the seed, lets go of what is gone, and counts on behind everything that was ever used. */
  adopt({ credits, nextPurchase, nextBlank, purchases = [], exits = [], spent = [] }: FoundCredits): Promise<void> {
    return this.#change((state) => {
      const gone = new Set([...spent, ...exits.flatMap((exit) => exit.credits)].map(nameOf))
      const kept = state.credits.filter((credit) => !gone.has(nameOf(credit)))
      const inExits = state.exits.flatMap((exit) => exit.credits)
      const known = new Set([...kept, ...state.payments.flatMap((payment) => payment.credits), ...inExits].map(nameOf))
      const isNew = (credit: WalletCredit) => !known.has(nameOf(credit))
      const next: WalletState = {
        ...state,
        credits: [...kept, ...credits.filter(isNew)],
        purchases: [
          ...state.purchases,
          ...purchases.filter(({ number }) => !state.purchases.some((open) => open.number === number)),
        ],
        exits: [...state.exits, ...exits.filter((exit) => exit.credits.every(isNew))],
        nextPurchase: Math.max(state.nextPurchase, nextPurchase),
        nextBlank: Math.max(state.nextBlank, nextBlank),
      }
      return [next, undefined]
    })
  }

  #openPurchase(state: WalletState, number: number): OpenPurchase {
    const open = state.purchases.find((purchase) => purchase.number === number)
    if (open === undefined) throw new WalletError('UNKNOWN_PURCHASE', `no purchase ${number} is open`)
    return open
  }

  #openPayment(state: WalletState, id: Hex): OpenPayment {
    const open = state.payments.find((payment) => payment.id === id)
    if (open === undefined) throw new WalletError('UNKNOWN_PAYMENT', `no payment ${id} is open`)
    return open
  }

  /** Computes the next state from the newest, stores it, and only then makes it the wallet's. */
  #change<Value>(step: (state: WalletState) => [WalletState, Value]): Promise<Value> {
    const run = async (): Promise<Value> => {
      const [next, value] = step(this.#state)
      await this.#store.save(next)
      this.#state = next
      return value
    }
    const result = this.#turn.then(run, run)
    this.#turn = result.catch(() => undefined)
    return result
  }
}

/** The credits that pay, and the others. Throws `WalletError` (`INSUFFICIENT`). */
function chooseFor(
  credits: readonly WalletCredit[],
  maximumFee: bigint,
): { readonly spent: readonly WalletCredit[]; readonly kept: readonly WalletCredit[] } {
  const choice = chooseCredits(
    credits.map(({ exponent }) => exponent),
    maximumFee,
  )
  if (!choice.ok) {
    const { needed, spendable } = choice
    const message = `this wallet can pay ${formatOpg(spendable)} at once, and the request may cost ${formatOpg(needed)}`
    throw new WalletError('INSUFFICIENT', message, { needed, spendable })
  }
  const indices = new Set(choice.indices)
  return { spent: credits.filter((_, i) => indices.has(i)), kept: credits.filter((_, i) => !indices.has(i)) }
}

function withoutPurchase(state: WalletState, number: number): WalletState {
  return { ...state, purchases: state.purchases.filter((open) => open.number !== number) }
}

function closePayment(state: WalletState, id: Hex, credits: readonly WalletCredit[]): WalletState {
  const payments = state.payments.filter((payment) => payment.id !== id)
  return { ...state, payments, credits: [...state.credits, ...credits] }
}

function nameOf({ path, counter }: WalletCredit): string {
  return `${path}:${counter}`
}
