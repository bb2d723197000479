/** Work that is done again and again until it is closed. @module */
import { setTimeout as sleep } from 'node:timers/promises'
import { errorFields, type Logger } from './log.ts'

/** Ends early, and without an error, when `signal` does. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => {
    // The only way to fail is the signal, which whoever waits looks at itself.
  })
}

export type RoundsOptions = {
  /** Milliseconds between the end of a round and the next. */
  readonly pollMs: number
  readonly log: Logger
  /** What the log calls it. */
  readonly name: string
}

export type Rounds = {
  /** After the round that is under way. */
  close(): Promise<void>
}

/** Runs `step` at once, then again and again. A failure is logged when it begins, not each time, and so is its end. */
export function startRounds(step: () => Promise<unknown>, { pollMs, log, name }: RoundsOptions): Rounds {
  const closing = new AbortController()
  const loop = (async () => {
    let hasFailed = false
    while (!closing.signal.aborted) {
      try {
        await step()
        if (hasFailed) log.info(`${name} works again`)
        hasFailed = false
      } catch (error) {
        if (!hasFailed) log.warn(`${name} failed`, errorFields(error))
        hasFailed = true
      }
      await pause(pollMs, closing.signal)
    }
  })()
  return {
    async close() {
      closing.abort()
      await loop
    },
  }
}
