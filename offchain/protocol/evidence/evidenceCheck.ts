/** One check of an appraisal, before it is shown: its name, and why it failed if it did. @module */
import type { EvidenceCheck, EvidenceCheckName } from './evidence.ts'
import type { EvidenceCode } from './evidenceError.ts'

/** Why something is refused. */
export type Refusal = { readonly code: EvidenceCode; readonly message: string }

export type Check = {
  readonly name: EvidenceCheckName
  readonly detail: string
  readonly refusal: Refusal | undefined
}

/** A check that passed with `detail` when there is no `refusal`, or failed with the refusal's message. */
export function buildCheck(name: EvidenceCheckName, refusal: Refusal | undefined, detail: string): Check {
  return { name, refusal, detail: refusal?.message ?? detail }
}

/** True when any check failed. */
export function hasFailure(checks: readonly Check[]): boolean {
  return checks.some(({ refusal }) => refusal !== undefined)
}

/** The check as people see it. */
export function publishCheck({ name, refusal, detail }: Check): EvidenceCheck {
  return { name, passed: refusal === undefined, detail }
}
