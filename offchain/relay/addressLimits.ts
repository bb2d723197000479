/** Limits per client address that forget the addresses: nothing outlives them that says who was counted. @module */
import { createHash, randomBytes } from 'node:crypto'
import type { RelayLimits } from './config.ts'

const SALT_BYTES = 32
const MINUTE_MS = 60_000
/** When an address with too many open requests may ask again: nobody knows when one of them ends. */
const BUSY_RETRY_SECONDS = 5

export type Admission =
  /** `release` is to be called when the request has ended, any number of times. */
  { readonly ok: true; readonly release: () => void } | { readonly ok: false; readonly retryAfterSeconds: number }

export type AddressBounds = Pick<
  RelayLimits,
  'openRequestsPerAddressMax' | 'requestsPerMinute' | 'addressMemoryMs' | 'addressesMax'
>

/**
 * Counts under a hash of the address and a random salt that is replaced every `addressMemoryMs`. With the old salt go its counts, except those of
 * requests still open, whose addresses their connections hold anyway. A client can thus use up the rate once more for every salt; open
 * requests stay counted. `nowMs` is any steady clock.
 */
export class AddressLimits {
  readonly #bounds: AddressBounds
  readonly #nowMs: () => number
  #current = newEpoch()
  /** Epochs with requests that are still open. */
  readonly #older = new Set<Epoch>()
  #rotation: NodeJS.Timeout | undefined

  constructor(bounds: AddressBounds, nowMs: () => number = () => performance.now()) {
    this.#bounds = bounds
    this.#nowMs = nowMs
  }

  /** Addresses of which something is remembered. */
  get size(): number {
    let size = this.#current.counts.size
    for (const { counts } of this.#older) size += counts.size
    return size
  }

  /** Counts a request of `address` (clientAddress.ts), unless there are too many. */
  admit(address: string): Admission {
    let open = 0
    for (const epoch of this.#older) open += epoch.counts.get(keyOf(epoch, address))?.open ?? 0
    const epoch = this.#current
    const count = this.#countOf(epoch, keyOf(epoch, address))
    if (open + count.open >= this.#bounds.openRequestsPerAddressMax) {
      return { ok: false, retryAfterSeconds: BUSY_RETRY_SECONDS }
    }
    const waitMs = this.#takeToken(count)
    if (waitMs > 0) return { ok: false, retryAfterSeconds: Math.ceil(waitMs / 1000) }
    count.open++
    let isOpen = true
    const release = () => {
      if (!isOpen) return
      isOpen = false
      count.open--
      if (count.open === 0 && epoch !== this.#current) this.#forget(epoch)
    }
    return { ok: true, release }
  }

  /** Starts a new salt. Done by itself in time; here for whoever wants it sooner. */
  rotate(): void {
    clearTimeout(this.#rotation)
    this.#rotation = undefined
    const epoch = this.#current
    this.#current = newEpoch()
    this.#older.add(epoch)
    this.#forget(epoch)
  }

  #countOf(epoch: Epoch, key: string): Count {
    const known = epoch.counts.get(key)
    if (known !== undefined) return known
    // Armed by the first address under a salt: a relay that is not used has nothing to forget.
    this.#rotation ??= setTimeout(() => this.rotate(), this.#bounds.addressMemoryMs).unref()
    const [oldest] = epoch.counts.keys()
    if (oldest !== undefined && epoch.counts.size >= this.#bounds.addressesMax) epoch.counts.delete(oldest)
    const count = { open: 0, tokens: this.#bounds.requestsPerMinute, tokensAtMs: this.#nowMs() }
    epoch.counts.set(key, count)
    return count
  }

  /** Takes one of the tokens that refill over a minute. Answers how long to wait for the next when there is none, in milliseconds. */
  #takeToken(count: Count): number {
    const { requestsPerMinute } = this.#bounds
    const nowMs = this.#nowMs()
    const refilled = count.tokens + ((nowMs - count.tokensAtMs) * requestsPerMinute) / MINUTE_MS
    count.tokens = Math.min(requestsPerMinute, refilled)
    count.tokensAtMs = nowMs
    if (count.tokens < 1) return ((1 - count.tokens) * MINUTE_MS) / requestsPerMinute
    count.tokens--
    return 0
  }

  /** Drops what has no open request from an epoch that is over, and the salt with the last of it. */
  #forget(epoch: Epoch): void {
    for (const [key, { open }] of epoch.counts) if (open === 0) epoch.counts.delete(key)
    if (epoch.counts.size > 0) return
    epoch.salt.fill(0)
    this.#older.delete(epoch)
  }
}

type Count = { open: number; tokens: number; tokensAtMs: number }
type Epoch = { readonly salt: Uint8Array; readonly counts: Map<string, Count> }

function newEpoch(): Epoch {
  return { salt: new Uint8Array(randomBytes(SALT_BYTES)), counts: new Map() }
}

function keyOf({ salt }: Epoch, address: string): string {
  return createHash('sha256').update(salt).update(address).digest('base64')
}
