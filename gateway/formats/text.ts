/** OpenAI's format of completions: one object for chunks and for the whole. @module */
import type { RawChoice } from '../backends/backend.ts'
import { buildChunk, createChoicesBuilder } from './choices.ts'
import type { AnswerFormat } from './format.ts'

/** `text_completion`. */
export const TEXT_FORMAT: AnswerFormat = {
  idPrefix: 'cmpl-',
  chunk: (frame, event) => buildChunk('text_completion', frame, event),
  createBuilder: () =>
    createChoicesBuilder({
      object: 'text_completion',
      start: (index) => ({ text: '', index, logprobs: null, finish_reason: null }),
      grow(choice, { text }) {
        choice.text = `${choice.text}${text ?? ''}`
      },
    }),
  finishAtBound: (choice) => {
    const raw: RawChoice = { text: '', index: choice, logprobs: null, finish_reason: 'length' }
    return { kind: 'finish', choice, reason: 'length', raw }
  },
}
