/** Examines an attestation document for a person: the verifier's verdict, and what the document says even when it is refused. @module */
import { EVIDENCE_AGE_SECONDS_MAX } from '#protocol/evidence/appraisal.ts'
import { type Certificate, parseCertificate } from '#protocol/evidence/certificate.ts'
import { closeDer, DER_TAG, enterDer, enterDerTag, openDer, readDer, readDerContent } from '#protocol/evidence/der.ts'
import type { Evidence, EvidenceVerdict, PinnedRoot } from '#protocol/evidence/evidence.ts'
import { EvidenceError } from '#protocol/evidence/evidenceError.ts'
import { type NitroDocument, parseNitroDocument } from '#protocol/evidence/nitroDocument.ts'
import { ENCLAVE_ROLE, type StatementCheck, verifyStatement } from '#protocol/evidence/statement.ts'
import { verifyNitroEvidence } from '#protocol/evidence/verifyEvidence.ts'
import type { Statement } from '#protocol/wire/agentApi.ts'

/** As of when a document is checked; seconds since the epoch. */
export type CheckTime = { readonly kind: 'now' | 'given'; readonly seconds: bigint } | { readonly kind: 'document' }

export type EvidenceExamination = {
  readonly document: Uint8Array
  /** As of when it was checked, in seconds since the epoch, and who chose that time. */
  readonly checkedAt: bigint
  readonly timeKind: CheckTime['kind']
  /** What the bytes say; undefined when they are no document. Proven only as far as the checks go. */
  readonly fields: NitroDocument | undefined
  /** Root first; what cannot be read as a certificate is left undefined. */
  readonly certificates: readonly (Certificate | undefined)[]
  readonly verdict: EvidenceVerdict
  /** The statement that came with the document, and whether `user_data` is its digest. */
  readonly statement: (Statement & { readonly check: StatementCheck }) | undefined
  /** The verdict on all of it: a document that does not hold the statement it came with is refused too. */
  readonly outcome:
    | { readonly ok: true; readonly evidence: Evidence }
    | { readonly ok: false; readonly code: string; readonly message: string }
}

/** Examines `document` under `roots`. Never throws for a bad document. */
export function examineEvidence(
  { document, statement }: { readonly document: Uint8Array; readonly statement: Statement | undefined },
  roots: readonly PinnedRoot[],
  time: CheckTime,
): EvidenceExamination {
  const fields = orUndefined(() => parseNitroDocument(document))
  const issuedAt = BigInt(fields?.timestampMs ?? 0) / 1000n
  const checkedAt = time.kind === 'document' ? issuedAt : time.seconds
  const verdict = verifyNitroEvidence(document, { roots, ageSecondsMax: EVIDENCE_AGE_SECONDS_MAX }, checkedAt)
  const chain = fields === undefined ? [] : [...fields.cabundle, fields.certificate]
  const check = statement === undefined ? undefined : checkStatement(fields?.userData, statement)
  return {
    document,
    checkedAt,
    timeKind: time.kind,
    fields,
    certificates: chain.map((der) => orUndefined(() => parseCertificate(der))),
    verdict,
    statement: statement === undefined || check === undefined ? undefined : { ...statement, check },
    outcome: decide(verdict, check),
  }
}

/** True when the document was signed under a pinned root, whatever else is wrong with it. */
export function isGenuine({ verdict }: EvidenceExamination): boolean {
  return verdict.checks.some(({ name, passed }) => name === 'document-signature' && passed)
}

/** The common name (2.5.4.3) in a certificate's subject, if it has exactly one. */
export function commonNameOf({ subject }: Certificate): string | undefined {
  const outer = openDer(subject)
  const parts = enterDerTag(outer, DER_TAG.sequence)
  closeDer(outer)
  const names: string[] = []
  while (parts.offset < parts.end) {
    const attribute = enterDerTag(enterDerTag(parts, DER_TAG.set), DER_TAG.sequence)
    const oid = readDerContent(attribute, DER_TAG.oid)
    const { offset, end } = enterDer(attribute, readDer(attribute))
    if (String(oid) === COMMON_NAME_OID) names.push(String.fromCharCode(...subject.subarray(offset, end)))
  }
  return names.length === 1 ? names[0] : undefined
}

const COMMON_NAME_OID = '85,4,3'

function checkStatement(userData: Uint8Array | undefined, statement: Statement): StatementCheck {
  return verifyStatement(userData, { ...statement, role: ENCLAVE_ROLE[statement.role] }, statement)
}

function decide(verdict: EvidenceVerdict, check: StatementCheck | undefined): EvidenceExamination['outcome'] {
  if (!verdict.ok) return { ok: false, code: verdict.code, message: verdict.message }
  if (check === undefined || check.ok) return { ok: true, evidence: verdict.evidence }
  const message = 'expected in user_data the digest of the statement that came along'
  return { ok: false, code: check.code, message }
}

function orUndefined<T>(parse: () => T): T | undefined {
  try {
    return parse()
  } catch (error) {
    // The verdict says what is wrong with it.
    if (error instanceof EvidenceError) return undefined
    throw error
  }
}
