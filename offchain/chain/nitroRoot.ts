/** The pinned root as NitroVerifier's constructor takes it. @module */
import { type Hex, toHex } from '#protocol/bytes.ts'
import { parseCertificate } from '#protocol/evidence/certificate.ts'
import { keccak256 } from '#protocol/hash.ts'

/** `NitroVerifier.Root`: `key` is the public key's x and y, 96 bytes in three words. */
export type NitroRoot = {
  readonly hash: Hex
  readonly subjectHash: Hex
  readonly notBefore: number
  readonly notAfter: number
  readonly pathLength: number
  readonly key: readonly [Hex, Hex, Hex]
}

/** X509.NO_PATH_LENGTH. */
const NO_PATH_LENGTH = 255

/** From the root certificate in DER. Throws `EvidenceError` for one that is malformed. */
export function nitroRootOf(der: Uint8Array): NitroRoot {
  const { subject, notBefore, notAfter, pathLength, publicKey } = parseCertificate(der)
  const word = (index: number) => toHex(publicKey.subarray(1 + 32 * index, 33 + 32 * index))
  return {
    hash: toHex(keccak256(der)),
    subjectHash: toHex(keccak256(subject)),
    notBefore: Number(notBefore),
    notAfter: Number(notAfter),
    pathLength: pathLength ?? NO_PATH_LENGTH,
    key: [word(0), word(1), word(2)],
  }
}
