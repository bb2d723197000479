/** Certificates for tests of TLS (RFC 5280): an authority, and what it signs, on P-256. @module */
import { generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { isIPv4 } from 'node:net'
import { join } from 'node:path'
import {
  encodeDer,
  encodeDerBits,
  encodeDerOid,
  encodeDerSequence,
  encodeDerTime,
  encodeDerUint,
} from '#node/attesters/derEncode.ts'
import { encodeUtf8 } from '#protocol/bytes.ts'
import { DER_TAG } from '#protocol/evidence/der.ts'

const ECDSA_SHA256 = '0x2a8648ce3d040302'
const COMMON_NAME = '0x550403'
const BASIC_CONSTRAINTS = '0x551d13'
const ALTERNATIVE_NAMES = '0x551d11'
const DAY_SECONDS = 86_400

export type TestCertificate = { readonly certificate: string; readonly key: string; readonly signer: TestSigner }
type TestSigner = { readonly name: string; readonly key: KeyObject }

export type CertificateTerms = {
  /** Host names and IPv4 addresses; without any it is an authority. */
  readonly hosts?: readonly string[]
  /** Who signs it; itself unless told. */
  readonly by?: TestCertificate
  /** Relative to now. */
  readonly fromDays?: number
  readonly toDays?: number
}

/** Certificate and key in PEM. */
export function makeCertificate(name: string, terms: CertificateTerms = {}): TestCertificate {
  const { hosts = [], by, fromDays = -1, toDays = 90 } = terms
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const signer = by?.signer ?? { name, key: privateKey }
  const now = Date.now() / 1000
  const algorithm = encodeDerSequence(encodeDerOid(ECDSA_SHA256))
  const body = encodeDerSequence(
    encodeDer(0xa0, encodeDerUint(Uint8Array.of(2))),
    encodeDerUint(randomBytes(8)),
    algorithm,
    encodeName(signer.name),
    encodeDerSequence(encodeDerTime(now + fromDays * DAY_SECONDS), encodeDerTime(now + toDays * DAY_SECONDS)),
    encodeName(name),
    publicKey.export({ type: 'spki', format: 'der' }),
    encodeDer(0xa3, encodeDerSequence(...extensionsOf(hosts))),
  )
  const signature = encodeDerBits(sign('sha256', body, signer.key))
  const certificate = pem('CERTIFICATE', encodeDerSequence(body, algorithm, signature))
  const key = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
  return { certificate, key, signer: { name, key: privateKey } }
}

/** Both as files, the key only for its owner. `folder` is there. */
export function saveCertificate(
  folder: string,
  name: string,
  { certificate, key }: TestCertificate,
): { certificateFile: string; keyFile: string } {
  const files = { certificateFile: join(folder, `${name}.crt`), keyFile: join(folder, `${name}.key`) }
  writeFileSync(files.certificateFile, certificate)
  writeFileSync(files.keyFile, key, { mode: 0o600 })
  return files
}

function extensionsOf(hosts: readonly string[]): Uint8Array[] {
  const isAuthority = hosts.length === 0
  const constraints = isAuthority ? [encodeDer(0x01, Uint8Array.of(0xff))] : []
  const names = hosts.map((host) =>
    isIPv4(host) ? encodeDer(0x87, Uint8Array.from(host.split('.').map(Number))) : encodeDer(0x82, encodeUtf8(host)),
  )
  return [
    encodeExtension(BASIC_CONSTRAINTS, encodeDerSequence(...constraints)),
    ...(isAuthority ? [] : [encodeExtension(ALTERNATIVE_NAMES, encodeDerSequence(...names))]),
  ]
}

function encodeExtension(oid: string, value: Uint8Array): Uint8Array {
  return encodeDerSequence(encodeDerOid(oid), encodeDer(DER_TAG.octetString, value))
}

function encodeName(commonName: string): Uint8Array {
  const attribute = encodeDerSequence(encodeDerOid(COMMON_NAME), encodeDer(0x0c, encodeUtf8(commonName)))
  return encodeDerSequence(encodeDer(0x31, attribute))
}

function pem(label: string, der: Uint8Array): string {
  const lines =
    Buffer.from(der)
      .toString('base64')
      .match(/.{1,64}/g) ?? []
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ''].join('\n')
}
