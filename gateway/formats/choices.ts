/** What chats and completions have in common: choices that grow piece by piece. @module */
import { isRecord } from '#protocol/isRecord.ts'
import type { AnswerEvent, RawChoice } from '../backends/backend.ts'
import { type AnswerBuilder, type AnswerFrame, buildUsage } from './format.ts'

type Choice = Record<string, unknown>

export type ChoicesOptions = {
  /** The value of `object` in the body. */
  readonly object: string
  /** A choice before its first piece. */
  readonly start: (index: number) => Choice
  /** Adds the text, the tool calls and the like of a piece. What stands beside them is joined here. */
  readonly grow: (choice: Choice, piece: RawChoice) => void
}

/** The chunk of one event. That of a usage event has no choices, and is sent only to clients that asked for it. */
export function buildChunk(object: string, frame: AnswerFrame, event: AnswerEvent): Record<string, unknown> {
  const chunk = { id: frame.id, object, created: frame.created, model: frame.model }
  if (event.kind === 'usage') return { ...chunk, choices: [], usage: buildUsage(event) }
  return { ...chunk, choices: event.kind === 'embedding' ? [] : [event.raw] }
}

/** Collects choices, whatever order their pieces come in. The builder owns what it collects and appends in place. */
export function createChoicesBuilder(options: ChoicesOptions): AnswerBuilder {
  const choices = new Map<number, Choice>()
  let usage: Record<string, number> | undefined
  return {
    add(event) {
      if (event.kind === 'usage') usage = buildUsage(event)
      if (event.kind !== 'delta' && event.kind !== 'finish') return
      const choice = choices.get(event.choice) ?? options.start(event.choice)
      choices.set(event.choice, choice)
      options.grow(choice, event.raw)
      const { index: _, delta: __, text: ___, ...beside } = event.raw
      for (const [key, value] of Object.entries(beside)) joinField(choice, key, value)
    },
    build({ id, created, model }) {
      const sorted = [...choices].sort(([a], [b]) => a - b).map(([, choice]) => choice)
      const body = { id, object: options.object, created, model, choices: sorted }
      return usage === undefined ? body : { ...body, usage }
    },
  }
}

/** `logprobs` hold lists that grow; of anything else the last value that is not null stays. */
function joinField(choice: Choice, key: string, value: unknown): void {
  const before = choice[key]
  if (key === 'logprobs' && isRecord(before) && isRecord(value)) joinLists(before, value)
  else choice[key] = (key === 'logprobs' && isRecord(value) ? copyLists(value) : value) ?? before ?? null
}

function joinLists(target: Record<string, unknown>, added: Record<string, unknown>): void {
  for (const [key, value] of Object.entries(added)) {
    const list = target[key]
    if (Array.isArray(list) && Array.isArray(value)) for (const entry of value) list.push(entry)
    else target[key] = (Array.isArray(value) ? [...value] : value) ?? list ?? null
  }
}

/** Lists that may be appended to: those of an event are not ours. */
function copyLists(fields: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(fields).map(([key, value]) => [key, Array.isArray(value) ? [...value] : value]),
  )
}
