/** One sealed question to an enclave behind the relay, its answer read whole. @module */
import { mediaTypeOf } from '#protocol/sealing/mediaTypes.ts'
import type { SealingSuites } from '#protocol/sealing/suite.ts'
import { sealWholeRequest, type WholeAnswer, type WholeRequest } from '#protocol/sealing/wholeExchange.ts'
import { SealpathError } from './errors.ts'
import { preferredConfig, type TrustedGateway } from './gateway.ts'

export type RelayCallOptions = { readonly suites: SealingSuites; readonly timeoutMs: number }

/** Throws `SealpathError` (`RELAY_FAILED`) when no answer came, and what opening it throws. */
export async function callThroughRelay(
  { suites, timeoutMs }: RelayCallOptions,
  enclave: TrustedGateway,
  request: Pick<WholeRequest, 'method' | 'path' | 'body'>,
): Promise<WholeAnswer> {
  const { url, keyConfigs } = enclave
  const whole = { ...request, authority: url.host, now: new Date() }
  const sealed = await sealWholeRequest(suites, preferredConfig(keyConfigs), whole)
  return sealed.open(await send(url, sealed.contentType, sealed.accept, sealed.body, timeoutMs))
}

async function send(
  url: URL,
  contentType: string,
  accept: string,
  body: Uint8Array<ArrayBuffer>,
  timeoutMs: number,
): Promise<Uint8Array> {
  let response: Response
  try {
    response = await fetch(url, {
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
  throw new SealpathError('RELAY_FAILED', `the relay answered ${response.status}`)
}
