/** OpenAI's two formats of a chat's answer: chunks of a stream, or one completion. @module */
import { isRecord } from '#protocol/isRecord.ts'
import type { RawChoice } from '../backends/backend.ts'
import { buildChunk, createChoicesBuilder } from './choices.ts'
import type { AnswerFormat } from './format.ts'

/** `chat.completion`, and its `chat.completion.chunk`. */
export const CHAT_FORMAT: AnswerFormat = {
  idPrefix: 'chatcmpl-',
  chunk: (frame, event) => buildChunk('chat.completion.chunk', frame, event),
  createBuilder: () =>
    createChoicesBuilder({
      object: 'chat.completion',
      start: (index) => ({ index, message: { role: 'assistant', content: null } }),
      grow(choice, { delta }) {
        choice.message = mergeDelta(choice.message, delta ?? {})
      },
    }),
  finishAtBound: (choice) => {
    const raw: RawChoice = { index: choice, delta: {}, finish_reason: 'length' }
    return { kind: 'finish', choice, reason: 'length', raw }
  },
}

/** Adds a delta to a message: strings are appended (content, reasoning_content, …), tool calls joined by their index. */
function mergeDelta(message: unknown, delta: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const merged: Record<string, unknown> = isRecord(message) ? message : {}
  for (const [key, value] of Object.entries(delta)) {
    const before = merged[key]
    if (key === 'tool_calls' && Array.isArray(value)) merged[key] = mergeToolCalls(before, value)
    else if (key !== 'role' && typeof value === 'string' && typeof before === 'string') merged[key] = before + value
    else merged[key] = value ?? before ?? null
  }
  return merged
}

/** The name comes whole with a call's first fragment; only the arguments are pieces of one string. */
function mergeToolCalls(before: unknown, fragments: readonly unknown[]): unknown[] {
  const calls: unknown[] = Array.isArray(before) ? before : []
  for (const fragment of fragments) {
    if (!isRecord(fragment)) continue
    const { index, function: added, ...rest } = fragment
    // An index beyond the next one would leave holes, and a huge one an endless list; such a call is taken as the next.
    const position = typeof index === 'number' && index >= 0 && index < calls.length ? index : calls.length
    const call = calls[position]
    const known = isRecord(call) ? call : {}
    const knownFunction = isRecord(known.function) ? known.function : {}
    const addedFunction = isRecord(added) ? added : {}
    calls[position] = {
      ...known,
      ...withoutNull(rest),
      function: {
        ...knownFunction,
        ...withoutNull(addedFunction),
        arguments: `${knownFunction.arguments ?? ''}${addedFunction.arguments ?? ''}`,
      },
    }
  }
  return calls
}

function withoutNull(fields: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null && value !== undefined))
}
