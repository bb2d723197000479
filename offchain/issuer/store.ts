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
import type { ChangeEntry } from '#protocol/wire/issuerApi.ts'

export type IssuerStore = {
  /** Every log, oldest first. `head` is absent for a writer that never logged anything. */
  readLogs(): Promise<readonly StoredLog[]>
  /** Encoded entries of a log from `from` on, at most `count`, in their order. */
  readEntries(log: number, from: number, count: number): Promise<readonly Uint8Array[]>
  /** Blanks (48 bytes each, concatenated) of the payments that are open. */
  readOpenReserves(): Promise<readonly OpenReserve[]>
  /** Change whose blank hashes begin with these hex digits (no 0x), at most `count`. */
  readChange(keyset: Hex, prefix: string, count: number): Promise<readonly ChangeEntry[]>
  /** What answered a deposit: what `answerDeposit` of the vault takes, but for the signatures. */
  readIssue(keyset: Hex, claimKey: Hex): Promise<IssueDetail | undefined>
  /** What shows that a credit was spent. `credit` is its message, which the vault calls its id. */
  readSpent(credit: Hex): Promise<SpentCredit | undefined>
  /** Ids of spent credits that begin with these hex digits, at most `count`. */
  readSpentIds(prefix: string, count: number): Promise<Hex[]>
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
  | ({ readonly kind: 'reserve'; readonly credits: readonly SpentCredit[] } & OpenReserve)
  | {
      readonly kind: 'capture'
      readonly keyset: Hex
      readonly payment: Hex
      readonly change: readonly ChangeEntry[]
    }

/** `exponents` one byte each, `blinded` 48 bytes each; `signature` is the claim key's. */
export type IssueDetail = {
  readonly keyset: Hex
  readonly claimKey: Hex
  readonly exponents: Uint8Array
  readonly blinded: Uint8Array
  readonly signature: CompactSignature
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
