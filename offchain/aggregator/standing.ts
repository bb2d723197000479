/** What the registry says about an enclave, remembered for a while: an ingest does not wait for the chain each time. @module */
import type { Hex } from '#protocol/bytes.ts'

/** `gateway`: it may settle (active or retired). `ended`: closed or compromised. `unknown`: not registered, or no gateway. */
export type Standing = 'gateway' | 'ended' | 'unknown'

export type StandingReader = (enclave: Hex) => Promise<Standing>

/** A gateway may have ended for this long before we notice; the contract checks again. */
const GATEWAY_TTL_MS = 60_000
/** An enclave that is about to register is asked for again soon. */
const OTHER_TTL_MS = 2_000
const REMEMBERED_MAX = 10_000

/**
 * `read` with a memory. While the chain does not answer, what was a gateway counts as one: the contract decides in the end. Throws what
 * `read` throws for an enclave that was none.
 */
export function rememberStanding(read: StandingReader, now: () => number): StandingReader {
  const known = new Map<Hex, { standing: Standing; until: number }>()
  return async (enclave) => {
    const entry = known.get(enclave)
    if (entry !== undefined && entry.until > now()) return entry.standing
    try {
      const standing = await read(enclave)
      known.delete(enclave)
      known.set(enclave, { standing, until: now() + (standing === 'gateway' ? GATEWAY_TTL_MS : OTHER_TTL_MS) })
      const [oldest] = known.keys()
      if (known.size > REMEMBERED_MAX && oldest !== undefined) known.delete(oldest)
      return standing
    } catch (error) {
      if (entry?.standing === 'gateway') return 'gateway'
      throw error
    }
  }
}
