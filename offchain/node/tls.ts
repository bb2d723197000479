/** TLS of the roles: certificates from files, renewed without a restart, and words for what is wrong with a peer's. @module */
import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { Server } from 'node:https'
import type { Socket } from 'node:net'
import { createSecureContext, type TLSSocket } from 'node:tls'
import { AppError } from './appError.ts'
import type { TlsFiles } from './config/listen.ts'
import type { Logger } from './log.ts'

/** How often the files are looked at. A renewal is days early, so that a minute does not matter. */
const RENEWAL_POLL_MS = 30_000

export type CertificateAndKey = { readonly cert: string; readonly key: string }

/** Reads both files and checks that they fit. Throws `AppError` (`BAD_CONFIG`) with a sentence that names the files. */
export function readCertificate({ certificateFile, keyFile }: TlsFiles): CertificateAndKey {
  let pair: CertificateAndKey
  try {
    pair = { cert: readFileSync(certificateFile, 'utf8'), key: readFileSync(keyFile, 'utf8') }
  } catch (cause) {
    throw new AppError('BAD_CONFIG', `cannot read ${certificateFile} and ${keyFile}`, { cause })
  }
  try {
    createSecureContext(pair)
  } catch (cause) {
    throw new AppError(
      'BAD_CONFIG',
      `${certificateFile} and ${keyFile} are no certificate and the key of it: expected both in PEM`,
      { cause },
    )
  }
  return pair
}

/** The certificates in a file, PEM, to be trusted in place of those that Node knows. Throws `AppError` (`BAD_CONFIG`) naming the file. */
export function readAuthorities(file: string): string {
  try {
    const pem = readFileSync(file, 'utf8')
    // TLS itself says nothing about text that is no certificate, and then trusts nobody.
    new X509Certificate(pem)
    return pem
  } catch (cause) {
    throw new AppError('BAD_CONFIG', `${file} holds no certificate: expected one or more in PEM`, { cause })
  }
}

/**
 * Has `server` use the certificate in `files` whenever it changes. A pair that does not fit, as between the writing of one file and of the other, is
 * left alone and looked at again. Answers how to stop.
 */
export function followRenewals(
  server: Server,
  files: TlsFiles,
  first: CertificateAndKey,
  log: Logger,
  pollMs: number = RENEWAL_POLL_MS,
): () => void {
  let current = first
  let refused = ''
  const timer = setInterval(() => {
    try {
      const pair = readCertificate(files)
      refused = ''
      if (pair.cert === current.cert && pair.key === current.key) return
      server.setSecureContext(pair)
      current = pair
      log.info('certificate renewed', { file: files.certificateFile })
    } catch (error) {
      // The certificate of before goes on serving. It is said once, not at each look.
      const reason = error instanceof Error ? error.message : 'unknown'
      if (reason !== refused) log.warn('certificate not renewed', { reason })
      refused = reason
    }
  }, pollMs)
  timer.unref()
  return () => clearInterval(timer)
}

/** 426 Upgrade Required (RFC 9110 section 15.5.22): whoever speaks plain HTTP here is told, where Node would only hang up. */
const SPEAKS_TLS_BODY = 'This port speaks HTTPS: use a URL that begins https://'
const SPEAKS_TLS = [
  'HTTP/1.1 426 Upgrade Required',
  'Upgrade: TLS/1.2',
  'Connection: Upgrade, close',
  'Content-Type: text/plain',
  `Content-Length: ${SPEAKS_TLS_BODY.length}`,
  '',
  SPEAKS_TLS_BODY,
].join('\r\n')

export function answerPlainHttp(server: Server): void {
  server.on('tlsClientError', (error: NodeJS.ErrnoException, socket: TLSSocket) => {
    if (error.code === 'ERR_SSL_HTTP_REQUEST') plainSocketOf(socket)?.end(SPEAKS_TLS)
  })
}

/** Node keeps the connection below a TLS socket under a name of its own. Without it the connection would just end. */
function plainSocketOf(socket: TLSSocket): Socket | undefined {
  const below: unknown = Reflect.get(socket, '_parent')
  return typeof below === 'object' && below !== null && 'end' in below ? (below as Socket) : undefined
}

const TROUBLES: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: 'its certificate has expired',
  CERT_NOT_YET_VALID: 'its certificate is not valid yet: compare the clocks',
  ERR_TLS_CERT_ALTNAME_INVALID: 'its certificate is for another host name',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'its certificate is signed by itself, and not the one that is trusted here',
  SELF_SIGNED_CERT_IN_CHAIN: 'its certificate is of an authority that is not trusted here',
  UNABLE_TO_GET_ISSUER_CERT: 'its certificate is of an authority that is not trusted here',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'its certificate is of an authority that is not trusted here',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'its certificate is of an authority that is not trusted here',
  CERT_SIGNATURE_FAILURE: 'its certificate has a wrong signature',
  CERT_REVOKED: 'its certificate was revoked',
  EPROTO: 'it does not speak TLS there, or none that is spoken here',
}

/** A sentence's end about what was wrong with a peer's TLS; undefined for an error of another kind. */
export function tlsTroubleOf(error: unknown): string | undefined {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  return TROUBLES[code] ?? (/^(ERR_TLS|ERR_SSL|CERT)_/.test(code) ? `TLS failed (${code})` : undefined)
}
