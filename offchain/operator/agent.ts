/**
 * The operator agent: the host side of a gateway or an issuer. It registers the enclave, keeps its evidence fresh, stores its log durably
 * and delivers it to every aggregator; an issuer's clearings too, which the enclave itself serves until newer ones replace them; and tells the
 * vault when the issuer takes another's place. None of it is in the way of an answer: an absent chain or aggregator only makes the outbox grow.
 * @module
 */
import { AppError } from '#node/appError.ts'
import { errorFields, type Logger } from '#node/log.ts'
import { pause } from '#node/rounds.ts'
import type { Hex } from '#protocol/bytes.ts'
import { readCleared } from './cleared.ts'
import { ClearingBox } from './clearingBox.ts'
import type { OperatorConfig } from './config.ts'
import { rotateKeys } from './keyRotation.ts'
import { EnclaveOutbox, openOutboxes } from './outbox.ts'
import { deliver, deliverClearing, type EnclaveAgent } from './peers.ts'
import { retirePredecessors } from './predecessors.ts'
import { activeUntil, type RegistryAccess, registerEnclave, renewEvidence } from './registration.ts'
import { takeOver } from './successions.ts'

/** Longest pause after repeated failures. */
const BACKOFF_MAX_MS = 5_000
/** A registration is renewed this long before it would end: a day, of seven. */
const RENEW_BEFORE_SECONDS = 86_400

/** How often the chain is asked what of an issuer's clearings is settled. */
const CLEARED_CHECK_MS = 15_000

/** How often an issuer is asked whether it takes another's place. */
const SUCCESSIONS_CHECK_MS = 1_000

/** How often it is asked, at most, whether sealing keys are to be replaced; ten times within their age where that is short. */
const ROTATION_CHECK_MS = 60_000

/** How often enclaves that were replaced are looked for. */
const RETIRE_CHECK_MS = 60_000

export type AgentState = { enclave: Hex | undefined; isRegistered: boolean; isEnclaveReachable: boolean }

export class OperatorAgent {
  readonly #config: OperatorConfig
  readonly #enclave: EnclaveAgent
  readonly #access: RegistryAccess
  readonly #log: Logger
  readonly #outboxes: Map<Hex, EnclaveOutbox>
  readonly #clearings = new ClearingBox()
  /** The contract that an issuer's clearings are for; absent for a gateway. */
  #clearingsFor: Hex | undefined
  readonly #stop = new AbortController()
  readonly #loops: Promise<void>[] = []
  readonly state: AgentState = { enclave: undefined, isRegistered: false, isEnclaveReachable: false }

  constructor(config: OperatorConfig, enclave: EnclaveAgent, access: RegistryAccess, log: Logger) {
    this.#config = config
    this.#enclave = enclave
    this.#access = access
    this.#log = log
    this.#outboxes = openOutboxes(config.dataFolder)
  }

  start(): void {
    this.#loops.push(this.#forever('collect', () => this.#collect()))
    this.#loops.push(this.#forever('attest', () => this.#attest()))
    this.#loops.push(this.#forever('clear', () => this.#clear()))
    this.#loops.push(this.#forever('succeed', () => this.#succeed()))
    this.#loops.push(this.#forever('rotate', () => this.#rotate()))
    this.#loops.push(this.#forever('retire', () => this.#retire()))
    for (const url of this.#config.aggregators) {
      this.#loops.push(this.#forever('deliver', () => this.#deliverTo(url)))
    }
  }

  async close(): Promise<void> {
    this.#stop.abort()
    await Promise.all(this.#loops)
    for (const outbox of this.#outboxes.values()) outbox.close()
    this.#outboxes.clear()
  }

  /** How many leaves of the present enclave's log are stored here, and how many of them each aggregator has, by host. */
  logState(): { readonly leaves: number; readonly delivered: Readonly<Record<string, number>> } {
    const outbox = this.state.enclave && this.#outboxes.get(this.state.enclave)
    const hosts = this.#config.aggregators.map((url) => [new URL(url).host, outbox?.deliveredTo(url) ?? 0] as const)
    return { leaves: outbox?.size ?? 0, delivered: Object.fromEntries(hosts) }
  }

  /** Fetches what the enclave has logged since, stores it, and only then lets the enclave forget it. */
  async #collect(): Promise<void> {
    const { statement } = await this.#enclave.status()
    this.state.isEnclaveReachable = true
    if (statement.enclave !== this.state.enclave) {
      this.#log.info('enclave found', { enclave: statement.enclave })
      this.state.enclave = statement.enclave
      this.state.isRegistered = false
      // What it replaces can be retired as soon as it is registered itself.
      this.#retireDueAt = 0
    }
    this.#clearingsFor = statement.role === 'issuer' ? statement.settlement : undefined
    const outbox = this.#outboxOf(statement.enclave)
    const { from, leaves, head } = await this.#enclave.log(outbox.size)
    // Also without new leaves: a crash may have come between them and their head.
    outbox.store(Number(from), leaves, head)
    if (this.#acknowledged.get(outbox) === outbox.size) return
    await this.#enclave.acknowledge(outbox.size)
    this.#acknowledged.set(outbox, outbox.size)
  }

  /** How far each outbox was acknowledged to its enclave since this agent started. */
  readonly #acknowledged = new Map<EnclaveOutbox, number>()

  #clearedAt = 0

  /**
   * Fetches an issuer's newest clearings; nothing is stored, for the enclave serves them again. From time to time lets it forget what is
   * settled for good, so that its clearings list only what is new.
   */
  async #clear(): Promise<void> {
    const settlement = this.#clearingsFor
    if (settlement === undefined) return
    const clearings = await this.#enclave.clearings()
    this.#clearings.replace(clearings)
    const now = Date.now()
    if (now - this.#clearedAt < CLEARED_CHECK_MS) return
    this.#clearedAt = now
    for (const clearing of clearings) {
      const settled = await readCleared(this.#access.client, settlement, clearing)
      if (settled.enclaves.length > 0) await this.#enclave.acknowledgeClearing(settled)
    }
  }

  #successionsAt = 0

  /** Submits what a standby offers that has taken over a database. It offers it until it reads its own name in the vault. */
  async #succeed(): Promise<void> {
    const now = performance.now()
    if (this.#clearingsFor === undefined || now - this.#successionsAt < SUCCESSIONS_CHECK_MS) return
    this.#successionsAt = now
    const { vault, successions } = await this.#enclave.successions()
    const failures: unknown[] = []
    for (const succession of successions) {
      const { keyset, successor } = succession
      try {
        const taken = await takeOver(this.#access, vault, succession)
        if (taken.state === 'done') continue
        this.#log.info('keyset taken over', { keyset, successor, transaction: taken.transaction })
      } catch (error) {
        failures.push(error)
      }
    }
    if (failures.length > 0) throw failures[0]
  }

  #renewedAt = 0
  #activeUntil = 0

  async #attest(): Promise<void> {
    const { enclave } = this.state
    if (enclave === undefined) return
    const now = Date.now() / 1000
    // An agent that restarts finds its enclave registered: that costs gas only when its time comes.
    if (!this.state.isRegistered) this.#activeUntil = await activeUntil(this.#access, enclave)
    this.state.isRegistered = this.#activeUntil > now
    if (this.#activeUntil - now < RENEW_BEFORE_SECONDS) {
      const { transaction, gasUsed } = await registerEnclave(this.#access, this.#enclave)
      this.#renewedAt = now
      this.#activeUntil = await activeUntil(this.#access, enclave)
      this.state.isRegistered = this.#activeUntil > now
      this.#log.info('enclave registered', { enclave, transaction, gasUsed })
    } else if (now - this.#renewedAt > this.#config.evidenceRenewalSeconds) {
      await renewEvidence(this.#access, this.#enclave)
      this.#renewedAt = now
      this.#log.info('evidence renewed', { enclave })
    }
  }

  #rotationDueAt = 0

  /** Replaces the enclave's sealing keys when their time has come. */
  async #rotate(): Promise<void> {
    const { enclave, isRegistered } = this.state
    const now = performance.now()
    if (enclave === undefined || !isRegistered || now < this.#rotationDueAt) return
    this.#rotationDueAt = now + Math.min(ROTATION_CHECK_MS, 100 * this.#config.keyRotationSeconds)
    const step = await rotateKeys(this.#access, this.#enclave, this.#config.keyRotationSeconds)
    if (step !== undefined)
      this.#log.info(step.kind === 'announced' ? 'keys announced' : 'keys in use', { enclave, ...step })
  }

  #retireDueAt = 0
  /** Predecessors that need no second look. */
  readonly #ended = new Set<Hex>()

  /** Ends the registrations of gateways that the present one replaced, once all they logged is delivered. An issuer's have keysets to hand over. */
  async #retire(): Promise<void> {
    const { enclave, isRegistered } = this.state
    const now = performance.now()
    if (enclave === undefined || !isRegistered || this.#clearingsFor !== undefined || now < this.#retireDueAt) return
    this.#retireDueAt = now + RETIRE_CHECK_MS
    const isDelivered = (outbox: EnclaveOutbox) =>
      this.#config.aggregators.every((url) => outbox.deliveredTo(url) >= Number(outbox.head?.size ?? 0n))
    const gone = [...this.#outboxes.values()]
      .filter((outbox) => outbox.enclave !== enclave && !this.#ended.has(outbox.enclave) && isDelivered(outbox))
      .map((outbox) => outbox.enclave)
    for (const { enclave: ended, transaction } of await retirePredecessors(this.#access, gone)) {
      this.#log.info('predecessor retired', { enclave: ended, transaction })
    }
    for (const each of gone) this.#ended.add(each)
  }

  /** Delivers what this aggregator lacks of every enclave and keyset. One that it refuses does not hold up the others. */
  async #deliverTo(url: string): Promise<void> {
    const failures: unknown[] = []
    for (const outbox of this.#outboxes.values()) {
      try {
        await this.#deliverOutbox(url, outbox)
      } catch (error) {
        failures.push(error)
      }
    }
    for (const clearing of this.#clearings.due(url, Date.now())) {
      try {
        await deliverClearing(url, clearing)
        this.#clearings.noteDelivered(url, clearing, Date.now())
      } catch (error) {
        failures.push(error)
      }
    }
    if (failures.length > 0) throw failures[0]
  }

  async #deliverOutbox(url: string, outbox: EnclaveOutbox): Promise<void> {
    const { enclave } = outbox
    let from = outbox.deliveredTo(url)
    while (from < Number(outbox.head?.size ?? 0n) && !this.#stop.signal.aborted) {
      const head = outbox.headFrom(from)
      if (head === undefined) {
        throw new AppError('PEER_FAILED', `no head was kept that reaches from leaf ${from} by one delivery`)
      }
      const leaves = outbox.read(from, Number(head.size))
      const delivered = await deliver(url, { head, from: BigInt(from), leaves })
      // The aggregator may hold less than we noted: it may have lost its database. Its word decides.
      const next = 'gapAt' in delivered ? delivered.gapAt : delivered.size
      outbox.noteDelivered(url, next)
      if ('size' in delivered) this.#log.info('head delivered', { enclave, size: next, fees: head.fees })
      // What it lacks from before is for the next round, so that nobody is asked the same for ever.
      if (next <= from) return
      from = next
    }
  }

  #outboxOf(enclave: Hex): EnclaveOutbox {
    const known = this.#outboxes.get(enclave)
    if (known !== undefined) return known
    const outbox = new EnclaveOutbox(this.#config.dataFolder, enclave)
    this.#outboxes.set(enclave, outbox)
    return outbox
  }

  /** Runs `step` again and again, slower while it fails; a failure is logged when it begins, not each time. */
  async #forever(name: string, step: () => Promise<void>): Promise<void> {
    let pauseMs = this.#config.pollMs
    while (!this.#stop.signal.aborted) {
      try {
        await step()
        if (pauseMs > this.#config.pollMs) this.#log.info(`${name} works again`)
        pauseMs = this.#config.pollMs
      } catch (error) {
        if (name === 'collect') this.state.isEnclaveReachable = false
        if (pauseMs === this.#config.pollMs) {
          const reason = error instanceof Error ? error.message : 'unknown'
          this.#log.warn(`${name} failed`, { ...errorFields(error), reason })
        }
        pauseMs = Math.min(2 * pauseMs, BACKOFF_MAX_MS)
      }
      await pause(pauseMs, this.#stop.signal)
    }
  }
}
