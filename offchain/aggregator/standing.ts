/** What the registry says about an enclave, remembered for a while. @module */
import type { Hex } from '#protocol/bytes.ts'
import { remember } from './remembered.ts'

/**
 * `gateway`: its heads settle. `issuer`: its heads are witnessed and its clearings settle. Both are active or retired. `ended`: closed or
 * compromised. `unknown`: not registered.
 */
export type Standing = LogRole | 'ended' | 'unknown'

/** Enclaves whose logs are kept here. */
export type LogRole = 'gateway' | 'issuer'

export type StandingReader = (enclave: Hex) => Promise<Standing>

/** `read` with a memory, as `remember` has it. Throws what `read` throws for an enclave that had no role. */
export function rememberStanding(read: StandingReader, now: () => number): StandingReader {
  return remember(read, (standing) => standing === 'gateway' || standing === 'issuer', now)
}
