/** How an examined attestation document is shown: as text for a person, and as plain facts for a program. @module */
import { printable } from '#node/printable.ts'
import { toHex } from '#protocol/bytes.ts'
import type { Certificate } from '#protocol/evidence/certificate.ts'
import type { EvidenceCheck } from '#protocol/evidence/evidence.ts'
import { measurementOf } from '#protocol/evidence/measurement.ts'
import type { NitroDocument } from '#protocol/evidence/nitroDocument.ts'
import { commonNameOf, type EvidenceExamination, isGenuine } from './evidenceExamination.ts'

/** Several paragraphs, the verdict last. Whatever the document says is shown in printable ASCII, so that it cannot steer a terminal. */
export function explainEvidence(examination: EvidenceExamination, hasDevelopmentRoot: boolean): string {
  const { document, checkedAt, timeKind, fields } = examination
  const time = `${isoTime(checkedAt)}${timeKind === 'document' ? ", the document's own time" : ''}`
  const paragraphs = [
    [`Attestation document, ${document.length} bytes, checked as of ${time}`],
    ...(fields === undefined ? [] : describeFields(fields, examination)),
    ['Checks', ...allChecks(examination).map(describeCheck)],
    describeVerdict(examination, hasDevelopmentRoot),
  ]
  return `${paragraphs.map((lines) => lines.join('\n')).join('\n\n')}\n`
}

/** The same as plain data: bytes in hex, times in seconds since the epoch. */
export function evidenceFacts(examination: EvidenceExamination): Record<string, unknown> {
  const { document, checkedAt, timeKind, fields, certificates, statement, outcome } = examination
  return {
    accepted: outcome.ok,
    ...(outcome.ok
      ? // Only an accepted document says under which root.
        { kind: outcome.evidence.kind, validUntil: Number(outcome.evidence.validUntil) }
      : { refusal: { code: outcome.code, message: outcome.message } }),
    checkedAt: Number(checkedAt),
    checkedAtOwnTime: timeKind === 'document',
    isGenuine: isGenuine(examination),
    bytes: document.length,
    ...(fields === undefined
      ? {}
      : {
          moduleId: fields.moduleId,
          issuedAt: Math.floor(fields.timestampMs / 1000),
          measurement: measurementOf('nitro', ...fields.bootPcrs),
          pcrs: Object.fromEntries([...fields.pcrs].map(([index, value]) => [index, toHex(value)])),
          userData: hexOrNull(fields.userData),
          nonce: hexOrNull(fields.nonce),
          publicKey: hexOrNull(fields.publicKey),
          certificates: certificates.map((certificate) => certificate && certificateFacts(certificate)),
        }),
    ...(statement === undefined ? {} : statementFacts(statement)),
    checks: allChecks(examination),
  }
}

type ShownCheck = Omit<EvidenceCheck, 'name'> & { readonly name: string }

/** The verifier's checks, and the statement's if one came along. */
function allChecks({ verdict, statement }: EvidenceExamination): readonly ShownCheck[] {
  if (statement === undefined) return verdict.checks
  const { ok: passed } = statement.check
  const detail = `user_data is ${passed ? '' : 'not '}the digest of the statement that came along`
  return [...verdict.checks, { name: 'statement', passed, detail }]
}

function describeFields(fields: NitroDocument, examination: EvidenceExamination): string[][] {
  const pcrs = [...fields.pcrs].filter(([, value]) => !isZero(value)).sort(([a], [b]) => a - b)
  const zeroCount = fields.pcrs.size - pcrs.length
  return [
    [
      isGenuine(examination) ? 'The document' : 'What the document claims; nothing of it is proven',
      row('module', printable(fields.moduleId)),
      row('issued', isoTime(BigInt(fields.timestampMs) / 1000n)),
      row('measurement', measurementOf('nitro', ...fields.bootPcrs)),
    ],
    [
      'Certificates, root first',
      ...examination.certificates.map((certificate) => describeCertificate(certificate, examination.checkedAt)),
    ],
    [
      pcrs.length === 0 ? `PCRs (all ${zeroCount} are zero)` : `PCRs (${zeroCount} others are zero)`,
      ...pcrs.map(([index, value]) =>
        row(`PCR${index}`, `${toHex(value)}  ${PCR_MEANINGS.get(index) ?? ''}`.trimEnd()),
      ),
    ],
    [
      'Put in by the enclave',
      row('user_data', bytesText(fields.userData)),
      row('nonce', bytesText(fields.nonce)),
      row('public_key', bytesText(fields.publicKey)),
    ],
    ...describeStatement(examination.statement),
  ]
}

/** What AWS measures where (AWS Nitro Enclaves User Guide, "Cryptographic attestation"). */
const PCR_MEANINGS: ReadonlyMap<number, string> = new Map([
  [0, 'enclave image'],
  [1, 'kernel and boot'],
  [2, 'application'],
  [3, "parent instance's role"],
  [4, "parent instance's id"],
  [8, "image signer's certificate"],
])

function describeCertificate(certificate: Certificate | undefined, checkedAt: bigint): string {
  if (certificate === undefined) return '  unreadable'
  const { isCa, notBefore, notAfter } = certificate
  const state = checkedAt < notBefore ? 'not begun  ' : checkedAt > notAfter ? 'ENDED  ' : ''
  const name = printable(commonNameOf(certificate) ?? '(no common name)')
  return `  ${isCa ? 'CA  ' : 'leaf'}  ${isoTime(notBefore)} to ${isoTime(notAfter)}  ${state}${name}`
}

function describeStatement(statement: EvidenceExamination['statement']): string[][] {
  if (statement === undefined) return []
  const { check, settlement, ...bound } = statement
  return [
    [
      `Statement that came along; user_data is ${check.ok ? '' : 'NOT '}its digest`,
      ...Object.entries(bound).map(([name, value]) => row(name, String(value))),
      // Not part of the digest: the registry names its settlement contract.
      row('settlement', `${settlement}  (not bound by the document)`),
    ],
  ]
}

function describeCheck({ name, passed, detail }: ShownCheck): string {
  return `  ${passed ? 'ok    ' : 'FAILED'}  ${name.padEnd(20)}${printable(withDates(detail))}`
}

function describeVerdict({ outcome, timeKind }: EvidenceExamination, hasDevelopmentRoot: boolean): string[] {
  if (!outcome.ok) {
    const hint = 'If it comes from a development set-up, name its root with --development-root.'
    return [
      `REFUSED (${outcome.code}): ${printable(withDates(outcome.message))}.`,
      ...(outcome.code === 'ROOT_NOT_PINNED' && !hasDevelopmentRoot ? [hint] : []),
    ]
  }
  const { kind, validUntil } = outcome.evidence
  return [
    kind === 'nitro'
      ? 'ACCEPTED: an AWS Nitro enclave with these PCRs asked for this document.'
      : 'ACCEPTED under a development root: no hardware stands behind it, and it proves nothing about any.',
    ...(timeKind === 'now'
      ? []
      : [`Checked as of the time above only: it was good then, and proves nothing after ${isoTime(validUntil)}.`]),
    'Not asked: whether you accept this measurement, and whether the nonce is recent.',
  ]
}

function statementFacts({
  check,
  ...statement
}: NonNullable<EvidenceExamination['statement']>): Record<string, unknown> {
  return { statement, isStatementBound: check.ok }
}

function certificateFacts(certificate: Certificate): Record<string, unknown> {
  const { isCa, notBefore, notAfter, serial } = certificate
  const validity = { notBefore: Number(notBefore), notAfter: Number(notAfter) }
  return { commonName: commonNameOf(certificate) ?? null, isCa, ...validity, serial: `0x${serial.toString(16)}` }
}

function row(name: string, value: string): string {
  return `  ${name.padEnd(13)}${value}`
}

function bytesText(bytes: Uint8Array | undefined): string {
  if (bytes === undefined) return 'none'
  return bytes.length === 0 ? 'empty' : `${toHex(bytes)}  (${bytes.length} bytes)`
}

function hexOrNull(bytes: Uint8Array | undefined): string | null {
  return bytes === undefined ? null : toHex(bytes)
}

function isZero(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0)
}

/** Seconds since the epoch as ISO 8601, or the number itself where no date can show it. */
function isoTime(seconds: bigint): string {
  const date = new Date(Number(seconds) * 1000)
  return Number.isNaN(date.getTime()) ? `second ${seconds}` : date.toISOString().replace('.000Z', 'Z')
}

/** Checks speak in seconds since the epoch: numbers of ten digits, unless they count a duration. */
function withDates(text: string): string {
  return text.replace(/\b\d{10}\b(?! s\b)/g, (seconds) => isoTime(BigInt(seconds)))
}
