/** Whether what a gateway says of a model is good enough for a policy: who vouches for it, and what it costs at most. @module */
import type { PricedModel } from '#protocol/prices.ts'
import type { GatewayTerms } from './gatewayTerms.ts'
import type { GatewayPolicy, PriceLimit } from './options.ts'

export type ModelRefusal =
  /** The gateway does not serve it. */
  | 'MODEL_NOT_SERVED'
  /** The policy names models, and this is none of them. */
  | 'MODEL_NOT_NAMED'
  /** Somebody else vouches for it than the policy accepts. */
  | 'SOURCE_REFUSED'
  | 'PRICE_TOO_HIGH'

/** Whether a gateway has to be asked about its models before anything is sealed to it. */
export function concernsModels({ models, priceLimit }: GatewayPolicy): boolean {
  return models !== undefined || priceLimit !== undefined
}

/** Why the gateway is not asked for this model; without a model, why it is asked for none. Undefined when it may be. */
export function modelRefusal(
  policy: GatewayPolicy,
  { prices }: GatewayTerms,
  model: string | undefined,
): ModelRefusal | undefined {
  if (model !== undefined) return refusalOf(policy, model, prices.get(model))
  const refusals = [...prices].map(([name, price]) => refusalOf(policy, name, price))
  return refusals.includes(undefined) ? undefined : (refusals[0] ?? 'MODEL_NOT_SERVED')
}

function refusalOf(
  { models, priceLimit }: GatewayPolicy,
  name: string,
  price: PricedModel | undefined,
): ModelRefusal | undefined {
  // Not by plain access: a model may be called "constructor".
  const own = models !== undefined && Object.hasOwn(models, name) ? models[name] : undefined
  if (models !== undefined && own === undefined) return 'MODEL_NOT_NAMED'
  if (price === undefined) return 'MODEL_NOT_SERVED'
  if (own?.sources !== undefined && !own.sources.includes(price.source)) return 'SOURCE_REFUSED'
  if (own?.origins !== undefined && price.source === 'proxied') {
    if (price.origin === undefined || !own.origins.includes(price.origin)) return 'SOURCE_REFUSED'
  }
  return isWithin(priceLimit, price) && isWithin(own?.priceLimit, price) ? undefined : 'PRICE_TOO_HIGH'
}

function isWithin(limit: PriceLimit | undefined, price: PricedModel): boolean {
  if (limit === undefined) return true
  const { requestUnits, promptUnitsPerMillion, completionUnitsPerMillion } = limit
  return (
    (requestUnits === undefined || price.requestUnits <= requestUnits) &&
    (promptUnitsPerMillion === undefined || price.promptUnitsPerMillion <= promptUnitsPerMillion) &&
    (completionUnitsPerMillion === undefined || price.completionUnitsPerMillion <= completionUnitsPerMillion)
  )
}
