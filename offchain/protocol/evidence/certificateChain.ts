/** Path validation (RFC 5280 section 6) from a pinned root down to the leaf that signs a document. @module */
import { p384 } from '@noble/curves/nist.js'
import { sha384 } from '@noble/hashes/sha2.js'
import { equalBytes } from '#protocol/bytes.ts'
import type { Certificate } from './certificate.ts'
import type { Refusal } from './evidenceCheck.ts'

/** Certificates in order: the root first, the leaf last. */
export type CertificateChain = readonly Certificate[]

/** Names, CA flags, path lengths and key usages; undefined when nothing is wrong. No cryptography, no clock. */
export function findConstraintViolation(chain: CertificateChain): Refusal | undefined {
  const leafIndex = chain.length - 1
  for (const [index, certificate] of chain.entries()) {
    const who = describe(chain, index)
    const parent = chain[index - 1]
    if (parent !== undefined && !equalBytes(parent.subject, certificate.issuer)) {
      return { code: 'CHAIN_NAME', message: `expected the issuer of ${who} to be the subject before it` }
    }
    if (index === leafIndex) {
      if (certificate.isCa) return { code: 'LEAF_IS_CA', message: 'expected a leaf that is no CA' }
      if (!certificate.canSignData) return { code: 'LEAF_KEY_USAGE', message: 'expected a leaf that may sign data' }
      continue
    }
    if (!certificate.isCa) return { code: 'CHAIN_NOT_CA', message: `expected ${who} to be a CA` }
    if (!certificate.canSignCertificates) {
      return { code: 'CHAIN_KEY_USAGE', message: `expected ${who} to be allowed to sign certificates` }
    }
    const casBelow = leafIndex - index - 1
    if (certificate.pathLength !== undefined && certificate.pathLength < casBelow) {
      const message = `expected at most ${certificate.pathLength} CAs below ${who}, got ${casBelow}`
      return { code: 'CHAIN_PATH_LENGTH', message }
    }
  }
  return undefined
}

/** Every certificate's signature under the key before it. The root's own is not asked: the root is pinned byte by byte. */
export function findBadChainSignature(chain: CertificateChain): Refusal | undefined {
  for (const [index, certificate] of chain.entries()) {
    const parent = chain[index - 1]
    if (parent !== undefined && !verifyEs384(certificate.signature, certificate.tbs, parent.publicKey)) {
      const message = `expected ${describe(chain, index)} to be signed by the key of the certificate before it`
      return { code: 'BAD_CHAIN_SIGNATURE', message }
    }
  }
  return undefined
}

/** Every certificate valid at `nowSeconds`, first and last second included. */
export function findInvalidDate(chain: CertificateChain, nowSeconds: bigint): Refusal | undefined {
  for (const [index, { notBefore, notAfter }] of chain.entries()) {
    const who = describe(chain, index)
    if (nowSeconds < notBefore) {
      const message = `expected ${who} to be valid at ${nowSeconds}, it starts at ${notBefore}`
      return { code: 'CERTIFICATE_NOT_YET_VALID', message }
    }
    if (nowSeconds > notAfter) {
      const message = `expected ${who} to be valid at ${nowSeconds}, it ended at ${notAfter}`
      return { code: 'CERTIFICATE_EXPIRED', message }
    }
  }
  return undefined
}

/** The last second, since the epoch, in which every certificate is valid. */
export function findValidityEnd(chain: CertificateChain): bigint {
  const [end = 0n] = chain.map(({ notAfter }) => notAfter).sort((a, b) => (a < b ? -1 : 1))
  return end
}

/** ECDSA on P-384 with SHA-384; `signature` is `r ‖ s`. High s is accepted: AWS emits it. */
export function verifyEs384(signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array): boolean {
  return p384.verify(signature, sha384(message), publicKey, { prehash: false, lowS: false, format: 'compact' })
}

function describe(chain: CertificateChain, index: number): string {
  if (index === 0) return 'the root certificate'
  return index === chain.length - 1 ? 'the leaf certificate' : `CA certificate ${index}`
}
