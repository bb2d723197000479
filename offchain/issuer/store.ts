/**
 * What an issuer keeps: the logs of its writers, one after the other, and what the entries only name by hash. A port, implemented on
 * PostgreSQL (postgresStore.ts).
 *
 * The database's owner is not trusted with the state: entries are checked against the signed heads, details against the entries, and the
 * heads against the witnesses. It is trusted to be there.
 * @module
 */
import type { Hex } from '#protocol/bytes.ts'
import type { CompactSignature } from '#protocol/receipt/head.ts'
import type { EarningsHeadMessage } from '#protocol/wire/agentApi.ts'
import type { LocatedPayment, SignedBlank } from '#protocol/wire/issuerApi.ts'

export type IssuerStore = {
  /** Every log, oldest first. `head` is absent for a writer that never logged anything. */
  readLogs(): Promise<readonly StoredLog[]>
  /** Encoded entries of a log from `from` on, at most `count`, in their order. */
  readEntries(log: number, from: number, count: number): Promise<readonly Uint8Array[]>
  /** The newest head of a log over at most `sizeMax` leaves, or undefined. */
  readHead(log: number, sizeMax: number): Promise<EarningsHeadMessage | undefined>
  /** Blanks (48 bytes each, concatenated) of the payments that are open. */
  readOpenReserves(): Promise<readonly OpenReserve[]>
  /**
   * Payments of a keyset whose locators begin with these hex digits (no 0x), sorted by locator. Undefined when they have more than `rowsMax`
   * rows, a payment being one and each signature of its change another.
   */
  readPayments(keyset: Hex, prefix: string, rowsMax: number): Promise<readonly LocatedPayment[] | undefined>
  /** What answered a deposit: what `answerDeposit` of the vault takes, but for the signatures. */
  readIssue(keyset: Hex, claimKey: Hex): Promise<IssueDetail | undefined>
  /** What shows that a credit was spent. `credit` is its message, which the vault calls its id. */
  readSpent(credit: Hex): Promise<SpentCredit | undefined>
  /**
   * The first `idBytes` of the id of each spent credit of a keyset, one after the other, from number `from` on and at most `count` of them:
   * in the order of the log, the first one ever being number 0.
   */
  readSpentIds(keyset: Hex, from: number, count: number, idBytes: number): Promise<Uint8Array>
  /** Takes the database for this process alone. Throws `StoreError` (`TAKEN`) while another one holds it. */
  take(): Promise<TakenStore>
}

export type TakenStore = {
  /**
   * Begins the log of `enclave`, after which no earlier writer can commit. `expected` is the newest log, as it was read. Throws
   * `StoreError` (`CHANGED`) when that one has grown or another has begun.
   */
  beginLog(enclave: Hex, expected: StoredLog | undefined): Promise<LogWriter>
  /** Gives the database free. */
  release(): Promise<void>
}

export type LogWriter = {
  readonly log: number
  /**
   * Appends a round: all of it or nothing. The same round may be given again after a failure, whether it was committed or not. Throws
   * `StoreError` (`FENCED`) when another writer has begun; everything else may pass.
   */
  commit(round: Round): Promise<void>
}

export type StoredLog = {
  readonly log: number
  readonly enclave: Hex
  readonly size: number
  readonly head?: EarningsHeadMessage
}

/** `entries[i]` stands at `from + i`; `head` covers them all. */
export type Round = {
  readonly from: number
  readonly entries: readonly StoredEntry[]
  readonly head: EarningsHeadMessage
}

export type StoredEntry = { readonly encoded: Uint8Array; readonly detail?: EntryDetail }

export type EntryDetail =
  | ({ readonly kind: 'issue' } & IssueDetail)
  | ({ readonly kind: 'reserve' } & ReserveDetail)
  | {
      readonly kind: 'capture'
      readonly payment: Hex
      /** `change[i]` is for blank i. */
      readonly change: readonly SignedBlank[]
    }

/** `exponents` one byte each, `blinded` 48 bytes each; `signature` is the claim key's. */
export type IssueDetail = {
  readonly keyset: Hex
  readonly claimKey: Hex
  readonly exponents: Uint8Array
  readonly blinded: Uint8Array
  readonly signature: CompactSignature
}

/** `locator` is `paymentLocator` of the blanks; `credits` in the order in which the entry has them. */
export type ReserveDetail = OpenReserve & {
  readonly keyset: Hex
  readonly locator: Hex
  readonly credits: readonly SpentCredit[]
}

export type OpenReserve = { readonly payment: Hex; readonly blanks: Uint8Array }

/** A spent credit's exit can be cancelled by whoever knows t (`challengeExit` of the vault). */
export type SpentCredit = { readonly credit: Hex; readonly exitKey: Hex; readonly secret: Uint8Array }

export type StoreErrorCode = 'TAKEN' | 'CHANGED' | 'FENCED'

export class StoreError extends Error {
  override readonly name = 'StoreError'
  readonly code: StoreErrorCode
  constructor(code: StoreErrorCode, message: string) {
    super(message)
    this.code = code
  }
}
