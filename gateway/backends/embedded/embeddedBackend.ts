/** Backend over a small GGUF in this process: no server, no dependency, the same answer everywhere. For demos and tests. @module */
import { randomInt } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { Prompt } from '../../requests/request.ts'
import type { AnswerEvent, Backend, ModelClaim, RawChoice } from '../backend.ts'
import { BackendError, invalidRequest, modelNotFound } from '../backendError.ts'
import { buildPrompt, checkTemplate } from './chatPrompt.ts'
import { type ChoiceOptions, generateChoice, type Loaded } from './generate.ts'
import { GgufError, parseGguf } from './gguf.ts'
import { loadLlama } from './llama.ts'
import { parseParameters, parseTurns, type Turn } from './parameters.ts'
import { loadTokenizer } from './tokenizer.ts'

export interface EmbeddedBackendOptions {
  /** A GGUF made by scripts/model; the shipped one by default. */
  readonly modelPath?: string | URL
  /** `measured` where the file is part of the measured image, else `operator`. */
  readonly claim: Exclude<ModelClaim, { source: 'proxied' }>
}

/** It has no embeddings to give. */
export type EmbeddedBackend = Required<Omit<Backend, 'embeddings'>>

/**
 * Loads the model and serves it under the name the file gives itself. Token counts are exact; the end of an answer counts as one token. Choices are
 * written one after the other. Every request has its own cache of keys and values, wiped at its end.
 * Throws `GgufError` for a file it cannot run, and the file system's error for one it cannot read.
 */
export function createEmbeddedBackend({ modelPath = SHIPPED_MODEL, claim }: EmbeddedBackendOptions): EmbeddedBackend {
  const gguf = parseGguf(readFileSync(modelPath))
  const name = gguf.fields.get('general.name')
  if (typeof name !== 'string' || name === '') throw new GgufError('UNSUPPORTED', 'expected a model that has a name')
  checkTemplate(gguf)
  const tokenizer = loadTokenizer(gguf)
  const loaded = { tokenizer, model: loadLlama(gguf, tokenizer.size) }
  const { contextTokens } = loaded.model
  return {
    models: [{ name, claim, serves: ['chat', 'completions'], contextTokens }],
    async *chat(request, signal) {
      if (request.model !== name) throw modelNotFound(request.model)
      const prompt = buildChatPrompt(loaded, parseTurns(request.messages))
      yield* generate(loaded, [prompt], { ...request, form: CHAT_FORM }, signal)
    },
    async *completions(request, signal) {
      if (request.model !== name) throw modelNotFound(request.model)
      const prompts = request.prompts.map((text) => buildTextPrompt(loaded, text))
      yield* generate(loaded, prompts, { ...request, form: TEXT_FORM }, signal)
    },
  }
}

const SHIPPED_MODEL = new URL('../../models/sealpath-demo.gguf', import.meta.url)

/** How the pieces of a choice look. */
type Form = {
  readonly first: Pick<RawChoice, 'delta' | 'text'> | undefined
  readonly piece: (content: string) => Pick<RawChoice, 'delta' | 'text'>
  readonly last: Pick<RawChoice, 'delta' | 'text'>
}

const CHAT_FORM: Form = {
  first: { delta: { role: 'assistant', content: '' } },
  piece: (content) => ({ delta: { content } }),
  last: { delta: {} },
}
const TEXT_FORM: Form = { first: undefined, piece: (text) => ({ text }), last: { text: '' } }

type Generation = {
  readonly choices: number
  readonly tokensMax: number
  readonly parameters: Readonly<Record<string, unknown>>
  readonly form: Form
}

/** Every choice of every prompt, in order: all of the first prompt before those of the second. */
async function* generate(
  loaded: Loaded,
  prompts: readonly (readonly number[])[],
  { choices, tokensMax, parameters, form }: Generation,
  signal: AbortSignal,
): AsyncGenerator<AnswerEvent, void, undefined> {
  const options = parseParameters(parameters)
  const seed = options.seed ?? randomInt(2 ** 47)
  const eachPrompt = choices / prompts.length
  let completionTokens = 0
  for (let choice = 0; choice < choices; choice++) {
    const prompt = prompts[Math.floor(choice / eachPrompt)] ?? []
    // Each choice rolls its own dice, and the first as if it were alone.
    const run: ChoiceOptions = { ...options, seed: seed + choice, tokensMax }
    let hasBegun = false
    for await (const piece of generateChoice(loaded, prompt, run, signal)) {
      if (!hasBegun && form.first !== undefined) yield delta(choice, form.first, '')
      hasBegun = true
      if (piece.kind === 'text') {
        if (piece.text !== '') yield delta(choice, form.piece(piece.text), piece.text)
        continue
      }
      completionTokens += piece.tokens
      const raw: RawChoice = { index: choice, ...form.last, finish_reason: piece.reason }
      yield { kind: 'finish', choice, reason: piece.reason, raw }
    }
  }
  const promptTokens = prompts.reduce((sum, { length }) => sum + length, 0)
  yield { kind: 'usage', promptTokens, completionTokens, reported: true }
}

function delta(choice: number, part: Pick<RawChoice, 'delta' | 'text'>, content: string): AnswerEvent {
  return { kind: 'delta', choice, content, raw: { index: choice, ...part, finish_reason: null } }
}

function buildChatPrompt(loaded: Loaded, turns: readonly Turn[]): number[] {
  const { tokenizer } = loaded
  const size = turns.reduce((sum, { content }) => sum + Buffer.byteLength(content), 0)
  checkLeast(loaded, Math.ceil(size / tokenizer.bytesPerTokenMax) + 2 * turns.length, 'messages')
  return bounded(loaded, buildPrompt(tokenizer, turns), 'messages')
}

/** A text begins a document; tokens are taken as they are. */
function buildTextPrompt(loaded: Loaded, prompt: Prompt): readonly number[] {
  const { tokenizer } = loaded
  if (typeof prompt === 'string') {
    checkLeast(loaded, Math.ceil(Buffer.byteLength(prompt) / tokenizer.bytesPerTokenMax), 'prompt')
    return bounded(loaded, [tokenizer.bos, ...tokenizer.encode(prompt)], 'prompt')
  }
  const unknown = prompt.find((token) => token >= tokenizer.size)
  if (unknown !== undefined) {
    throw invalidRequest(`'prompt' holds the token ${unknown}: this model has ${tokenizer.size}`, 'prompt')
  }
  return bounded(loaded, prompt, 'prompt')
}

/** Long texts are refused by their size, before the tokenizer works on them. */
function checkLeast({ model }: Loaded, least: number, param: string): void {
  if (least >= model.contextTokens) throw contextExceeded(model.contextTokens, `at least ${least}`, param)
}

/** One token of answer must fit as well. */
function bounded<T extends readonly number[]>({ model }: Loaded, prompt: T, param: string): T {
  if (prompt.length >= model.contextTokens) throw contextExceeded(model.contextTokens, `${prompt.length}`, param)
  return prompt
}

function contextExceeded(contextTokens: number, got: string, param: string): BackendError {
  const message = `the context of this model is ${contextTokens} tokens, answer included; the request has ${got}`
  return new BackendError(400, 'CONTEXT_LENGTH_EXCEEDED', 'invalid_request_error', message, { param })
}
