/** How the events of an answer become the body of a response; each resource of OpenAI's interface has a format of its own. @module */
import type { AnswerEvent, FinishEvent, UsageEvent } from '../backends/backend.ts'

/** What the parts of one answer share. `id` and `created` (seconds) are the gateway's, `model` is the public name. */
export interface AnswerFrame {
  readonly id: string
  readonly created: number
  readonly model: string
}

export interface AnswerFormat {
  /** What the id of an answer begins with. */
  readonly idPrefix: string
  /** The data of one event of the stream. Undefined where answers are not streamed. */
  readonly chunk?: (frame: AnswerFrame, event: AnswerEvent) => unknown
  /** Collects the events of one answer into its body. */
  readonly createBuilder: () => AnswerBuilder
  /** The end of a choice at a bound. Undefined where an answer is whole or nothing. */
  readonly finishAtBound?: (choice: number) => FinishEvent
}

export interface AnswerBuilder {
  add(event: AnswerEvent): void
  /** The body's JSON value; to be called after the last event. */
  build(frame: AnswerFrame): unknown
}

/** OpenAI's `usage` object. */
export function buildUsage({ promptTokens, completionTokens }: UsageEvent): Record<string, number> {
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
  }
}
