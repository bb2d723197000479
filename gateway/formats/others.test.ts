/** The formats of completions and embeddings. @module */
import { describe, expect, it } from 'vitest'
import { fromBase64 } from '#protocol/bytes.ts'
import { cpuMs } from '../../test/support/cpuTime.ts'
import type { AnswerEvent } from '../backends/backend.ts'
import { embeddingsFormat } from './embeddings.ts'
import type { AnswerFormat } from './format.ts'
import { TEXT_FORMAT } from './text.ts'

const frame = { id: 'cmpl-1', created: 1_700_000_000, model: 'public' }
const usage: AnswerEvent = { kind: 'usage', promptTokens: 3, completionTokens: 2, reported: true }

function build(format: AnswerFormat, ...events: AnswerEvent[]): unknown {
  const builder = format.createBuilder()
  for (const event of events) builder.add(event)
  return builder.build(frame)
}

describe('a completion', () => {
  const delta = (text: string, choice: number, logprobs: unknown = null): AnswerEvent => {
    return { kind: 'delta', choice, content: text, raw: { text, index: choice, logprobs, finish_reason: null } }
  }

  it('has chunks and a whole of the same kind', () => {
    const head = { id: 'cmpl-1', object: 'text_completion', created: 1_700_000_000, model: 'public' }
    const choice = { text: 'x', index: 0, logprobs: null, finish_reason: null }
    expect(TEXT_FORMAT.chunk?.(frame, delta('x', 0))).toEqual({ ...head, choices: [choice] })
    const total = { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 }
    expect(TEXT_FORMAT.chunk?.(frame, usage)).toEqual({ ...head, choices: [], usage: total })
    expect(build(TEXT_FORMAT)).toEqual({ ...head, choices: [] })
  })

  it('joins text and the lists of log probabilities, each choice by itself', () => {
    const logprobs = (token: string) => ({ tokens: [token], token_logprobs: [-1], text_offset: [0] })
    const first = logprobs('a')
    const end = TEXT_FORMAT.finishAtBound?.(1)
    if (end === undefined) throw new Error('expected an end')
    const whole = build(TEXT_FORMAT, delta('a', 1, first), delta('x', 0), delta('b', 1, logprobs('b')), end, usage)
    expect(whole).toMatchObject({
      choices: [
        { text: 'x', index: 0, logprobs: null, finish_reason: null },
        {
          text: 'ab',
          index: 1,
          logprobs: { tokens: ['a', 'b'], token_logprobs: [-1, -1], text_offset: [0, 0] },
          finish_reason: 'length',
        },
      ],
    })
    // What an event holds is not ours to change.
    expect(first).toEqual(logprobs('a'))
  })

  it('costs its length, not its square', async () => {
    const long = Array.from({ length: 50_000 }, (_, i) => delta('word ', 0, { tokens: [`${i}`] }))
    let built: unknown
    const ms = await cpuMs(() => {
      built = build(TEXT_FORMAT, ...long)
    })
    expect(built).toMatchObject({ choices: [{ text: 'word '.repeat(50_000) }] })
    expect(ms).toBeLessThan(1_000)
  })
})

describe('embeddings', () => {
  const values = [0.1, -2.5, 3e-8, 0]
  const events: AnswerEvent[] = [
    { kind: 'embedding', index: 0, values },
    { kind: 'embedding', index: 1, values: [1] },
    { ...usage, completionTokens: 0 },
  ]
  const list = { object: 'list', model: 'public', usage: { prompt_tokens: 3, total_tokens: 3 } }

  it('are numbers as the model server said them', () => {
    expect(build(embeddingsFormat('float'), ...events)).toEqual({
      ...list,
      data: [
        { object: 'embedding', index: 0, embedding: values },
        { object: 'embedding', index: 1, embedding: [1] },
      ],
    })
  })

  it('are 32-bit floats, little-endian, where base64 is asked for', () => {
    const { data } = build(embeddingsFormat('base64'), ...events) as { data: { embedding: string }[] }
    expect(data[1]?.embedding).toBe('AACAPw==')
    const view = new DataView(fromBase64(data[0]?.embedding ?? '').buffer)
    expect(values.map((_, i) => view.getFloat32(4 * i, true))).toEqual(values.map(Math.fround))
  })

  it('are never streamed nor cut', () => {
    const { chunk, finishAtBound } = embeddingsFormat('float')
    expect([chunk, finishAtBound]).toEqual([undefined, undefined])
  })
})
