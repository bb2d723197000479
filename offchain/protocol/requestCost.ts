/**
 * The most that a request can cost: computed alike by the wallet, which pays for it, and by the gateway, which must not be paid less.
 * Spec: docs/spec.md section 5.
 * @module
 */
import { decodeUtf8 } from './bytes.ts'
import { isRecord } from './isRecord.ts'
import { feeRoundedUp, type PricedModel } from './prices.ts'

/** Taken for the context of a model that does not tell. */
export const CONTEXT_TOKENS_UNKNOWN = 131_072

/** What `POST /v1/completions` produces for each choice when nothing is asked for: OpenAI's own default. */
export const COMPLETION_TOKENS_DEFAULT = 16

export const PAID_PATHS = ['/v1/chat/completions', '/v1/completions', '/v1/embeddings'] as const
/** Path of a resource that costs something when it is posted to. */
export type PaidPath = (typeof PAID_PATHS)[number]

/** Whether a POST to `path` has to be paid for, where anything is. */
export function isPaidPath(path: string): path is PaidPath {
  return PAID_PATHS.some((paid) => paid === path)
}

/**
 * Units, as a payment may carry them: what is read and what may be written, for every choice. Every byte of the body is taken for a token, within the
 * model's context (`contextTokens`); images are taken for a whole context, because their tokens do not follow from their bytes. A chat that asks for no
 * bound may write a whole context. A body that is no JSON object costs what an empty one does: it will be refused.
 */
export function costAtMost(
  price: PricedModel,
  path: PaidPath,
  body: Uint8Array,
  contextTokens: number | undefined,
): bigint {
  const parameters = readParameters(body)
  const context = contextTokens ?? CONTEXT_TOKENS_UNKNOWN
  const prompts = promptCount(path, parameters)
  const readable = contextTokens === undefined ? body.length : Math.min(body.length, prompts * contextTokens)
  const promptTokens = hasMedia(path, parameters) ? context : readable
  return feeRoundedUp(price, { promptTokens, completionTokens: prompts * tokensPerPrompt(path, parameters, context) })
}

/** How many texts one request has the model work on: one chat, the prompts of a completion, the inputs of embeddings. */
function promptCount(path: PaidPath, { prompt, input }: Parameters): number {
  if (path === '/v1/chat/completions') return 1
  const texts = path === '/v1/completions' ? prompt : input
  // A list of numbers is one text, in tokens.
  return Array.isArray(texts) && typeof texts[0] !== 'number' ? Math.max(1, texts.length) : 1
}

function tokensPerPrompt(path: PaidPath, parameters: Parameters, context: number): number {
  if (path === '/v1/embeddings') return 0
  const { max_completion_tokens: completion, max_tokens: tokens, n, best_of: bestOf } = parameters
  if (path === '/v1/chat/completions') {
    const stated = [completion, tokens].find((value) => typeof value === 'number' && value > 0)
    return atMost(stated ?? context, context) * countOf(n)
  }
  const stated = typeof tokens === 'number' && tokens >= 0 ? tokens : COMPLETION_TOKENS_DEFAULT
  return atMost(stated, context) * Math.max(countOf(n), countOf(bestOf))
}

function atMost(value: unknown, highest: number): number {
  return typeof value === 'number' ? Math.min(Math.ceil(value), highest) : highest
}

/** No gateway takes more choices than the bound, which keeps absurd numbers finite. */
function countOf(value: unknown): number {
  return typeof value === 'number' && value > 1 ? Math.min(Math.ceil(value), COUNT_MAX) : 1
}

const COUNT_MAX = 1_000_000

/** Whether any message has a part that is not text. */
function hasMedia(path: PaidPath, { messages }: Parameters): boolean {
  if (path !== '/v1/chat/completions' || !Array.isArray(messages)) return false
  return messages.some((message: unknown) => {
    const content = isRecord(message) ? message.content : undefined
    return Array.isArray(content) && content.some((part: unknown) => isRecord(part) && part.type !== 'text')
  })
}

type Parameters = Readonly<Record<string, unknown>>

function readParameters(body: Uint8Array): Parameters {
  try {
    const value: unknown = JSON.parse(decodeUtf8(body))
    return isRecord(value) ? value : {}
  } catch {
    return {}
  }
}
