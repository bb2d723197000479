/**
 * A virtual clock: what waits is run in the order of its time, and between two events everything that promises owe is done. Nothing here takes
 * real time, and nothing depends on it.
 * @module
 */

type Waiting = { readonly at: number; readonly order: number; readonly run: () => void }

/** Taken before anybody replaces the timers (virtualTimers.ts). */
const afterMicrotasks = setImmediate

export class Scheduler {
  /** Milliseconds since the epoch. */
  now: number
  readonly #heap: Waiting[] = []
  #order = 0

  constructor(now: number) {
    this.now = now
  }

  /** Runs `run` after `ms`. Of two at one time the one that was asked for first comes first. */
  after(ms: number, run: () => void): void {
    const heap = this.#heap
    heap.push({ at: this.now + Math.max(0, Math.round(ms)), order: this.#order++, run })
    let child = heap.length - 1
    while (child > 0) {
      const parent = (child - 1) >> 1
      if (!this.#swapIfBefore(child, parent)) return
      child = parent
    }
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.after(ms, resolve))
  }

  /** Runs what waits until there is nothing left, the clock reaches `until`, or `isDone`. */
  async run(until: number, isDone: () => boolean = () => false): Promise<void> {
    for (;;) {
      const next = this.#heap[0]
      if (next === undefined || next.at > until || isDone()) return
      this.#pop()
      this.now = next.at
      next.run()
      // A macrotask: whatever the event resolved has run to its next wait before the next event.
      await new Promise<void>((resolve) => afterMicrotasks(resolve))
    }
  }

  #pop(): void {
    const heap = this.#heap
    const last = heap.pop()
    if (heap.length === 0 || last === undefined) return
    heap[0] = last
    for (let parent = 0; ; ) {
      const left = 2 * parent + 1
      const right = left + 1
      const child = right < heap.length && this.#isBefore(right, left) ? right : left
      if (child >= heap.length || !this.#swapIfBefore(child, parent)) return
      parent = child
    }
  }

  #swapIfBefore(a: number, b: number): boolean {
    const [first, second] = [this.#heap[a], this.#heap[b]]
    if (first === undefined || second === undefined || !this.#isBefore(a, b)) return false
    this.#heap[a] = second
    this.#heap[b] = first
    return true
  }

  #isBefore(a: number, b: number): boolean {
    const [first, second] = [this.#heap[a], this.#heap[b]]
    if (first === undefined || second === undefined) return false
    return first.at < second.at || (first.at === second.at && first.order < second.order)
  }
}
