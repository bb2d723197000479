/**
 * The most that a request can cost: computed alike by the wallet, which pays for it, and by the gateway, which must not be paid less.
 * @module
 */
import { decodeUtf8 } from './bytes.ts'
import { feeRoundedUp, type PricedModel } from './prices.ts'

/** Taken for the context of a model that does not tell. */
export const CONTEXT_TOKENS_UNKNOWN = 131_072

/**
 * Units, as a payment may carry them: every byte of the body a token, and every token that the request allows, of all its choices. What says nothing
 * is bounded by the model's context (`contextTokens`).
 */
export function costAtMost(price: PricedModel, body: Uint8Array, contextTokens: number | undefined): bigint {
  return feeRoundedUp(price, {
    promptTokens: body.length,
    completionTokens: completionTokensMax(readParameters(body), contextTokens ?? CONTEXT_TOKENS_UNKNOWN),
  })
}

function completionTokensMax(parameters: Readonly<Record<string, unknown>>, context: number): number {
  const { max_completion_tokens: completion, max_tokens: tokens, n } = parameters
  const stated = [completion, tokens].find((value) => typeof value === 'number' && value > 0)
  const each = typeof stated === 'number' ? Math.min(Math.ceil(stated), context) : context
  return each * (typeof n === 'number' && n > 1 ? Math.ceil(n) : 1)
}

/** A body that is no JSON object costs what an empty one does: it will be refused. */
function readParameters(body: Uint8Array): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(decodeUtf8(body))
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
  } catch {
    return {}
  }
}
