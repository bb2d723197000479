/**
 * The one writer of an issuer's log. Operations are decided upon in memory, one at a time; what they add is signed, committed and handed
 * to the witnesses in groups; and an operation is answered only when a quorum holds its entry.
 *
 *   decide, apply (memory) -> sign one head -> commit (PostgreSQL) -> deliver (witnesses) -> answer
 *
 * A round costs the same for one entry as for many, here and at every witness. So rounds keep a distance: the first after a pause goes out at once,
 * and what arrives before the next may begin shares it.
 *
 * Memory runs ahead of the database by the rounds under way and never runs back: a round that could not be committed is given again,
 * the same entries under the same head, until it is or until another writer has begun. So no two heads of one size are ever signed, and
 * what a caller was told nothing about can be asked for again: it is then known, and answered when it is acknowledged. A process that
 * dies in between leaves what was committed, which its successor hands to the witnesses before anything else.
 * @module
 */
import { strict as assert } from 'node:assert'
import { errorFields, type Logger } from '#node/log.ts'
import { pause } from '#node/rounds.ts'
import { signDigest } from '#node/signatures.ts'
import { type Hex, joinBytes, toHex } from '#protocol/bytes.ts'
import { appendLeaf, EMPTY_EDGE, type LogEdge, rootOfEdge } from '#protocol/log/edge.ts'
import { hashHead, type SettlementDomain } from '#protocol/receipt/head.ts'
import type { EarningsHeadMessage } from '#protocol/wire/agentApi.ts'
import { type AdoptEntry, encodeEntry, entryLeaf, type KeysetEntry } from './entry.ts'
import { IssuerError } from './issuerError.ts'
import { issuerKeccak } from './issuerKeccak.ts'
import { BEFORE, type Decision, Ledger } from './ledger.ts'
import { type EntryDetail, type IssuerStore, type LogWriter, type StoredEntry, StoreError } from './store.ts'
import { Witnessing, type WitnessPolicy } from './witnessing.ts'

export type WriterOptions = {
  readonly enclave: Hex
  readonly privateKey: Uint8Array
  readonly domain: SettlementDomain
  readonly store: IssuerStore
  /** The log opened for this enclave. */
  readonly log: LogWriter
  /** State at the end of the logs before this one. */
  readonly ledgers: Map<Hex, Ledger>
  readonly witnessing: WitnessPolicy
  readonly logger: Logger
  /** Told of every entry once a quorum holds it, in order. */
  readonly onAcknowledged?: (entry: KeysetEntry) => void
  /** How long an operation waits for its acknowledgement, in milliseconds. */
  readonly answerMs?: number
  readonly retryMs?: number
  /** From the beginning of one round to the next at least, in milliseconds. */
  readonly roundMs?: number
}

const ANSWER_MS = 5_000
const RETRY_MS = 250
/** Twenty-five rounds a second: under load an answer comes some 20 ms later than it could, and without load none does. */
const ROUND_MS = 40
/** Entries under one head and in one transaction. */
const ROUND_ENTRIES_MAX = 256
/** Entries that may be under way. Above it nothing new is begun. */
const BACKLOG_MAX = 4_096
const READ_ENTRIES_MAX = 16_384

/** `detail` is stored beside a new entry; `onAppend` is called when there is one, in the same turn. */
export type Submission = { readonly detail?: EntryDetail; readonly onAppend?: () => void }

type Pending = StoredEntry & {
  readonly entry: KeysetEntry | AdoptEntry
  readonly leaf: Uint8Array
  readonly at: number
}
type Waiting = { readonly size: number; resolve(): void; reject(error: Error): void; readonly timer: NodeJS.Timeout }

export class Writer {
  readonly #options: WriterOptions
  readonly #witnessing: Witnessing
  readonly #closing = new AbortController()
  #edge: LogEdge = EMPTY_EDGE
  /** Entries from #acknowledged on; those from #committed on wait for their round. */
  #pending: Pending[] = []
  #acknowledged = 0
  #committed = 0
  #waiting: Waiting[] = []
  #committing: Promise<void> | undefined
  #isFenced = false
  /** When the newest round began. */
  #roundBegun = Number.NEGATIVE_INFINITY
  /** Captured in total, by all writers. */
  #fees: bigint

  constructor(options: WriterOptions) {
    this.#options = options
    this.#fees = [...options.ledgers.values()].reduce((sum, { totals }) => sum + totals.captured, 0n)
    this.#witnessing = new Witnessing({
      ...options.witnessing,
      log: options.logger,
      readLeaves: (from, to) => this.#readLeaves(from, to),
      readHead: (sizeMax) => options.store.readHead(options.log.log, sizeMax),
      onAcknowledged: (size) => this.#acknowledge(size),
      ...(options.retryMs === undefined ? {} : { retryMs: options.retryMs }),
    })
  }

  /** Whether another writer has begun: this one never answers for anything new again. */
  get isFenced(): boolean {
    return this.#isFenced
  }

  /** Whether the newest entries wait longer for their acknowledgement than a caller would. */
  get isStuck(): boolean {
    const [oldest] = this.#pending
    return oldest !== undefined && performance.now() - oldest.at > (this.#options.answerMs ?? ANSWER_MS)
  }

  /** State of a keyset, with all that is under way. */
  ledger(keyset: Hex): Ledger {
    const { ledgers } = this.#options
    const ledger = ledgers.get(keyset) ?? new Ledger(keyset)
    ledgers.set(keyset, ledger)
    return ledger
  }

  /**
   * Carries out what `decide` comes to, without another operation in between, and resolves when a quorum holds it: to true for a new
   * entry, to false for one that was there. Throws `IssuerError`: what was decided; `UNAVAILABLE` when it takes too long, after which
   * the same operation may be given again; `EXIT_ONLY` when another writer has begun.
   */
  async submit<E extends KeysetEntry>(
    keyset: Hex,
    decide: (ledger: Ledger) => Decision<E>,
    { detail, onAppend }: Submission = {},
  ): Promise<boolean> {
    const ledger = this.ledger(keyset)
    const decision = decide(ledger)
    if (decision.kind === 'append') {
      this.#requireReady()
      const position = this.#append(decision.entry, detail)
      ledger.apply(decision.entry, position)
      onAppend?.()
      await this.#held(position)
      return true
    }
    // A refusal, too, rests on an entry that must not disappear.
    await this.#held(decision.position)
    if (decision.kind === 'refused') throw new IssuerError(decision.code, decision.message)
    return false
  }

  /** Begins the log with what it goes on from. Resolves when it is committed and acknowledged, however long that takes. */
  async adopt(entry: AdoptEntry): Promise<void> {
    assert(this.#edge.size === 0, 'a log adopts its predecessor before anything else')
    const position = this.#append(entry, undefined)
    while (this.#acknowledged <= position) {
      if (this.#isFenced) throw fenced()
      await this.#held(position).catch((error: unknown) => {
        if (!(error instanceof IssuerError) || error.code !== 'UNAVAILABLE' || this.#closing.signal.aborted) throw error
      })
    }
  }

  /** Stops; what is committed and not acknowledged is the successor's to finish. */
  async close(): Promise<void> {
    this.#closing.abort()
    await this.#committing
    await this.#witnessing.close()
    for (const { reject, timer } of this.#waiting.splice(0)) {
      clearTimeout(timer)
      reject(unavailable('the issuer is stopping'))
    }
  }

  #requireReady(): void {
    if (this.#isFenced) throw fenced()
    if (this.#closing.signal.aborted) throw unavailable('the issuer is stopping')
    if (this.#pending.length >= BACKLOG_MAX || this.isStuck)
      throw unavailable('the witnesses or the database lag behind')
  }

  #append(entry: KeysetEntry | AdoptEntry, detail: EntryDetail | undefined): number {
    const encoded = encodeEntry(entry)
    const position = this.#acknowledged + this.#pending.length
    const stored = detail === undefined ? { encoded } : { encoded, detail }
    this.#pending.push({ ...stored, entry, leaf: entryLeaf(encoded), at: performance.now() })
    this.#committing ??= this.#commitAll().finally(() => {
      this.#committing = undefined
    })
    return position
  }

  /** Resolves when a quorum holds the entry at `position`. */
  #held(position: number): Promise<void> {
    if (position === BEFORE || position < this.#acknowledged) return Promise.resolve()
    return new Promise((resolve, reject) => {
      const ms = this.#options.answerMs ?? ANSWER_MS
      const timer = setTimeout(() => {
        this.#waiting = this.#waiting.filter((other) => other !== waiting)
        reject(unavailable('the witnesses or the database do not answer'))
      }, ms)
      const waiting: Waiting = { size: position + 1, resolve, reject, timer }
      this.#waiting.push(waiting)
    })
  }

  async #commitAll(): Promise<void> {
    // Everything that arrives in this turn of the event loop shares the round.
    await new Promise((resolve) => setImmediate(resolve))
    while (this.#committed < this.#acknowledged + this.#pending.length) {
      await this.#keepDistance()
      const from = this.#committed
      const first = from - this.#acknowledged
      const round = this.#pending.slice(first, first + ROUND_ENTRIES_MAX)
      const edge = round.reduce((grown, { leaf }) => appendLeaf(grown, leaf, issuerKeccak), this.#edge)
      const head = this.#sign(edge, round)
      if (!(await this.#commit({ from, entries: round, head }))) return
      this.#edge = edge
      this.#committed = edge.size
      this.#witnessing.offer(head)
    }
  }

  async #keepDistance(): Promise<void> {
    const ms = this.#roundBegun + (this.#options.roundMs ?? ROUND_MS) - performance.now()
    if (ms > 0) {
      await pause(ms, this.#closing.signal)
    }
    this.#roundBegun = performance.now()
  }

  /** Until it is committed; false when this writer is at its end. */
  async #commit(round: Parameters<LogWriter['commit']>[0]): Promise<boolean> {
    for (let failures = 1; ; failures++) {
      try {
        await this.#options.log.commit(round)
        return true
      } catch (error) {
        this.#options.logger.warn('commit failed', { entries: round.entries.length, ...errorFields(error) })
        if (error instanceof StoreError && error.code === 'FENCED') {
          this.#fence()
          return false
        }
        const ms = (this.#options.retryMs ?? RETRY_MS) * Math.min(2 ** (failures - 1), 16)
        await pause(ms, this.#closing.signal)
        if (this.#closing.signal.aborted) return false
      }
    }
  }

  #sign(edge: LogEdge, round: readonly Pending[]): EarningsHeadMessage {
    // Added once a round: what is signed is committed, or was the last.
    for (const { entry } of round) if (entry.type === 'capture') this.#fees += entry.fee
    const { enclave, domain, privateKey } = this.#options
    const stated = { enclave, size: BigInt(edge.size), root: toHex(rootOfEdge(edge, issuerKeccak)), fees: this.#fees }
    return { ...stated, signature: signDigest(hashHead({ kind: 'earnings', ...stated }, domain), privateKey) }
  }

  #acknowledge(size: number): void {
    const held = this.#pending.splice(0, size - this.#acknowledged)
    this.#acknowledged = size
    for (const { entry } of held) if (entry.type !== 'adopt') this.#options.onAcknowledged?.(entry)
    const done = this.#waiting.filter((waiting) => waiting.size <= size)
    this.#waiting = this.#waiting.filter((waiting) => waiting.size > size)
    for (const { resolve, timer } of done) {
      clearTimeout(timer)
      resolve()
    }
  }

  #fence(): void {
    this.#isFenced = true
    for (const { reject, timer } of this.#waiting.splice(0)) {
      clearTimeout(timer)
      reject(fenced())
    }
  }

  /** Committed leaves. A witness that lags behind is given older ones from the database. */
  async #readLeaves(from: number, to: number): Promise<Uint8Array> {
    const kept = this.#acknowledged
    const recent = this.#pending.slice(Math.max(0, from - kept), Math.max(0, to - kept)).map(({ leaf }) => leaf)
    const older: Uint8Array[] = []
    while (from + older.length < Math.min(kept, to)) {
      const start = from + older.length
      const count = Math.min(READ_ENTRIES_MAX, kept - start, to - start)
      const encoded = await this.#options.store.readEntries(this.#options.log.log, start, count)
      assert(encoded.length > 0, 'committed entries can be read')
      older.push(...encoded.map(entryLeaf))
    }
    return joinBytes([...older, ...recent])
  }
}

function unavailable(message: string): IssuerError {
  return new IssuerError('UNAVAILABLE', `${message}: the same may be asked again`)
}

function fenced(): IssuerError {
  return new IssuerError('EXIT_ONLY', 'another issuer writes this keyset now')
}
