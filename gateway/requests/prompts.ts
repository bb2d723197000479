/** Texts to work on: one or several, each as a string or as its tokens. @module */
import { invalidRequest } from '../backends/backendError.ts'
import type { Prompt } from './request.ts'

/** Parses the field `name`: a string, an array of strings, an array of tokens, or an array of such arrays; none of them empty. Throws `BackendError`. */
export function parsePrompts(value: unknown, name: string, countMax: number): readonly Prompt[] {
  const shape = `'${name}' must be a string, an array of strings, or arrays of tokens, none of them empty`
  const prompts: unknown[] = Array.isArray(value) && typeof value[0] !== 'number' ? value : [value]
  if (prompts.length > countMax) throw invalidRequest(`'${name}' may hold at most ${countMax} texts here`, name)
  const parsed = prompts.map((prompt): Prompt => {
    if (typeof prompt === 'string' && prompt !== '') return prompt
    if (!Array.isArray(prompt) || prompt.length === 0 || !prompt.every(isToken)) throw invalidRequest(shape, name)
    return prompt
  })
  const kinds = new Set(parsed.map((prompt) => typeof prompt))
  // Servers differ in what they make of a mixture.
  if (kinds.size !== 1) throw invalidRequest(shape, name)
  return parsed
}

function isToken(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}
