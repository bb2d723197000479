/** One sealed HTTP exchange with a role that is known by its key: what a role behind a seal says to another. @module */
import { AppError } from '#node/appError.ts'
import { readBody } from '#protocol/boundedBody.ts'
import type { KeyConfig } from '#protocol/sealing/keyConfig.ts'
import { mediaTypeOf } from '#protocol/sealing/mediaTypes.ts'
import type { SealingSuites } from '#protocol/sealing/suite.ts'
import { sealWholeRequest, type WholeAnswer, type WholeRequest } from '#protocol/sealing/wholeExchange.ts'

export type SealedPeer = {
  readonly suites: SealingSuites
  /** The peer's gateway resource. */
  readonly url: string
  readonly config: KeyConfig
  readonly timeoutMs: number
}

/** Largest answer read: what one keyset's tile takes, and more. */
const ANSWER_BYTES_MAX = 2_097_152

/** Sends one request and reads its whole answer. Throws `AppError` (`PEER_FAILED`, `NOT_OPENED`, retryable) when none came that opens. */
export async function callSealed(
  { suites, url, config, timeoutMs }: SealedPeer,
  request: Pick<WholeRequest, 'method' | 'path' | 'body'>,
): Promise<WholeAnswer> {
  const { host } = new URL(url)
  try {
    const sealed = await sealWholeRequest(suites, config, { ...request, authority: host, now: new Date() })
    const response = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': sealed.contentType },
      body: sealed.body,
      signal: AbortSignal.timeout(timeoutMs),
    })
    if (!response.ok || mediaTypeOf(response.headers.get('content-type')) !== sealed.accept) {
      await response.body?.cancel()
      const code = response.status === 400 ? 'NOT_OPENED' : 'PEER_FAILED'
      throw new AppError(code, `${host} answered ${response.status} outside the seal`, { retryable: true })
    }
    return await sealed.open(await readBody(response.body, ANSWER_BYTES_MAX))
  } catch (cause) {
    if (cause instanceof AppError) throw cause
    throw new AppError('PEER_FAILED', `no sealed answer from ${host}`, { cause, retryable: true })
  }
}
