/**
 * Hands a log to its witnesses as it grows, each at its own pace, and says how far enough of them have acknowledged it.
 *
 * What q of n witnesses hold cannot be taken back unnoticed: a successor asks so many of them that at least one is among the q.
 * @module
 */
import { errorFields, type Logger } from '#node/log.ts'
import { pause } from '#node/rounds.ts'
import type { EarningsHeadMessage } from '#protocol/wire/agentApi.ts'
import { DELIVERY_LEAVES_MAX } from '#protocol/wire/aggregatorApi.ts'
import type { Delivered, Witness } from './witness.ts'
import { WitnessError } from './witnessError.ts'

export type WitnessPolicy = {
  readonly witnesses: readonly Witness[]
  /** Acknowledgements before anything is answered. */
  readonly quorum: number
  /** Leaves of one delivery; as many as aggregators take unless told. */
  readonly leavesMax?: number
}

/** How many witnesses must say how far a log goes, so that one of them has acknowledged its newest answered entry. */
export function answersNeeded({ witnesses, quorum }: WitnessPolicy): number {
  return Math.max(quorum, witnesses.length - quorum + 1)
}

export type WitnessingOptions = WitnessPolicy & {
  /** Leaves of the log, 32 bytes each. */
  readonly readLeaves: (from: number, to: number) => Promise<Uint8Array>
  /** The newest committed head over at most `sizeMax` leaves: for a witness that is too far behind for one delivery. */
  readonly readHead: (sizeMax: number) => Promise<EarningsHeadMessage | undefined>
  /** Called with every size that newly has its quorum. */
  readonly onAcknowledged: (size: number) => void
  readonly log: Logger
  /** Pause after a failed delivery, in milliseconds. */
  readonly retryMs?: number
}

const RETRY_MS = 250

export class Witnessing {
  readonly #options: WitnessingOptions
  /** What each has said that it holds. */
  readonly #sizes: (number | undefined)[]
  readonly #pumps: Promise<void>[]
  readonly #closing = new AbortController()
  #head: EarningsHeadMessage | undefined
  #wake = Promise.withResolvers<void>()
  #acknowledged = 0

  constructor(options: WitnessingOptions) {
    this.#options = options
    this.#sizes = options.witnesses.map(() => undefined)
    this.#pumps = options.witnesses.map((witness, i) => this.#pump(witness, i))
  }

  /** Leaves that a quorum holds. */
  get acknowledged(): number {
    return this.#acknowledged
  }

  /** A newer head, whose leaves can be read from now on. */
  offer(head: EarningsHeadMessage): void {
    this.#head = head
    this.#wake.resolve()
    this.#wake = Promise.withResolvers()
  }

  async close(): Promise<void> {
    this.#closing.abort()
    this.#wake.resolve()
    await Promise.all(this.#pumps)
  }

  async #pump(witness: Witness, i: number): Promise<void> {
    let failures = 0
    while (!this.#closing.signal.aborted) {
      const head = this.#head
      if (head === undefined || (this.#sizes[i] ?? 0) >= Number(head.size)) {
        await this.#wake.promise
        continue
      }
      try {
        await this.#deliver(witness, i, head)
        failures = 0
      } catch (error) {
        if (failures === 0) {
          this.#options.log.warn('witness does not acknowledge', { witness: witness.name, ...errorFields(error) })
        }
        failures++
        await this.#pause(failures)
      }
    }
  }

  async #deliver(witness: Witness, i: number, newest: EarningsHeadMessage): Promise<void> {
    const { leavesMax = DELIVERY_LEAVES_MAX, readHead, readLeaves } = this.#options
    // Most witnesses hold all of it already: what they lack, they say.
    const from = this.#sizes[i] ?? Math.max(0, Number(newest.size) - leavesMax)
    const head = Number(newest.size) - from <= leavesMax ? newest : await readHead(from + leavesMax)
    if (head === undefined || (head !== newest && Number(head.size) <= from)) {
      throw new WitnessError('REFUSED', 'a witness is too far behind, and no head in between was kept')
    }
    const leaves = await readLeaves(from, Number(head.size))
    this.#note(i, head, from, await witness.deliver({ head, from: BigInt(from), leaves }))
  }

  #note(i: number, head: EarningsHeadMessage, from: number, delivered: Delivered): void {
    if ('refused' in delivered) throw new WitnessError('REFUSED', `a witness refuses our log: ${delivered.refused}`)
    if ('gapAt' in delivered) {
      // Otherwise it would be asked the same again at once, for ever.
      if (delivered.gapAt >= from) throw new WitnessError('REFUSED', 'a witness lacks what it was given')
      this.#sizes[i] = delivered.gapAt
      return
    }
    if (delivered.size < Number(head.size)) throw new WitnessError('REFUSED', 'a witness acknowledged less than it got')
    this.#sizes[i] = Number(head.size)
    // The quorum-th largest size is what a quorum holds.
    const held = this.#sizes.map((size = 0) => size).toSorted((a, b) => b - a)[this.#options.quorum - 1] ?? 0
    if (held <= this.#acknowledged) return
    this.#acknowledged = held
    this.#options.onAcknowledged(held)
  }

  async #pause(failures: number): Promise<void> {
    const ms = (this.#options.retryMs ?? RETRY_MS) * Math.min(2 ** (failures - 1), 16)
    await pause(ms, this.#closing.signal)
  }
}
