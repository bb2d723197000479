/** One sealed question to an enclave behind the relay, its answer read whole. @module */
import { readBody } from '#protocol/boundedBody.ts'
import { mediaTypeOf, PROBLEM_JSON } from '#protocol/sealing/mediaTypes.ts'
import type { SealingSuites } from '#protocol/sealing/suite.ts'
import { sealWholeRequest, type WholeAnswer, type WholeRequest } from '#protocol/sealing/wholeExchange.ts'
import { SealpathError } from './errors.ts'
import { preferredConfig, type TrustedGateway } from './gateway.ts'
import type { RelayFetch } from './options.ts'

export type RelayCallOptions = {
  readonly suites: SealingSuites
  readonly timeoutMs: number
  /** The platform's unless told. */
  readonly fetch?: RelayFetch | undefined
}

/** Throws `SealpathError` (`RELAY_FAILED`, reason as in `relayRefusal`) when no answer came, and what opening it throws. */
export async function callThroughRelay(
  { suites, ...how }: RelayCallOptions,
  enclave: TrustedGateway,
  request: Pick<WholeRequest, 'method' | 'path' | 'body'>,
): Promise<WholeAnswer> {
  const { url, keyConfigs } = enclave
  const whole = { ...request, authority: url.host, now: new Date() }
  const sealed = await sealWholeRequest(suites, preferredConfig(keyConfigs), whole)
  return sealed.open(await send(url, sealed.contentType, sealed.accept, sealed.body, how))
}

/** Longest sealed answer taken: a tile of as many payments as one answer may hold, and more. */
const ANSWER_BYTES_MAX = 67_108_864

async function send(
  url: URL,
  contentType: string,
  accept: string,
  body: Uint8Array<ArrayBuffer>,
  { timeoutMs, fetch }: Omit<RelayCallOptions, 'suites'>,
): Promise<Uint8Array> {
  const signal = AbortSignal.timeout(timeoutMs)
  let response: Response
  try {
    response = await postSealed(url, { headers: { 'content-type': contentType }, body, signal, fetch })
    if (response.ok && mediaTypeOf(response.headers.get('content-type')) === accept) {
      return await readBody(response.body, ANSWER_BYTES_MAX)
    }
  } catch (cause) {
    if (cause instanceof SealpathError) throw cause
    throw new SealpathError('RELAY_FAILED', `no answer from the relay ${url.host}`, { cause })
  }
  await response.body?.cancel()
  throw relayRefusal(response)
}

export type SealedPost = {
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array<ArrayBuffer>
  readonly signal: AbortSignal
  /** The platform's unless told. */
  readonly fetch?: RelayFetch | undefined
}

/**
 * Posts sealed bytes, and the same bytes once more where the connection broke before an answer: relays close idle connections just when the next
 * request comes. An enclave opens the same bytes once, so a second refusal to open means that the first did arrive, and is no answer. Throws
 * `SealpathError` (`RELAY_FAILED`), and the reason of `signal` as soon as it aborts.
 */
export async function postSealed(url: URL, { fetch: ask = fetch, ...post }: SealedPost): Promise<Response> {
  const asking = (): Promise<Response> =>
    ask(url, { ...post, method: 'POST', referrerPolicy: 'no-referrer', credentials: 'omit' })
  let failure: SealpathError
  try {
    return await asking()
  } catch (cause) {
    post.signal.throwIfAborted()
    failure = new SealpathError('RELAY_FAILED', `no answer from the relay ${url.host}`, { cause })
  }
  const again = await asking().catch(() => {
    post.signal.throwIfAborted()
    throw failure
  })
  if (again.ok || relayRefusal(again).reason !== NOT_OPENED) return again
  await again.body?.cancel()
  throw failure
}

/** Why `response` is no sealed answer. `reason`: `NOT_OPENED` when the enclave has other keys by now, otherwise `HTTP_` and the status. */
export function relayRefusal({ status, headers }: Response): SealpathError {
  const isNotOpened = status === 400 && mediaTypeOf(headers.get('content-type')) === PROBLEM_JSON
  const reason = isNotOpened ? NOT_OPENED : `HTTP_${status}`
  return new SealpathError('RELAY_FAILED', `the relay answered ${status}`, { reason })
}

export const NOT_OPENED = 'NOT_OPENED'

export function notOpened(cause: SealpathError): SealpathError {
  return new SealpathError('REQUEST_NOT_OPENED', 'the gateway could not open the request', { cause })
}
