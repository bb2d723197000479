/** Parser of `POST /v1/completions`. @module */
import { COMPLETION_TOKENS_DEFAULT } from '#protocol/requestCost.ts'
import { invalidRequest } from '../backends/backendError.ts'
import { parseCommonFields, parseCount, parseStreaming } from './fields.ts'
import { parsePrompts } from './prompts.ts'
import { type CompletionRequest, REQUEST_LIMITS, type RequestLimits } from './request.ts'

/** Throws `BackendError` (400) that names the field at fault. Without `max_tokens` each choice has 16, OpenAI's own default. */
export function parseCompletionRequest(body: unknown, limits: RequestLimits = REQUEST_LIMITS): CompletionRequest {
  const { model, parameters } = parseCommonFields(body)
  const { stream, includeUsage, others } = parseStreaming(parameters)
  const { prompt, max_tokens: _, best_of: __, ...fields } = others
  const prompts = parsePrompts(prompt, 'prompt', limits.inputsMax)
  const n = parseCount(others, 'n', 1, limits.choicesMax) ?? 1
  const bestOf = parseCount(others, 'best_of', 1, limits.choicesMax) ?? n
  if (bestOf < n) throw invalidRequest("'best_of' must be at least 'n'", 'best_of')
  if (bestOf > n && stream) throw invalidRequest("'best_of' above 'n' cannot be streamed", 'best_of')
  if (prompts.length * bestOf > limits.choicesMax) {
    const message = `prompts times choices may be at most ${limits.choicesMax} here`
    throw invalidRequest(message, bestOf > 1 ? 'n' : 'prompt')
  }
  const tokensMax = parseCount(others, 'max_tokens', 0, limits.completionTokensMax)
  return {
    model,
    prompts,
    stream,
    includeUsage,
    choices: prompts.length * n,
    tokensMax: tokensMax ?? Math.min(COMPLETION_TOKENS_DEFAULT, limits.completionTokensMax),
    parameters: bestOf > n ? { ...fields, best_of: bestOf } : fields,
  }
}
