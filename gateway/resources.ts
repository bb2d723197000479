/** The resources that cost something: how a body becomes a question to a backend, and its events an answer. @module */
import type { PaidPath } from '#protocol/requestCost.ts'
import type { AnswerEvent, Backend, Capability } from './backends/backend.ts'
import { CHAT_FORMAT } from './formats/chat.ts'
import { embeddingsFormat } from './formats/embeddings.ts'
import type { AnswerFormat } from './formats/format.ts'
import { TEXT_FORMAT } from './formats/text.ts'
import { parseChatRequest } from './requests/chatRequest.ts'
import { parseCompletionRequest } from './requests/completionRequest.ts'
import { parseEmbeddingsRequest } from './requests/embeddingsRequest.ts'
import type { RequestLimits, TextRequest } from './requests/request.ts'

/** One request, understood and ready to be put to the backend of its model. */
export interface Question {
  readonly model: string
  readonly asks: Capability
  readonly stream: boolean
  readonly includeUsage: boolean
  /** Choices of the answer; 0 where an answer has none. */
  readonly choices: number
  /** The most pieces of text that all choices together may have. */
  readonly piecesMax: number
  readonly format: AnswerFormat
  /** Undefined for a backend that cannot do this. */
  ask(backend: Backend, signal: AbortSignal): AsyncIterable<AnswerEvent> | undefined
}

/** Parses the JSON value of a body that was posted to `path`. Throws `BackendError` (400). */
export function parseQuestion(path: PaidPath, body: unknown, limits: RequestLimits): Question {
  switch (path) {
    case '/v1/chat/completions': {
      const request = parseChatRequest(body, limits)
      return {
        ...textQuestion(request, limits),
        asks: 'chat',
        format: CHAT_FORMAT,
        ask: (backend, signal) => backend.chat?.(request, signal),
      }
    }
    case '/v1/completions': {
      const request = parseCompletionRequest(body, limits)
      return {
        ...textQuestion(request, limits),
        asks: 'completions',
        format: TEXT_FORMAT,
        ask: (backend, signal) => backend.completions?.(request, signal),
      }
    }
    case '/v1/embeddings': {
      const request = parseEmbeddingsRequest(body, limits)
      return {
        model: request.model,
        asks: 'embeddings',
        stream: false,
        includeUsage: false,
        choices: 0,
        piecesMax: 0,
        format: embeddingsFormat(request.encoding),
        ask: (backend, signal) => backend.embeddings?.(request, signal),
      }
    }
  }
}

/** The bound is the gateway's, not the client's: what was asked for is the model server's to keep, and its pieces are not always tokens. */
function textQuestion({ model, stream, includeUsage, choices }: TextRequest, limits: RequestLimits) {
  return { model, stream, includeUsage, choices, piecesMax: choices * limits.completionTokensMax }
}
