/**
 * What single-shot and chunked OHTTP share: the request header, HPKE set-up on both sides, response keys, exports.
 *
 * ```
 * header { keyId(8), kemId(16), kdfId(16), aeadId(16) }, then enc (Nenc bytes)
 * info   = label ‖ 0x00 ‖ header
 * ``` @module
 */
import { concatBytes, encodeUint, encodeUtf8 } from '../bytes.ts'
import type { KeyConfig } from './keyConfig.ts'
import { OhttpError } from './ohttpError.ts'
import type {
  MaybeBytes,
  RecipientSession,
  ResponseCipher,
  SealingKeyPair,
  SealingSuite,
  SealingSuites,
  SenderSession,
} from './suite.ts'

export const HEADER_BYTES = 7

/** The labels that keep single-shot and chunked exchanges apart (RFC 9458 section 4.3, the chunked draft section 6). */
export interface ExchangeLabels {
  readonly request: string
  readonly response: string
}

export const NO_BYTES: Uint8Array = new Uint8Array()

/**
 * `lengthBytes` bytes that only this exchange's two ends can derive (HPKE Export, RFC 9180 section 5.3). Labels of ours
 * carry a prefix, so that none can be the label of a response key.
 */
export type ExportSecret = (label: string, lengthBytes: number) => Promise<Uint8Array>

/** Either end of one exchange. */
export interface Exchange {
  /** The encapsulated key, unique to the exchange. */
  readonly enc: Uint8Array
  readonly exportSecret: ExportSecret
}

/** A key that a gateway opens requests with. */
export interface GatewayKey {
  readonly config: KeyConfig
  readonly pair: SealingKeyPair
}

/** Looked up by the key identifier of each request. A `Map` is one. */
export interface GatewayKeys {
  get(keyId: number): GatewayKey | undefined
}

export interface SenderSetup<Result extends MaybeBytes> {
  readonly suite: SealingSuite<Result>
  /** Header and enc: the first bytes of the encapsulated request. */
  readonly head: Uint8Array
  readonly session: SenderSession
}

/** The first suite of the configuration that the back end implements. Throws `OhttpError` (`UNSUPPORTED_SUITE`). */
export async function chooseSuite<Result extends MaybeBytes>(
  suites: SealingSuites<Result>,
  config: KeyConfig,
): Promise<SealingSuite<Result>> {
  for (const { kdfId, aeadId } of config.suites) {
    const suite = await suites.get(config.kemId, kdfId, aeadId)
    if (suite !== undefined) return suite
  }
  throw new OhttpError('UNSUPPORTED_SUITE', 'no suite of the key configuration is implemented here')
}

/** The client's side of the set-up. Throws `OhttpError` (`UNSUPPORTED_SUITE`, `BAD_KEY`). */
export async function setupSender<Result extends MaybeBytes>(
  suites: SealingSuites<Result>,
  config: KeyConfig,
  labels: ExchangeLabels,
): Promise<SenderSetup<Result>> {
  const suite = await chooseSuite(suites, config)
  const header = concatBytes(
    Uint8Array.of(config.keyId),
    ...[suite.kemId, suite.kdfId, suite.aeadId].map((id) => encodeUint(BigInt(id), 2)),
  )
  try {
    const session = await suite.setupSender(config.publicKey, openingInfo(labels.request, header))
    return { suite, head: concatBytes(header, session.enc), session }
  } catch (cause) {
    throw new OhttpError('BAD_KEY', 'nothing can be sealed for this public key', { cause })
  }
}

export interface RecipientRoute<Result extends MaybeBytes> {
  readonly key: GatewayKey
  readonly suite: SealingSuite<Result>
}

/** Key and suite that a request's header names. Throws `OhttpError`: `UNKNOWN_KEY`, `WRONG_KEM`, `UNSUPPORTED_SUITE`. */
export async function routeRequest<Result extends MaybeBytes>(
  suites: SealingSuites<Result>,
  keys: GatewayKeys,
  header: Uint8Array,
): Promise<RecipientRoute<Result>> {
  const view = new DataView(header.buffer, header.byteOffset, header.byteLength)
  const [kemId, kdfId, aeadId] = [view.getUint16(1), view.getUint16(3), view.getUint16(5)]
  const key = keys.get(view.getUint8(0))
  if (key === undefined) throw new OhttpError('UNKNOWN_KEY', 'no live key has this key identifier')
  if (key.config.kemId !== kemId) throw new OhttpError('WRONG_KEM', 'the key is of another KEM')
  const isOffered = key.config.suites.some((offered) => offered.kdfId === kdfId && offered.aeadId === aeadId)
  const suite = isOffered ? await suites.get(kemId, kdfId, aeadId) : undefined
  if (suite === undefined) throw new OhttpError('UNSUPPORTED_SUITE', 'the key is not offered with this KDF and AEAD')
  return { key, suite }
}

/** The gateway's side of the set-up. Throws `OhttpError` (`DECRYPTION_FAILED`). */
export async function setupRecipient<Result extends MaybeBytes>(
  route: RecipientRoute<Result>,
  labels: ExchangeLabels,
  header: Uint8Array,
  enc: Uint8Array,
): Promise<RecipientSession> {
  return decrypting(() => route.suite.setupRecipient(route.key.pair, enc, openingInfo(labels.request, header)))
}

/** Runs `open`; every way it can fail is `DECRYPTION_FAILED`. */
export async function decrypting<Value>(open: () => Value | Promise<Value>): Promise<Value> {
  try {
    return await open()
  } catch (cause) {
    throw new OhttpError('DECRYPTION_FAILED', 'the message does not open with this key', { cause })
  }
}

export function exportSecretOf(session: Pick<SenderSession, 'export'>): ExportSecret {
  return (label, lengthBytes) => session.export(encodeUtf8(`sealpath ${label}`), lengthBytes)
}

/** Bytes of the response nonce, the first bytes of a response: max(Nn, Nk) (RFC 9458 section 4.4). */
export function responseNonceBytes(suite: SealingSuite): number {
  return Math.max(suite.Nn, suite.Nk)
}

export interface ResponseKeys<Result extends MaybeBytes> {
  readonly cipher: ResponseCipher<Result>
  /** Nn bytes; a chunked response counts on from it. */
  readonly nonce: Uint8Array
}

/** Key and nonce of the response (RFC 9458 section 4.4), the same on both ends. */
export async function deriveResponseKeys<Result extends MaybeBytes>(
  suite: SealingSuite<Result>,
  session: Pick<SenderSession, 'export'>,
  labels: ExchangeLabels,
  enc: Uint8Array,
  responseNonce: Uint8Array,
): Promise<ResponseKeys<Result>> {
  const secret = await session.export(encodeUtf8(labels.response), responseNonceBytes(suite))
  const prk = await suite.extract(concatBytes(enc, responseNonce), secret)
  const key = await suite.expand(prk, encodeUtf8('key'), suite.Nk)
  const nonce = await suite.expand(prk, encodeUtf8('nonce'), suite.Nn)
  return { cipher: suite.cipher(key), nonce }
}

function openingInfo(label: string, header: Uint8Array): Uint8Array {
  return concatBytes(encodeUtf8(label), Uint8Array.of(0), header)
}
