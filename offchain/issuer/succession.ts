/**
 * Whether this enclave may write: it goes on from where the writers before it ended, and the chain names it.
 *
 *   1. The heads of all earlier writers are handed to the witnesses. One that holds more than our database: the database is old.
 *   2. The database is taken, and a log begun that adopts the last one.
 *   3. For each keyset: the vault names us, and named before us a writer whose log is the one we adopted. Until it does, and if that writer
 *      gave its word in advance (handoverTaker.ts), the word is offered to whoever tells the vault.
 *   4. A lease passes, in which the writer before us notices that it was replaced; then 1 is asked again.
 *
 * The vault is asked again all the time: a writer that has not read its own name for a lease answers nothing, and one that reads another's
 * name is at its end. All times come from this machine's monotonic clock.
 * @module
 */
import { AppError } from '#node/appError.ts'
import { errorFields, type Logger } from '#node/log.ts'
import { pause } from '#node/rounds.ts'
import { type Hex, joinBytes } from '#protocol/bytes.ts'
import type { CompactSignature } from '#protocol/receipt/head.ts'
import type { EarningsHeadMessage } from '#protocol/wire/agentApi.ts'
import { DELIVERY_LEAVES_MAX } from '#protocol/wire/aggregatorApi.ts'
import type { ChainReader } from './chain.ts'
import { entryLeaf } from './entry.ts'
import { IssuerError } from './issuerError.ts'
import type { RecoveredLog } from './recover.ts'
import type { IssuerStore } from './store.ts'
import type { Witness } from './witness.ts'
import { WitnessError } from './witnessError.ts'
import { answersNeeded, type WitnessPolicy } from './witnessing.ts'

/** `behind`: a witness shows to hold what our database does not. `unreachable`: too few of them answered to know. */
export type Shown = 'whole' | 'behind' | 'unreachable'

type LogStore = Pick<IssuerStore, 'readEntries' | 'readHead'>

/** Hands the heads of earlier writers to the witnesses: what was committed is now acknowledged too, and nothing was lost. */
export async function showLogs(
  store: LogStore,
  logs: readonly RecoveredLog[],
  policy: WitnessPolicy,
  log: Logger,
): Promise<Shown> {
  const results = await Promise.all(
    policy.witnesses.map((witness) =>
      showTo(store, logs, witness, policy.leavesMax ?? DELIVERY_LEAVES_MAX).catch((error: unknown) => {
        const isLie = error instanceof WitnessError && error.code === 'UNPROVEN'
        const event = isLie ? 'witness claims what it cannot show and is ignored' : 'witness cannot be asked'
        log.warn(event, { witness: witness.name, ...errorFields(error) })
        return 'unreachable' as const
      }),
    ),
  )
  if (results.includes('behind')) return 'behind'
  return results.filter((result) => result === 'whole').length >= answersNeeded(policy) ? 'whole' : 'unreachable'
}

async function showTo(
  store: LogStore,
  logs: readonly RecoveredLog[],
  witness: Witness,
  leavesMax: number,
): Promise<Shown> {
  for (const { log, enclave, size, head } of logs) {
    let held = await witness.sizeOf(enclave)
    if (held > size) return 'behind'
    if (head === undefined) continue
    // A witness that holds the whole log still compares its root with ours; one that is far behind gets it piece by piece, each under a head of its own.
    for (;;) {
      const part: EarningsHeadMessage | undefined =
        size - held <= leavesMax ? head : await store.readHead(log, held + leavesMax)
      if (part === undefined || (part !== head && Number(part.size) <= held)) return 'unreachable'
      const leaves = joinBytes((await readAll(store, log, held, Number(part.size))).map(entryLeaf))
      const delivered = await witness.deliver({ head: part, from: BigInt(held), leaves })
      if (!('size' in delivered) || delivered.size < Number(part.size)) return 'unreachable'
      // It took more meanwhile, from somebody else, or says so: it has to show that as well.
      if (delivered.size > size && (await witness.sizeOf(enclave)) > size) return 'behind'
      if (part === head) break
      held = Number(part.size)
    }
  }
  return 'whole'
}

async function readAll(store: LogStore, log: number, from: number, to: number): Promise<Uint8Array[]> {
  const entries: Uint8Array[] = []
  while (from + entries.length < to) {
    const start = from + entries.length
    const page = await store.readEntries(log, start, Math.min(16_384, to - start))
    if (page.length === 0) throw new AppError('DATABASE_FAILED', `log ${log} ends at ${start}, before its head`)
    entries.push(...page)
  }
  return entries
}

export type StandingOptions = {
  readonly enclave: Hex
  readonly keyset: Hex
  readonly chain: Pick<ChainReader, 'writers'>
  /** The earlier writers' logs of our database. */
  readonly logs: readonly RecoveredLog[]
  /** Whether the database holds anything of this keyset. */
  readonly isFresh: boolean
  /** `showLogs`, asked again. */
  readonly recheck: () => Promise<Shown>
  /** A writer's word that this enclave may follow it, if there is one. */
  readonly successionBy?: (writer: Hex) => CompactSignature | undefined
  /** Told once when the vault names another writer after us. */
  readonly onReplaced?: () => void
  readonly leaseMs: number
  readonly log: Logger
}

const WAITING_MS = 1_000

/** One keyset's standing: asks the vault until it is closed. */
export class KeysetStanding {
  readonly #options: StandingOptions
  readonly #closing = new AbortController()
  readonly #loop: Promise<void>
  #hasLooked = false
  #namedSince: number | undefined
  #confirmedAt = Number.NEGATIVE_INFINITY
  #openedAt: number | undefined
  #ended: string | undefined
  #offered: CompactSignature | undefined

  constructor(options: StandingOptions) {
    this.#options = options
    this.#loop = this.#watch()
  }

  /** Why only exits are left, if that is so. */
  get endedBecause(): string | undefined {
    return this.#ended
  }

  /**
   * What the vault has to be told so that it names this enclave: the present writer's word, once its log is all here and nobody can write
   * behind it. Undefined where there is none, or nothing left to tell.
   */
  get offered(): CompactSignature | undefined {
    return this.#offered
  }

  /** Whether the vault named another writer after us. */
  get isReplaced(): boolean {
    return this.#ended === REPLACED
  }

  /** Whether another enclave writes this keyset, as far as is known here. */
  get isElsewhere(): boolean {
    return this.#namedSince === undefined || this.isReplaced
  }

  /** Whether this enclave may write now. */
  get isOpen(): boolean {
    const isConfirmed = performance.now() - this.#confirmedAt < this.#options.leaseMs
    return this.#ended === undefined && this.#openedAt !== undefined && isConfirmed
  }

  /** How long it has been open, in seconds. */
  get openSeconds(): number {
    return this.#openedAt === undefined ? 0 : (performance.now() - this.#openedAt) / 1000
  }

  /** Throws `IssuerError`: `EXIT_ONLY` when this enclave is not the writer, `UNAVAILABLE` when it cannot be sure at the moment. */
  requireOpen(): void {
    if (this.isOpen) return
    if (this.#ended === undefined && this.#openedAt !== undefined) {
      throw new IssuerError('UNAVAILABLE', 'the chain does not answer: the same may be asked again')
    }
    if (this.#ended === undefined && (this.#offered !== undefined || this.#namedSince !== undefined)) {
      throw new IssuerError('UNAVAILABLE', 'this issuer is taking over: the same may be asked again')
    }
    if (this.#ended === undefined && !this.#hasLooked) {
      throw new IssuerError('UNAVAILABLE', 'the vault has not said who writes yet: the same may be asked again')
    }
    throw new IssuerError('EXIT_ONLY', this.#ended ?? 'the vault does not name this enclave as the writer yet')
  }

  async close(): Promise<void> {
    this.#closing.abort()
    await this.#loop
  }

  async #watch(): Promise<void> {
    const { leaseMs, log, keyset } = this.#options
    while (!this.#closing.signal.aborted && this.#ended === undefined) {
      try {
        await this.#look()
      } catch (error) {
        log.warn('the writer cannot be read', { keyset, ...errorFields(error) })
      }
      // Whoever waits to be named looks more often.
      const pauseMs = this.#openedAt === undefined ? Math.min(leaseMs / 4, WAITING_MS) : leaseMs / 4
      await pause(pauseMs, this.#closing.signal)
    }
    if (this.#ended !== undefined) log.warn('exit only', { keyset, reason: this.#ended })
  }

  async #look(): Promise<void> {
    const { enclave, keyset, chain, leaseMs, log } = this.#options
    const askedAt = performance.now()
    const writers = (await chain.writers(keyset)).map((writer) => writer.toLowerCase())
    this.#hasLooked = true
    const isNamed = writers.at(-1) === enclave.toLowerCase()
    if (!isNamed) {
      // A name once read and gone again: somebody has taken over.
      if (this.#namedSince === undefined) this.#offered = this.#succeed(writers.at(-1))
      else {
        this.#ended = REPLACED
        this.#options.onReplaced?.()
      }
      return
    }
    this.#offered = undefined
    this.#namedSince ??= askedAt
    if (this.#openedAt === undefined) {
      const before = writers.at(-2)
      this.#ended = this.#unfit(before)
      if (this.#ended !== undefined) return
      if (before !== undefined) {
        if (askedAt - this.#namedSince < leaseMs) return
        const handed = await this.#options.recheck()
        if (handed === 'behind') this.#ended = BEHIND
        if (handed !== 'whole') return
      }
      this.#openedAt = performance.now()
      log.info('keyset open', { keyset })
    }
    this.#confirmedAt = askedAt
  }

  /** The present writer's word, if we have its log. */
  #succeed(writer: string | undefined): CompactSignature | undefined {
    if (writer === undefined || this.#unfit(writer) !== undefined) return undefined
    return this.#options.successionBy?.(writer as Hex)
  }

  /** Why we are no successor of the writer before us. */
  #unfit(before: string | undefined): string | undefined {
    const { logs, isFresh } = this.#options
    if (before === undefined) {
      return isFresh ? undefined : 'the vault knows no writer before this one, and the database has entries of one'
    }
    // Those that only adopted and never wrote anything may stand between the two.
    const last = logs.findLastIndex(({ didWrite }) => didWrite)
    const predecessors = logs.slice(Math.max(0, last)).map((log) => log.enclave.toLowerCase())
    const isOurs = predecessors.includes(before)
    return isOurs ? undefined : 'the database has no log of the writer before this one'
  }
}

export const REPLACED = 'another enclave is the writer of this keyset now'
export const BEHIND = 'the database is older than what the witnesses hold'
