/** Parser of `POST /v1/embeddings`. @module */
import { invalidRequest } from '../backends/backendError.ts'
import { parseCommonFields, parseCount } from './fields.ts'
import { parsePrompts } from './prompts.ts'
import { type EmbeddingsRequest, REQUEST_LIMITS, type RequestLimits } from './request.ts'

/** Throws `BackendError` (400) that names the field at fault. */
export function parseEmbeddingsRequest(body: unknown, limits: RequestLimits = REQUEST_LIMITS): EmbeddingsRequest {
  const { model, parameters } = parseCommonFields(body)
  const { input, encoding_format: encoding = 'float', dimensions: _, ...fields } = parameters
  if (encoding !== 'float' && encoding !== 'base64') {
    throw invalidRequest("'encoding_format' must be float or base64", 'encoding_format')
  }
  return {
    model,
    inputs: parsePrompts(input, 'input', limits.inputsMax),
    encoding,
    dimensions: parseCount(parameters, 'dimensions', 1, DIMENSIONS_MAX),
    parameters: fields,
  }
}

/** No model has nearly as many. */
const DIMENSIONS_MAX = 65_536
