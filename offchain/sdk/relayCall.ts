/** One sealed question to an enclave behind the relay, its answer read whole. @module */
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

async function send(
  url: URL,
  contentType: string,
  accept: string,
  body: Uint8Array<ArrayBuffer>,
  { timeoutMs, fetch: ask = fetch }: Omit<RelayCallOptions, 'suites'>,
): Promise<Uint8Array> {
  let response: Response
  try {
    response = await ask(url, {
      method: 'POST',
      headers: { 'content-type': contentType },
      body,
      signal: AbortSignal.timeout(timeoutMs),
      referrerPolicy: 'no-referrer',
      credentials: 'omit',
    })
    if (response.ok && mediaTypeOf(response.headers.get('content-type')) === accept) {
      return new Uint8Array(await response.arrayBuffer())
    }
  } catch (cause) {
    throw new SealpathError('RELAY_FAILED', `no answer from the relay ${url.host}`, { cause })
  }
  await response.body?.cancel()
  throw relayRefusal(response)
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
