/**
 * The state of one keyset, as its entries make it: which deposits are answered, which credits are spent, which payments are open.
 *
 * `decide…` says what an operation comes to and changes nothing; `apply` takes the entry in. The same two serve a running issuer and
 * one that reads its log again, so that both come to the same state. No clock, no randomness, no input or output.
 *
 * `position` is where an entry stands in the writer's own log; what earlier writers logged is at `BEFORE`. Whoever answers waits until
 * the log is acknowledged beyond it.
 * @module
 */
import { strict as assert } from 'node:assert'
import { concatBytes, encodeUint, encodeUtf8, fromHex, type Hex, joinBytes, toHex } from '#protocol/bytes.ts'
import { isRoundedFee, totalUnits } from '#protocol/credits/amounts.ts'
import { keccak256 } from '#protocol/hash.ts'
import type { IssuerErrorCode } from '#protocol/wire/issuerApi.ts'
import type { CaptureEntry, IssueEntry, KeysetEntry, RenewEntry, ReserveEntry } from './entry.ts'

/** The position of every entry of an earlier writer: acknowledged before this one began. */
export const BEFORE = -1

export type Decision<E extends KeysetEntry> =
  | { readonly kind: 'append'; readonly entry: E }
  /** Done before, at `position`: the answer is the same. */
  | { readonly kind: 'known'; readonly position: number }
  /** `position` is that of the entry that stands in the way, if one does. */
  | { readonly kind: 'refused'; readonly code: IssuerErrorCode; readonly message: string; readonly position: number }

export type OpenPayment = {
  readonly state: 'open'
  readonly gateway: Hex
  readonly maximumFee: bigint
  readonly expiresAt: bigint
  readonly latestExpiry: bigint
  readonly blanks: Hex
  /** Exponents of the credits that were spent. */
  readonly inputs: readonly number[]
  readonly position: number
}

export type CapturedPayment = {
  readonly state: 'captured'
  readonly gateway: Hex
  readonly maximumFee: bigint
  readonly expiresAt: bigint
  readonly fee: bigint
  readonly position: number
}

export type PaymentState = OpenPayment | CapturedPayment

/** Cumulative, in units. `reserved` is what open payments hold. */
export type LedgerTotals = { readonly issued: bigint; readonly captured: bigint; readonly reserved: bigint }

export class Ledger {
  readonly keyset: Hex
  readonly #deposits = new Map<Hex, { readonly outputs: Hex; readonly position: number }>()
  readonly #spent = new Map<Hex, number>()
  readonly #payments = new Map<Hex, PaymentState>()
  readonly #open = new Set<Hex>()
  readonly #captured = new Map<Hex, bigint>()
  #totals: LedgerTotals = { issued: 0n, captured: 0n, reserved: 0n }

  constructor(keyset: Hex) {
    this.keyset = keyset
  }

  get totals(): LedgerTotals {
    return this.#totals
  }

  /** Units captured for each gateway, cumulative. */
  get capturedBy(): ReadonlyMap<Hex, bigint> {
    return this.#captured
  }

  get spentCount(): number {
    return this.#spent.size
  }

  get isEmpty(): boolean {
    return this.#deposits.size === 0 && this.#payments.size === 0
  }

  /** Ids of the payments that are not captured. */
  get openPayments(): ReadonlySet<Hex> {
    return this.#open
  }

  payment(id: Hex): PaymentState | undefined {
    return this.#payments.get(id)
  }

  /** Where the credit whose keccak-256 of t this is was spent, if it was. */
  spentAt(spent: Hex): number | undefined {
    return this.#spent.get(spent)
  }

  decideIssue(operation: Omit<IssueEntry, 'type' | 'keyset'>): Decision<IssueEntry> {
    const known = this.#deposits.get(operation.deposit)
    if (known === undefined) return { kind: 'append', entry: { type: 'issue', keyset: this.keyset, ...operation } }
    if (known.outputs === operation.outputs) return { kind: 'known', position: known.position }
    return refuse('DEPOSIT_CLOSED', 'this deposit was answered with other outputs', known.position)
  }

  decideReserve(operation: Omit<ReserveEntry, 'type' | 'keyset'>): Decision<ReserveEntry> {
    const known = this.#payments.get(operation.payment)
    // A captured payment pays for nothing more: a gateway that took it for open would work twice and be paid once.
    if (known?.state === 'captured') return refuse('SPENT', 'this payment was captured', known.position)
    // A payment's id covers its gateway, its credits and its blanks: the same id is the same payment.
    if (known !== undefined) return { kind: 'known', position: known.position }
    const total = totalUnits(operation.inputs.map(({ exponent }) => exponent))
    if (!isRoundedFee(operation.maximumFee) || operation.maximumFee > total) {
      return refuse('BAD_PAYMENT', 'the maximum fee is not what these credits can pay', BEFORE)
    }
    if (new Set(operation.inputs.map(({ spent }) => spent)).size !== operation.inputs.length) {
      return refuse('BAD_PAYMENT', 'a credit stands twice in the payment', BEFORE)
    }
    for (const { spent } of operation.inputs) {
      const position = this.#spent.get(spent)
      if (position !== undefined) return refuse('SPENT', 'a credit of this payment was spent before', position)
    }
    const { issued, captured, reserved } = this.#totals
    // Credits beyond what was issued can only come from a stolen key.
    if (total > issued - captured - reserved) {
      return refuse('BAD_CREDIT', 'more credits would be spent than were ever issued', BEFORE)
    }
    return { kind: 'append', entry: { type: 'reserve', keyset: this.keyset, ...operation } }
  }

  /** Keeps a payment open until `expiresAt` in seconds, or until its latest expiry if that is sooner. */
  decideRenew(payment: Hex, expiresAt: bigint): Decision<RenewEntry> {
    const known = this.#payments.get(payment)
    if (known === undefined) return unknownPayment()
    if (known.state === 'captured') return refuse('ALREADY_CAPTURED', 'this payment was captured', known.position)
    const until = expiresAt < known.latestExpiry ? expiresAt : known.latestExpiry
    if (until <= known.expiresAt) return { kind: 'known', position: known.position }
    return { kind: 'append', entry: { type: 'renew', keyset: this.keyset, payment, expiresAt: until } }
  }

  decideCapture({ payment, fee, change }: Omit<CaptureEntry, 'type' | 'keyset'>): Decision<CaptureEntry> {
    const known = this.#payments.get(payment)
    if (known === undefined) return unknownPayment()
    if (known.state === 'captured') {
      if (known.fee === fee) return { kind: 'known', position: known.position }
      return refuse('ALREADY_CAPTURED', 'this payment was captured for another fee', known.position)
    }
    if (!isRoundedFee(fee)) return refuse('BAD_REQUEST', 'expected a fee of at most five significant bits', BEFORE)
    if (fee > known.maximumFee) return refuse('FEE_TOO_HIGH', 'the fee is above what the payment allows', BEFORE)
    return { kind: 'append', entry: { type: 'capture', keyset: this.keyset, payment, fee, change } }
  }

  /** Decides again about an entry that stands in a log. */
  decide(entry: KeysetEntry): Decision<KeysetEntry> {
    const { type: _type, keyset: _keyset, ...operation } = entry
    switch (entry.type) {
      case 'issue':
        return this.decideIssue(operation as Omit<IssueEntry, 'type' | 'keyset'>)
      case 'reserve':
        return this.decideReserve(operation as Omit<ReserveEntry, 'type' | 'keyset'>)
      case 'renew':
        return this.decideRenew(entry.payment, entry.expiresAt)
      case 'capture':
        return this.decideCapture(entry)
    }
  }

  /** Takes in an entry that was decided upon at this very state. */
  apply(entry: KeysetEntry, position: number): void {
    assert(entry.keyset === this.keyset, 'an entry belongs to the ledger of its keyset')
    switch (entry.type) {
      case 'issue':
        this.#deposits.set(entry.deposit, { outputs: entry.outputs, position })
        this.#add({ issued: entry.units })
        return
      case 'reserve':
        this.#applyReserve(entry, position)
        return
      case 'renew':
        this.#payments.set(entry.payment, { ...this.#openPayment(entry.payment), expiresAt: entry.expiresAt, position })
        return
      case 'capture':
        this.#applyCapture(entry, position)
    }
  }

  #applyReserve(entry: ReserveEntry, position: number): void {
    const { gateway, maximumFee, expiresAt, latestExpiry, blanks } = entry
    const inputs = entry.inputs.map(({ exponent }) => exponent)
    for (const { spent } of entry.inputs) this.#spent.set(spent, position)
    const payment = { gateway, maximumFee, expiresAt, latestExpiry, blanks, inputs, position }
    this.#payments.set(entry.payment, { state: 'open', ...payment })
    this.#open.add(entry.payment)
    this.#add({ reserved: totalUnits(inputs) })
  }

  #applyCapture({ payment, fee }: CaptureEntry, position: number): void {
    const { gateway, maximumFee, expiresAt, inputs } = this.#openPayment(payment)
    this.#payments.set(payment, { state: 'captured', gateway, maximumFee, expiresAt, fee, position })
    this.#open.delete(payment)
    if (fee > 0n) this.#captured.set(gateway, (this.#captured.get(gateway) ?? 0n) + fee)
    this.#add({ captured: fee, reserved: -totalUnits(inputs) })
    // The change goes back into circulation: what is out is what was issued less what was captured.
  }

  #openPayment(id: Hex): OpenPayment {
    const payment = this.#payments.get(id)
    assert(payment?.state === 'open', 'an entry of a payment follows its reserve and precedes its capture')
    return payment
  }

  #add(change: Partial<LedgerTotals>): void {
    const { issued, captured, reserved } = this.#totals
    this.#totals = {
      issued: issued + (change.issued ?? 0n),
      captured: captured + (change.captured ?? 0n),
      reserved: reserved + (change.reserved ?? 0n),
    }
  }
}

const STATE_KIND = keccak256(encodeUtf8('Sealpath issuer state v1'))

/** What a successor says it took over: totals, gateways and open payments of every keyset, all sorted. 32 bytes. */
export function hashState(ledgers: Iterable<Ledger>): Hex {
  const sorted = [...ledgers].sort((a, b) => (a.keyset < b.keyset ? -1 : 1))
  return toHex(keccak256(concatBytes(STATE_KIND, joinBytes(sorted.map(encodeState)))))
}

function encodeState(ledger: Ledger): Uint8Array {
  const { issued, captured, reserved } = ledger.totals
  const counts = [issued, captured, reserved, BigInt(ledger.spentCount)]
  const gateways = [...ledger.capturedBy].sort(([a], [b]) => (a < b ? -1 : 1))
  const open = [...ledger.openPayments].sort()
  return concatBytes(
    fromHex(ledger.keyset, 32),
    ...[...counts, BigInt(gateways.length), BigInt(open.length)].map((count) => encodeUint(count, 8)),
    joinBytes(gateways.map(([gateway, units]) => concatBytes(fromHex(gateway, 20), encodeUint(units, 8)))),
    joinBytes(open.map((payment) => fromHex(payment, 32))),
  )
}

function unknownPayment(): { kind: 'refused'; code: IssuerErrorCode; message: string; position: number } {
  return refuse('UNKNOWN_PAYMENT', 'no such payment was reserved here', BEFORE)
}

function refuse(
  code: IssuerErrorCode,
  message: string,
  position: number,
): Extract<Decision<never>, { kind: 'refused' }> {
  return { kind: 'refused', code, message, position }
}
