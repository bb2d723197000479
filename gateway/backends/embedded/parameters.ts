/** What of a request the embedded model honours. Everything else that would change the answer is refused by name, never dropped. @module */
import { isRecord } from '#protocol/isRecord.ts'
import type { ChatMessage, Parameters } from '../../requests/request.ts'
import { invalidRequest, unsupportedParameter } from '../backendError.ts'

export interface GenerationParameters {
  /** 0 to 2; 0 always takes the likeliest token. */
  readonly temperature: number
  /** Above 0, at most 1. */
  readonly topP: number
  /** `undefined`: drawn afresh. */
  readonly seed: number | undefined
  /** At most four, none empty. */
  readonly stop: readonly string[]
}

/**
 * Parses the parameters beside the texts, the bound of tokens and the number of choices. The default temperature is 0, for this model has memorised its
 * answers and nothing is won by rolling dice. Throws `BackendError` (400): `UNSUPPORTED_PARAMETER`, or `INVALID_REQUEST` for a value out of range.
 */
export function parseParameters(parameters: Parameters): GenerationParameters {
  for (const [name, value] of Object.entries(parameters)) {
    const isHonoured = HONOURED.has(name) || (PENALTIES.has(name) && value === 0)
    if (!isHonoured) throw unsupportedParameter(name, 'it is built in and very small')
  }
  const topP = parseNumber(parameters, 'top_p', 0, 1, false) ?? 1
  if (topP === 0) throw invalidRequest("'top_p' must be above 0", 'top_p')
  return {
    temperature: parseNumber(parameters, 'temperature', 0, 2, false) ?? 0,
    topP,
    seed: parseNumber(parameters, 'seed', Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER, true),
    stop: parseStop(parameters.stop),
  }
}

/** The bound of tokens and `n` were read before. */
const HONOURED: ReadonlySet<string> = new Set([
  'temperature',
  'top_p',
  'seed',
  'stop',
  'max_tokens',
  'max_completion_tokens',
  'n',
])

const PENALTIES: ReadonlySet<string> = new Set(['presence_penalty', 'frequency_penalty'])

function parseNumber(
  parameters: Parameters,
  name: string,
  lowest: number,
  highest: number,
  isInteger: boolean,
): number | undefined {
  const value = parameters[name]
  if (value === undefined) return undefined
  const isFine = typeof value === 'number' && value >= lowest && value <= highest
  if (!isFine || (isInteger && !Number.isSafeInteger(value))) {
    const range =
      lowest === Number.MIN_SAFE_INTEGER ? '' : highest <= 2 ? ` from ${lowest} to ${highest}` : ` from ${lowest}`
    throw invalidRequest(`'${name}' must be ${isInteger ? 'an integer' : 'a number'}${range}`, name)
  }
  return value
}

function parseStop(value: unknown): readonly string[] {
  if (value === undefined) return []
  const list: unknown = typeof value === 'string' ? [value] : value
  if (!Array.isArray(list) || list.length > 4) throw invalidRequest("'stop' must be a string or up to four", 'stop')
  return list.map((item: unknown) => {
    if (typeof item !== 'string' || item === '' || item.length > STOP_CHARS_MAX) {
      throw invalidRequest(`'stop' must hold strings of 1 to ${STOP_CHARS_MAX} characters`, 'stop')
    }
    return item
  })
}

const STOP_CHARS_MAX = 256

export interface Turn {
  readonly role: 'system' | 'user' | 'assistant'
  readonly content: string
}

/** The plain text of every message. Throws `BackendError` (400) for images, tool calls, names and roles that the model does not know. */
export function parseTurns(messages: readonly ChatMessage[]): Turn[] {
  return messages.map((message, index) => {
    const at = `messages[${index}]`
    const { role, content, ...rest } = message
    for (const [name, value] of Object.entries(rest)) {
      const isEmpty = value === null || value === undefined || (Array.isArray(value) && value.length === 0)
      if (!isEmpty) throw unsupportedParameter(`${at}.${name}`, 'it reads only role and content')
    }
    const known = ROLES.get(role)
    if (known === undefined)
      throw unsupportedParameter(`${at}.role`, `it knows the roles ${[...ROLES.keys()].join(', ')}`)
    return { role: known, content: parseContent(content, `${at}.content`) }
  })
}

const ROLES: ReadonlyMap<string, Turn['role']> = new Map([
  ['system', 'system'],
  ['developer', 'system'],
  ['user', 'user'],
  ['assistant', 'assistant'],
])

function parseContent(content: unknown, at: string): string {
  if (typeof content === 'string') return content
  if (!Array.isArray(content)) throw invalidRequest(`'${at}' must be a string or an array of text parts`, at)
  return content
    .map((part: unknown, index) => {
      if (!isRecord(part) || part.type !== 'text') throw unsupportedParameter(`${at}[${index}]`, 'it reads only text')
      if (typeof part.text !== 'string') throw invalidRequest(`'${at}[${index}].text' must be a string`, at)
      return part.text
    })
    .join('')
}
