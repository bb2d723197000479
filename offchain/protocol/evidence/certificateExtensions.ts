/** The two certificate extensions that decide: basicConstraints and keyUsage (RFC 5280 sections 4.2.1.9 and 4.2.1.3). @module */
import { type Hex, toHex } from '#protocol/bytes.ts'
import type { DerCursor } from './der.ts'
import { closeDer, DER_TAG, enterDerTag, openDer, readDerContent, readDerFlag, readDerUint } from './der.ts'
import { EvidenceError } from './evidenceError.ts'

/** What the extensions say. A certificate without keyUsage can sign nothing. */
export type CertificateExtensions = {
  readonly isCa: boolean
  readonly pathLength: number | undefined
  readonly canSignCertificates: boolean
  readonly canSignData: boolean
}

/** Parses the content of the extensions wrapper. Unknown extensions are skipped, unless they are critical; none may come twice. */
export function parseExtensions(wrapper: DerCursor): CertificateExtensions {
  const list = enterDerTag(wrapper, DER_TAG.sequence)
  closeDer(wrapper)
  const seen = new Set<Hex>()
  let constraints: Constraints = { isCa: false, pathLength: undefined }
  let usage = 0
  while (list.offset < list.end) {
    const extension = enterDerTag(list, DER_TAG.sequence)
    const id = toHex(readDerContent(extension, DER_TAG.oid))
    const isCritical = readDerFlag(extension)
    const value = readDerContent(extension, DER_TAG.octetString)
    closeDer(extension)
    if (seen.has(id)) throw new EvidenceError('CERTIFICATE_EXTENSION_DUPLICATE', `expected extension ${id} once`)
    seen.add(id)
    if (id === BASIC_CONSTRAINTS) constraints = parseBasicConstraints(value)
    else if (id === KEY_USAGE) usage = parseKeyUsage(value)
    else if (isCritical) {
      throw new EvidenceError('CERTIFICATE_EXTENSION_CRITICAL', `expected no unknown critical extension, got ${id}`)
    }
  }
  return {
    ...constraints,
    canSignCertificates: (usage & KEY_CERT_SIGN) !== 0,
    canSignData: (usage & DIGITAL_SIGNATURE) !== 0,
  }
}

type Constraints = { readonly isCa: boolean; readonly pathLength: number | undefined }

/** 2.5.29.19 and 2.5.29.15. */
const BASIC_CONSTRAINTS = '0x551d13'
const KEY_USAGE = '0x551d0f'
/** Bits 0 and 5 of KeyUsage, counted from the most significant bit of the first byte. */
const DIGITAL_SIGNATURE = 0x80
const KEY_CERT_SIGN = 0x04

/** BasicConstraints ::= SEQUENCE { cA BOOLEAN DEFAULT FALSE, pathLenConstraint INTEGER OPTIONAL } */
function parseBasicConstraints(value: Uint8Array): Constraints {
  const outer = openDer(value)
  const fields = enterDerTag(outer, DER_TAG.sequence)
  closeDer(outer)
  const isCa = readDerFlag(fields)
  // One byte of magnitude is far above any chain taken here, and cannot wrap.
  const pathLength = fields.offset < fields.end ? Number(readDerUint(fields, 1)) : undefined
  closeDer(fields)
  if (!isCa && pathLength !== undefined) {
    throw new EvidenceError('CERTIFICATE_EXTENSION', 'expected a path length on a CA certificate only')
  }
  return { isCa, pathLength }
}

/** KeyUsage ::= BIT STRING of nine named bits; DER drops trailing zero bits (X.690 section 11.2.2). Returns the first eight. */
function parseKeyUsage(value: Uint8Array): number {
  const outer = openDer(value)
  const content = readDerContent(outer, DER_TAG.bitString)
  closeDer(outer)
  const unusedBits = content[0] ?? 8
  const last = content.at(-1) ?? 0
  const isCanonical = content.length >= 2 && unusedBits <= 7 && (last & ((2 << unusedBits) - 1)) === 1 << unusedBits
  if (!isCanonical || content.length > 3) {
    throw new EvidenceError('CERTIFICATE_EXTENSION', 'expected keyUsage as a bit string ending in its last set bit')
  }
  return content[1] ?? 0
}
