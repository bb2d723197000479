/** One sealed HTTP exchange with a role that is known by its key: what a role behind a seal says to another. @module */
import { AppError } from '#node/appError.ts'
import { joinBytes } from '#protocol/bytes.ts'
import type { Field } from '#protocol/sealing/binaryHttpFields.ts'
import { sealHttpRequest } from '#protocol/sealing/client.ts'
import type { KeyConfig } from '#protocol/sealing/keyConfig.ts'
import { mediaTypeOf } from '#protocol/sealing/mediaTypes.ts'
import type { SealingSuites } from '#protocol/sealing/suite.ts'

export type SealedPeer = {
  readonly suites: SealingSuites
  /** The peer's gateway resource. */
  readonly url: string
  readonly config: KeyConfig
  readonly timeoutMs: number
}

export type SealedAnswer = { readonly status: number; readonly headers: readonly Field[]; readonly body: Uint8Array }

/** Largest answer read: what one keyset's tile takes, and more. */
const ANSWER_BYTES_MAX = 2_097_152

/** Sends one request and reads its whole answer. Throws `AppError` (`PEER_FAILED`, retryable) when none came that opens. */
export async function callSealed(
  peer: SealedPeer,
  request: { readonly method: string; readonly path: string; readonly body: Uint8Array },
): Promise<SealedAnswer> {
  const { host } = new URL(peer.url)
  try {
    const sealed = await sealHttpRequest(
      peer.suites,
      peer.config,
      {
        method: request.method,
        scheme: 'https',
        authority: host,
        path: request.path,
        headers: [
          ['date', new Date().toUTCString()],
          ['content-type', 'application/json'],
        ],
        body: request.body,
      },
      { chunked: false },
    )
    const response = await fetch(peer.url, {
      method: 'POST',
      headers: { 'content-type': sealed.contentType },
      body: sealed.body,
      signal: AbortSignal.timeout(peer.timeoutMs),
    })
    if (!response.ok || mediaTypeOf(response.headers.get('content-type')) !== sealed.accept) {
      await response.body?.cancel()
      throw new AppError('PEER_FAILED', `${host} answered ${response.status} outside the seal`, { retryable: true })
    }
    const reader = sealed.openResponse()
    let bytes = 0
    const events = []
    for await (const part of response.body ?? []) {
      bytes += part.length
      if (bytes > ANSWER_BYTES_MAX) throw new RangeError(`expected an answer of at most ${ANSWER_BYTES_MAX} bytes`)
      events.push(...(await reader.push(part)))
    }
    events.push(...(await reader.end()))
    const head = events.find((event) => event.type === 'head')
    if (head === undefined) throw new RangeError('expected a head in the answer')
    const body = joinBytes(events.flatMap((event) => (event.type === 'body' ? [event.bytes] : [])))
    return { status: head.status, headers: head.headers, body }
  } catch (cause) {
    if (cause instanceof AppError) throw cause
    throw new AppError('PEER_FAILED', `no sealed answer from ${host}`, { cause, retryable: true })
  }
}
