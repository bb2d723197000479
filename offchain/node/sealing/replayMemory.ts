/** The gateway's memory against replayed requests (RFC 9458 section 6.5): OHTTP itself has no freshness. @module */
import { hash } from 'node:crypto'
import type { GatewayKey } from '#protocol/sealing/exchange.ts'

export type ReplayVerdict =
  | 'fresh'
  | 'replayed'
  /** The request's date is too far from our time. */
  | 'outside-window'
  /** No room to remember the request, so it cannot be admitted. */
  | 'full'

export interface ReplayLimits {
  /** How far a request's date may be from our time, either way. */
  readonly windowSeconds: number
  /** Remembered requests per key: with a date within about two windows, and as many again without a date. */
  readonly entriesPerKeyMax: number
}

export const REPLAY_LIMITS: ReplayLimits = { windowSeconds: 300, entriesPerKeyMax: 500_000 }

/**
 * Remembers the `enc` of every admitted request. A dated request stays admissible for at most two windows after it was
 * first seen, so it is forgotten after two to four; one without a date is remembered for the life of its key. A flood
 * of the latter fills only their own half.
 *
 * Time never runs backwards in here: a clock set back cannot re-admit what was forgotten.
 */
export class ReplayMemory {
  readonly #limits: ReplayLimits
  readonly #now: () => number
  /** The entries die with their key. */
  readonly #keys = new WeakMap<GatewayKey, KeyMemory>()
  #latestMs = 0

  /** `now` in milliseconds since the epoch. */
  constructor(now: () => number, limits: ReplayLimits = REPLAY_LIMITS) {
    this.#now = now
    this.#limits = limits
  }

  /** Only for requests that opened completely, so that garbage takes no room. `dateMs` is the date inside the seal, if it has one. */
  admit(key: GatewayKey, enc: Uint8Array, dateMs: number | undefined): ReplayVerdict {
    const windowMs = this.#limits.windowSeconds * 1000
    this.#latestMs = Math.max(this.#latestMs, this.#now())
    if (dateMs !== undefined && !(Math.abs(dateMs - this.#latestMs) <= windowMs)) return 'outside-window'
    const memory = this.#keys.get(key) ?? { undated: new Set(), dated: new Set(), datedBefore: new Set(), sinceMs: 0 }
    this.#keys.set(key, memory)
    rotate(memory, this.#latestMs, 2 * windowMs)
    const name = hash('sha256', enc, 'base64')
    if (memory.undated.has(name) || memory.dated.has(name) || memory.datedBefore.has(name)) return 'replayed'
    const entries = dateMs === undefined ? memory.undated : memory.dated
    const count = dateMs === undefined ? entries.size : entries.size + memory.datedBefore.size
    if (count >= this.#limits.entriesPerKeyMax) return 'full'
    entries.add(name)
    return 'fresh'
  }
}

interface KeyMemory {
  undated: Set<string>
  dated: Set<string>
  datedBefore: Set<string>
  /** When `dated` was begun. */
  sinceMs: number
}

/** Every entry lives through at least one whole period. */
function rotate(memory: KeyMemory, nowMs: number, periodMs: number): void {
  const ageMs = nowMs - memory.sinceMs
  if (ageMs <= periodMs) return
  memory.datedBefore = ageMs <= 2 * periodMs ? memory.dated : new Set()
  memory.dated = new Set()
  memory.sinceMs = nowMs
}
