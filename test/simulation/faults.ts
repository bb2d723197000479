/** What goes wrong, when, and how often it did. Each seed draws which kinds it has, so that runs with few kinds show what many would hide. @module */
import type { Disturbance } from './processLife.ts'
import type { Random } from './random.ts'

/** One call of a process to a node, or to its database. */
export const LINK_FAULTS = [
  /** No answer for long, then an error. */
  'endpointStall',
  /** The state of some blocks ago. */
  'endpointLag',
  /** Too many requests: an error at once. */
  'endpointRefuses',
  /** No receipt of what is included. */
  'endpointLies',
  /** Raw bytes arrive, the answer does not. */
  'sendAnswerLost',
  /** The database commits, the answer is lost. */
  'storeAnswerLost',
] as const
export type LinkFault = (typeof LINK_FAULTS)[number]

/** What happens at a moment. */
export const MOMENTS = [
  'crash',
  'standstill',
  'storeOutage',
  'reorganisation',
  'mempoolLoss',
  'feeSpike',
  'congestion',
  'emptyAccount',
  'foreignNonce',
  'otherSettler',
  'finalityLag',
  'link',
] as const
export type Moment = (typeof MOMENTS)[number]

/** What is a property of the traffic or of a whole run. */
export const CIRCUMSTANCES = [
  'contradiction',
  'fork',
  'otherReporter',
  'exclusiveSettler',
  'lateDeposit',
  'repeatedDelivery',
  'clockSkew',
] as const
export type Circumstance = (typeof CIRCUMSTANCES)[number]

export type FaultKind = LinkFault | Exclude<Moment, 'link'> | Circumstance

export const FAULT_KINDS: readonly FaultKind[] = [
  ...LINK_FAULTS,
  ...MOMENTS.filter((moment) => moment !== 'link'),
  ...CIRCUMSTANCES,
]

type Episode = { readonly kind: LinkFault; readonly until: number; readonly probability: number }

/** What a node is like for one call. */
export type NodeCall = Disturbance & {
  readonly lagBlocks: number
  /** Whether it has not heard of the last reorganisation. */
  readonly isOnFormerBranch: boolean
  readonly lies: boolean
}

const STALL_MS = 20_000

export class Faults {
  readonly counts: Map<FaultKind, number> = new Map(FAULT_KINDS.map((kind) => [kind, 0]))
  readonly #random: Random
  readonly #enabled: ReadonlySet<FaultKind>
  readonly #episodes = new Map<string, Episode[]>()
  isStoreDown = false

  constructor(random: Random, enabled: ReadonlySet<FaultKind>) {
    this.#random = random
    this.#enabled = enabled
  }

  has(kind: FaultKind): boolean {
    return this.#enabled.has(kind)
  }

  note(kind: FaultKind): void {
    this.counts.set(kind, (this.counts.get(kind) ?? 0) + 1)
  }

  get total(): number {
    return [...this.counts.values()].reduce((sum, count) => sum + count, 0)
  }

  /** From now until `until` calls of `process` meet a fault of one kind. Answers which, `undefined` when this run has none. */
  beginEpisode(process: string, until: number): LinkFault | undefined {
    const kinds = LINK_FAULTS.filter((kind) => this.has(kind))
    if (kinds.length === 0) return undefined
    const kind = this.#random.pick(kinds)
    const probability = this.#random.pick([0.05, 0.2, 0.6, 1])
    // One that never answers truly for a while is worse than any: it ends by itself, or the run would have no other fault.
    const episodes = this.#episodes.get(process) ?? []
    this.#episodes.set(process, [...episodes, { kind, until, probability }])
    return kind
  }

  endEpisodes(): void {
    this.#episodes.clear()
  }

  onNodeCall(process: string, name: string, now: number): NodeCall {
    const latency = this.#latency()
    const honest = { ...latency, lagBlocks: 0, isOnFormerBranch: false, lies: false }
    const kind = this.#meets(process, now, name === 'readReceipt', name === 'send')
    switch (kind) {
      case 'endpointStall':
        this.note(kind)
        return { ...honest, fails: this.#random.pick(['before', 'after']), backMs: STALL_MS }
      case 'endpointRefuses':
        this.note(kind)
        return { ...honest, fails: 'before' }
      case 'endpointLag':
        this.note(kind)
        return { ...honest, lagBlocks: this.#random.integer(1, 5), isOnFormerBranch: this.#random.chance(0.3) }
      case 'endpointLies':
        return { ...honest, lies: true }
      case 'sendAnswerLost':
        this.note(kind)
        return { ...honest, fails: 'after' }
      default:
        return honest
    }
  }

  onStoreCall(process: string, now: number): Disturbance {
    const latency = this.#latency()
    if (this.isStoreDown) return { ...latency, fails: 'before' }
    const episode = this.#episodes.get(process)?.find(({ kind, until }) => kind === 'storeAnswerLost' && until > now)
    if (episode === undefined || !this.#random.chance(episode.probability / 4)) return latency
    this.note('storeAnswerLost')
    return { ...latency, fails: 'after' }
  }

  #meets(process: string, now: number, isReceipt: boolean, isSend: boolean): LinkFault | undefined {
    const met = this.#episodes.get(process)?.find(({ kind, until, probability }) => {
      if (until <= now || kind === 'storeAnswerLost') return false
      if (kind === 'endpointLies' && !isReceipt) return false
      if (kind === 'sendAnswerLost' && !isSend) return false
      return this.#random.chance(probability)
    })
    return met?.kind
  }

  #latency(): { outMs: number; backMs: number } {
    return { outMs: this.#random.integer(1, 20), backMs: this.#random.integer(1, 20) }
  }
}
