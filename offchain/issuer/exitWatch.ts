/**
 * Which credits are being exited: none of them may be spent. What is spent just before its exit is seen stays safe by t: whoever holds it
 * cancels the exit within its window.
 * @module
 */
import type { Logger } from '#node/log.ts'
import { startRounds } from '#node/rounds.ts'
import type { Hex } from '#protocol/bytes.ts'
import type { ChainReader } from './chain.ts'

export type ExitWatch = {
  /** Whether the exit of this credit was opened. Cancelled exits count too: their credits were spent. */
  isExiting(credit: Hex): boolean
  /** Whether everything was read up to a moment ago. */
  readonly isCurrent: boolean
  close(): Promise<void>
}

/** How long the chain may be silent before the watch is not current, in polls. */
const STALE_POLLS = 10

/** Reads exits from block `from` on, again and again. */
export function watchExits(chain: ChainReader, from: bigint, pollMs: number, log: Logger): ExitWatch {
  const exiting = new Set<Hex>()
  let next = from
  let readAt = Number.NEGATIVE_INFINITY
  const read = async (): Promise<void> => {
    const opened = await chain.openedExits(next)
    for (const credit of opened.credits) exiting.add(credit)
    next = opened.next
    readAt = performance.now()
  }
  const rounds = startRounds(read, { pollMs, log, name: 'reading exits' })
  return {
    isExiting: (credit) => exiting.has(credit),
    get isCurrent() {
      return performance.now() - readAt < STALE_POLLS * pollMs
    },
    close: () => rounds.close(),
  }
}
