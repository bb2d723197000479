/** One choice of an answer: the prompt read, then token after token until an end. @module */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { aborted } from '../backendError.ts'
import { type Llama, LlamaSession } from './llama.ts'
import { createSampler } from './sampler.ts'
import { TextStream } from './textStream.ts'
import type { Tokenizer } from './tokenizer.ts'

export interface Loaded {
  readonly tokenizer: Tokenizer
  readonly model: Llama
}

export interface ChoiceOptions {
  readonly temperature: number
  readonly topP: number
  readonly seed: number
  readonly stop: readonly string[]
  readonly tokensMax: number
}

export type Piece =
  /** Text that is certain, perhaps ''. */
  | { readonly kind: 'text'; readonly text: string }
  /** The end. The token that ends an answer counts. */
  | { readonly kind: 'end'; readonly reason: 'stop' | 'length'; readonly tokens: number }

/**
 * Writes at most `tokensMax` tokens, fewer where the context ends. Each token takes about a millisecond; between two the process does its other work.
 * Throws `BackendError` (`ABORTED`) once `signal` fires.
 */
export async function* generateChoice(
  { tokenizer, model }: Loaded,
  prompt: readonly number[],
  options: ChoiceOptions,
  signal: AbortSignal,
): AsyncGenerator<Piece, void, undefined> {
  const tokensMax = Math.min(options.tokensMax, model.contextTokens - prompt.length)
  const sample = createSampler(options)
  const text = new TextStream(options.stop)
  const session = new LlamaSession(model, prompt.length + tokensMax)
  const rest = async () => {
    await nextTurn()
    if (signal.aborted) throw aborted(signal.reason)
  }
  try {
    for (const token of prompt) {
      session.feed(token)
      await rest()
    }
    yield { kind: 'text', text: '' }
    let tokens = 0
    let isEnded = false
    while (!isEnded && !text.isStopped && tokens < tokensMax) {
      const token = sample(session.predict())
      tokens++
      isEnded = token === tokenizer.eos
      if (!isEnded) {
        yield { kind: 'text', text: text.push(tokenizer.bytes(token)) }
        session.feed(token)
      }
      await rest()
    }
    yield { kind: 'text', text: text.end() }
    yield { kind: 'end', reason: isEnded || text.isStopped ? 'stop' : 'length', tokens }
  } finally {
    session.wipe()
  }
}
