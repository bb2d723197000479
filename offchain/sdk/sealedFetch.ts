/**
 * A `fetch` that seals: the request goes through the relay to a gateway that was checked, the answer comes back as it is produced, and
 * its receipt is verified before the body ends. It refuses every address that is not ours, so nothing leaves unsealed by mistake.
 * @module
 */
import { concatBytes, equalBytes, fromHex } from '#protocol/bytes.ts'
import { readAnswer } from '#protocol/receipt/answer.ts'
import { type CommittedData, deriveSalts, type Salts } from '#protocol/receipt/commitment.ts'
import { hashName } from '#protocol/receipt/receipt.ts'
import { verifyReceipt } from '#protocol/receipt/verifyReceipt.ts'
import type { InnerRequest } from '#protocol/sealing/binaryHttp.ts'
import type { Field } from '#protocol/sealing/binaryHttpFields.ts'
import { type SealedHttpRequest, type SealedResponseReader, sealHttpRequest } from '#protocol/sealing/client.ts'
import type { KeyConfig } from '#protocol/sealing/keyConfig.ts'
import { mediaTypeOf, PROBLEM_JSON } from '#protocol/sealing/mediaTypes.ts'
import { KEM_X_WING, type SealingSuites } from '#protocol/sealing/suite.ts'
import { FillerStripper, PADDING_FIELD, type PaddingMode } from '#protocol/shape.ts'
import { NONCE_FIELD, openingsOf, parseReceiptMessage, RECEIPT_TRAILER } from '#protocol/wire/receiptFile.ts'
import { SealpathError } from './errors.ts'
import type { TrustedGateway } from './gateway.ts'
import type { Step } from './options.ts'
import { SealedReceipt, type SettlementAccess } from './sealedReceipt.ts'

/** Where sealed requests are addressed to. `.invalid` never resolves (RFC 2606): a request that escapes goes nowhere. */
export const SEALED_ORIGIN = 'https://gateway.sealpath.invalid'

/** Body bytes of one answer that are kept to check its receipt. */
const ANSWER_BYTES_MAX = 16_777_216

export type ExchangeAccess = SettlementAccess & {
  readonly suites: SealingSuites
  readonly padding: PaddingMode
  readonly timeoutMs: number
  readonly onStep: (step: Step) => void
}

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

/**
 * Seals one request to `gateway` and answers with its response. Throws `SealpathError`: `REQUEST_NOT_OPENED`, `RELAY_FAILED`, `ANSWER_CUT`
 * before the head; after it the body errors with `ANSWER_CUT`, `RECEIPT_MISSING` or `RECEIPT_REJECTED`.
 */
export async function exchange(
  access: ExchangeAccess,
  gateway: TrustedGateway,
  inner: InnerRequest,
  signal: AbortSignal | undefined,
): Promise<SealedAnswer> {
  const config = preferredConfig(gateway.keyConfigs)
  const sealed = await sealHttpRequest(access.suites, config, inner)
  access.onStep({ kind: 'request-sealed', bytes: sealed.body.length, postQuantum: config.kemId === KEM_X_WING })
  const abort = new AbortController()
  const onAbort = () => abort.abort(signal?.reason)
  signal?.throwIfAborted()
  signal?.addEventListener('abort', onAbort, { once: true })
  const timer = setTimeout(
    () => abort.abort(new SealpathError('RELAY_FAILED', 'no answer within the time allowed')),
    access.timeoutMs,
  )
  const outer = await send(gateway.url, sealed, abort.signal, signal)
  if (outer.body === null) throw new SealpathError('ANSWER_CUT', 'the relay answered without a body')
  const reader = new AnswerReader(outer.body.getReader(), sealed.openResponse())
  const head = await reader.head()
  clearTimeout(timer)
  access.onStep({ kind: 'answer-begun', status: head.status })
  const salts = await deriveSalts(sealed.exportSecret)
  const check = new ReceiptCheck(access, gateway, inner, sealed, salts, head)
  const body = openBody(reader, check, () => {
    signal?.removeEventListener('abort', onAbort)
    abort.abort()
  })
  const headers = new Headers(head.headers.map(([name, value]): [string, string] => [name, value]))
  return { response: new Response(body, { status: head.status, headers }), receipt: check.result }
}

/** X-Wing where the gateway offers it: what is recorded today stays sealed when X25519 no longer is. */
function preferredConfig(configs: readonly KeyConfig[]): KeyConfig {
  const config = configs.find(({ kemId }) => kemId === KEM_X_WING) ?? configs[0]
  if (config === undefined)
    throw new SealpathError('EVIDENCE_REFUSED', 'the gateway offers no key that this client knows')
  return config
}

async function send(
  url: URL,
  sealed: SealedHttpRequest,
  abort: AbortSignal,
  callers: AbortSignal | undefined,
): Promise<Response> {
  let outer: Response
  try {
    outer = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': sealed.contentType, incremental: '?1' },
      body: sealed.body,
      signal: abort,
      referrerPolicy: 'no-referrer',
      credentials: 'omit',
    })
  } catch (cause) {
    callers?.throwIfAborted()
    throw cause instanceof SealpathError
      ? cause
      : new SealpathError('RELAY_FAILED', `no answer from the relay ${url.host}`, { cause })
  }
  const type = outer.headers.get('content-type')
  if (outer.ok && mediaTypeOf(type) === sealed.accept) return outer
  await outer.body?.cancel()
  if (outer.status === 400 && mediaTypeOf(type) === PROBLEM_JSON) {
    throw new SealpathError('REQUEST_NOT_OPENED', 'the gateway could not open the request')
  }
  throw new SealpathError('RELAY_FAILED', `the relay answered ${outer.status}`)
}

type Head = { readonly status: number; readonly headers: readonly Field[] }

/** The sealed answer as events, read as it comes. */
class AnswerReader {
  readonly #source: ReadableStreamDefaultReader<Uint8Array>
  readonly #opener: SealedResponseReader
  #pending: Uint8Array[] = []
  #trailers: readonly Field[] = []
  #head: Head | undefined
  #isEnded = false

  constructor(source: ReadableStreamDefaultReader<Uint8Array>, opener: SealedResponseReader) {
    this.#source = source
    this.#opener = opener
  }

  async head(): Promise<Head> {
    while (this.#head === undefined && !this.#isEnded) await this.#advance()
    if (this.#head === undefined) throw new SealpathError('ANSWER_CUT', 'the answer ended before its head')
    return this.#head
  }

  /** The next body bytes; undefined once the answer is complete and authenticated to its end. */
  async next(): Promise<Uint8Array | undefined> {
    while (this.#pending.length === 0 && !this.#isEnded) await this.#advance()
    return this.#pending.shift()
  }

  /** Valid after `next` answered undefined. */
  trailer(name: string): string | undefined {
    return this.#trailers.find(([field]) => field === name)?.[1]
  }

  async cancel(): Promise<void> {
    // The source may have failed by itself: there is nothing left to cancel then.
    await this.#source.cancel().catch(() => undefined)
  }

  async #advance(): Promise<void> {
    try {
      const { done, value } = await this.#source.read()
      const events = done ? await this.#opener.end() : await this.#opener.push(value)
      for (const event of events) {
        if (event.type === 'head') this.#head = event
        else if (event.type === 'body') this.#pending.push(event.bytes)
        else this.#trailers = event.trailers
      }
      this.#isEnded = done
    } catch (cause) {
      if (cause instanceof SealpathError) throw cause
      throw new SealpathError('ANSWER_CUT', 'the answer broke off or does not open: what came before is not complete', {
        cause,
      })
    }
  }
}

function openBody(reader: AnswerReader, check: ReceiptCheck, finish: () => void): ReadableStream<Uint8Array> {
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          for (;;) {
            const sealedBytes = await reader.next()
            if (sealedBytes === undefined) {
              check.conclude(reader.trailer(RECEIPT_TRAILER))
              finish()
              return controller.close()
            }
            const bytes = check.take(sealedBytes)
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

/** Holds the exchange's side of a receipt until the receipt comes. */
class ReceiptCheck {
  readonly result: Promise<SealedReceipt>
  readonly #access: ExchangeAccess
  readonly #gateway: TrustedGateway
  readonly #inner: InnerRequest
  readonly #sealed: SealedHttpRequest
  readonly #salts: Salts
  readonly #head: Head
  readonly #contentType: string
  readonly #stripper: FillerStripper | undefined
  readonly #body: Uint8Array[] = []
  #bodyBytes = 0
  #resolve: (receipt: SealedReceipt) => void = () => {}
  #reject: (error: unknown) => void = () => {}

  constructor(
    access: ExchangeAccess,
    gateway: TrustedGateway,
    inner: InnerRequest,
    sealed: SealedHttpRequest,
    salts: Salts,
    head: Head,
  ) {
    this.#access = access
    this.#gateway = gateway
    this.#inner = inner
    this.#sealed = sealed
    this.#salts = salts
    this.#head = head
    this.#contentType = head.headers.find(([name]) => name === 'content-type')?.[1] ?? ''
    this.#stripper = this.#contentType.startsWith('text/event-stream') ? new FillerStripper() : undefined
    this.result = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    // Whoever does not ask for the receipt need not handle its failure: the body fails with the same error.
    this.result.catch(() => undefined)
  }

  /** `bytes` of the answer without its filler; remembered for the commitments. */
  take(bytes: Uint8Array): Uint8Array {
    const stripped = this.#stripper?.push(bytes) ?? bytes
    this.#bodyBytes += stripped.length
    if (this.#bodyBytes > ANSWER_BYTES_MAX)
      throw new SealpathError('ANSWER_CUT', 'the answer is larger than this client keeps')
    this.#body.push(stripped)
    return stripped
  }

  fail(error: unknown): void {
    this.#reject(error)
  }

  /** Checks the receipt that came with a complete answer. An error answer has none. Throws `SealpathError`. */
  conclude(trailer: string | undefined): void {
    if (trailer === undefined) {
      const error = new SealpathError('RECEIPT_MISSING', 'the answer came without a receipt')
      this.#reject(error)
      if (this.#head.status === 200 && this.#inner.method === 'POST') throw error
      return
    }
    const receipt = this.#verified(trailer)
    this.#access.onStep({ kind: 'receipt-verified', leaf: receipt.leaf, feeUnits: receipt.file.private.fee })
    this.#resolve(receipt)
  }

  #verified(trailer: string): SealedReceipt {
    const data = this.#committedData()
    const message = parseReceiptMessage(trailer)
    const file = { ...message, openings: openingsOf(this.#salts, data) }
    const verdict = verifyReceipt(file)
    if (!verdict.ok) throw reject(verdict.code, verdict.message)
    if (message.public.enclave !== this.#gateway.enclave)
      throw reject('WRONG_ENCLAVE', 'another enclave issued the receipt')
    if (message.settlement !== this.#access.settlement)
      throw reject('WRONG_SETTLEMENT', 'the receipt settles elsewhere')
    if (!equalBytes(fromHex(message.private.encapsulated), this.#sealed.encapsulatedHash)) {
      throw reject('WRONG_REQUEST', 'the receipt is for another encapsulated request')
    }
    if (message.public.model !== this.#requestedModel()) throw reject('WRONG_MODEL', 'the receipt names another model')
    // verifyReceipt opened every commitment with what this client itself sent, read and derived.
    return new SealedReceipt(file, this.#access)
  }

  #committedData(): CommittedData {
    const response = concatBytes(...this.#body)
    const nonce = this.#inner.headers.find(([name]) => name === NONCE_FIELD)?.[1] ?? '0x'
    return {
      request: this.#inner.body,
      response,
      nonce: fromHex(nonce),
      ...readAnswer(response, this.#contentType),
    }
  }

  #requestedModel(): string {
    const { model } = JSON.parse(new TextDecoder().decode(this.#inner.body)) as { model?: unknown }
    return typeof model === 'string' ? hashName(model) : ''
  }
}

function reject(reason: string, message: string): SealpathError {
  return new SealpathError('RECEIPT_REJECTED', message, { reason })
}
