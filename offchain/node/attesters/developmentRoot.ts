/** The development root: a key and a self-signed certificate that says what it is, kept so that several processes share it. @module */
import { createPrivateKey, createPublicKey, type KeyObject, randomUUID } from 'node:crypto'
import { linkSync, mkdirSync, readFileSync, unlinkSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import * as v from 'valibot'
import { decodeUtf8, equalBytes, fromBase64, toBase64 } from '#protocol/bytes.ts'
import { type Certificate, parseCertificate } from '#protocol/evidence/certificate.ts'
import type { PinnedRoot } from '#protocol/evidence/evidence.ts'
import { AttesterError } from './attester.ts'
import { issueCertificate } from './developmentCertificate.ts'

/** A root that vouches for nothing but "this is a development set-up". */
export type DevelopmentRoot = {
  readonly key: KeyObject
  /** DER. */
  readonly certificate: Uint8Array
}

export const DEVELOPMENT_ROOT_NAME = 'Sealpath development root'

/** A new root, valid for 30 years from `nowSeconds` since the epoch. */
export function createDevelopmentRoot(nowSeconds: number): DevelopmentRoot {
  const { key, certificate } = issueCertificate({ role: 'root', commonName: DEVELOPMENT_ROOT_NAME, nowSeconds })
  return { key, certificate }
}

/** What a policy pins to accept documents under `root`. */
export function pinDevelopmentRoot(root: Pick<DevelopmentRoot, 'certificate'>): PinnedRoot {
  return { kind: 'development', certificate: root.certificate }
}

/** The root kept in the file at `path`, made there first if it does not exist. Processes that race end up with the same root. */
export function loadDevelopmentRoot(path: string, nowSeconds: number): DevelopmentRoot {
  try {
    return parseDevelopmentRoot(readFileSync(path, 'utf8'))
  } catch (error) {
    if (!isFileError(error, 'ENOENT')) throw error
  }
  mkdirSync(dirname(path), { recursive: true })
  const draft = `${path}.${randomUUID()}`
  writeFileSync(draft, serializeDevelopmentRoot(createDevelopmentRoot(nowSeconds)), { mode: 0o600, flag: 'wx' })
  try {
    // A link appears whole or not at all, and never replaces the root of a process that was faster.
    linkSync(draft, path)
  } catch (error) {
    if (!isFileError(error, 'EEXIST')) throw error
  } finally {
    unlinkSync(draft)
  }
  return parseDevelopmentRoot(readFileSync(path, 'utf8'))
}

/** The root as JSON: its private key and its certificate, both PEM. Whoever has it can make development evidence. */
export function serializeDevelopmentRoot(root: DevelopmentRoot): string {
  const key = root.key.export({ type: 'pkcs8', format: 'pem' })
  return `${JSON.stringify({ key, certificate: encodePem(root.certificate) }, null, 2)}\n`
}

/** Parses `serializeDevelopmentRoot`'s JSON. Throws `AttesterError` (`BAD_DEVELOPMENT_ROOT`) for anything else. */
export function parseDevelopmentRoot(text: string): DevelopmentRoot {
  try {
    const { key: keyPem, certificate: pem } = v.parse(ROOT_FILE, JSON.parse(text))
    const key = createPrivateKey(keyPem)
    const certificate = decodePem(pem)
    requireDevelopmentRoot(parseCertificate(certificate), key)
    return { key, certificate }
  } catch (cause) {
    if (cause instanceof AttesterError) throw cause
    throw badRoot('a JSON file with the key and the certificate of a development root', cause)
  }
}

const ROOT_FILE = v.strictObject({ key: v.string(), certificate: v.string() })

function requireDevelopmentRoot(certificate: Certificate, key: KeyObject): void {
  if (!equalBytes(certificate.subject, certificate.issuer)) throw badRoot('a root that issued itself')
  // The common name is the last attribute of the Name, so its text ends the encoding.
  const name = certificate.subject.subarray(-DEVELOPMENT_ROOT_NAME.length)
  if (decodeUtf8(name) !== DEVELOPMENT_ROOT_NAME) throw badRoot(`the common name '${DEVELOPMENT_ROOT_NAME}'`)
  const spki = new Uint8Array(createPublicKey(key).export({ type: 'spki', format: 'der' }))
  if (!equalBytes(spki.subarray(-97), certificate.publicKey)) throw badRoot('the key of the certificate')
}

function encodePem(der: Uint8Array): string {
  const lines = toBase64(der).match(/.{1,64}/g) ?? []
  return ['-----BEGIN CERTIFICATE-----', ...lines, '-----END CERTIFICATE-----', ''].join('\n')
}

function decodePem(pem: string): Uint8Array {
  const body = /^-----BEGIN CERTIFICATE-----\n([A-Za-z0-9+/=\n]+)-----END CERTIFICATE-----\n?$/.exec(pem)?.[1]
  if (body === undefined) throw badRoot('one certificate in PEM')
  return fromBase64(body.replaceAll('\n', ''))
}

function badRoot(expected: string, cause?: unknown): AttesterError {
  return new AttesterError('BAD_DEVELOPMENT_ROOT', `expected ${expected}`, { cause })
}

function isFileError(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}
