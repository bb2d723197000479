/** What the gateway remembers of one answer until its receipt is issued. @module */
import { concatBytes } from '#protocol/bytes.ts'
import type { PricedModel, Usage } from '#protocol/prices.ts'
import type { Salts } from '#protocol/receipt/commitment.ts'
import type { Outcome } from '#protocol/receipt/receipt.ts'
import type { ChatEvent } from './backends/backend.ts'

export type AnswerContext = {
  readonly model: PricedModel
  /** The exact bytes of the inner request's body. */
  readonly requestBody: Uint8Array
  readonly nonce: Uint8Array
  readonly encapsulatedHash: Uint8Array
  readonly salts: Salts
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
  readonly #body: Uint8Array[] = []
  #usage: Usage | undefined
  #deltas = 0
  contentType = 'application/json'
  outcome: Outcome = 'cut'
  isComplete = false

  constructor(context: AnswerContext) {
    this.context = context
  }

  /** Whether any of the answer was produced. */
  get hasOutput(): boolean {
    return this.#deltas > 0
  }

  /** The exact bytes of the response's body so far. */
  get body(): Uint8Array {
    return concatBytes(...this.#body)
  }

  /**
   * What was used. Before the model server said so, only the pieces that were produced are counted, and the prompt not at all: the
   * rounding favours the client who left.
   */
  get usage(): Usage {
    return this.#usage ?? { promptTokens: 0, completionTokens: this.#deltas }
  }

  note(event: ChatEvent): void {
    if (event.kind === 'usage') {
      this.#usage = { promptTokens: event.promptTokens, completionTokens: event.completionTokens }
    } else if (event.kind === 'delta') {
      if (event.content !== '') this.#deltas++
    } else if (event.choice === 0) {
      this.outcome = OUTCOME_OF_REASON[event.reason] ?? 'complete'
    }
  }

  append(bytes: Uint8Array): Uint8Array {
    this.#body.push(bytes)
    return bytes
  }
}
