/** OpenAI's format of embeddings: one list, never streamed, never cut. @module */
import { toBase64 } from '#protocol/bytes.ts'
import type { AnswerFormat } from './format.ts'

/** `list` of `embedding`s, as numbers or as base64 of 32-bit floats, little-endian. */
export function embeddingsFormat(encoding: 'float' | 'base64'): AnswerFormat {
  return {
    idPrefix: 'embd-',
    createBuilder() {
      const data: unknown[] = []
      let promptTokens = 0
      return {
        add(event) {
          if (event.kind === 'usage') promptTokens = event.promptTokens
          if (event.kind !== 'embedding') return
          const { index, values } = event
          data.push({ object: 'embedding', index, embedding: encoding === 'float' ? values : encodeFloats(values) })
        },
        build: ({ model }) => ({
          object: 'list',
          data,
          model,
          usage: { prompt_tokens: promptTokens, total_tokens: promptTokens },
        }),
      }
    },
  }
}

function encodeFloats(values: readonly number[]): string {
  const bytes = new Uint8Array(4 * values.length)
  const view = new DataView(bytes.buffer)
  for (const [i, value] of values.entries()) view.setFloat32(4 * i, value, true)
  return toBase64(bytes)
}
