/**
 * The hints that NitroVerifier takes beside a document: for each signature it has to verify (CA certificates that it has not cached, then
 * the leaf, then the document) their length in two bytes and the hints of p384Hints.ts. Not trusted; a wrong one costs liveness only.
 * @module
 */
import { sha384 } from '@noble/hashes/sha2.js'
import { encodeAbiParameters, keccak256 as keccakHex } from 'viem/utils'
import { concatBytes, encodeUint, type Hex, toHex } from '#protocol/bytes.ts'
import { keccak256 } from '#protocol/hash.ts'
import { parseCertificate } from './certificate.ts'
import { parseNitroDocument } from './nitroDocument.ts'
import { makeP384Hints } from './p384Hints.ts'

/** Ids of the CA certificates below the root, as NitroVerifier caches them: keccak256(abi.encode(id of the parent, keccak256(tbs))). */
export function authorityIds(document: Uint8Array): Hex[] {
  const [root, ...authorities] = parseNitroDocument(document).cabundle
  if (root === undefined) return []
  const ids: Hex[] = []
  let parent = toHex(keccak256(root))
  for (const der of authorities) {
    const tbs = toHex(keccak256(parseCertificate(der).tbs))
    parent = keccakHex(encodeAbiParameters([{ type: 'bytes32' }, { type: 'bytes32' }], [parent, tbs]))
    ids.push(parent)
  }
  return ids
}

/**
 * Hints for a document whose CA certificates at `cached` (by position below the root) need none. Throws `EvidenceError` for a malformed
 * document and `P384Error` for a signature that does not verify: such a document the contract would refuse too.
 */
export function makeNitroHints(document: Uint8Array, cached: readonly boolean[]): Uint8Array {
  const { cabundle, certificate, signature, signedBytes } = parseNitroDocument(document)
  const chain = [...cabundle, certificate].map(parseCertificate)
  const parts: Uint8Array[] = []
  const add = (signed: { message: Uint8Array; signature: Uint8Array; publicKey: Uint8Array }) => {
    const { message, ...rest } = signed
    const hints = makeP384Hints({ hash: sha384(message), ...rest })
    parts.push(encodeUint(BigInt(hints.length), 2), hints)
  }
  for (const [index, entry] of chain.entries()) {
    const parent = chain[index - 1]
    // The root is pinned; position 1 of the chain is the first certificate below it.
    if (parent === undefined || (index < chain.length - 1 && cached[index - 1] === true)) continue
    add({ message: entry.tbs, signature: entry.signature, publicKey: parent.publicKey })
  }
  const leaf = chain.at(-1)
  if (leaf !== undefined) add({ message: signedBytes, signature, publicKey: leaf.publicKey })
  return concatBytes(...parts)
}
