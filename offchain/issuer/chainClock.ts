/**
 * The chain's time, which phases of keysets and the ends of reserves are measured in: the machine's clock is its host's to set. Between two
 * readings it goes on by the monotonic clock, and it never goes back.
 * @module
 */
import { errorFields, type Logger } from '#node/log.ts'
import { pause } from '#node/rounds.ts'
import type { ChainReader } from './chain.ts'

export type ChainClock = {
  /** In seconds since the epoch. */
  now(): number
  close(): Promise<void>
}

/** Reads the time once, and then again and again. Throws what the first reading throws. */
export async function openChainClock(
  chain: Pick<ChainReader, 'time'>,
  pollMs: number,
  log: Logger,
  monotonicMs: () => number = () => performance.now(),
): Promise<ChainClock> {
  let seconds = await chain.time()
  let readAt = monotonicMs()
  const now = () => seconds + (monotonicMs() - readAt) / 1000
  const closing = new AbortController()
  const loop = (async () => {
    while (!closing.signal.aborted) {
      await pause(pollMs, closing.signal)
      if (closing.signal.aborted) return
      try {
        const read = await chain.time()
        // A block is older than the moment it is read in. Only one that is ahead of us says something new.
        if (read > now()) {
          seconds = read
          readAt = monotonicMs()
        }
      } catch (error) {
        log.warn('the time of the chain cannot be read', errorFields(error))
      }
    }
  })()
  return {
    now,
    async close() {
      closing.abort()
      await loop
    },
  }
}
