/** Documents and certificates that are odd or wrong in one respect while every signature is right. @module */
import { type KeyObject, sign } from 'node:crypto'
import {
  encodeCborArray,
  encodeCborBytes,
  encodeCborMap,
  encodeCborOpenMap,
  encodeCborText,
  encodeCborUint,
} from '#node/attesters/cborEncode.ts'
import { encodeDerBits, encodeDerSequence } from '#node/attesters/derEncode.ts'
import { issueCertificate, type KeyedCertificate } from '#node/attesters/developmentCertificate.ts'
import { createDevelopmentHost } from '#node/attesters/developmentHost.ts'
import type { DevelopmentRoot } from '#node/attesters/developmentRoot.ts'
import { concatBytes, encodeUtf8, fromHex } from '#protocol/bytes.ts'
import { parseCertificate } from '#protocol/evidence/certificate.ts'
import { keccak256 } from '#protocol/hash.ts'
import { type DerTree, decodeDerTree, encodeDerTree } from './derTree.ts'

/** Three CA certificates under a root, and a leaf: every key is at hand. */
export type TestChain = {
  readonly root: DevelopmentRoot
  readonly authorities: readonly [regional: KeyedCertificate, zonal: KeyedCertificate, instance: KeyedCertificate]
  readonly leaf: KeyedCertificate
  /** The root and the CA certificates in DER. */
  readonly bundle: readonly Uint8Array[]
}

/** A new chain under `root`, issued at `nowSeconds` since the epoch. */
export function issueTestChain(root: DevelopmentRoot, nowSeconds: number): TestChain {
  const [regional, zonal, instance] = createDevelopmentHost(root).authorities(nowSeconds)
  if (regional === undefined || zonal === undefined || instance === undefined) throw new Error('a host has three CAs')
  return {
    root,
    authorities: [regional, zonal, instance],
    leaf: issueLeaf(instance, nowSeconds),
    bundle: [root.certificate, regional.certificate, zonal.certificate, instance.certificate],
  }
}

export function issueLeaf(issuer: Pick<KeyedCertificate, 'key' | 'subject'>, nowSeconds: number): KeyedCertificate {
  return issueCertificate({ role: 'leaf', commonName: 'a leaf', nowSeconds, issuer })
}

/** The root as an issuer. */
export function rootIssuer({ key, certificate }: DevelopmentRoot): Pick<KeyedCertificate, 'key' | 'subject'> {
  return { key, subject: parseCertificate(certificate).subject }
}

/** The certificate after `edit` of its signed part (children: version, serial, algorithm, issuer, validity, subject, key, extensions), signed again. */
export function reissue(certificate: KeyedCertificate, edit: (tbs: DerTree) => void): KeyedCertificate {
  const [tbs, algorithm] = decodeDerTree(certificate.certificate).children ?? []
  if (tbs === undefined || algorithm === undefined) throw new Error('expected a certificate')
  edit(tbs)
  const signed = encodeDerTree(tbs)
  const signature = new Uint8Array(sign('sha384', signed, { key: certificate.issuerKey, dsaEncoding: 'der' }))
  const der = encodeDerSequence(signed, encodeDerTree(algorithm), encodeDerBits(signature))
  const subject = tbs.children?.[5]
  return {
    ...certificate,
    certificate: der,
    subject: subject === undefined ? new Uint8Array() : encodeDerTree(subject),
  }
}

export type CborEntry = readonly [key: Uint8Array, value: Uint8Array]

export type DocumentOrder = {
  readonly nowSeconds: number
  readonly certificate: Uint8Array
  readonly key: KeyObject
  readonly bundle: readonly Uint8Array[]
  /** By index in the order written; PCR 0, 1 and 2 and all others up to 15 unless told. */
  readonly pcrs?: readonly (readonly [number, Uint8Array])[] | undefined
  /** Replaces or adds entries of the payload; an undefined value leaves the entry out. */
  readonly fields?: Readonly<Record<string, Uint8Array | undefined>> | undefined
  /** Entries of the header that nobody signs. */
  readonly unprotected?: readonly CborEntry[] | undefined
  /** A map of definite length, as documents had before mid-2025. */
  readonly isDefinite?: boolean | undefined
}

/** A PCR that is not zero. */
export function pcrOf(index: number): Uint8Array {
  return new Uint8Array(48).fill(index + 1)
}

/** User data of the right length for a contract: a digest. */
export const ODD_USER_DATA: Uint8Array = keccak256(encodeUtf8('what the enclave states'))
/** Milliseconds past the second, so that a second is not just a thousandth of the timestamp. */
export const ODD_MILLISECONDS = 789
const PROTECTED_HEADER = fromHex('0xa1013822')
const NULL = fromHex('0xf6')

/** A document as ordered, signed by `key`. */
export function signOddDocument(order: DocumentOrder): Uint8Array {
  const pcrs =
    order.pcrs ?? Array.from({ length: 16 }, (_, index) => [index, index < 3 ? pcrOf(index) : ZERO_PCR] as const)
  const fields: Record<string, Uint8Array | undefined> = {
    module_id: encodeCborText('i-0'),
    digest: encodeCborText('SHA384'),
    timestamp: encodeCborUint(order.nowSeconds * 1000 + ODD_MILLISECONDS),
    pcrs: encodeCborMap(pcrs.map(([index, value]) => [encodeCborUint(index), encodeCborBytes(value)])),
    certificate: encodeCborBytes(order.certificate),
    cabundle: encodeCborArray(order.bundle.map(encodeCborBytes)),
    public_key: NULL,
    user_data: encodeCborBytes(ODD_USER_DATA),
    nonce: NULL,
    ...order.fields,
  }
  const entries = Object.entries(fields).flatMap(([name, value]): CborEntry[] =>
    value === undefined ? [] : [[encodeCborText(name), value]],
  )
  const payload = order.isDefinite === true ? encodeCborMap(entries) : encodeCborOpenMap(entries)
  // Sig_structure (RFC 9052 section 4.4) with empty external data.
  const signed = encodeCborArray([
    encodeCborText('Signature1'),
    encodeCborBytes(PROTECTED_HEADER),
    encodeCborBytes(new Uint8Array()),
    encodeCborBytes(payload),
  ])
  const signature = new Uint8Array(sign('sha384', signed, { key: order.key, dsaEncoding: 'ieee-p1363' }))
  return encodeCborArray([
    encodeCborBytes(PROTECTED_HEADER),
    encodeCborMap([...(order.unprotected ?? [])]),
    encodeCborBytes(payload),
    encodeCborBytes(signature),
  ])
}

const ZERO_PCR = new Uint8Array(48)

/** `certificate` with the other one of the two valid signatures: s becomes n - s, and no byte of the signed part changes. */
export function twinOf(certificate: Uint8Array, order: bigint): Uint8Array {
  const tree = decodeDerTree(certificate)
  const bits = tree.children?.[2]
  if (bits?.content === undefined) throw new Error('expected a signature')
  const signature = decodeDerTree(bits.content.subarray(1))
  const s = signature.children?.[1]
  if (s?.content === undefined) throw new Error('expected r and s')
  const hex = (order - BigInt(`0x${Buffer.from(s.content).toString('hex')}`)).toString(16)
  const even = hex.padStart(hex.length + (hex.length % 2), '0')
  s.content = fromHex(Number.parseInt(even.slice(0, 2), 16) >= 0x80 ? `0x00${even}` : `0x${even}`)
  bits.content = concatBytes(Uint8Array.of(0), encodeDerTree(signature))
  return encodeDerTree(tree)
}
