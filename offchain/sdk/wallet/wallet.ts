/**
 * A wallet of blind credits under one keyset: buys, pays, takes change, and finds what it lost. Every step is stored before anything leaves,
 * so that a crash at any point leaves at most a payment whose change is asked for again.
 *
 * It talks to nobody itself: who carries purchases and payments is its caller's business. Spec: DESIGN section 6.
 * @module
 */
import { type Hex, toHex } from '#protocol/bytes.ts'
import { BLANK_SLOTS, chooseCredits, totalUnits } from '#protocol/credits/amounts.ts'
import { blindMessage, unblindSignature, verifySignature } from '#protocol/credits/blindSignature.ts'
import { type Change, verifyChange } from '#protocol/credits/change.ts'
import { CreditError } from '#protocol/credits/creditError.ts'
import { type CreditSecrets, deriveCredit } from '#protocol/credits/derivation.ts'
import { hashKeyset, type Keyset } from '#protocol/credits/keyset.ts'
import { creditMessage } from '#protocol/credits/message.ts'
import { encodePayment, type Payment, paymentId } from '#protocol/credits/payment.ts'
import { decodeG1, encodeG1 } from '#protocol/credits/points.ts'
import { createPurchase, deriveClaimKey, type Purchase, unblindPurchase } from '#protocol/credits/purchase.ts'
import { enclaveOfKey } from '#protocol/receipt/head.ts'
import { emptyState, type OpenPayment, type OpenPurchase, type WalletCredit, type WalletState } from './walletState.ts'

/** Keeps the state durably: `save` resolves when a crash can no longer lose it. */
export type WalletStore = {
  load(): Promise<WalletState | undefined>
  save(state: WalletState): Promise<void>
}

export type Balance = {
  /** Units that can be spent. */
  readonly spendable: bigint
  /** Units of payments whose change has not come. */
  readonly inPayments: bigint
  /** Units of deposits that the issuer has not answered. */
  readonly inPurchases: bigint
  readonly credits: number
}

export type WalletErrorCode =
  | 'INSUFFICIENT'
  /** The state is of another keyset. */
  | 'OTHER_KEYSET'
  | 'UNKNOWN_PURCHASE'
  | 'UNKNOWN_PAYMENT'
  /** The issuer's change is not what the payment is owed. */
  | 'BAD_CHANGE'

export class WalletError extends Error {
  override readonly name = 'WalletError'
  readonly code: WalletErrorCode
  /** With `INSUFFICIENT`: what it would take, and what eight credits of this wallet reach, in units. */
  readonly amounts: { readonly needed: bigint; readonly spendable: bigint } | undefined
  constructor(code: WalletErrorCode, message: string, amounts?: WalletError['amounts']) {
    super(message)
    this.code = code
    this.amounts = amounts
  }
}

export type WalletOptions = { readonly seed: Uint8Array; readonly keyset: Keyset; readonly store: WalletStore }

type PreparedBlanks = { readonly firstBlank: number; readonly blanks: readonly Uint8Array[] }

export class Wallet {
  readonly keysetId: Hex
  readonly keyset: Keyset
  readonly #seed: Uint8Array
  readonly #store: WalletStore
  #state: WalletState
  #prepared: PreparedBlanks | undefined
  /** One change of state after the other. */
  #turn: Promise<unknown> = Promise.resolve()

  private constructor({ seed, keyset, store }: WalletOptions, state: WalletState) {
    this.#seed = seed
    this.keyset = keyset
    this.#store = store
    this.#state = state
    this.keysetId = state.keyset
  }

  /** Throws `WalletError` (`OTHER_KEYSET`) and what the store throws. */
  static async open(options: WalletOptions): Promise<Wallet> {
    const id = hashKeyset(options.keyset)
    const state = (await options.store.load()) ?? emptyState(id)
    if (state.keyset !== id) throw new WalletError('OTHER_KEYSET', 'the wallet holds credits of another keyset')
    return new Wallet(options, state)
  }

  get balance(): Balance {
    const { credits, payments, purchases } = this.#state
    const units = (items: readonly WalletCredit[]) => totalUnits(items.map(({ exponent }) => exponent))
    return {
      spendable: units(credits),
      inPayments: payments.reduce((sum, payment) => sum + units(payment.credits), 0n),
      inPurchases: purchases.reduce((sum, purchase) => sum + purchase.units, 0n),
      credits: credits.length,
    }
  }

  get openPurchases(): readonly OpenPurchase[] {
    return this.#state.purchases
  }

  get openPayments(): readonly OpenPayment[] {
    return this.#state.payments
  }

  /** Begins a purchase of one deposit size: its claim key goes into the deposit, its outputs to the issuer. */
  startPurchase(units: bigint): Promise<Purchase> {
    return this.#change(async (state) => {
      const purchase = createPurchase(this.#seed, this.keyset, state.nextPurchase, units)
      const { number } = purchase
      const purchases = [...state.purchases, { number, units }]
      return [{ ...state, nextPurchase: number + 1, purchases }, purchase]
    })
  }

  /** Takes the issuer's blind signatures. Throws `CreditError` and keeps the purchase open when they are not the keyset's. */
  finishPurchase(number: number, signatures: readonly Uint8Array[]): Promise<void> {
    return this.#change(async (state) => {
      const { units } = this.#openPurchase(state, number)
      const credits = this.creditsOfPurchase(this.rederivePurchase(number, units), signatures)
      const purchases = state.purchases.filter((open) => open.number !== number)
      return [{ ...state, purchases, credits: [...state.credits, ...credits] }, undefined]
    })
  }

  /** Forgets a purchase whose deposit was never made or was refunded. */
  dropPurchase(number: number): Promise<void> {
    return this.#change(async (state) => {
      this.#openPurchase(state, number)
      return [{ ...state, purchases: state.purchases.filter((open) => open.number !== number) }, undefined]
    })
  }

  /** Blinds the next payment's blanks ahead of time (about 150 ms), so that paying itself takes none. */
  prepare(): void {
    const firstBlank = this.#state.nextBlank
    if (this.#prepared?.firstBlank !== firstBlank) this.#prepared = { firstBlank, blanks: this.blanksFrom(firstBlank) }
  }

  /** Makes a payment to a gateway and stores it. Throws `WalletError` (`INSUFFICIENT`). */
  pay(enclave: Hex, maximumFee: bigint): Promise<{ readonly payment: Payment; readonly id: Hex }> {
    return this.#change(async (state) => {
      const choice = chooseCredits(
        state.credits.map(({ exponent }) => exponent),
        maximumFee,
      )
      if (!choice.ok) {
        const { needed, spendable } = choice
        const message = `eight credits of this wallet are worth ${spendable} units, and the request may cost ${needed}`
        throw new WalletError('INSUFFICIENT', message, { needed, spendable })
      }
      const indices = new Set(choice.indices)
      const spent = state.credits.filter((_, i) => indices.has(i))
      const firstBlank = state.nextBlank
      const blanks = this.#prepared?.firstBlank === firstBlank ? this.#prepared.blanks : this.blanksFrom(firstBlank)
      const payment: Payment = {
        keyset: this.keysetId,
        enclave,
        maximumFee,
        credits: spent.map((credit) => {
          const { secret, exitKey } = this.#secretsOf(credit)
          return { exponent: credit.exponent, secret, exitKey, signature: credit.signature }
        }),
        blanks,
      }
      const id = paymentId(encodePayment(payment))
      const payments = [...state.payments, { id, enclave, maximumFee, firstBlank, credits: spent }]
      const credits = state.credits.filter((_, i) => !indices.has(i))
      return [
        { ...state, nextBlank: firstBlank + BLANK_SLOTS, payments, credits },
        { payment, id },
      ]
    })
  }

  /** Takes a payment's change and answers the fee. Throws `WalletError` (`UNKNOWN_PAYMENT`, `BAD_CHANGE`), keeping the payment open. */
  finishPayment(id: Hex, change: Change): Promise<bigint> {
    return this.#change(async (state) => {
      const open = this.#openPayment(state, id)
      const check = verifyChange(this.#rebuild(open), change, this.keyset, randomBytes)
      if (!check.ok) throw new WalletError('BAD_CHANGE', `the change is not what is owed: ${check.code}`)
      const credits = change.signatures.map(({ exponent, blindSignature }, i) =>
        this.#unblindChange(open.firstBlank + i, exponent, blindSignature),
      )
      return [this.#closed(state, id, credits), change.fee]
    })
  }

  /** Gives back the credits of a payment that no issuer has seen. If one has after all, it will say so when they are spent again. */
  returnPayment(id: Hex): Promise<void> {
    return this.#change(async (state) => [this.#closed(state, id, this.#openPayment(state, id).credits), undefined])
  }

  /** The blanks of an open payment, compressed, in order: what change tiles are searched for. */
  blanksOf(id: Hex): readonly Uint8Array[] {
    return this.blanksFrom(this.#openPayment(this.#state, id).firstBlank)
  }

  /** Adds credits that were found again from the seed, and counts on behind everything that was ever used. */
  adopt(found: {
    readonly credits: readonly WalletCredit[]
    readonly nextPurchase: number
    readonly nextBlank: number
  }): Promise<void> {
    return this.#change(async (state) => {
      const used = [...state.credits, ...state.payments.flatMap((payment) => payment.credits)]
      const names = new Set(used.map(nameOf))
      const credits = [...state.credits, ...found.credits.filter((credit) => !names.has(nameOf(credit)))]
      const nextPurchase = Math.max(state.nextPurchase, found.nextPurchase)
      const nextBlank = Math.max(state.nextBlank, found.nextBlank)
      return [{ ...state, credits, nextPurchase, nextBlank }, undefined]
    })
  }

  /** A credit's id, the message that its signature signs: what the issuer publishes once it is spent. */
  idOf(credit: WalletCredit): Hex {
    const { secret, exitKey } = this.#secretsOf(credit)
    const { chainId, vault } = this.keyset
    return toHex(creditMessage({ chainId, vault, keyset: this.keysetId }, exitKey, secret))
  }

  /** Address of the claim key of purchase `number`. */
  claimKeyOf(number: number): Hex {
    return enclaveOfKey(deriveClaimKey(this.#seed, this.keysetId, number))
  }

  /** Purchase `number` of this size, whether it was begun here or in a lost copy of this wallet. */
  rederivePurchase(number: number, units: bigint): Purchase {
    return createPurchase(this.#seed, this.keyset, number, units)
  }

  /** The credits of a purchase. Throws `CreditError` when the signatures are not the keyset's. */
  creditsOfPurchase(purchase: Purchase, signatures: readonly Uint8Array[]): WalletCredit[] {
    const unblinded = unblindPurchase(purchase, this.keyset, signatures, randomBytes)
    return purchase.outputs.map(({ counter, exponent }, i) => ({
      path: 'purchase',
      counter,
      exponent,
      signature: unblinded[i] ?? new Uint8Array(),
    }))
  }

  /** The credit that blank `counter` became. Throws `CreditError` (`BAD_SIGNATURE`) when the signature is not the keyset's. */
  creditOfBlank(counter: number, exponent: number, blindSignature: Uint8Array): WalletCredit {
    const credit = this.#unblindChange(counter, exponent, blindSignature)
    const { secret, exitKey } = this.#secretsOf(credit)
    const { chainId, vault, keys } = this.keyset
    const publicKey = keys[exponent]
    const message = creditMessage({ chainId, vault, keyset: this.keysetId }, exitKey, secret)
    if (publicKey === undefined || !verifySignature(message, decodeG1(credit.signature), publicKey)) {
      throw new CreditError('BAD_SIGNATURE', 'the change is not signed by the keyset')
    }
    return credit
  }

  #rebuild(open: OpenPayment): Payment {
    const credits = open.credits.map((credit) => {
      const { secret, exitKey } = this.#secretsOf(credit)
      return { exponent: credit.exponent, secret, exitKey, signature: credit.signature }
    })
    const blanks = this.blanksFrom(open.firstBlank)
    return { keyset: this.keysetId, enclave: open.enclave, maximumFee: open.maximumFee, credits, blanks }
  }

  #unblindChange(counter: number, exponent: number, blindSignature: Uint8Array): WalletCredit {
    const { blinding } = deriveCredit(this.#seed, 'change', this.keysetId, counter)
    const signature = encodeG1(unblindSignature(decodeG1(blindSignature), blinding))
    return { path: 'change', counter, exponent, signature }
  }

  #closed(state: WalletState, id: Hex, credits: readonly WalletCredit[]): WalletState {
    const payments = state.payments.filter((payment) => payment.id !== id)
    return { ...state, payments, credits: [...state.credits, ...credits] }
  }

  #secretsOf({ path, counter }: WalletCredit): CreditSecrets {
    return deriveCredit(this.#seed, path, this.keysetId, counter)
  }

  /** The blanks from `firstBlank` on, BLANK_SLOTS of them, compressed. */
  blanksFrom(firstBlank: number): Uint8Array[] {
    const { chainId, vault } = this.keyset
    return Array.from({ length: BLANK_SLOTS }, (_, i) => {
      const { secret, exitKey, blinding } = deriveCredit(this.#seed, 'change', this.keysetId, firstBlank + i)
      return encodeG1(blindMessage(creditMessage({ chainId, vault, keyset: this.keysetId }, exitKey, secret), blinding))
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
  #change<Value>(step: (state: WalletState) => Promise<[WalletState, Value]>): Promise<Value> {
    const run = async (): Promise<Value> => {
      const [next, value] = await step(this.#state)
      await this.#store.save(next)
      this.#state = next
      return value
    }
    const result = this.#turn.then(run, run)
    this.#turn = result.catch(() => undefined)
    return result
  }
}

function nameOf({ path, counter }: WalletCredit): string {
  return `${path}:${counter}`
}

function randomBytes(length: number): Uint8Array {
  return crypto.getRandomValues(new Uint8Array(length))
}
