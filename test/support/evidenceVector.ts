/** The development document that every run looks at: test/vectors/evidence.json, written by scripts/generateEvidence.ts. @module */
import { readFileSync } from 'node:fs'
import type { NitroRoot } from '#chain/nitroRoot.ts'
import type { Hex } from '#protocol/bytes.ts'

export type EvidenceVector = {
  readonly source: string
  readonly generator: string
  /** Seconds since the epoch. */
  readonly issuedAt: number
  /** The root certificate in DER, and what NitroVerifier's constructor takes for it. */
  readonly root: Hex
  readonly rootArgument: NitroRoot
  readonly document: Hex
  /** For a cold chain: three CA certificates, the leaf, the document. */
  readonly hints: Hex
}

export const EVIDENCE_VECTOR_FILE: URL = new URL('../vectors/evidence.json', import.meta.url)

export function readEvidenceVector(): EvidenceVector {
  return JSON.parse(readFileSync(EVIDENCE_VECTOR_FILE, 'utf8')) as EvidenceVector
}
