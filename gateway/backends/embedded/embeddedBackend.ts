/** Backend over a small GGUF in this process: no server, no dependency, the same answer everywhere. For demos and tests. @module */
import { randomInt } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Backend, ChatEvent, ChatRequest, ModelClaim } from '../backend.ts'
import { aborted, BackendError, modelNotFound } from '../backend.ts'
import { buildPrompt, checkTemplate } from './chatPrompt.ts'
import { GgufError, parseGguf } from './gguf.ts'
import { type Llama, LlamaSession, loadLlama } from './llama.ts'
import { parseParameters, parseTurns, type Turn } from './parameters.ts'
import { createSampler } from './sampler.ts'
import { TextStream } from './textStream.ts'
import { loadTokenizer, type Tokenizer } from './tokenizer.ts'

export interface EmbeddedBackendOptions {
  /** A GGUF made by scripts/model; the shipped one by default. */
  readonly modelPath?: string | URL
  /** `measured` where the file is part of the measured image, else `operator`. */
  readonly claim: Exclude<ModelClaim, { source: 'proxied' }>
}

/**
 * Loads the model and serves it under the name the file gives itself. Token counts are exact; the end of an answer counts as one token.
 * Every request has its own cache of keys and values, wiped at its end.
 * Throws `GgufError` for a file it cannot run, and the file system's error for one it cannot read.
 */
export function createEmbeddedBackend({ modelPath = SHIPPED_MODEL, claim }: EmbeddedBackendOptions): Backend {
  const gguf = parseGguf(readFileSync(modelPath))
  const name = gguf.fields.get('general.name')
  if (typeof name !== 'string' || name === '') throw new GgufError('UNSUPPORTED', 'expected a model that has a name')
  checkTemplate(gguf)
  const tokenizer = loadTokenizer(gguf)
  const model = loadLlama(gguf, tokenizer.size)
  return {
    models: [{ name, claim, contextTokens: model.contextTokens }],
    chat: (request, signal) => {
      return chat({ name, tokenizer, model }, request, signal)
    },
  }
}

const SHIPPED_MODEL = new URL('../../models/sealpath-demo.gguf', import.meta.url)

interface Loaded {
  readonly name: string
  readonly tokenizer: Tokenizer
  readonly model: Llama
}

async function* chat(
  { name, tokenizer, model }: Loaded,
  request: ChatRequest,
  signal: AbortSignal,
): AsyncGenerator<ChatEvent, void, undefined> {
  if (request.model !== name) throw modelNotFound(request.model)
  const parameters = parseParameters(request)
  const prompt = buildBoundedPrompt(tokenizer, parseTurns(request.messages), model.contextTokens)
  const tokensMax = Math.min(parameters.tokensMax ?? model.contextTokens, model.contextTokens - prompt.length)
  const sample = createSampler({ ...parameters, seed: parameters.seed ?? randomInt(2 ** 47) })
  const text = new TextStream(parameters.stop)
  const session = new LlamaSession(model, prompt.length + tokensMax)
  try {
    // Each token takes about a millisecond; between two the process does its other work.
    for (const token of prompt) {
      session.feed(token)
      await nextTurn()
      if (signal.aborted) throw aborted(signal.reason)
    }
    yield delta({ role: 'assistant', content: '' })
    let count = 0
    let isEnded = false
    while (!isEnded && !text.isStopped && count < tokensMax) {
      const token = sample(session.predict())
      count++
      isEnded = token === tokenizer.eos
      const content = isEnded ? '' : text.push(tokenizer.bytes(token))
      if (content !== '') yield delta({ content })
      if (!isEnded) session.feed(token)
      await nextTurn()
      if (signal.aborted) throw aborted(signal.reason)
    }
    const rest = text.end()
    if (rest !== '') yield delta({ content: rest })
    yield finish(isEnded || text.isStopped ? 'stop' : 'length')
    yield { kind: 'usage', promptTokens: prompt.length, completionTokens: count, reported: true }
  } finally {
    session.wipe()
  }
}

function buildBoundedPrompt(tokenizer: Tokenizer, turns: readonly Turn[], contextTokens: number): number[] {
  // Long texts are refused by their size, before the tokenizer works on them.
  const size = turns.reduce((sum, { content }) => sum + Buffer.byteLength(content), 0)
  const least = Math.ceil(size / tokenizer.bytesPerTokenMax) + 2 * turns.length
  if (least >= contextTokens) throw contextExceeded(contextTokens, `at least ${least}`)
  const prompt = buildPrompt(tokenizer, turns)
  // One token of answer must fit as well.
  if (prompt.length >= contextTokens) throw contextExceeded(contextTokens, `${prompt.length}`)
  return prompt
}

function contextExceeded(contextTokens: number, got: string): BackendError {
  const message = `the context of this model is ${contextTokens} tokens, answer included; the messages have ${got}`
  return new BackendError(400, 'CONTEXT_LENGTH_EXCEEDED', 'invalid_request_error', message, { param: 'messages' })
}

function delta(fields: { role?: string; content: string }): ChatEvent {
  return { kind: 'delta', choice: 0, content: fields.content, raw: { index: 0, delta: fields, finish_reason: null } }
}

function finish(reason: 'stop' | 'length'): ChatEvent {
  return { kind: 'finish', choice: 0, reason, raw: { index: 0, delta: {}, finish_reason: reason } }
}
