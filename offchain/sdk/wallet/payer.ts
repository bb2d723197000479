/**
 * Pays for requests from a wallet: what each can cost at most, sealed to the issuer, and the change taken when the answer ends. Whatever goes
 * wrong on the way is found again in the change tiles.
 * @module
 */
import type { Hex } from '#protocol/bytes.ts'
import type { Payment } from '#protocol/credits/payment.ts'
import { sealPayment } from '#protocol/credits/sealedPayment.ts'
import { costAtMost, type PaidPath } from '#protocol/requestCost.ts'
import type { SealingSuites } from '#protocol/sealing/suite.ts'
import { formatSealed, parseSealed } from '#protocol/wire/paymentField.ts'
import { SealpathError } from '../errors.ts'
import { preferredConfig, type TrustedGateway } from '../gateway.ts'
import type { GatewayTerms } from '../gatewayTerms.ts'
import { isSpendable } from './account.ts'
import { ChangeTiles } from './changeTiles.ts'
import type { WalletIssuer } from './issuerAccess.ts'
import { recoverPayment, resolvePayment } from './restore.ts'
import type { TopUp } from './topUp.ts'
import type { Wallet } from './wallet.ts'
import { isInsufficient, WalletError } from './walletError.ts'

export type PayerOptions = {
  /** One for each keyset. Asked anew for each payment: there may be more by then. */
  readonly wallets: () => readonly Wallet[]
  readonly suites: SealingSuites
  /** Finds the issuer of a wallet's keyset when first needed, after it failed, and every few minutes. */
  readonly findIssuer: (wallet: Wallet) => Promise<WalletIssuer>
  readonly topUp?: TopUp
  readonly timeoutMs: number
}

export type PaymentInFlight = {
  readonly id: Hex
  /** Value of the request's payment field. */
  readonly field: string
  /** The request never left: the credits are the wallet's again. */
  abandon(): Promise<void>
  /** The answer ended, with this change trailer if it had one. Answers the fee when it is known by now. */
  conclude(changeTrailer: string | undefined): Promise<bigint | undefined>
  /** Nothing more comes of the answer. What `conclude` was not told of is found in the change tiles. */
  release(): void
}

/** A request that is about to be sealed to `gateway`, whose terms are known. */
export type PaidRequest = {
  readonly gateway: TrustedGateway
  readonly terms: GatewayTerms
  readonly model: string
  readonly path: PaidPath
  readonly body: Uint8Array
}

export type Payer = {
  /**
   * Pays for a request. Undefined for a model that the gateway has no price for: it says itself what is wrong. Throws `WalletError`
   * (`INSUFFICIENT`), `SealpathError`.
   */
  pay(request: PaidRequest): Promise<PaymentInFlight | undefined>
  /** Asks after every payment that is open and not under way: its change, or its credits where they were never spent. Answers how many it closed. */
  recover(): Promise<number>
  /** Blinds blanks for the next payment of each wallet. */
  prepare(): Promise<void>
  /** Resolves once the change of every answer that has ended is stored. */
  idle(): Promise<void>
  /** Has issuers and their keys looked for again before the next payment: the newest could not be opened. */
  forgetIssuers(): void
}

type MadePayment = {
  readonly wallet: Wallet
  readonly issuer: WalletIssuer
  readonly payment: Payment
  readonly id: Hex
}

/** How long an issuer is used before it is looked for again: its keyset may have another writer. */
const ISSUER_TTL_MS = 300_000

/** How long a gateway may take to hand on a payment that it got. */
const RELEASE_GRACE_MS = 60_000

export function createPayer(options: PayerOptions): Payer {
  const { suites, timeoutMs, topUp } = options
  const issuers = new Map<Hex, Remembered<WalletIssuer>>()
  const issuerOf = remembered(issuers, (wallet: Wallet) => wallet.keysetId, ISSUER_TTL_MS, options.findIssuer)
  /** Payments whose answers have not ended: they resolve with it. */
  const inFlight = new Map<Hex, Promise<void>>()
  /** When answers broke off. */
  const releasedAt = new Map<Hex, number>()
  /** Change that is being taken. */
  const concluding = new Map<Hex, Promise<unknown>>()

  /** Those that can pay, the one that ends first before the others. */
  const payable = (): Wallet[] => {
    const now = Date.now() / 1000
    const wallets = options.wallets().filter(({ keyset }) => isSpendable(keyset, now))
    return wallets.toSorted((a, b) => a.keyset.spendUntil - b.keyset.spendUntil)
  }

  const payNow = async (enclave: Hex, maximumFee: bigint): Promise<MadePayment> => {
    let refusal: unknown = new WalletError('INSUFFICIENT', 'the wallet holds no credits that can be spent')
    for (const wallet of payable()) {
      try {
        const issuer = await issuerOf(wallet)
        return { wallet, issuer, ...(await wallet.pay(enclave, maximumFee)) }
      } catch (error) {
        // An issuer that cannot be reached weighs more than a wallet that is short: it is what somebody can do something about.
        if (!isInsufficient(error) && !(error instanceof SealpathError)) throw error
        if (isInsufficient(refusal)) refusal = error
      }
    }
    throw refusal
  }

  /** What is missing may be in answers that are under way, in change that did not come with its answer, or in a purchase. */
  const payWhenPossible = async (enclave: Hex, maximumFee: bigint): Promise<MadePayment> => {
    const more = [() => recover().then((closed) => closed > 0), () => topUp?.wait(timeoutMs) ?? Promise.resolve(false)]
    for (;;) {
      try {
        return await payNow(enclave, maximumFee)
      } catch (error) {
        if (!isInsufficient(error)) throw error
        if (inFlight.size > 0 && (await endsWithin(inFlight.values(), timeoutMs))) continue
        for (let next = more.shift(); ; next = more.shift()) {
          if (next === undefined) throw error
          if (await next()) break
        }
      }
    }
  }

  /**
   * Credits of a request that has just failed are not taken back yet: the gateway may still be handing them on. `since` is when the tiles began
   * to be read: what was released after that is too recent for them, however long they took.
   */
  const close = async (wallet: Wallet, id: Hex, tiles: ChangeTiles, since: number): Promise<boolean> => {
    const isRecent = since - (releasedAt.get(id) ?? Number.NEGATIVE_INFINITY) < RELEASE_GRACE_MS
    if (isRecent) return (await recoverPayment(wallet, id, tiles)) !== undefined
    releasedAt.delete(id)
    return (await resolvePayment(wallet, id, tiles)) !== 'pending'
  }

  const recover = async (): Promise<number> => {
    let closed = 0
    for (const wallet of options.wallets()) {
      // Chosen before any tile is read: those that are under way now may be reserved after it.
      const ended = wallet.openPayments.filter(({ id }) => !inFlight.has(id))
      if (ended.length === 0) continue
      const { access } = await issuerOf(wallet)
      const tiles = new ChangeTiles((prefix) => access.changeTile(prefix))
      const since = performance.now()
      for (const { id } of ended) if (await close(wallet, id, tiles, since)) closed++
    }
    return closed
  }

  return {
    recover,
    async prepare() {
      const wallets = payable()
      // So that the first payment need not wait for it; what fails here fails again where it is needed.
      for (const wallet of wallets.slice(0, 1)) issuerOf(wallet).catch(() => undefined)
      for (const wallet of wallets) if (wallet.credits.length > 0) await wallet.prepare()
    },
    async pay({ gateway, terms, model, path, body }) {
      const price = terms.prices.get(model)
      if (price === undefined) return undefined
      const maximumFee = costAtMost(price, path, body, terms.contexts.get(model))
      const { wallet, issuer, payment, id } = await payWhenPossible(gateway.enclave, maximumFee)
      const ended = Promise.withResolvers<void>()
      inFlight.set(id, ended.promise)
      const end = () => {
        if (!inFlight.delete(id)) return
        ended.resolve()
        topUp?.check()
        wallet.prepare().catch(() => {
          // What is not prepared is computed when it is needed.
        })
      }
      const sealed = await sealPayment(suites, preferredConfig(issuer.enclave.keyConfigs), payment)
      return {
        id,
        field: formatSealed(sealed.sealed),
        abandon: () => wallet.returnPayment(id).finally(end),
        release() {
          if (concluding.has(id) || !inFlight.has(id)) return
          releasedAt.set(id, performance.now())
          end()
        },
        conclude(trailer) {
          const take = async () => {
            if (trailer === undefined) return undefined
            return wallet.finishPayment(id, await sealed.openChange(parseSealed(trailer)))
          }
          const taken = take().finally(() => {
            concluding.delete(id)
            end()
          })
          concluding.set(id, taken)
          return taken
        },
      }
    },
    async idle() {
      await Promise.allSettled(concluding.values())
    },
    forgetIssuers: () => issuers.clear(),
  }
}

/** Whether one of them does within that time. */
async function endsWithin(answers: Iterable<Promise<void>>, timeoutMs: number): Promise<boolean> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const timeout = new Promise<false>((resolve) => {
    timer = setTimeout(() => resolve(false), timeoutMs)
  })
  const first = Promise.race(answers).then((): true => true)
  return Promise.race([first, timeout]).finally(() => clearTimeout(timer))
}

type Remembered<Value> = { readonly value: Promise<Value>; readonly until: number }

/** Remembers in `known` what was read for a key, for some time, and nothing that failed. */
function remembered<Subject, Value>(
  known: Map<Hex, Remembered<Value>>,
  keyOf: (subject: Subject) => Hex,
  ttlMs: number,
  read: (subject: Subject) => Promise<Value>,
): (subject: Subject) => Promise<Value> {
  return (subject) => {
    const key = keyOf(subject)
    const entry = known.get(key)
    if (entry !== undefined && entry.until > performance.now()) return entry.value
    const value = read(subject)
    known.set(key, { value, until: performance.now() + ttlMs })
    value.catch(() => known.delete(key))
    return value
  }
}
