/** The chat template of the demo model, from turns to tokens. Twin of `encode_turn` in scripts/model/vocabulary.py. @module */
import type { Gguf } from './gguf.ts'
import { GgufError } from './gguf.ts'
import type { Turn } from './parameters.ts'
import type { Tokenizer } from './tokenizer.ts'

/** Throws `GgufError` (`UNSUPPORTED`) when the file states another template than `buildPrompt` carries out. */
export function checkTemplate(gguf: Gguf): void {
  if (gguf.fields.get('tokenizer.chat_template') !== TEMPLATE) {
    throw new GgufError('UNSUPPORTED', 'expected the chat template of the Sealpath demo model')
  }
}

const TEMPLATE =
  "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'assistant' %}" +
  "{{ '<|assistant|>' + message['content'] + '</s>' }}{% elif message['role'] == 'user' %}" +
  "{{ '<|user|> ' + message['content'] + '</s>' }}{% else %}{{ '<|system|> ' + message['content'] + '</s>' }}" +
  "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"

/** Token ids of the conversation, up to where the answer begins. */
export function buildPrompt(tokenizer: Tokenizer, turns: readonly Turn[]): number[] {
  const tokens = [tokenizer.bos]
  for (const { role, content } of turns) {
    // The answer's first word has no space before it, so that the text the model writes needs no trimming.
    const text = role === 'assistant' ? content : ` ${content}`
    tokens.push(tokenizer.control(`<|${role}|>`), ...tokenizer.encode(text), tokenizer.eos)
  }
  tokens.push(tokenizer.control('<|assistant|>'))
  return tokens
}
