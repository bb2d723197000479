/** Checks the receipt of one answer while the answer is read: with what this client itself sent, read and derived, and nothing else. @module */
import { equalBytes, fromHex, type Hex, joinBytes } from '#protocol/bytes.ts'
import { readAnswer } from '#protocol/receipt/answer.ts'
import type { CommittedData, Salts } from '#protocol/receipt/commitment.ts'
import { hashName } from '#protocol/receipt/receipt.ts'
import { verifyReceipt } from '#protocol/receipt/verifyReceipt.ts'
import type { InnerRequest } from '#protocol/sealing/binaryHttp.ts'
import type { Field } from '#protocol/sealing/binaryHttpFields.ts'
import type { SealedHttpRequest } from '#protocol/sealing/client.ts'
import type { SealingSuites } from '#protocol/sealing/suite.ts'
import { FillerStripper, type PaddingMode } from '#protocol/shape.ts'
import { NONCE_FIELD, openingsOf, parseReceiptMessage, type ReceiptMessage } from '#protocol/wire/receiptFile.ts'
import { SealpathError } from './errors.ts'
import type { TrustedGateway } from './gateway.ts'
import type { Step } from './options.ts'
import { SealedReceipt, type SettlementAccess } from './sealedReceipt.ts'

/** Body bytes of one answer that are kept to check its receipt. */
const ANSWER_BYTES_MAX = 16_777_216

export type ExchangeAccess = SettlementAccess & {
  readonly chainId: number
  readonly registry: Hex
  readonly suites: SealingSuites
  readonly padding: PaddingMode
  readonly timeoutMs: number
  readonly onStep: (step: Step) => void
}

/** The inner response's status and header fields. */
export type Head = { readonly status: number; readonly headers: readonly Field[] }

/** Holds the exchange's side of a receipt until the receipt comes. */
export class ReceiptCheck {
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
      // To a caller every status below 300 is success: any of them could carry an unproven answer.
      if (this.#head.status < 300 && this.#inner.method === 'POST') throw error
      return
    }
    const receipt = this.#verified(parseTrailer(trailer))
    this.#access.onStep({ kind: 'receipt-verified', leaf: receipt.leaf, feeUnits: receipt.file.private.fee })
    this.#resolve(receipt)
  }

  #verified(message: ReceiptMessage): SealedReceipt {
    const data = this.#committedData()
    const file = { ...message, openings: openingsOf(this.#salts, data) }
    const verdict = verifyReceipt(file)
    if (!verdict.ok) throw reject(verdict.code, verdict.message)
    if (message.public.enclave !== this.#gateway.enclave)
      throw reject('WRONG_ENCLAVE', 'another enclave issued the receipt')
    const { chainId, registry, settlement } = this.#access
    if (message.chainId !== chainId || message.registry !== registry || message.settlement !== settlement) {
      throw reject('WRONG_SETTLEMENT', 'the receipt settles elsewhere')
    }
    if (!equalBytes(fromHex(message.private.encapsulated), this.#sealed.encapsulatedHash)) {
      throw reject('WRONG_REQUEST', 'the receipt is for another encapsulated request')
    }
    if (message.public.model !== this.#requestedModel()) throw reject('WRONG_MODEL', 'the receipt names another model')
    // verifyReceipt opened every commitment with what this client itself sent, read and derived.
    return new SealedReceipt(file, this.#access)
  }

  #committedData(): CommittedData {
    const response = joinBytes(this.#body)
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
