/**
 * A `fetch` that seals: the request goes through the relay to a gateway that was checked, the answer comes back as it is produced, and
 * its receipt is verified before the body ends. It refuses every address that is not ours, so nothing leaves unsealed by mistake.
 * @module
 */
import { deriveSalts } from '#protocol/receipt/commitment.ts'
import type { InnerRequest } from '#protocol/sealing/binaryHttp.ts'
import type { Field } from '#protocol/sealing/binaryHttpFields.ts'
import { type SealedHttpRequest, sealHttpRequest } from '#protocol/sealing/client.ts'
import { mediaTypeOf } from '#protocol/sealing/mediaTypes.ts'
import { KEM_X_WING } from '#protocol/sealing/suite.ts'
import { PADDING_FIELD, type PaddingMode } from '#protocol/shape.ts'
import { CHANGE_TRAILER } from '#protocol/wire/paymentField.ts'
import { NONCE_FIELD, RECEIPT_TRAILER } from '#protocol/wire/receiptFile.ts'
import { AnswerReader } from './answerReader.ts'
import { DoneHold } from './doneHold.ts'
import { SealpathError } from './errors.ts'
import { preferredConfig, type TrustedGateway } from './gateway.ts'
import type { GatewayTerms } from './gatewayTerms.ts'
import type { RelayFetch } from './options.ts'
import { type ExchangeAccess, type Head, ReceiptCheck } from './receiptCheck.ts'
import { NOT_OPENED, notOpened, postSealed, relayRefusal } from './relayCall.ts'
import type { SealedReceipt } from './sealedReceipt.ts'
import type { PaymentInFlight } from './wallet/payer.ts'

/** Where sealed requests are addressed to. `.invalid` never resolves (RFC 2606): a request that escapes goes nowhere. */
export const SEALED_ORIGIN = 'https://gateway.sealpath.invalid'

export type SealedAnswer = { readonly response: Response; readonly receipt: Promise<SealedReceipt> }

/** Inner header fields that mean something to the target; all others (of SDKs: keys, versions, platforms) stay with the caller. */
const KEPT_FIELDS: ReadonlySet<string> = new Set(['content-type', 'accept', NONCE_FIELD, PADDING_FIELD])

/** Reads the request that a caller of `fetch` means. Throws `SealpathError` (`NOT_OURS`) for any other origin. */
export async function readInnerRequest(
  input: RequestInfo | URL,
  init: RequestInit | undefined,
  padding: PaddingMode,
): Promise<{ inner: InnerRequest; signal: AbortSignal | undefined }> {
  const url = new URL(input instanceof Request ? input.url : input)
  if (url.origin !== SEALED_ORIGIN) {
    throw new SealpathError('NOT_OURS', `expected an address below ${SEALED_ORIGIN}: nothing was sent`)
  }
  const request = new Request(input, init)
  const headers: Field[] = [['date', new Date().toUTCString()]]
  request.headers.forEach((value, name) => {
    if (KEPT_FIELDS.has(name)) headers.push([name, value])
  })
  if (!request.headers.has(PADDING_FIELD)) headers.push([PADDING_FIELD, padding])
  const body = new Uint8Array(await request.arrayBuffer())
  const inner = {
    method: request.method,
    scheme: 'https',
    authority: url.host,
    path: url.pathname + url.search,
    headers,
    body,
  }
  return { inner, signal: init?.signal ?? (input instanceof Request ? input.signal : undefined) }
}

/** What is known of an exchange before it begins, where anything is. */
export type ExchangeTerms = {
  readonly payment?: PaymentInFlight | undefined
  /** What the gateway said that it serves and charges: its receipt must agree. */
  readonly terms?: GatewayTerms | undefined
}

/**
 * Seals one request to `gateway` and answers with its response. Throws `SealpathError`: `REQUEST_NOT_OPENED`, `RELAY_FAILED`, `TIMED_OUT`,
 * `ANSWER_CUT` before the head; after it the body errors with `ANSWER_CUT`, `TIMED_OUT`, `RECEIPT_MISSING` or `RECEIPT_REJECTED`.
 */
export async function exchange(
  access: ExchangeAccess,
  gateway: TrustedGateway,
  inner: InnerRequest,
  signal: AbortSignal | undefined,
  { payment, terms }: ExchangeTerms = {},
): Promise<SealedAnswer> {
  signal?.throwIfAborted()
  const config = preferredConfig(gateway.keyConfigs)
  const sealed = await sealHttpRequest(access.suites, config, inner)
  signal?.throwIfAborted()
  access.onStep({ kind: 'request-sealed', bytes: sealed.body.length, postQuantum: config.kemId === KEM_X_WING })
  const abort = new AbortController()
  const onAbort = () => abort.abort(signal?.reason)
  signal?.addEventListener('abort', onAbort, { once: true })
  const overtime = (what: string) => () => abort.abort(new SealpathError('TIMED_OUT', what))
  const timer = setTimeout(overtime('the gateway did not begin its answer in the time allowed'), access.timeoutMs)
  const finish = () => {
    clearTimeout(timer)
    signal?.removeEventListener('abort', onAbort)
    abort.abort()
  }
  try {
    const outer = await send(gateway.url, sealed, abort.signal, access.fetch)
    if (outer.body === null) throw new SealpathError('ANSWER_CUT', 'the relay answered without a body')
    const reader = new AnswerReader(outer.body.getReader(), sealed.openResponse(), {
      signal: abort.signal,
      idleTimeoutMs: access.idleTimeoutMs,
      onIdle: overtime('the answer stopped for longer than allowed: what came before is not complete'),
    })
    const head = await reader.head()
    clearTimeout(timer)
    access.onStep({ kind: 'answer-begun', status: head.status })
    const salts = await deriveSalts(sealed.exportSecret)
    const check = new ReceiptCheck(access, gateway, terms, { inner, sealed, salts, head })
    const ended = () => {
      finish()
      if (payment !== undefined) takeChange(access, payment, reader.trailer(CHANGE_TRAILER))
    }
    return { response: openResponse(head, openBody(reader, check, ended, finish)), receipt: check.result }
  } catch (error) {
    finish()
    // Whoever stopped the request gets their own reason back, as from any fetch.
    signal?.throwIfAborted()
    throw error
  }
}

/** Statuses that mean "no body" (Fetch standard): an answer here always has one. */
const BODILESS_STATUSES: ReadonlySet<number> = new Set([204, 205, 304])

function openResponse({ status, headers }: Head, body: ReadableStream<Uint8Array>): Response {
  const message = 'the gateway answered with a head that is no response to a request'
  if (BODILESS_STATUSES.has(status)) throw new SealpathError('ANSWER_CUT', message)
  try {
    return new Response(body, {
      status,
      headers: new Headers(headers.map(([name, value]): [string, string] => [name, value])),
    })
  } catch (cause) {
    throw new SealpathError('ANSWER_CUT', message, { cause })
  }
}

async function send(
  url: URL,
  sealed: SealedHttpRequest,
  signal: AbortSignal,
  fetch: RelayFetch | undefined,
): Promise<Response> {
  const headers = { 'content-type': sealed.contentType, incremental: '?1' }
  const outer = await postSealed(url, { headers, body: sealed.body, signal, fetch })
  if (outer.ok && mediaTypeOf(outer.headers.get('content-type')) === sealed.accept) return outer
  await outer.body?.cancel()
  const refusal = relayRefusal(outer)
  throw refusal.reason === NOT_OPENED ? notOpened(refusal) : refusal
}

/** Behind the answer's back: what does not come now is found in the change tiles. */
function takeChange(access: ExchangeAccess, payment: PaymentInFlight, trailer: string | undefined): void {
  const { id } = payment
  payment.conclude(trailer).then(
    (feeUnits) => {
      if (feeUnits !== undefined) access.onStep({ kind: 'change-taken', payment: id, feeUnits })
    },
    () => undefined,
  )
}

function openBody(
  reader: AnswerReader,
  check: ReceiptCheck,
  ended: () => void,
  finish: () => void,
): ReadableStream<Uint8Array> {
  const hold = check.isEventStream ? new DoneHold() : undefined
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          for (;;) {
            const sealedBytes = await reader.next()
            if (sealedBytes === undefined) {
              check.conclude(reader.trailer(RECEIPT_TRAILER))
              ended()
              const rest = hold?.rest() ?? new Uint8Array()
              if (rest.length > 0) controller.enqueue(rest)
              return controller.close()
            }
            const taken = check.take(sealedBytes)
            const bytes = hold?.push(taken) ?? taken
            if (bytes.length > 0) return controller.enqueue(bytes)
          }
        } catch (error) {
          check.fail(error)
          await reader.cancel()
          finish()
          controller.error(error)
        }
      },
      async cancel() {
        check.fail(new SealpathError('ANSWER_CUT', 'the answer was not read to its end'))
        await reader.cancel()
        finish()
      },
    },
    { highWaterMark: 0 },
  )
}
