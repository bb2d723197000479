/** Certificates of the development PKI, in the exact shape of the ones Nitro enclaves carry. Role by role: `ROLES` below. @module */
import { createHash, createPublicKey, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto'
import { concatBytes, encodeUtf8 } from '#protocol/bytes.ts'
import { DER_TAG } from '#protocol/evidence/der.ts'
import { encodeDer, encodeDerBits, encodeDerOid, encodeDerSequence, encodeDerTime, encodeDerUint } from './derEncode.ts'

/** Makes a new P-384 key and a certificate for it. */
export function issueCertificate(order: CertificateOrder): KeyedCertificate {
  const { role, commonName, nowSeconds, issuer } = order
  const { lifetimeSeconds, backdatedSeconds, serialBytes, name } = ROLES[role]
  const { privateKey: key } = generateKeyPairSync('ec', { namedCurve: 'P-384' })
  const issuerKey = issuer?.key ?? key
  const subject = encodeName(name, commonName)
  const tbs = encodeDerSequence(
    encodeDer(DER_TAG.context0, encodeDerUint(Uint8Array.of(2))),
    encodeDerUint(order.serial ?? randomSerial(serialBytes)),
    ECDSA_WITH_SHA384,
    issuer?.subject ?? subject,
    encodeDerSequence(encodeDerTime(nowSeconds - backdatedSeconds), encodeDerTime(nowSeconds + lifetimeSeconds)),
    subject,
    exportSpki(key),
    encodeDer(DER_TAG.context3, encodeDerSequence(...encodeExtensions(role, key, issuerKey))),
  )
  const signature = new Uint8Array(sign('sha384', tbs, { key: issuerKey, dsaEncoding: 'der' }))
  const certificate = encodeDerSequence(tbs, ECDSA_WITH_SHA384, encodeDerBits(signature))
  return { key, certificate, subject, issuerKey, issuedAt: nowSeconds, renewAt: nowSeconds + lifetimeSeconds / 2 }
}

export type CertificateOrder = {
  readonly role: CertificateRole
  readonly commonName: string
  /** Seconds since the epoch. */
  readonly nowSeconds: number
  /** Who signs; left out: the new key itself. */
  readonly issuer?: Pick<KeyedCertificate, 'key' | 'subject'> | undefined
  /** Left out: random, as long as real ones of this role. */
  readonly serial?: Uint8Array | undefined
}

/** A certificate with the key it certifies. */
export type KeyedCertificate = {
  readonly key: KeyObject
  /** DER. */
  readonly certificate: Uint8Array
  /** The subject's encoded Name. */
  readonly subject: Uint8Array
  readonly issuerKey: KeyObject
  /** When it was issued, and when half of its life is spent; seconds since the epoch. */
  readonly issuedAt: number
  readonly renewAt: number
}

export type CertificateRole = 'root' | 'regional' | 'zonal' | 'instance' | 'leaf'

type NameAttribute = 'C' | 'ST' | 'L' | 'O' | 'OU' | 'CN'
type Extension = 'ca' | 'noCa' | 'authorityKey' | 'subjectKey' | 'usageCa' | 'usageSign' | 'usageLeaf' | 'crl'

type Role = {
  /** Validity after and before the moment of issue. */
  readonly lifetimeSeconds: number
  readonly backdatedSeconds: number
  readonly serialBytes: number
  readonly name: readonly NameAttribute[]
  readonly pathLength?: number
  readonly extensions: readonly Extension[]
}

const HOUR = 3600
const DAY = 24 * HOUR

/** Lifetimes, order of name attributes and of extensions as measured in real documents of 2021 to 2026. */
const ROLES: Readonly<Record<CertificateRole, Role>> = {
  root: {
    lifetimeSeconds: 30 * 365 * DAY,
    backdatedSeconds: HOUR,
    serialBytes: 16,
    name: ['C', 'O', 'OU', 'CN'],
    extensions: ['ca', 'subjectKey', 'usageCa'],
  },
  regional: {
    lifetimeSeconds: 20 * DAY,
    backdatedSeconds: HOUR,
    serialBytes: 16,
    name: ['C', 'O', 'OU', 'CN'],
    pathLength: 2,
    extensions: ['ca', 'authorityKey', 'subjectKey', 'usageCa', 'crl'],
  },
  zonal: {
    lifetimeSeconds: 6 * DAY - HOUR,
    backdatedSeconds: HOUR,
    serialBytes: 16,
    name: ['CN', 'OU', 'O', 'C', 'ST', 'L'],
    pathLength: 1,
    extensions: ['ca', 'authorityKey', 'subjectKey', 'usageCa', 'crl'],
  },
  instance: {
    lifetimeSeconds: 23 * HOUR,
    backdatedSeconds: HOUR,
    serialBytes: 20,
    name: ['C', 'ST', 'L', 'O', 'OU', 'CN'],
    pathLength: 0,
    extensions: ['ca', 'usageSign', 'subjectKey', 'authorityKey'],
  },
  leaf: {
    lifetimeSeconds: 3 * HOUR,
    backdatedSeconds: 3,
    serialBytes: 16,
    name: ['C', 'ST', 'L', 'O', 'OU', 'CN'],
    extensions: ['noCa', 'usageLeaf'],
  },
}

const ECDSA_WITH_SHA384 = encodeDerSequence(encodeDerOid('0x2a8648ce3d040303'))
const PRINTABLE_STRING = 0x13
const UTF8_STRING = 0x0c
const CRL_ADDRESS = 'http://crl.sealpath-development.invalid/crl/00000000-0000-4000-8000-000000000000.crl'

/** X.520 attribute, its string type, and the value every development certificate has ("XX" is no country). */
const NAME_ATTRIBUTES: Readonly<Record<NameAttribute, { oid: string; tag: number; value: string }>> = {
  C: { oid: '0x550406', tag: PRINTABLE_STRING, value: 'XX' },
  ST: { oid: '0x550408', tag: UTF8_STRING, value: 'Development' },
  L: { oid: '0x550407', tag: UTF8_STRING, value: 'Local' },
  O: { oid: '0x55040a', tag: UTF8_STRING, value: 'Sealpath' },
  OU: { oid: '0x55040b', tag: UTF8_STRING, value: 'Development' },
  CN: { oid: '0x550403', tag: UTF8_STRING, value: '' },
}

function encodeName(order: readonly NameAttribute[], commonName: string): Uint8Array {
  const parts = order.map((attribute) => {
    const { oid, tag, value } = NAME_ATTRIBUTES[attribute]
    const text = encodeUtf8(attribute === 'CN' ? commonName : value)
    return encodeDer(DER_TAG.set, encodeDerSequence(encodeDerOid(oid), encodeDer(tag, text)))
  })
  return encodeDerSequence(...parts)
}

function encodeExtensions(role: CertificateRole, key: KeyObject, issuerKey: KeyObject): Uint8Array[] {
  const { pathLength, extensions } = ROLES[role]
  return extensions.map((extension) => {
    switch (extension) {
      case 'ca': {
        const bound = pathLength === undefined ? [] : [encodeDerUint(Uint8Array.of(pathLength))]
        return encodeExtension('0x551d13', true, encodeDerSequence(TRUE, ...bound))
      }
      case 'noCa':
        return encodeExtension('0x551d13', true, encodeDerSequence())
      case 'usageCa': // digitalSignature, keyCertSign, cRLSign
        return encodeExtension('0x551d0f', true, encodeDerBits(Uint8Array.of(0x86), 1))
      case 'usageSign': // keyCertSign
        return encodeExtension('0x551d0f', true, encodeDerBits(Uint8Array.of(0x04), 2))
      case 'usageLeaf': // digitalSignature, nonRepudiation; not critical, as in real leaves
        return encodeExtension('0x551d0f', false, encodeDerBits(Uint8Array.of(0xc0), 6))
      case 'subjectKey':
        return encodeExtension('0x551d0e', false, encodeDer(DER_TAG.octetString, keyIdentifier(key)))
      case 'authorityKey':
        return encodeExtension('0x551d23', false, encodeDerSequence(encodeDer(0x80, keyIdentifier(issuerKey))))
      case 'crl': {
        const fullName = encodeDer(0xa0, encodeDer(0x86, encodeUtf8(CRL_ADDRESS)))
        return encodeExtension('0x551d1f', false, encodeDerSequence(encodeDerSequence(encodeDer(0xa0, fullName))))
      }
      default:
        return extension satisfies never
    }
  })
}

const TRUE = encodeDer(DER_TAG.boolean, Uint8Array.of(0xff))

function encodeExtension(oid: string, isCritical: boolean, value: Uint8Array): Uint8Array {
  const flag = isCritical ? [TRUE] : []
  return encodeDerSequence(encodeDerOid(oid), ...flag, encodeDer(DER_TAG.octetString, value))
}

function exportSpki(key: KeyObject): Uint8Array {
  return new Uint8Array(createPublicKey(key).export({ type: 'spki', format: 'der' }))
}

/** SHA-1 of the key's bits (RFC 5280 section 4.2.1.2): a label to find keys by, nothing is trusted because of it. */
function keyIdentifier(key: KeyObject): Uint8Array {
  return new Uint8Array(createHash('sha1').update(exportSpki(key).subarray(-97)).digest())
}

/** Positive, with its first bit set, so that it always has the same length. */
function randomSerial(lengthBytes: number): Uint8Array {
  const serial = new Uint8Array(randomBytes(lengthBytes))
  return concatBytes(Uint8Array.of((serial[0] ?? 0) | 0x80), serial.subarray(1))
}
