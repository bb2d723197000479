/** A memory for what the chain says: nobody who delivers waits for the chain each time. @module */
import type { Hex } from '#protocol/bytes.ts'

/** What lasts may have ended for this long before we notice; the contract checks again. */
const LASTING_TTL_MS = 60_000
/** What is about to be registered or opened is asked for again soon. */
const OTHER_TTL_MS = 2_000
const REMEMBERED_MAX = 10_000

/** `isDoubted`: what is remembered led to a refusal, so that it is asked for again unless it is fresh. */
export type RememberedReader<T> = (key: Hex, options?: { readonly isDoubted: boolean }) => Promise<T>

/**
 * `read` with a memory: a minute for answers that last, two seconds for others, and for those that are doubted. While the chain does not answer, what lasted counts still:
 * the contract decides in the end. Throws what `read` throws where nothing lasted. `now` in milliseconds.
 */
export function remember<T>(
  read: (key: Hex) => Promise<T>,
  lasts: (value: T) => boolean,
  now: () => number,
): RememberedReader<T> {
  const known = new Map<Hex, { value: T; readAt: number }>()
  return async (key, { isDoubted } = { isDoubted: false }) => {
    const entry = known.get(key)
    if (entry !== undefined) {
      const ttlMs = lasts(entry.value) && !isDoubted ? LASTING_TTL_MS : OTHER_TTL_MS
      if (entry.readAt + ttlMs > now()) return entry.value
    }
    try {
      const value = await read(key)
      known.delete(key)
      known.set(key, { value, readAt: now() })
      const [oldest] = known.keys()
      if (known.size > REMEMBERED_MAX && oldest !== undefined) known.delete(oldest)
      return value
    } catch (error) {
      if (entry !== undefined && lasts(entry.value)) return entry.value
      throw error
    }
  }
}
