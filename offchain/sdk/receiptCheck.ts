/** Checks the receipt of one answer while the answer is read: with what this client itself sent, read and derived, and nothing else. @module */
import { equalBytes, fromHex, type Hex, joinBytes } from '#protocol/bytes.ts'
import { feeRoundedUp } from '#protocol/prices.ts'
import { readAnswer } from '#protocol/receipt/answer.ts'
import type { CommittedData, Salts } from '#protocol/receipt/commitment.ts'
import { hashName, ZERO_HASH } from '#protocol/receipt/receipt.ts'
import { verifyReceipt } from '#protocol/receipt/verifyReceipt.ts'
import type { InnerRequest } from '#protocol/sealing/binaryHttp.ts'
import type { Field } from '#protocol/sealing/binaryHttpFields.ts'
import type { SealedHttpRequest } from '#protocol/sealing/client.ts'
import type { SealingSuites } from '#protocol/sealing/suite.ts'
import { FillerStripper, type PaddingMode } from '#protocol/shape.ts'
import { NONCE_FIELD, openingsOf, parseReceiptMessage, type ReceiptMessage } from '#protocol/wire/receiptFile.ts'
import { SealpathError } from './errors.ts'
import type { TrustedGateway } from './gateway.ts'
import type { GatewayTerms } from './gatewayTerms.ts'
import type { RelayFetch, Step } from './options.ts'
import { SealedReceipt, type SettlementAccess } from './sealedReceipt.ts'

/** Body bytes of one answer that are kept to check its receipt. */
const ANSWER_BYTES_MAX = 16_777_216

export type ExchangeAccess = SettlementAccess & {
  readonly chainId: number
  readonly registry: Hex
  readonly suites: SealingSuites
  readonly padding: PaddingMode
  /** To the head of an answer. */
  readonly timeoutMs: number
  /** Between two chunks of an answer. */
  readonly idleTimeoutMs: number
  readonly onStep: (step: Step) => void
  /** As in `ConnectOptions`. */
  readonly fetch?: RelayFetch | undefined
}

/** The inner response's status and header fields. */
export type Head = { readonly status: number; readonly headers: readonly Field[] }

/** What this client sent, derived and saw. */
export type CheckedExchange = {
  readonly inner: InnerRequest
  readonly sealed: SealedHttpRequest
  readonly salts: Salts
  readonly head: Head
}

/** Holds the exchange's side of a receipt until the receipt comes. */
export class ReceiptCheck {
  readonly result: Promise<SealedReceipt>
  readonly #access: ExchangeAccess
  readonly #gateway: TrustedGateway
  readonly #terms: GatewayTerms | undefined
  readonly #exchange: CheckedExchange
  readonly #contentType: string
  readonly #stripper: FillerStripper | undefined
  readonly #body: Uint8Array[] = []
  #bodyBytes = 0
  #resolve: (receipt: SealedReceipt) => void = () => {}
  #reject: (error: unknown) => void = () => {}

  constructor(
    access: ExchangeAccess,
    gateway: TrustedGateway,
    terms: GatewayTerms | undefined,
    exchange: CheckedExchange,
  ) {
    this.#access = access
    this.#gateway = gateway
    this.#terms = terms
    this.#exchange = exchange
    this.#contentType = exchange.head.headers.find(([name]) => name === 'content-type')?.[1] ?? ''
    this.#stripper = this.isEventStream ? new FillerStripper() : undefined
    this.result = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    // Whoever does not ask for the receipt need not handle its failure: the body fails with the same error.
    this.result.catch(() => undefined)
  }

  get isEventStream(): boolean {
    return this.#contentType.startsWith('text/event-stream')
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
      // To a caller every status below 300 is success: any of them could carry an unproven answer.
      const { head, inner } = this.#exchange
      if (head.status < 300 && inner.method === 'POST') throw error
      return
    }
    const receipt = this.#verified(parseTrailer(trailer))
    this.#access.onStep({ kind: 'receipt-verified', leaf: receipt.leaf, feeUnits: receipt.file.private.fee })
    this.#resolve(receipt)
  }

  #verified(message: ReceiptMessage): SealedReceipt {
    const data = this.#committedData()
    const file = { ...message, openings: openingsOf(this.#exchange.salts, data) }
    const verdict = verifyReceipt(file)
    if (!verdict.ok) throw reject(verdict.code, verdict.message)
    if (message.public.enclave !== this.#gateway.enclave)
      throw reject('WRONG_ENCLAVE', 'another enclave issued the receipt')
    const { chainId, registry, settlement } = this.#access
    if (message.chainId !== chainId || message.registry !== registry || message.settlement !== settlement) {
      throw reject('WRONG_SETTLEMENT', 'the receipt settles elsewhere')
    }
    if (!equalBytes(fromHex(message.private.encapsulated), this.#exchange.sealed.encapsulatedHash)) {
      throw reject('WRONG_REQUEST', 'the receipt is for another encapsulated request')
    }
    const model = this.#requestedModel()
    if (message.public.model !== hashName(model)) throw reject('WRONG_MODEL', 'the receipt names another model')
    if (this.#terms !== undefined) checkTerms(message, this.#terms, model)
    // verifyReceipt opened every commitment with what this client itself sent, read and derived.
    return new SealedReceipt(file, this.#access)
  }

  #committedData(): CommittedData {
    const response = joinBytes(this.#body)
    const { inner } = this.#exchange
    const nonce = inner.headers.find(([name]) => name === NONCE_FIELD)?.[1] ?? '0x'
    return {
      request: inner.body,
      response,
      nonce: fromHex(nonce),
      ...readAnswer(response, this.#contentType),
    }
  }

  #requestedModel(): string {
    const { model } = JSON.parse(new TextDecoder().decode(this.#exchange.inner.body)) as { model?: unknown }
    return typeof model === 'string' ? model : ''
  }
}

/** What the gateway said before it was chosen is what its receipt must say. Throws `SealpathError` (`RECEIPT_REJECTED`). */
function checkTerms({ public: half, private: rest }: ReceiptMessage, terms: GatewayTerms, model: string): void {
  const price = terms.prices.get(model)
  if (price === undefined || rest.prices !== terms.pricesHash) {
    throw reject('WRONG_PRICES', 'the receipt is under another price list than the gateway showed')
  }
  const origin = price.origin === undefined ? ZERO_HASH : hashName(price.origin)
  if (half.source !== price.source || half.origin !== origin) {
    throw reject('WRONG_SOURCE', 'somebody else vouches for the model than the gateway said')
  }
  const usage = { promptTokens: Number(rest.promptTokens), completionTokens: Number(rest.completionTokens) }
  if (rest.fee > feeRoundedUp(price, usage)) throw reject('FEE_TOO_HIGH', 'the fee is more than its usage costs')
}

function parseTrailer(text: string): ReceiptMessage {
  try {
    return parseReceiptMessage(text)
  } catch (cause) {
    throw new SealpathError('RECEIPT_REJECTED', 'the receipt is malformed', { cause, reason: 'MALFORMED' })
  }
}

function reject(reason: string, message: string): SealpathError {
  return new SealpathError('RECEIPT_REJECTED', message, { reason })
}
