/** One question to a peer over HTTP or HTTPS, with what the doctor wants to know besides the answer: its clock and its certificate. @module */
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { TLSSocket } from 'node:tls'
import { tlsTroubleOf } from '#node/tls.ts'
import { readBody } from '#protocol/boundedBody.ts'

export type Answer = {
  readonly status: number
  readonly body: Uint8Array
  /** How far the peer's clock is ahead of ours, in seconds, by its Date header (RFC 9110 section 6.6.1); undefined when it has none. */
  readonly aheadSeconds: number | undefined
  /** When its certificate ends, in seconds since the epoch; undefined without TLS. */
  readonly certificateEnd: number | undefined
}

export type AskOptions = {
  /** PEM of the authorities that count in place of those that Node knows. */
  readonly ca?: string
  /** Takes any certificate: for a port of this machine, only to hear who is there. */
  readonly isOwn?: boolean
}

const TIMEOUT_MS = 5_000
const BODY_BYTES_MAX = 1_048_576

/** Throws an error whose message says in half a sentence why there is no answer. */
export async function ask(url: string | URL, { ca, isOwn = false }: AskOptions = {}): Promise<Answer> {
  const isTls = new URL(url).protocol === 'https:'
  const trust = { ...(ca === undefined ? {} : { ca }), rejectUnauthorized: !isOwn }
  const begun = Date.now()
  return new Promise((resolve, reject) => {
    const asked = isTls ? httpsRequest(url, { agent: false, ...trust }) : httpRequest(url, { agent: false })
    const timer = setTimeout(() => asked.destroy(new AskError('it does not answer')), TIMEOUT_MS)
    const fail = (cause: unknown) => {
      clearTimeout(timer)
      asked.destroy()
      reject(cause instanceof AskError ? cause : new AskError(wordsOf(cause), { cause }))
    }
    asked.once('error', fail)
    asked.once('response', (answer) => {
      const certificateEnd = certificateEndOf(answer)
      const aheadSeconds = aheadOf(answer.headers.date, begun)
      readBody(answer, BODY_BYTES_MAX).then((body) => {
        clearTimeout(timer)
        resolve({ status: answer.statusCode ?? 0, body, aheadSeconds, certificateEnd })
      }, fail)
    })
    asked.end()
  })
}

/** Against the middle of the exchange; the header's seconds are cut off, half a second on average. */
function aheadOf(date: string | undefined, begun: number): number | undefined {
  const told = Date.parse(date ?? '')
  return Number.isNaN(told) ? undefined : (told + 500 - (begun + Date.now()) / 2) / 1000
}

function certificateEndOf({ socket }: IncomingMessage): number | undefined {
  if (!(socket instanceof TLSSocket)) return undefined
  const end = Date.parse(socket.getPeerCertificate().valid_to)
  return Number.isNaN(end) ? undefined : end / 1000
}

const REASONS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nobody listens there',
  ENOTFOUND: 'there is no such host',
  EAI_AGAIN: 'the name of the host cannot be looked up',
  EHOSTUNREACH: 'there is no way to that host',
  ENETUNREACH: 'there is no way to that network',
  ETIMEDOUT: 'it does not answer',
  ECONNRESET: 'it hangs up',
}

function wordsOf(cause: unknown): string {
  if (cause instanceof RangeError) return 'it answers more than anybody would'
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : ''
  return tlsTroubleOf(cause) ?? REASONS[code] ?? `no answer (${code || 'unknown failure'})`
}

export class AskError extends Error {
  override readonly name = 'AskError'
}
