/** Verifies Nitro evidence: format, pinned root, certificate chain, signatures, dates, then the relying party's policy. @module */
import { keccak_256 } from '@noble/hashes/sha3.js'
import { equalBytes, toHex } from '#protocol/bytes.ts'
import { appraise } from './appraisal.ts'
import { type Certificate, parseCertificate } from './certificate.ts'
import {
  type CertificateChain,
  findBadChainSignature,
  findConstraintViolation,
  findInvalidDate,
  findValidityEnd,
  verifyEs384,
} from './certificateChain.ts'
import type { Evidence, EvidencePolicy, EvidenceVerdict, PinnedRoot } from './evidence.ts'
import { buildCheck, type Check, hasFailure, publishCheck } from './evidenceCheck.ts'
import { EvidenceError, type EvidenceFormatCode } from './evidenceError.ts'
import { type EvidenceKind, measurementOf } from './measurement.ts'
import { isDebugMode, type NitroDocument, parseNitroDocument } from './nitroDocument.ts'

/**
 * Verifies an attestation document against `policy` at `nowSeconds` (since the epoch). Never throws for a bad document.
 * Up to the document's signature the first failure ends it. Past that the document is genuine, and every remaining
 * check is made, so that a person sees all that is wrong with it.
 */
export function verifyNitroEvidence(document: Uint8Array, policy: EvidencePolicy, nowSeconds: bigint): EvidenceVerdict {
  // A copy, so that nobody can change the bytes behind accepted evidence. (`slice` of a Node Buffer would be a view.)
  const bytes = new Uint8Array(document)
  const parsed = parseAll(bytes)
  if ('code' in parsed) return refuse([buildCheck('format', parsed, '')])
  const { fields, chain, leaf } = parsed
  const checks = [buildCheck('format', undefined, `${bytes.length} bytes, ${chain.length} certificates`)]

  const root = findRoot(policy, fields)
  if (root === undefined) return refuse([...checks, buildCheck('root', ROOT_NOT_PINNED, '')])
  checks.push(buildCheck('root', undefined, ROOT_NAMES[root.kind]))

  checks.push(buildCheck('chain', findConstraintViolation(chain), 'names, CA flags, path lengths, key usages agree'))
  if (hasFailure(checks)) return refuse(checks)
  checks.push(buildCheck('chain-signatures', findBadChainSignature(chain), 'each certificate signed the next'))
  if (hasFailure(checks)) return refuse(checks)
  const isSigned = verifyEs384(fields.signature, fields.signedBytes, leaf.publicKey)
  checks.push(buildCheck('document-signature', isSigned ? undefined : BAD_SIGNATURE, 'the leaf signed the document'))
  if (hasFailure(checks)) return refuse(checks)

  const evidence = buildEvidence(root.kind, bytes, fields, chain)
  checks.push(buildCheck('validity', findInvalidDate(chain, nowSeconds), `valid until ${evidence.validUntil}`))
  checks.push(...appraise(evidence, policy, nowSeconds))
  return hasFailure(checks) ? refuse(checks) : { ok: true, evidence, checks: checks.map(publishCheck) }
}

type Parsed = { readonly fields: NitroDocument; readonly chain: CertificateChain; readonly leaf: Certificate }

const ROOT_NAMES: Readonly<Record<EvidenceKind, string>> = {
  nitro: "AWS's root of Nitro enclaves",
  development: 'a development root, no hardware behind it',
}
const ROOT_NOT_PINNED = {
  code: 'ROOT_NOT_PINNED',
  message: 'expected the first certificate of cabundle to be a pinned root',
} as const
const BAD_SIGNATURE = {
  code: 'BAD_DOCUMENT_SIGNATURE',
  message: "expected a signature of the document by the leaf certificate's key",
} as const

function parseAll(bytes: Uint8Array): Parsed | { code: EvidenceFormatCode; message: string } {
  try {
    const fields = parseNitroDocument(bytes)
    const leaf = parseCertificate(fields.certificate)
    return { fields, leaf, chain: [...fields.cabundle.map(parseCertificate), leaf] }
  } catch (error) {
    if (!(error instanceof EvidenceError)) throw error
    return { code: error.code, message: error.message }
  }
}

function findRoot(policy: EvidencePolicy, { cabundle: [first] }: NitroDocument): PinnedRoot | undefined {
  return policy.roots.find((root) => first !== undefined && equalBytes(root.certificate, first))
}

function buildEvidence(
  kind: EvidenceKind,
  bytes: Uint8Array,
  fields: NitroDocument,
  chain: CertificateChain,
): Evidence {
  const { moduleId, pcrs, userData, nonce, publicKey } = fields
  return {
    kind,
    moduleId,
    issuedAt: BigInt(fields.timestampMs) / 1000n,
    validUntil: findValidityEnd(chain),
    pcrs,
    measurement: measurementOf(kind, ...fields.bootPcrs),
    isDebug: isDebugMode(fields.bootPcrs),
    userData,
    nonce,
    publicKey,
    documentHash: toHex(keccak_256(bytes)),
    payloadHash: toHex(keccak_256(fields.payload)),
  }
}

function refuse(checks: readonly Check[]): EvidenceVerdict {
  const refusal = checks.find((made) => made.refusal !== undefined)?.refusal
  if (refusal === undefined) throw new Error('a refusal needs a failed check')
  return { ok: false, code: refusal.code, message: refusal.message, checks: checks.map(publishCheck) }
}
