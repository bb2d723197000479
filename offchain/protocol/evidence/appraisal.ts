/** The relying party's policy on a genuine document: fresh, not in debug mode, bound to what was asked, measured as accepted. @module */
import { equalBytes } from '#protocol/bytes.ts'
import type { Evidence, EvidencePolicy } from './evidence.ts'
import { buildCheck, type Check, type Refusal } from './evidenceCheck.ts'

/** Every check the policy asks for, in a fixed order; none ends the others. `nowSeconds` since the epoch. */
export function appraise(evidence: Evidence, policy: EvidencePolicy, nowSeconds: bigint): Check[] {
  const checks = [
    buildCheck('freshness', findStale(evidence, policy, nowSeconds), `${nowSeconds - evidence.issuedAt} s old`),
    buildCheck(
      'debug-mode',
      evidence.isDebug && policy.allowDebug !== true ? DEBUG_MODE : undefined,
      evidence.isDebug ? 'debug mode, which this policy allows' : 'not in debug mode',
    ),
  ]
  if (policy.expectedUserData !== undefined) {
    const isSame = evidence.userData !== undefined && equalBytes(evidence.userData, policy.expectedUserData)
    checks.push(buildCheck('user-data', isSame ? undefined : USER_DATA_MISMATCH, 'as expected'))
  }
  if (policy.expectedNonce !== undefined) {
    const isSame = evidence.nonce !== undefined && equalBytes(evidence.nonce, policy.expectedNonce)
    checks.push(buildCheck('nonce', isSame ? undefined : NONCE_MISMATCH, 'as expected'))
  }
  if (policy.measurements !== undefined) {
    const isAccepted = policy.measurements.has(evidence.measurement)
    checks.push(buildCheck('measurement', isAccepted ? undefined : notAccepted(evidence), evidence.measurement))
  }
  return checks
}

/** How old evidence may be for whoever relies on it. Enclaves renew theirs hourly; the registry's EVIDENCE_AGE_MAX is the same. */
export const EVIDENCE_AGE_SECONDS_MAX = 7_200n
const FUTURE_SKEW_SECONDS_MAX = 300n
const DEBUG_MODE: Refusal = {
  code: 'DEBUG_MODE',
  message: 'expected an enclave outside debug mode, got PCR 0, 1 and 2 all zero: its host can read its memory',
}
const USER_DATA_MISMATCH: Refusal = { code: 'USER_DATA_MISMATCH', message: 'expected other bytes in user_data' }
const NONCE_MISMATCH: Refusal = { code: 'NONCE_MISMATCH', message: 'expected another nonce' }

function notAccepted({ measurement }: Evidence): Refusal {
  return { code: 'MEASUREMENT_NOT_ACCEPTED', message: `expected an accepted measurement, got ${measurement}` }
}

/** Both sides in seconds: a comparison of Nitro's milliseconds with seconds would call every document fresh. */
function findStale({ issuedAt }: Evidence, policy: EvidencePolicy, nowSeconds: bigint): Refusal | undefined {
  const ageSeconds = nowSeconds - issuedAt
  const skewSecondsMax = policy.futureSkewSecondsMax ?? FUTURE_SKEW_SECONDS_MAX
  if (-ageSeconds > skewSecondsMax) {
    const message = `expected a document made at most ${skewSecondsMax} s from now, got ${-ageSeconds} s`
    return { code: 'ISSUED_IN_FUTURE', message }
  }
  if (ageSeconds > policy.ageSecondsMax) {
    const message = `expected a document made at most ${policy.ageSecondsMax} s ago, got ${ageSeconds} s`
    return { code: 'TOO_OLD', message }
  }
  return undefined
}
