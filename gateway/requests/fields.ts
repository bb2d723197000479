/**
 * What all requests have in common, and what happens to fields that are not about the answer.
 *
 * What only says who asks is taken out, for nobody behind the gateway has to know; a wish about a cache too, for caches are never shared. What would
 * keep the request, tell a third party, or have another model answer is refused. Spec: docs/spec.md section 2.
 * @module
 */
import { isRecord } from '#protocol/isRecord.ts'
import { BackendError, invalidRequest } from '../backends/backendError.ts'
import type { Parameters } from './request.ts'

export type CommonFields = { readonly model: string; readonly parameters: Parameters }

/** `body` must be an object that names a model. Null means that a field is not there. Throws `BackendError` (400). */
export function parseCommonFields(body: unknown): CommonFields {
  if (!isRecord(body)) throw invalidRequest('expected a JSON object', null)
  const { model, ...rest } = body
  if (typeof model !== 'string' || model === '') throw invalidRequest("'model' must be a string", 'model')
  const parameters: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(rest)) {
    if (value === null || value === undefined || TAKEN_OUT.has(name)) continue
    if (NEUTRAL.get(name)?.(value) === true) continue
    const why = REFUSED.get(name)
    if (why !== undefined) throw refused(name, why)
    parameters[name] = value
  }
  return { model, parameters }
}

/** `stream` and `stream_options` of a request that is answered with text, and the other parameters. */
export function parseStreaming(parameters: Parameters): {
  readonly stream: boolean
  readonly includeUsage: boolean
  readonly others: Parameters
} {
  const { stream, stream_options: options, ...others } = parameters
  if (stream !== undefined && typeof stream !== 'boolean') {
    throw invalidRequest("'stream' must be true or false", 'stream')
  }
  if (options === undefined) return { stream: stream === true, includeUsage: false, others }
  if (!isRecord(options)) throw invalidRequest("'stream_options' must be an object", 'stream_options')
  for (const [name, value] of Object.entries(options)) {
    // Padding is the seal's work.
    if (name === 'include_usage' || name === 'include_obfuscation' || value === null || value === false) continue
    throw refused(`stream_options.${name}`, 'no model server is asked for it')
  }
  return { stream: stream === true, includeUsage: options.include_usage === true, others }
}

/** An integer of at least `lowest`, or undefined where there is none. Above `highest` it is refused. */
export function parseCount(parameters: Parameters, name: string, lowest: number, highest: number): number | undefined {
  const value = parameters[name]
  if (value === undefined) return undefined
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < lowest) {
    throw invalidRequest(`'${name}' must be an integer of at least ${lowest}`, name)
  }
  if (value > highest) throw invalidRequest(`'${name}' may be at most ${highest} here`, name)
  return value
}

/** Who asks, and how prompts are cached. */
const TAKEN_OUT: ReadonlySet<string> = new Set([
  'user',
  'safety_identifier',
  'metadata',
  'prompt_cache_key',
  'prompt_cache_retention',
  'cache_prompt',
  'cache_salt',
  'extra_key',
])

/** Values that ask for what happens anyway, whatever a server's own defaults are. They go no further, so that a server which does not know the field is no reason to refuse them. */
const NEUTRAL: ReadonlyMap<string, (value: unknown) => boolean> = new Map([
  ['n', (value) => value === 1],
  ['logprobs', (value) => value === false],
  ['top_logprobs', (value) => value === 0],
  ['echo', (value) => value === false],
  ['suffix', (value) => value === ''],
  ['logit_bias', (value) => isRecord(value) && Object.keys(value).length === 0],
  ['response_format', (value) => isRecord(value) && value.type === 'text' && Object.keys(value).length === 1],
  ['modalities', (value) => Array.isArray(value) && value.length === 1 && value[0] === 'text'],
  ['tools', (value) => Array.isArray(value) && value.length === 0],
  ['store', (value) => value === false],
  ['service_tier', (value) => value === 'auto' || value === 'default'],
])

const OTHER_MODEL = 'the receipt names the model that was asked for, and its price'
const SHARED_STATE = "it reaches into the model server's state, which all users share"

const REFUSED: ReadonlyMap<string, string> = new Map([
  ['store', 'nothing of a sealed request is kept'],
  ['service_tier', 'there is one price for each model'],
  ['web_search_options', 'a search would tell a third party what was asked'],
  ['modalities', 'answers are text'],
  ['audio', 'answers are text'],
  ['functions', "use 'tools'"],
  ['function_call', "use 'tool_choice'"],
  ...['models', 'fallbacks', 'route', 'provider', 'plugins', 'transforms', 'lora', 'lora_path', 'lora_request'].map(
    (name) => [name, OTHER_MODEL] as const,
  ),
  ...[
    'id_slot',
    'n_cache_reuse',
    'timings_per_token',
    'return_progress',
    'kv_transfer_params',
    'ec_transfer_params',
    'request_id',
    'rid',
    'session_id',
    'session_params',
    'bootstrap_host',
    'bootstrap_port',
    'bootstrap_room',
    'data_parallel_rank',
    'routed_dp_rank',
    'disagg_prefill_dp_rank',
    'priority',
  ].map((name) => [name, SHARED_STATE] as const),
])

function refused(param: string, why: string): BackendError {
  return new BackendError(400, 'UNSUPPORTED_PARAMETER', 'invalid_request_error', `'${param}' is refused: ${why}`, {
    param,
  })
}
