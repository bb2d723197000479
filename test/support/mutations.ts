/** Spoilt documents and hints, and what the contract says of them, given what a client says. @module */
import { decodeUint } from '#protocol/bytes.ts'
import { parseCertificate } from '#protocol/evidence/certificate.ts'
import type { EvidenceCode } from '#protocol/evidence/evidenceError.ts'
import { parseNitroDocument } from '#protocol/evidence/nitroDocument.ts'
import { verifyNitroEvidence } from '#protocol/evidence/verifyEvidence.ts'
import type { EvidenceRoot } from './evidenceChain.ts'

/** `bytes` with the bit `bit` flipped, counted from the least significant bit of the first byte. */
export function flipBit(bytes: Uint8Array, bit: number): Uint8Array {
  const flipped = bytes.slice()
  flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7))
  return flipped
}

/** What a client that pins `root` says at `time` (seconds since the epoch): ACCEPTED or the code. */
export function askClient(document: Uint8Array, { certificate, isDevelopment }: EvidenceRoot, time: bigint): string {
  const kind = isDevelopment ? 'development' : 'nitro'
  const verdict = verifyNitroEvidence(document, { roots: [{ kind, certificate }], ageSecondsMax: 7_200n }, time)
  return verdict.ok ? 'ACCEPTED' : verdict.code
}

/**
 * The contract's code for a document that differs in the byte `at`, when a client's code is `client` and the CA certificates are cached.
 * They differ in three places only, because the contract does less work or the same work in another order.
 */
export function codeOnChain(original: Uint8Array, at: number, client: string): string {
  const { cabundle, certificate } = parseNitroDocument(original)
  const isWithin = (part: Uint8Array) => {
    const start = part.byteOffset - original.byteOffset
    return at >= start && at < start + part.length
  }
  const der = [...cabundle, certificate].find(isWithin)
  if (der === undefined) return client
  // The root is compared, not parsed.
  if (der === cabundle[0]) return 'ROOT_NOT_PINNED'
  const { tbs, issuer, publicKey } = parseCertificate(der)
  // A cached CA certificate is known by its signed part; what follows it is the document's signature's to protect.
  const isBehindTbs = at >= tbs.byteOffset - original.byteOffset + tbs.length
  if (der !== certificate && isBehindTbs) return 'BAD_DOCUMENT_SIGNATURE'
  // A client checks every certificate before any signature. The contract goes down the chain: what a certificate says of others, and its
  // key, which the first byte says is not compressed, it uses once the certificate's own signature holds.
  const isUsedLater = USED_LATER.has(client) || (client === 'CHAIN_NAME' && !isWithin(issuer))
  return isUsedLater || isWithin(publicKey.subarray(1)) ? 'BAD_CHAIN_SIGNATURE' : client
}

const USED_LATER: ReadonlySet<string> = new Set<EvidenceCode>([
  'CERTIFICATE_SIGNATURE_FORMAT',
  'CHAIN_PATH_LENGTH',
  'LEAF_IS_CA',
  'LEAF_KEY_USAGE',
])

/** The hints of each signature in a stream of them, without the two bytes of length before each. */
export function splitHints(hints: Uint8Array): Uint8Array[] {
  const parts: Uint8Array[] = []
  for (let at = 0; at < hints.length; ) {
    const length = Number(decodeUint(hints.subarray(at, at + 2)))
    parts.push(hints.subarray(at + 2, at + 2 + length))
    at += 2 + length
  }
  return parts
}

/** The contract's code for warm hints (the leaf's, then the document's) with one bit of the byte `at` flipped. */
export function isHintCode(hints: Uint8Array, at: number, code: string): boolean {
  const [leaf] = splitHints(hints)
  const documentAt = 2 + (leaf?.length ?? 0)
  const isLength = at < 2 || (at >= documentAt && at < documentAt + 2)
  const expected = at < documentAt ? 'BAD_CHAIN_SIGNATURE' : 'BAD_DOCUMENT_SIGNATURE'
  // A wrong length asks for more than there is, or cuts the hints so that the signature fails.
  return code === expected || (isLength && code === 'HINTS_LENGTH')
}

/** How often each of `codes` came, the most frequent first, in one line. */
export function countCodes(codes: readonly string[]): string {
  const counts = new Map<string, number>()
  for (const code of codes) counts.set(code, (counts.get(code) ?? 0) + 1)
  const sorted = [...counts].sort(([, a], [, b]) => b - a)
  return sorted.map(([code, count]) => `${code} ${count}`).join(', ')
}
