/** Requests after parsing: what the gateway itself needs, and every other field as it came. @module */

/** What is common to requests that are answered with text. */
export interface TextRequest {
  readonly model: string
  /** Whether the client wants events; backends always produce events, so this is for the gateway. */
  readonly stream: boolean
  /** Whether the client asked for the usage chunk of a stream (`stream_options.include_usage`). */
  readonly includeUsage: boolean
  /** Choices that the answer has to have: `n`, times the prompts of a completion. */
  readonly choices: number
  /** The most tokens each choice may have: what the client asked for, else the gateway's bound. */
  readonly tokensMax: number
  /** All other fields, unknown ones included, without those that are null or only say who asks. */
  readonly parameters: Parameters
}

/** A body of `POST /v1/chat/completions`. */
export interface ChatRequest extends TextRequest {
  readonly messages: readonly ChatMessage[]
  /** False when the client named no bound for the tokens. */
  readonly isBounded: boolean
}

/** A message as it came: `role` is checked, and that it refers to nothing outside itself; the rest is for the backend to judge. */
export type ChatMessage = Readonly<Record<string, unknown>> & { readonly role: string }

/** A body of `POST /v1/completions`. `best_of`, where it is more than `n`, is among the parameters. */
export interface CompletionRequest extends TextRequest {
  readonly prompts: readonly Prompt[]
}

/** A body of `POST /v1/embeddings`. How the vectors are encoded is the gateway's work. */
export interface EmbeddingsRequest {
  readonly model: string
  readonly inputs: readonly Prompt[]
  readonly encoding: 'float' | 'base64'
  readonly dimensions: number | undefined
  readonly parameters: Parameters
}

/** A text, or its tokens by their numbers in the model's vocabulary. */
export type Prompt = string | readonly number[]

export type Parameters = Readonly<Record<string, unknown>>

export type RequestLimits = {
  /** Tokens of each choice: who asks for more is refused, who asks for nothing gets as many. */
  readonly completionTokensMax: number
  /** Choices of one answer, and candidates behind them. */
  readonly choicesMax: number
  /** Prompts of a completion, inputs of embeddings. */
  readonly inputsMax: number
}

export const REQUEST_LIMITS: RequestLimits = { completionTokensMax: 131_072, choicesMax: 128, inputsMax: 2_048 }
