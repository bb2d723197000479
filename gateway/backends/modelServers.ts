/**
 * What each kind of model server honours. Most of them drop fields in silence that they do not know, so that only what is listed here is sent to them;
 * everything else is refused by name. Read from the sources of llama.cpp (tools/server, build 11669), vLLM and SGLang (entrypoints/openai,
 * protocol.py) and Ollama (openai/openai.go) in 2026; an operator with another version says so by `acceptedParameters` and `refusedParameters`.
 * @module
 */
import { isRecord } from '#protocol/isRecord.ts'
import type { Parameters } from '../requests/request.ts'
import type { Capability } from './backend.ts'
import { unsupportedParameter } from './backendError.ts'

/** `openai`: a host that refuses what it does not know, as OpenAI's own does; nothing is held back from it. */
export const MODEL_SERVERS = ['openai', 'llama.cpp', 'vllm', 'sglang', 'ollama'] as const
export type ModelServer = (typeof MODEL_SERVERS)[number]

export type ServerPolicy = {
  /** Undefined: nobody knows, and only what every one of them honours is sent. */
  readonly server: ModelServer | undefined
  /** What this one honours besides, on the operator's word. */
  readonly acceptedParameters: readonly string[]
  /** What this one does not honour although its kind does. */
  readonly refusedParameters: readonly string[]
}

/** Throws `BackendError` (`UNSUPPORTED_PARAMETER`, 400) for the first parameter that the server would not honour. */
export function checkParameters(policy: ServerPolicy, asks: Capability, parameters: Parameters): void {
  const { server, acceptedParameters, refusedParameters } = policy
  const honoured = server === 'openai' ? undefined : server === undefined ? COMMON[asks] : HONOURED[server][asks]
  for (const [name, value] of Object.entries(parameters)) {
    const isHonoured =
      honoured === undefined || honoured.has(name) || acceptedParameters.includes(name) || isUsual(name, value)
    if (!isHonoured || refusedParameters.includes(name)) throw unsupportedParameter(name, IGNORED)
  }
  if (server !== 'openai') checkDetails(policy, parameters)
}

/** Refuses the finer points of `messages` that only OpenAI's own server honours. Throws `BackendError` (400). */
export function checkMessages(policy: ServerPolicy, messages: readonly Parameters[]): void {
  if (policy.server === 'openai' || policy.acceptedParameters.includes('detail')) return
  for (const [i, { content }] of messages.entries()) {
    if (!Array.isArray(content)) continue
    for (const [j, part] of content.entries()) {
      const image = isRecord(part) && isRecord(part.image_url) ? part.image_url : {}
      const isFine = image.detail === undefined || image.detail === null || image.detail === 'auto'
      if (!isFine) throw unsupportedParameter(`messages[${i}].content[${j}].image_url.detail`, IGNORED)
    }
  }
}

function checkDetails({ server, acceptedParameters }: ServerPolicy, { tools }: Parameters): void {
  if (!Array.isArray(tools)) return
  const isStrict = server === 'llama.cpp' || server === 'sglang' || acceptedParameters.includes('strict')
  for (const [i, tool] of tools.entries()) {
    if (!isRecord(tool) || tool.type !== 'function') throw unsupportedParameter(`tools[${i}].type`, IGNORED)
    const wantsStrict = isRecord(tool.function) && tool.function.strict === true
    if (wantsStrict && !isStrict) throw unsupportedParameter(`tools[${i}].function.strict`, IGNORED)
  }
}

/** Several calls at once are what a server does that does not know the field. */
function isUsual(name: string, value: unknown): boolean {
  return name === 'parallel_tool_calls' && value === true
}

const IGNORED = 'its server would ignore it'

/** Bounds of tokens are not here: the gateway itself puts them as each server expects. */
const SAMPLING = ['temperature', 'top_p', 'stop', 'presence_penalty', 'frequency_penalty'] as const
const CHAT = [...SAMPLING, 'response_format', 'tools'] as const
const CHAT_MORE = [
  ...CHAT,
  'logit_bias',
  'logprobs',
  'top_logprobs',
  'n',
  'tool_choice',
  'parallel_tool_calls',
] as const

const LLAMA_SAMPLING = [
  'seed',
  'top_k',
  'min_p',
  'top_n_sigma',
  'typical_p',
  'xtc_probability',
  'xtc_threshold',
  'dynatemp_range',
  'dynatemp_exponent',
  'repeat_penalty',
  'repeat_last_n',
  'dry_multiplier',
  'dry_base',
  'dry_allowed_length',
  'dry_penalty_last_n',
  'dry_sequence_breakers',
  'mirostat',
  'mirostat_tau',
  'mirostat_eta',
  'samplers',
  'ignore_eos',
  'grammar',
  'json_schema',
] as const

const VLLM_SAMPLING = [
  'seed',
  'top_k',
  'min_p',
  'repetition_penalty',
  'stop_token_ids',
  'include_stop_str_in_output',
  'ignore_eos',
  'min_tokens',
  'skip_special_tokens',
  'spaces_between_special_tokens',
  'truncate_prompt_tokens',
  'allowed_token_ids',
  'bad_words',
  'add_special_tokens',
  'structured_outputs',
] as const

/** `seed` is not among them: SGLang reads it only where it was started for deterministic inference. */
const SGLANG_SAMPLING = [
  'top_k',
  'min_p',
  'min_tokens',
  'regex',
  'ebnf',
  'repetition_penalty',
  'stop_token_ids',
  'stop_regex',
  'no_stop_trim',
  'ignore_eos',
  'skip_special_tokens',
] as const

type Honoured = Readonly<Record<Capability, ReadonlySet<string>>>

const HONOURED: Readonly<Record<Exclude<ModelServer, 'openai'>, Honoured>> = {
  'llama.cpp': {
    chat: new Set([...CHAT_MORE, ...LLAMA_SAMPLING, 'chat_template_kwargs', 'thinking_budget_tokens']),
    // Its log probabilities of completions are not in OpenAI's form.
    completions: new Set([...SAMPLING, ...LLAMA_SAMPLING, 'n', 'logit_bias']),
    embeddings: new Set(),
  },
  vllm: {
    chat: new Set([
      ...CHAT_MORE,
      ...VLLM_SAMPLING,
      'reasoning_effort',
      'include_reasoning',
      'thinking_token_budget',
      'chat_template_kwargs',
      'add_generation_prompt',
      'continue_final_message',
    ]),
    completions: new Set([...SAMPLING, ...VLLM_SAMPLING, 'n', 'logit_bias', 'logprobs', 'echo', 'response_format']),
    embeddings: new Set(['dimensions', 'truncate_prompt_tokens', 'add_special_tokens']),
  },
  sglang: {
    chat: new Set([
      ...CHAT_MORE,
      ...SGLANG_SAMPLING,
      'reasoning_effort',
      'separate_reasoning',
      'stream_reasoning',
      'chat_template_kwargs',
      'continue_final_message',
    ]),
    completions: new Set([
      ...SAMPLING,
      ...SGLANG_SAMPLING,
      ...['n', 'logit_bias', 'logprobs', 'echo', 'response_format', 'json_schema'],
    ]),
    embeddings: new Set(['dimensions']),
  },
  ollama: {
    chat: new Set([...CHAT, 'seed', 'reasoning_effort']),
    completions: new Set([...SAMPLING, 'seed', 'suffix']),
    embeddings: new Set(['dimensions']),
  },
}

const COMMON: Honoured = {
  chat: common('chat'),
  completions: common('completions'),
  embeddings: common('embeddings'),
}

function common(asks: Capability): ReadonlySet<string> {
  const [first, ...others] = Object.values(HONOURED).map((honoured) => honoured[asks])
  return new Set([...(first ?? [])].filter((name) => others.every((names) => names.has(name))))
}
