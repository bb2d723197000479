/** TLS to a model server of which more is known than its name: its own CA, or the keys that its certificates may have. @module */
import { createHash, X509Certificate } from 'node:crypto'
import { Agent } from 'node:https'
import { checkServerIdentity, type DetailedPeerCertificate, type PeerCertificate } from 'node:tls'

export type TlsTrust = {
  /** Certificates in PEM that stand in place of the roots that Node brings. */
  readonly ca?: string
  /**
   * SHA-256 of a public key (SubjectPublicKeyInfo in DER) in base64, as RFC 7469 writes them. One of the server's certificates, its own or one that
   * vouches for it, must have one of these keys. Empty: any.
   */
  readonly pins: readonly string[]
}

const PIN = /^[A-Za-z0-9+/]{43}=$/

/** An agent that keeps connections for `keptIdleMs`. Throws `TypeError` for a pin that is none. */
export function createTrustingAgent({ ca, pins }: TlsTrust, keptIdleMs: number): Agent {
  for (const pin of pins) {
    if (!PIN.test(pin))
      throw new TypeError('a certificate pin is the SHA-256 of a public key in base64: 43 characters and =')
  }
  const allowed = new Set(pins)
  return new Agent({
    keepAlive: true,
    timeout: keptIdleMs,
    ...(ca === undefined ? {} : { ca }),
    checkServerIdentity(host, certificate) {
      const wrongName = checkServerIdentity(host, certificate)
      if (wrongName !== undefined || allowed.size === 0) return wrongName
      const isPinned = chainOf(certificate).some((each) => allowed.has(pinOf(each.raw)))
      return isPinned ? undefined : new Error(`no certificate of ${host} has a key that is pinned`)
    },
  })
}

/** The pin of a certificate in DER or PEM. */
export function pinOf(certificate: Uint8Array | string): string {
  const spki = new X509Certificate(certificate).publicKey.export({ type: 'spki', format: 'der' })
  return createHash('sha256').update(spki).digest('base64')
}

/** From the server's own up to the root, which names itself as its issuer. */
function chainOf(certificate: PeerCertificate): PeerCertificate[] {
  const chain: PeerCertificate[] = []
  let next: PeerCertificate | undefined = certificate
  while (next !== undefined && !chain.includes(next)) {
    chain.push(next)
    next = (next as Partial<DetailedPeerCertificate>).issuerCertificate
  }
  return chain
}
