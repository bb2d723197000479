/** OpenAI's two answer formats, built from the same events: chunks of a stream, or one completion. @module */
import type { ChatEvent } from './backend.ts'
import { isRecord } from './backend.ts'

/** What one answer's chunks share. `id` and `created` (seconds) are the gateway's, `model` is the public name. */
export interface CompletionFrame {
  readonly id: string
  readonly created: number
  readonly model: string
}

/** One `chat.completion.chunk`. The chunk of a usage event has no choices, and is sent only to clients that asked for it. */
export function buildChunk(frame: CompletionFrame, event: ChatEvent): Record<string, unknown> {
  const chunk = { id: frame.id, object: 'chat.completion.chunk', created: frame.created, model: frame.model }
  if (event.kind === 'usage') return { ...chunk, choices: [], usage: buildUsage(event) }
  return { ...chunk, choices: [event.raw] }
}

/** OpenAI's `usage` object. */
export function buildUsage(usage: Extract<ChatEvent, { kind: 'usage' }>): Record<string, number> {
  return {
    prompt_tokens: usage.promptTokens,
    completion_tokens: usage.completionTokens,
    total_tokens: usage.promptTokens + usage.completionTokens,
  }
}

/** Collects the events of one answer into a `chat.completion`. */
export class CompletionBuilder {
  readonly #choices = new Map<number, Record<string, unknown>>()
  #usage: Record<string, number> | undefined

  add(event: ChatEvent): void {
    if (event.kind === 'usage') {
      this.#usage = buildUsage(event)
      return
    }
    const { index, delta, ...rest } = event.raw
    const choice = this.#choices.get(index) ?? { index, message: { role: 'assistant', content: null } }
    this.#choices.set(index, { ...choice, ...mergeFields(choice, rest), message: mergeDelta(choice.message, delta) })
  }

  /** The completion; call it after the last event. */
  build(frame: CompletionFrame): Record<string, unknown> {
    const choices = [...this.#choices.entries()].sort(([a], [b]) => a - b).map(([, choice]) => choice)
    const completion = { id: frame.id, object: 'chat.completion', created: frame.created, model: frame.model, choices }
    return this.#usage === undefined ? completion : { ...completion, usage: this.#usage }
  }
}

/** Joins the fields beside the delta: `logprobs` hold lists that grow; of anything else the last value that is not null stays. */
function mergeFields(choice: Record<string, unknown>, rest: Record<string, unknown>): Record<string, unknown> {
  const merged: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(rest)) {
    const before = choice[key]
    if (key === 'logprobs' && isRecord(before) && isRecord(value)) merged[key] = joinLists(before, value)
    else merged[key] = value ?? before ?? null
  }
  return merged
}

function joinLists(before: Record<string, unknown>, after: Record<string, unknown>): Record<string, unknown> {
  const joined = { ...before }
  for (const [key, value] of Object.entries(after)) {
    const list = joined[key]
    joined[key] = Array.isArray(list) && Array.isArray(value) ? [...list, ...value] : (value ?? list ?? null)
  }
  return joined
}

/** Adds a delta to a message: strings are appended (content, reasoning_content, …), tool calls joined by their index. */
function mergeDelta(message: unknown, delta: Record<string, unknown>): Record<string, unknown> {
  const merged: Record<string, unknown> = isRecord(message) ? { ...message } : {}
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
  const calls: unknown[] = Array.isArray(before) ? [...before] : []
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
