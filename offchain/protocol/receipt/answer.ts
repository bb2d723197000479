/**
 * What an answer said, read from its exact body: gateway and client both derive it here, so that they commit to the same.
 *
 * Output: the UTF-8 text of choice 0 (`content` of a chat, `text` of a completion); embeddings have none. Tool calls of choice 0: of a
 * stream, each chunk's `tool_calls` as ECMAScript's JSON.stringify prints it, a line feed behind each; of a whole completion, its
 * `tool_calls` likewise. Spec: docs/spec.md section 3.
 * @module
 */
import * as v from 'valibot'
import { decodeUtf8, encodeUtf8 } from '../bytes.ts'
import type { Schema } from '../wire/json.ts'

export type Answer = { readonly output: Uint8Array; readonly toolCalls: Uint8Array }

type Piece = { content?: unknown; tool_calls?: unknown }
type Choice = { index?: number; delta?: Piece; message?: Piece; text?: unknown }

const PieceSchema: Schema<Piece> = v.looseObject({})
const BodySchema: Schema<{ choices?: Choice[] }> = v.looseObject({
  choices: v.exactOptional(
    v.array(
      v.looseObject({
        index: v.exactOptional(v.number()),
        delta: v.exactOptional(PieceSchema),
        message: v.exactOptional(PieceSchema),
      }),
    ),
  ),
})

/** Reads an event stream or a JSON completion. What is neither has no output and no tool calls. Never throws. */
export function readAnswer(body: Uint8Array, contentType: string): Answer {
  const output: string[] = []
  const toolCalls: string[] = []
  const isStream = contentType.startsWith('text/event-stream')
  for (const json of isStream ? eventData(body) : [tryDecode(body)]) {
    for (const choice of choicesOf(json)) {
      if ((choice.index ?? 0) !== 0) continue
      const piece = (isStream ? choice.delta : choice.message) ?? {}
      if (typeof piece.content === 'string') output.push(piece.content)
      if (typeof choice.text === 'string') output.push(choice.text)
      if (Array.isArray(piece.tool_calls)) toolCalls.push(tryPrint(piece.tool_calls))
    }
  }
  return { output: encodeUtf8(output.join('')), toolCalls: encodeUtf8(toolCalls.join('')) }
}

/** The data of each event that is one `data:` line, as our gateways write them. */
function eventData(body: Uint8Array): string[] {
  return tryDecode(body)
    .split('\n')
    .filter((line) => line.startsWith('data: ') && line !== 'data: [DONE]')
    .map((line) => line.slice('data: '.length))
}

function tryDecode(body: Uint8Array): string {
  try {
    return decodeUtf8(body)
  } catch {
    // A body that is no text says nothing that could be committed to as text.
    return ''
  }
}

function tryPrint(calls: readonly unknown[]): string {
  try {
    return `${JSON.stringify(calls)}\n`
  } catch {
    // Nested deeper than the engine's stack: no call that anybody could make.
    return ''
  }
}

function choicesOf(json: string): readonly Choice[] {
  try {
    const result = v.safeParse(BodySchema, JSON.parse(json))
    return result.success ? (result.output.choices ?? []) : []
  } catch {
    // Not JSON: an upstream's stray line carries no output.
    return []
  }
}
