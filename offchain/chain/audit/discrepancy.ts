/** What an audit found that should not be: one line each, and one line for each cause. @module */
import type { Hex } from '#protocol/bytes.ts'

export type DiscrepancyKind =
  /** No aggregator's leaves lead to a settled root. */
  | 'LOG'
  /** An aggregator shows other leaves than those that settled; another shows the right ones. */
  | 'LEAVES'
  /** No aggregator has the leaves: cannot be checked. */
  | 'UNCHECKED'
  /** A batch's root, its heads or its number. */
  | 'BATCH'
  /** What an enclave earned, was cleared for or credited. */
  | 'ACCOUNT'
  /** What a keyset cleared for an enclave. */
  | 'CLEARED'
  /** What was drawn or thaws, or was paid without being drawn. */
  | 'PAYOUT'
  /** What ended enclaves left to the insurance. */
  | 'SWEPT'
  | 'KEYSET'
  /** A keyset's money exceeds what bounds it. */
  | 'BOUND'
  /** Sums of the settlement contract: protocol, settlers, insurance. */
  | 'TOTAL'
  /** A contract holds less of the token than it owes. */
  | 'BALANCE'
  | 'BOND'
  /** What the registry says of an enclave. */
  | 'ENCLAVE'

/** Where it is; as many of these as apply. */
export type Place = {
  readonly enclave?: Hex
  readonly size?: bigint
  readonly batch?: bigint
  readonly keyset?: Hex
  readonly account?: Hex
  readonly aggregator?: string
  readonly block?: bigint
}

export type Discrepancy = {
  readonly kind: DiscrepancyKind
  readonly what: string
  readonly where: Place
  readonly expected: string
  readonly found: string
}

/** More than so many are counted and not kept. */
export const DISCREPANCIES_MAX = 10_000

/** Keeps the first discrepancy of each kind and place: what follows from it would only hide it. */
export class Discrepancies {
  readonly #known = new Map<string, Discrepancy>()
  #left = 0

  get all(): readonly Discrepancy[] {
    return [...this.#known.values()]
  }

  /** How many there are, kept or not. */
  get count(): number {
    return this.#known.size + this.#left
  }

  /** The block and the size say where to look, and do not make it another one. */
  add(discrepancy: Discrepancy): void {
    const key = keyOf(discrepancy.kind, discrepancy.where)
    if (this.#known.has(key)) return
    if (this.#known.size < DISCREPANCIES_MAX) this.#known.set(key, discrepancy)
    else this.#left++
  }

  /** Adds one unless both values are the same. */
  compare(kind: DiscrepancyKind, what: string, where: Place, expected: Comparable, found: Comparable): void {
    if (expected !== found) this.add({ kind, what, where, expected: `${expected}`, found: `${found}` })
  }

  has(kind: DiscrepancyKind, where: Place): boolean {
    return this.#known.has(keyOf(kind, where))
  }

  /** Adds all of `other`. */
  merge(other: Discrepancies): void {
    for (const discrepancy of other.all) this.add(discrepancy)
    this.#left += other.#left
  }
}

type Comparable = bigint | number | string | boolean

function keyOf(kind: DiscrepancyKind, { enclave, batch, keyset, account, aggregator }: Place): string {
  return JSON.stringify([kind, enclave, batch?.toString(), keyset, account, aggregator])
}
