/** What a policy says of a model that a gateway offers. @module */
import { describe, expect, it } from 'vitest'
import type { PricedModel } from '#protocol/prices.ts'
import type { GatewayTerms } from './gatewayTerms.ts'
import { concernsModels, type ModelRefusal, modelRefusal } from './modelPolicy.ts'
import type { GatewayPolicy } from './options.ts'

const price = (model: string, change: Partial<PricedModel> = {}): PricedModel => ({
  model,
  source: 'operator',
  requestUnits: 100n,
  promptUnitsPerMillion: 200n,
  completionUnitsPerMillion: 300n,
  ...change,
})

function termsOf(...models: PricedModel[]): GatewayTerms {
  const prices = new Map(models.map((entry) => [entry.model, entry]))
  return { prices, pricesHash: '0x', contexts: new Map() }
}

const OFFER = termsOf(
  price('plain'),
  price('inside', { source: 'measured' }),
  price('elsewhere', { source: 'proxied', origin: 'models.example' }),
)

describe('a policy', () => {
  it('concerns models only where it says something of them', () => {
    expect(concernsModels({ operators: [], enclaves: [], measurements: [] })).toBe(false)
    expect(concernsModels({ models: {} })).toBe(true)
    expect(concernsModels({ priceLimit: {} })).toBe(true)
  })

  it.each<[string, GatewayPolicy, string, ModelRefusal | undefined]>([
    ['that says nothing accepts what is served', {}, 'plain', undefined],
    ['that says nothing accepts nothing that is not served', {}, 'other', 'MODEL_NOT_SERVED'],
    ['that names the model accepts it', { models: { plain: {} } }, 'plain', undefined],
    ['that names others refuses it', { models: { plain: {} } }, 'inside', 'MODEL_NOT_NAMED'],
    ['is no object with a prototype', { models: {} }, 'constructor', 'MODEL_NOT_NAMED'],
    ['accepts a source that it lists', { models: { inside: { sources: ['measured'] } } }, 'inside', undefined],
    ['refuses one that it does not', { models: { plain: { sources: ['measured'] } } }, 'plain', 'SOURCE_REFUSED'],
    ['accepts no source of none', { models: { plain: { sources: [] } } }, 'plain', 'SOURCE_REFUSED'],
    [
      'accepts an origin that it lists',
      { models: { elsewhere: { origins: ['models.example'] } } },
      'elsewhere',
      undefined,
    ],
    ['refuses another origin', { models: { elsewhere: { origins: ['models.test'] } } }, 'elsewhere', 'SOURCE_REFUSED'],
    ['asks no origin of what is not proxied', { models: { inside: { origins: [] } } }, 'inside', undefined],
    ['accepts what costs as much as it allows', limit(100n, 200n, 300n), 'plain', undefined],
    ['refuses a request that costs more', limit(99n, 200n, 300n), 'plain', 'PRICE_TOO_HIGH'],
    ['refuses a prompt that costs more', limit(100n, 199n, 300n), 'plain', 'PRICE_TOO_HIGH'],
    ['refuses an answer that costs more', limit(100n, 200n, 299n), 'plain', 'PRICE_TOO_HIGH'],
    ['bounds one price alone', { priceLimit: { requestUnits: 100n } }, 'plain', undefined],
    ['bounds one model alone', { models: { plain: { priceLimit: { requestUnits: 99n } } } }, 'plain', 'PRICE_TOO_HIGH'],
    [
      'bounds each model and all: the lower counts',
      { models: { plain: { priceLimit: { requestUnits: 500n } } }, priceLimit: { requestUnits: 99n } },
      'plain',
      'PRICE_TOO_HIGH',
    ],
  ])('%s', (_what, policy, model, refusal) => {
    expect(modelRefusal(policy, OFFER, model)).toBe(refusal)
  })

  it('refuses a proxied model that names no origin where origins are asked for', () => {
    const terms = termsOf(price('m', { source: 'proxied' }))
    expect(modelRefusal({ models: { m: { origins: ['models.example'] } } }, terms, 'm')).toBe('SOURCE_REFUSED')
    expect(modelRefusal({ models: { m: {} } }, terms, 'm')).toBeUndefined()
  })

  it('without a model asks whether there is any that would do', () => {
    expect(modelRefusal({ models: { inside: {} } }, OFFER, undefined)).toBeUndefined()
    expect(modelRefusal({ models: { other: {} } }, OFFER, undefined)).toBe('MODEL_NOT_NAMED')
    expect(modelRefusal({ priceLimit: { requestUnits: 0n } }, OFFER, undefined)).toBe('PRICE_TOO_HIGH')
    expect(modelRefusal({}, termsOf(), undefined)).toBe('MODEL_NOT_SERVED')
  })
})

function limit(requestUnits: bigint, promptUnitsPerMillion: bigint, completionUnitsPerMillion: bigint): GatewayPolicy {
  return { priceLimit: { requestUnits, promptUnitsPerMillion, completionUnitsPerMillion } }
}
