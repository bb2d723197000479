/** What the gateway remembers of one answer until its receipt is issued. @module */
import { joinBytes } from '#protocol/bytes.ts'
import { feeRoundedUp, type PricedModel, type Usage } from '#protocol/prices.ts'
import type { Outcome } from '#protocol/receipt/receipt.ts'
import { type AnswerEvent, saysSomething } from './backends/backend.ts'
import type { ExchangeBinding } from './exchangeBinding.ts'

export type AnswerContext = {
  readonly model: PricedModel
  /** The exact bytes of the inner request's body. */
  readonly requestBody: Uint8Array
  readonly nonce: Uint8Array
  readonly binding: Promise<ExchangeBinding>
}

/** Words of model servers for how an answer ended. */
const OUTCOME_OF_REASON: Readonly<Record<string, Outcome>> = {
  stop: 'complete',
  length: 'length',
  tool_calls: 'toolCalls',
  function_call: 'toolCalls',
  content_filter: 'filtered',
}

export class AnswerRecord {
  readonly context: AnswerContext
  #body: Uint8Array[] = []
  #bodyBytes = 0
  #usage: Usage | undefined
  #pieces = 0
  contentType = 'application/json'
  outcome: Outcome = 'cut'
  /** The most that may be charged: what the client's payment allows. */
  feeMax: bigint | undefined
  /** The answer ended by a fault that is not the client's: nothing of it is charged. */
  hasFailed = false

  constructor(context: AnswerContext) {
    this.context = context
  }

  /** Pieces of text, tool calls and the like. */
  get pieces(): number {
    return this.#pieces
  }

  /** The exact bytes of the response's body so far. */
  get body(): Uint8Array {
    return joinBytes(this.#body)
  }

  get bodyBytes(): number {
    return this.#bodyBytes
  }

  /**
   * What was used. Before the model server said so, only the pieces that were produced are counted, and the prompt not at all: the
   * rounding favours the client who left.
   */
  get usage(): Usage {
    return this.#usage ?? { promptTokens: 0, completionTokens: this.#pieces }
  }

  /** The fee in units: what the usage costs, and no more than was paid for. */
  get fee(): bigint {
    const fee = feeRoundedUp(this.context.model, this.usage)
    return this.feeMax !== undefined && fee > this.feeMax ? this.feeMax : fee
  }

  note(event: AnswerEvent): void {
    if (event.kind === 'usage') {
      this.#usage = { promptTokens: event.promptTokens, completionTokens: event.completionTokens }
    } else if (event.kind === 'delta') {
      if (saysSomething(event.raw)) this.#pieces++
    } else if (event.kind === 'embedding') {
      this.outcome = 'complete'
    } else if (event.choice === 0) {
      this.outcome = OUTCOME_OF_REASON[event.reason] ?? 'complete'
    }
  }

  append(bytes: Uint8Array): Uint8Array {
    this.#body.push(bytes)
    this.#bodyBytes += bytes.length
    return bytes
  }

  /** Lets go of the body, which the receipt commits to. */
  forget(): void {
    this.#body = []
  }
}
