/** One good chain of certificates and its document, to be spoilt in one respect at a time; new keys in every run. @module */
import { createDevelopmentRoot, type DevelopmentRoot } from '#node/attesters/developmentRoot.ts'
import { type Hex, toHex } from '#protocol/bytes.ts'
import { authorityIds, makeNitroHints } from '#protocol/evidence/nitroHints.ts'
import { P384Error } from '#protocol/evidence/p384Hints.ts'
import type { EvidenceChain, EvidenceRoot } from './evidenceChain.ts'
import { type DocumentOrder, issueTestChain, signOddDocument, type TestChain } from './oddEvidence.ts'

/** Seconds since the epoch. */
export const NOW: number = Date.UTC(2026, 10, 21, 12, 0, 0) / 1000
export const TIME: bigint = BigInt(NOW)
export const DEVELOPMENT_ROOT: DevelopmentRoot = createDevelopmentRoot(NOW)
export const ROOT: EvidenceRoot = { certificate: DEVELOPMENT_ROOT.certificate, isDevelopment: true }
export const GOOD: TestChain = issueTestChain(DEVELOPMENT_ROOT, NOW)

/** A document under the good chain, but for what `change` says. */
export function documentOf(change: Partial<DocumentOrder>): Uint8Array {
  const { leaf, bundle } = GOOD
  return signOddDocument({ nowSeconds: NOW, certificate: leaf.certificate, key: leaf.key, bundle, ...change })
}

export const DOCUMENT: Uint8Array = documentOf({})
/** Ids of the good chain's CA certificates, as the contract caches them. */
export const IDS: ReadonlySet<Hex> = new Set(authorityIds(DOCUMENT))
/** Hints for all signatures, and for those of leaf and document. */
export const COLD: Uint8Array = makeNitroHints(DOCUMENT, [])
export const WARM: Uint8Array = hintsUnder(DOCUMENT, IDS)

/** Hints without those of the CA certificates in `cached`. */
export function hintsUnder(document: Uint8Array, cached: ReadonlySet<Hex>): Uint8Array {
  return makeNitroHints(
    document,
    authorityIds(document).map((id) => cached.has(id)),
  )
}

/** The same; a document whose signatures do not verify has no hints: it gets `fallback`, what the good chain needs. */
export function hintsOr(document: Uint8Array, cached: ReadonlySet<Hex>, fallback: Uint8Array): Uint8Array {
  try {
    return hintsUnder(document, cached)
  } catch (error) {
    if (error instanceof P384Error) return fallback
    throw error
  }
}

/** Does `work` where the CA certificates of the good chain are cached, and undoes it. */
export function underCached<T>(chain: EvidenceChain, work: () => Promise<T>): Promise<T> {
  return chain.undoing(async () => {
    await chain.send('verify', [toHex(DOCUMENT), toHex(COLD)])
    return work()
  })
}
