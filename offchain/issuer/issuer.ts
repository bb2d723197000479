/**
 * An issuer's life from its boot: wait for the database, read it, hand over what was left, begin a log, watch for the vault to name us.
 * Until all that is done only exits are left; what fails for a passing reason is tried again.
 * @module
 */
import { AppError } from '#node/appError.ts'
import { errorFields, type Logger } from '#node/log.ts'
import { pause } from '#node/rounds.ts'
import type { Hex } from '#protocol/bytes.ts'
import type { CompactSignature, SettlementDomain } from '#protocol/receipt/head.ts'
import type { SignedSuccession } from '#protocol/wire/handoverApi.ts'
import type { ChainReader } from './chain.ts'
import type { ClearingBook } from './clearing.ts'
import type { PaymentMemory } from './paymentMemory.ts'
import type { ActiveWriter, InactiveWriter } from './ports.ts'
import { type Recovered, recover } from './recover.ts'
import { type IssuerStore, StoreError, type TakenStore } from './store.ts'
import { BEHIND, KeysetStanding, REPLACED, showLogs } from './succession.ts'
import type { WitnessPolicy } from './witnessing.ts'
import { Writer } from './writer.ts'

export type IssuerLifeOptions = {
  readonly enclave: Hex
  readonly privateKey: Uint8Array
  /** Of the heads. */
  readonly domain: SettlementDomain
  /** Those that are there at boot; others come by `addKeyset`. */
  readonly keysets: readonly Hex[]
  /** For an issuer that gets its keysets from others. */
  readonly standby?: Standby
  readonly store: IssuerStore
  readonly chain: ChainReader
  readonly witnessing: WitnessPolicy
  readonly memory: PaymentMemory
  readonly clearings: ClearingBook
  readonly log: Logger
  readonly timing: IssuerTiming
}

/** What a standby was given so far. */
export type Standby = {
  /** Why it could not become the writer now, and must leave the database to another one. */
  readonly notReady: string | undefined
  /** The word of `writer` that this enclave may follow it. */
  successionBy(keyset: Hex, writer: Hex): CompactSignature | undefined
}

/** In milliseconds. */
export type IssuerTiming = {
  /** How long a writer may go on without reading its name in the vault, and how long its successor waits therefore. */
  readonly leaseMs: number
  /** Pause before something that failed at boot is tried again, and after a failed commit or delivery. */
  readonly retryMs: number
  /** How long a caller waits for the witnesses. */
  readonly answerMs: number
}

export const ISSUER_TIMING: IssuerTiming = { leaseMs: 20_000, retryMs: 250, answerMs: 5_000 }

export class IssuerLife {
  readonly #options: IssuerLifeOptions
  readonly #closing = new AbortController()
  readonly #boot: Promise<void>
  #state: ActiveWriter | InactiveWriter = { inactiveBecause: 'the issuer reads its log', isFinal: false }
  #taken: TakenStore | undefined
  readonly #keysets: Set<Hex>
  readonly #standings = new Map<Hex, KeysetStanding>()
  /** Begins to ask the vault about a keyset; set once there is a writer. */
  #stand: ((keyset: Hex) => void) | undefined
  #steppedDown: Promise<void> | undefined

  constructor(options: IssuerLifeOptions) {
    this.#options = options
    this.#keysets = new Set(options.keysets)
    this.#boot = this.#live()
  }

  /** The writer, or why there is none. */
  get state(): ActiveWriter | InactiveWriter {
    if ('writer' in this.#state && this.#state.writer.isFenced) {
      return { inactiveBecause: 'another issuer writes this database now', isFinal: true, isElsewhere: true }
    }
    return this.#state
  }

  /** Why this issuer cannot do all its work, for its health. */
  notReady(): string[] {
    const { state } = this
    if ('inactiveBecause' in state) return [state.inactiveBecause]
    const closed = [...state.standings].filter(([, standing]) => !standing.isOpen)
    const reasons = closed.map(
      ([keyset, { endedBecause }]) => `${keyset}: ${endedBecause ?? 'not confirmed by the vault'}`,
    )
    return state.writer.isStuck ? [...reasons, 'the witnesses or the database lag behind'] : reasons
  }

  /** A keyset whose secret keys have come. */
  addKeyset(keyset: Hex): void {
    if (this.#keysets.has(keyset)) return
    this.#keysets.add(keyset)
    this.#stand?.(keyset)
  }

  /** What the vault has to be told so that this enclave becomes the writer: nothing while it cannot go on where the writer before it ended. */
  successions(): SignedSuccession[] {
    const { state } = this
    if ('inactiveBecause' in state) return []
    return [...state.standings].flatMap(([keyset, { offered }]) =>
      offered === undefined ? [] : [{ keyset, successor: this.#options.enclave, ...offered }],
    )
  }

  async close(): Promise<void> {
    this.#closing.abort()
    await this.#boot
    await Promise.all([...this.#standings.values()].map((standing) => standing.close()))
    if ('writer' in this.#state) await this.#state.writer.close()
    await this.#steppedDown
    await this.#taken?.release()
  }

  async #live(): Promise<void> {
    while (!this.#closing.signal.aborted && !('writer' in this.#state)) {
      try {
        if (await this.#begin()) return
      } catch (error) {
        const reason = error instanceof AppError ? error.message : 'its database does not answer'
        this.#state = { inactiveBecause: reason, isFinal: false }
        this.#options.log.error('boot failed', { ...errorFields(error), reason })
      }
      await this.#pause()
    }
  }

  /** True at the end, good or bad; false when the same is worth another try. */
  async #begin(): Promise<boolean> {
    const { store, witnessing, log, domain, standby } = this.#options
    if (this.#taken === undefined && standby?.notReady !== undefined) {
      this.#state = { inactiveBecause: standby.notReady, isFinal: false }
      return false
    }
    if (!(await this.#take())) return false
    const recovered = await recover(store, domain)
    const recheck = () => showLogs(store, recovered.logs, witnessing, log)
    const handed = await recheck()
    if (handed === 'behind') {
      // The writer before this one goes on until this one begins its log. What it commits is in the database before any witness has it.
      if (await this.#hasGrownSince(recovered)) return false
      this.#state = { inactiveBecause: BEHIND, isFinal: true }
      log.error('exit only', { reason: BEHIND })
      return true
    }
    if (handed === 'unreachable') {
      this.#state = { inactiveBecause: 'too few witnesses answer', isFinal: false, isUnwitnessed: true }
      return false
    }
    await this.#write(recovered, recheck)
    return true
  }

  async #hasGrownSince({ logs }: Recovered): Promise<boolean> {
    const newest = (await this.#options.store.readLogs()).at(-1)
    const known = logs.at(-1)
    return newest?.log !== known?.log || newest?.size !== known?.size
  }

  /** A standby waits here for the issuer before it to stop. */
  async #take(): Promise<boolean> {
    if (this.#taken !== undefined) return true
    try {
      this.#taken = await this.#options.store.take()
      return true
    } catch (error) {
      if (!(error instanceof StoreError) || error.code !== 'TAKEN') throw error
      this.#state = { inactiveBecause: 'another issuer writes this database: this one stands by', isFinal: false }
      return false
    }
  }

  async #write(recovered: Recovered, recheck: () => ReturnType<typeof showLogs>): Promise<void> {
    const { enclave, privateKey, domain, store, chain, witnessing, memory, clearings, log, timing } = this.#options
    if (this.#taken === undefined) throw new Error('expected the database to be taken before a log is begun')
    const writer = new Writer({
      enclave,
      privateKey,
      domain,
      store,
      log: await this.#taken.beginLog(enclave, recovered.logs.at(-1)),
      ledgers: recovered.ledgers,
      witnessing,
      logger: log,
      onAcknowledged: (entry) => clearings.note(entry),
      answerMs: timing.answerMs,
      retryMs: timing.retryMs,
    })
    clearings.adopt(recovered.ledgers.values())
    for (const [payment, blanks] of recovered.blanks) memory.noteBlanks(payment, blanks)
    const onClose = () => void writer.close()
    this.#closing.signal.addEventListener('abort', onClose)
    try {
      if (recovered.adoption !== undefined) await writer.adopt(recovered.adoption)
    } catch (error) {
      await writer.close()
      this.#state = { inactiveBecause: 'the log could not be begun', isFinal: true }
      log.error('boot failed', errorFields(error))
      return
    } finally {
      this.#closing.signal.removeEventListener('abort', onClose)
    }
    const standings = this.#standings
    this.#stand = (keyset) => {
      const isFresh = recovered.ledgers.get(keyset)?.isEmpty ?? true
      const successionBy = (before: Hex) => this.#options.standby?.successionBy(keyset, before)
      const { logs } = recovered
      const onReplaced = () => {
        if (![...standings.values()].every(({ isReplaced }) => isReplaced)) return
        this.#steppedDown = this.#stepDown(writer).catch((error: unknown) => {
          log.warn('the database could not be left', errorFields(error))
        })
      }
      const { leaseMs } = timing
      const options = { enclave, keyset, chain, logs, isFresh, recheck, successionBy, onReplaced, leaseMs, log }
      standings.set(keyset, new KeysetStanding(options))
    }
    for (const keyset of this.#keysets) this.#stand(keyset)
    this.#state = { writer, standings }
    log.info('log begun', { enclave, keysets: standings.size })
  }

  /** Leaves the database to the enclave that follows. */
  async #stepDown(writer: Writer): Promise<void> {
    this.#state = { inactiveBecause: REPLACED, isFinal: true, isElsewhere: true }
    await writer.close()
    await this.#taken?.release()
    this.#taken = undefined
    this.#options.log.info('database left to the writer after this one')
  }

  async #pause(): Promise<void> {
    await pause(this.#options.timing.retryMs, this.#closing.signal)
  }
}
