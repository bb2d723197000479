/** From the configuration to the models served: backends, and one price for each model. @module */
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { AppError } from '#node/appError.ts'
import type { PricedModel, PriceList } from '#protocol/prices.ts'
import type { Backend, BackendModel } from './backends/backend.ts'
import { createEmbeddedBackend } from './backends/embedded/embeddedBackend.ts'
import { requireMeasured } from './backends/measuredFiles.ts'
import { createOpenaiBackend } from './backends/openai.ts'
import type { BackendConfig } from './config.ts'
import { Slots } from './slots.ts'

export type ServedModel = {
  readonly backend: Backend
  readonly model: BackendModel
  readonly price: PricedModel
  /** Places of the backend, which its models share; undefined for as many as the gateway has. */
  readonly slots?: Slots
}

/** Starts every backend and pairs its models with their prices. Throws `AppError` (`BAD_CONFIG`) for a mistake in the configuration. */
export function openModels(backends: readonly BackendConfig[], prices: PriceList): Map<string, ServedModel> {
  const served = new Map<string, ServedModel>()
  for (const config of backends) {
    const backend = openBackend(config)
    const slots = config.answersMax === undefined ? {} : { slots: new Slots(config.answersMax) }
    for (const model of backend.models) {
      const { name, claim } = model
      const price = prices.models.find((entry) => entry.model === name)
      if (price === undefined) throw new AppError('BAD_CONFIG', `the price list has no price for the model ${name}`)
      if (served.has(name)) throw new AppError('BAD_CONFIG', `two backends serve a model called ${name}`)
      const origin = claim.source === 'proxied' ? claim.origin : undefined
      if (price.source !== claim.source || price.origin !== origin) {
        throw new AppError(
          'BAD_CONFIG',
          `the price list claims ${price.source} for ${name}, but its backend can only claim ${claim.source}`,
        )
      }
      served.set(name, { backend, model, price, ...slots })
    }
  }
  const unserved = prices.models.find((entry) => !served.has(entry.model))
  if (unserved !== undefined) throw new AppError('BAD_CONFIG', `no backend serves ${unserved.model}, which has a price`)
  return served
}

function openBackend(config: BackendConfig): Backend {
  try {
    if (config.kind === 'embedded') {
      const { modelPath, modelSha256 } = config
      // The shipped model is part of the measured sources; another one by its digest in the measured configuration. Any other file is the operator's word.
      if (modelPath === undefined) return createEmbeddedBackend({ claim: { source: 'measured' } })
      if (modelSha256 === undefined) return createEmbeddedBackend({ modelPath, claim: { source: 'operator' } })
      requireMeasured([{ path: modelPath, sha256: modelSha256 }])
      return createEmbeddedBackend({ modelPath, claim: { source: 'measured' } })
    }
    const { source, apiKeyFile, caFile, measuredFiles = [], kind: _, answersMax: __, ...options } = config
    if (source === 'measured' && measuredFiles.length === 0) {
      throw new Error('a measured model needs measuredFiles: its files with their SHA-256')
    }
    requireMeasured(measuredFiles)
    return createOpenaiBackend({
      ...options,
      ...(caFile === undefined ? {} : { ca: readFileSync(caFile, 'utf8') }),
      claim: source,
      randomBytes: (length) => new Uint8Array(randomBytes(length)),
      ...(apiKeyFile === undefined ? {} : { apiKey: readFileSync(apiKeyFile, 'utf8').trim() }),
    })
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : 'unknown'
    throw new AppError('BAD_CONFIG', `cannot open the ${config.kind} backend: ${reason}`, { cause })
  }
}
