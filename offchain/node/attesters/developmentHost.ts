/** A simulated Nitro host: the CA certificates its enclaves share, and each enclave's leaf, all renewed before they end. @module */
import { randomBytes } from 'node:crypto'
import { concatBytes, encodeUint, toHex } from '#protocol/bytes.ts'
import { parseCertificate } from '#protocol/evidence/certificate.ts'
import { issueCertificate, type KeyedCertificate } from './developmentCertificate.ts'
import type { DevelopmentRoot } from './developmentRoot.ts'

/** A machine under `root`. Enclaves on one host differ in their leaf only, so a registry finds their CAs in its cache. */
export function createDevelopmentHost(root: DevelopmentRoot): DevelopmentHost {
  const instanceId = `i-${randomDigits(9).slice(1)}`
  const rootIssuer = { key: root.key, subject: parseCertificate(root.certificate).subject }
  let authorities: readonly KeyedCertificate[] = []
  return {
    root,
    instanceId,
    authorities(nowSeconds) {
      const renewed: KeyedCertificate[] = []
      for (const [index, [role, name]] of AUTHORITIES.entries()) {
        const kept = authorities[index]
        const issuer = renewed[index - 1] ?? rootIssuer
        // A new certificate is issued when the old one is half spent, or when the one above it is new.
        const isKept = kept !== undefined && isFresh(kept, nowSeconds) && kept.issuerKey === issuer.key
        const label = role === 'instance' ? instanceId : randomDigits(8)
        renewed.push(isKept ? kept : issueCertificate({ role, commonName: `${label}.${name}`, nowSeconds, issuer }))
      }
      authorities = renewed
      return renewed
    },
  }
}

/** A simulated machine. */
export interface DevelopmentHost {
  readonly root: DevelopmentRoot
  /** `i-` and 17 digits, as EC2 names machines. */
  readonly instanceId: string
  /** The regional, zonal and instance CA at `nowSeconds` since the epoch. */
  authorities(nowSeconds: number): readonly KeyedCertificate[]
}

/** What signs an enclave's documents now. */
export type EnclaveChain = {
  readonly leaf: KeyedCertificate
  /** The CA certificates in DER, root first. */
  readonly bundle: readonly Uint8Array[]
}

/** A new enclave on `host`: its module id, and its chain at a time in seconds since the epoch. */
export function bootDevelopmentEnclave(host: DevelopmentHost, nowMs: number): DevelopmentEnclave {
  // Real ids start with the milliseconds of the boot; the leaf's serial is that id and the second of issue.
  const id = concatBytes(encodeUint(BigInt(nowMs), 6), new Uint8Array(randomBytes(2)))
  const moduleId = `${host.instanceId}-enc${toHex(id).slice(2)}`
  let leaf: KeyedCertificate | undefined
  return {
    moduleId,
    chain(nowSeconds) {
      const authorities = host.authorities(nowSeconds)
      const issuer = authorities.at(-1)
      if (leaf === undefined || !isFresh(leaf, nowSeconds) || leaf.issuerKey !== issuer?.key) {
        const serial = concatBytes(id, encodeUint(BigInt(nowSeconds), 8))
        leaf = issueCertificate({ role: 'leaf', commonName: `${moduleId}.${SITE}`, nowSeconds, issuer, serial })
      }
      return { leaf, bundle: [host.root.certificate, ...authorities.map(({ certificate }) => certificate)] }
    },
  }
}

/** A simulated enclave. */
export interface DevelopmentEnclave {
  readonly moduleId: string
  chain(nowSeconds: number): EnclaveChain
}

const SITE = 'local-1.sealpath'
const AUTHORITIES = [
  ['regional', `${SITE}.development`],
  ['zonal', `zonal.${SITE}.development`],
  ['instance', `${SITE}.development`],
] as const

/** A clock that went back before the issue makes a certificate stale too. */
function isFresh(certificate: KeyedCertificate, nowSeconds: number): boolean {
  return certificate.issuedAt <= nowSeconds && nowSeconds < certificate.renewAt
}

function randomDigits(bytes: number): string {
  return toHex(new Uint8Array(randomBytes(bytes))).slice(2)
}
