/** OpenAI's list of models, with what a model costs, what it serves, and on whose word its name rests. @module */
import { modelNotFound } from './backends/backendError.ts'
import type { ServedModel } from './models.ts'

/** `GET /v1/models`. */
export function listModels(models: ReadonlyMap<string, ServedModel>): unknown {
  return { object: 'list', data: [...models.values()].map(describe) }
}

/** `GET /v1/models/{id}`; `encoded` is the id as it stands in the path. Throws `BackendError` (404). */
export function describeModel(models: ReadonlyMap<string, ServedModel>, encoded: string): unknown {
  const id = decode(encoded)
  const served = models.get(id)
  if (served === undefined) throw modelNotFound(id)
  return describe(served)
}

function describe({ price, model }: ServedModel): unknown {
  return {
    id: price.model,
    object: 'model',
    created: 0,
    owned_by: 'sealpath',
    source: price.source,
    ...(price.origin === undefined ? {} : { origin: price.origin }),
    serves: model.serves,
    ...(model.contextTokens === undefined ? {} : { context_length: model.contextTokens }),
    price: {
      request_units: price.requestUnits.toString(),
      prompt_units_per_million: price.promptUnitsPerMillion.toString(),
      completion_units_per_million: price.completionUnitsPerMillion.toString(),
    },
  }
}

/** Names have slashes, which clients encode or do not. */
function decode(encoded: string): string {
  try {
    return decodeURIComponent(encoded)
  } catch {
    // Not an encoding, so the name itself.
    return encoded
  }
}
