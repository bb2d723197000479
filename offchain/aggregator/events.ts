/**
 * A stream of settlements for anybody: server-sent events (HTML standard, section 9.2) that follow the table of batches, which whichever
 * process writes.
 *
 *   event: settled     id = number of the batch    data = Batch with isFinal. What was said of this number before is void
 *   event: withdrawn   id = the number before      data = { from }: what was said of this number and of higher ones is void
 *
 * Whoever comes back after the event it names gets what it missed, and once more what was not final by then: it cannot have seen whether
 * that was withdrawn. A listener that does not read is cut off, and comes back by itself.
 * @module
 */
import { errorFields, type Logger } from '#node/log.ts'
import type { SettlementEvent } from '#protocol/wire/aggregatorApi.ts'
import { toJson } from '#protocol/wire/json.ts'
import { FEED_LIMITS, type FeedLimits, Listener } from './eventsListener.ts'
import { type BatchSnapshot, type BatchWatch, batchIdentity } from './eventsStore.ts'
import { Remembered } from './proofsMemory.ts'
import type { SettledBatch, SettlementStore } from './store.ts'

export type FeedPorts = {
  readonly watch: BatchWatch
  readonly settlement: Pick<SettlementStore, 'readBatch'>
  readonly log: Logger
}

export type FeedPosition = { readonly from?: bigint | undefined; readonly seen?: bigint | undefined }

/** A batch of 256 heads takes about 50 kB. */
const BATCHES_KEPT = 64
const RETRY_MS = 2_000

export class SettlementFeed {
  readonly #ports: FeedPorts
  readonly #limits: FeedLimits
  readonly #listeners = new Set<Listener>()
  readonly #batches = new Remembered<SettledBatch>(BATCHES_KEPT)
  #snapshot: BatchSnapshot = { last: undefined, open: new Map() }
  #watching: Promise<{ unlisten(): Promise<void> } | undefined> | undefined
  #timer: NodeJS.Timeout | undefined
  #reading: Promise<void> | undefined
  #isStale = false
  #isClosed = false

  constructor(ports: FeedPorts, limits: FeedLimits = FEED_LIMITS) {
    this.#ports = ports
    this.#limits = limits
  }

  get listeners(): number {
    return this.#listeners.size
  }

  /**
   * The stream's bytes, from batch `from` on; after the event `seen` instead when that is given, and from now on when neither is. Answers
   * `undefined` while there are as many listeners as fit. `cutOff` ends the connection of one that does not read.
   */
  async open(position: FeedPosition, cutOff: () => void): Promise<ReadableStream<Uint8Array> | undefined> {
    if (this.#isClosed || this.#listeners.size >= this.#limits.listenersMax) return undefined
    const listener = new Listener(this.#limits, (own) => this.#leave(own), cutOff)
    // Before anything is awaited: those who come at once are counted.
    this.#listeners.add(listener)
    try {
      this.#watch()
      await this.#refresh()
    } catch (error) {
      this.#leave(listener)
      throw error
    }
    const { last, open } = this.#snapshot
    const end = last === undefined ? 0n : last + 1n
    const { from, seen } = position
    const { next, voidFrom } =
      seen === undefined ? { next: from ?? end, voidFrom: undefined } : resumeAfter(seen, end, open)
    void this.#serve(listener, next, voidFrom)
    return listener.stream
  }

  /** Ends all streams and takes no more. */
  async close(): Promise<void> {
    this.#isClosed = true
    clearInterval(this.#timer)
    for (const listener of this.#listeners) listener.end()
    const watch = await this.#watching
    await watch?.unlisten()
  }

  #leave(listener: Listener): void {
    this.#listeners.delete(listener)
    if (this.#listeners.size > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  #watch(): void {
    this.#timer ??= setInterval(() => this.#look(), this.#limits.pollMs).unref()
    this.#watching ??= this.#ports.watch
      .listen(() => this.#look())
      .catch((error: unknown) => {
        this.#ports.log.warn('settlements are looked for now and then only', errorFields(error))
        return undefined
      })
  }

  #look(): void {
    if (this.#listeners.size === 0) return
    // The next look tells what this one could not.
    this.#refresh().catch((error: unknown) => this.#ports.log.warn('batches cannot be read', errorFields(error)))
  }

  /** Reads the batches anew; a change during that is read again, and two who ask at once read once. */
  async #refresh(): Promise<void> {
    this.#isStale = true
    this.#reading ??= (async () => {
      try {
        while (this.#isStale) {
          this.#isStale = false
          this.#snapshot = await this.#ports.watch.readSnapshot()
        }
      } finally {
        this.#reading = undefined
      }
      for (const listener of this.#listeners) listener.wake()
    })()
    await this.#reading
  }

  async #serve(listener: Listener, first: bigint, voidFrom: bigint | undefined): Promise<void> {
    try {
      await listener.write(`retry: ${RETRY_MS}\n\n`)
      if (voidFrom !== undefined) await listener.write(withdrawnEvent(voidFrom))
      let next = first
      const open = new Map<bigint, string>()
      while (!listener.isOver) {
        const withdrawn = await this.#firstWithdrawn(open)
        if (withdrawn !== undefined) {
          await listener.write(withdrawnEvent(withdrawn))
          for (const batch of [...open.keys()]) if (batch >= withdrawn) open.delete(batch)
          next = withdrawn
        }
        const end = await this.#announce(listener, next, open)
        if (end === next) await listener.change()
        next = end
      }
    } catch (error) {
      if (!listener.isOver) this.#ports.log.warn('a stream of settlements ended', errorFields(error))
      listener.end()
    }
  }

  /** Announces some batches from `next` on and answers where to go on. Notes those that may be withdrawn in `open`. */
  async #announce(listener: Listener, next: bigint, open: Map<bigint, string>): Promise<bigint> {
    const { last } = this.#snapshot
    if (last === undefined || last < next) return next
    let end = next
    for (const number of await this.#ports.watch.readNext(next, BATCHES_KEPT)) {
      const batch = await this.#read(number)
      // Reorganised away between two reads: the next look finds it, or what came instead.
      if (batch === undefined) return end
      const isOpen = this.#snapshot.open.has(number)
      await listener.write(settledEvent(batch, !isOpen))
      if (isOpen) open.set(number, batchIdentity(batch))
      end = number + 1n
    }
    return end
  }

  /** The lowest announced batch that is not there any more, or not as it was. What has become final is forgotten. */
  async #firstWithdrawn(open: Map<bigint, string>): Promise<bigint | undefined> {
    for (const [number, identity] of open) {
      if (this.#snapshot.open.get(number) === identity) continue
      const batch = await this.#ports.settlement.readBatch(number)
      if (batch === undefined || batchIdentity(batch) !== identity) return number
      if (!this.#snapshot.open.has(number)) open.delete(number)
    }
    return undefined
  }

  async #read(number: bigint): Promise<SettledBatch | undefined> {
    const identity = this.#snapshot.open.get(number)
    const key = identity === undefined ? undefined : `${number}/${identity}`
    const known = key === undefined ? undefined : this.#batches.get(key)
    if (known !== undefined) return known
    const batch = await this.#ports.settlement.readBatch(number)
    if (batch !== undefined) this.#batches.set(`${number}/${batchIdentity(batch)}`, batch)
    return batch
  }
}

/** Where whoever has seen the event `seen` goes on, and from which number on what it has seen does not exist any more. */
function resumeAfter(
  seen: bigint,
  end: bigint,
  open: ReadonlyMap<bigint, string>,
): { readonly next: bigint; readonly voidFrom: bigint | undefined } {
  let next = seen + 1n < end ? seen + 1n : end
  for (const batch of open.keys()) if (batch < next) next = batch
  return { next, voidFrom: seen >= end ? end : undefined }
}

function settledEvent(entry: SettledBatch, isFinal: boolean): string {
  const heads = entry.heads.map(({ enclave, size, root }) => ({ enclave, size, root }))
  const data: SettlementEvent = { ...entry, heads, isFinal }
  return `event: settled\nid: ${entry.batch}\ndata: ${toJson(data)}\n\n`
}

/** Whoever comes back after it goes on with `from`; before the very first batch there is no number, and an empty one stands for none. */
function withdrawnEvent(from: bigint): string {
  return `event: withdrawn\nid: ${from === 0n ? '' : from - 1n}\ndata: ${toJson({ from })}\n\n`
}
