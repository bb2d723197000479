/**
 * Oblivious HTTP, single-shot (RFC 9458 section 4): one sealed request, one sealed response.
 *
 * ```
 * encapsulated request  = header(7) ‖ enc(Nenc) ‖ ciphertext
 * encapsulated response = nonce(max(Nn, Nk)) ‖ ciphertext
 * ``` @module
 */
import { concatBytes } from '../bytes.ts'
import {
  decrypting,
  deriveResponseKeys,
  type Exchange,
  type ExchangeLabels,
  exportSecretOf,
  type GatewayKey,
  type GatewayKeys,
  HEADER_BYTES,
  NO_BYTES,
  responseNonceBytes,
  routeRequest,
  setupRecipient,
  setupSender,
} from './exchange.ts'
import type { KeyConfig } from './keyConfig.ts'
import { OhttpError } from './ohttpError.ts'
import type { RandomBytes, SealingSuites } from './suite.ts'

/** RFC 9458 section 4.3 and 4.4. */
export const OHTTP_LABELS: ExchangeLabels = { request: 'message/bhttp request', response: 'message/bhttp response' }

export interface SealedRequest extends Exchange {
  /** The encapsulated request, to be sent as `message/ohttp-req`. */
  readonly encapsulated: Uint8Array<ArrayBuffer>
  /** Opens the encapsulated response. Throws `OhttpError` (`TRUNCATED`, `DECRYPTION_FAILED`). */
  openResponse(encapsulated: Uint8Array): Promise<Uint8Array>
}

/** Client: seals `plaintext` for the key. `labels` keep other uses of the framing apart. Throws `OhttpError` (`UNSUPPORTED_SUITE`, `BAD_KEY`). */
export async function sealRequest(
  suites: SealingSuites,
  config: KeyConfig,
  plaintext: Uint8Array,
  labels: ExchangeLabels = OHTTP_LABELS,
): Promise<SealedRequest> {
  const { suite, head, session } = await setupSender(suites, config, labels)
  const encapsulated = concatBytes(head, await session.seal(plaintext, NO_BYTES))
  return {
    encapsulated,
    enc: session.enc,
    exportSecret: exportSecretOf(session),
    async openResponse(response) {
      const nonceBytes = responseNonceBytes(suite)
      if (response.length < nonceBytes + suite.Nt) throw new OhttpError('TRUNCATED', 'the response is too short')
      const { cipher, nonce } = await deriveResponseKeys(
        suite,
        session,
        labels,
        session.enc,
        response.subarray(0, nonceBytes),
      )
      return decrypting(() => cipher.open(nonce, NO_BYTES, response.subarray(nonceBytes)))
    },
  }
}

export interface OpenedRequest extends Exchange {
  /** The key it was sealed for. */
  readonly key: GatewayKey
  readonly plaintext: Uint8Array
  /** The encapsulated response, to be sent as `message/ohttp-res`. At most one per request. */
  sealResponse(plaintext: Uint8Array, random: RandomBytes): Promise<Uint8Array>
}

/** Gateway: opens an encapsulated request. Throws `OhttpError` for every way in which it may be wrong. */
export async function openRequest(
  suites: SealingSuites,
  keys: GatewayKeys,
  encapsulated: Uint8Array,
  labels: ExchangeLabels = OHTTP_LABELS,
): Promise<OpenedRequest> {
  if (encapsulated.length < HEADER_BYTES) throw new OhttpError('TRUNCATED', 'the request is too short')
  const header = encapsulated.subarray(0, HEADER_BYTES)
  const route = await routeRequest(suites, keys, header)
  const { suite } = route
  const headBytes = HEADER_BYTES + suite.Nenc
  if (encapsulated.length < headBytes + suite.Nt) throw new OhttpError('TRUNCATED', 'the request is too short')
  const enc = encapsulated.slice(HEADER_BYTES, headBytes)
  const session = await setupRecipient(route, labels, header, enc)
  const plaintext = await decrypting(() => session.open(encapsulated.subarray(headBytes), NO_BYTES))
  return {
    key: route.key,
    enc,
    plaintext,
    exportSecret: exportSecretOf(session),
    async sealResponse(response, random) {
      const responseNonce = random(responseNonceBytes(suite))
      const { cipher, nonce } = await deriveResponseKeys(suite, session, labels, enc, responseNonce)
      return cipher.seal(nonce, NO_BYTES, response, responseNonce)
    },
  }
}
