import { describe, expect, it } from 'vitest'
import type { AnswerEvent, RawChoice } from '../backends/backend.ts'
import { CHAT_FORMAT } from './chat.ts'

const frame = { id: 'chatcmpl-1', created: 1_700_000_000, model: 'public' }

function delta(raw: Record<string, unknown>, index = 0): AnswerEvent {
  const choice: RawChoice = { index, finish_reason: null, ...raw, delta: raw.delta ?? {} } as RawChoice
  return { kind: 'delta', choice: index, content: String(choice.delta?.content ?? ''), raw: choice }
}

function finish(reason: string, index = 0): AnswerEvent {
  return { kind: 'finish', choice: index, reason, raw: { index, delta: {}, finish_reason: reason } }
}

const usage: AnswerEvent = { kind: 'usage', promptTokens: 3, completionTokens: 2, reported: true }

function build(...events: AnswerEvent[]): Record<string, unknown> {
  const builder = CHAT_FORMAT.createBuilder()
  for (const event of events) builder.add(event)
  return builder.build(frame) as Record<string, unknown>
}

describe('a chunk of a chat', () => {
  it('passes the choice on whole, under the frame of the gateway', () => {
    const event = delta({ delta: { content: 'x' }, logprobs: { content: [1] } })
    expect(CHAT_FORMAT.chunk?.(frame, event)).toEqual({
      id: 'chatcmpl-1',
      object: 'chat.completion.chunk',
      created: 1_700_000_000,
      model: 'public',
      choices: [{ index: 0, delta: { content: 'x' }, logprobs: { content: [1] }, finish_reason: null }],
    })
  })

  it('puts usage into a chunk without choices', () => {
    expect(CHAT_FORMAT.chunk?.(frame, usage)).toMatchObject({
      choices: [],
      usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 },
    })
  })
})

describe('a whole chat', () => {
  it('joins text, reasoning and log probabilities', () => {
    const completion = build(
      delta({ delta: { role: 'assistant', content: null, reasoning_content: 'so' } }),
      delta({ delta: { content: 'Hel', reasoning_content: ' far' }, logprobs: { content: [1], refusal: null } }),
      delta({ delta: { content: 'lo' }, logprobs: { content: [2], refusal: null } }),
      finish('stop'),
      usage,
    )
    expect(completion).toEqual({
      id: 'chatcmpl-1',
      object: 'chat.completion',
      created: 1_700_000_000,
      model: 'public',
      choices: [
        {
          index: 0,
          message: { role: 'assistant', content: 'Hello', reasoning_content: 'so far' },
          logprobs: { content: [1, 2], refusal: null },
          finish_reason: 'stop',
        },
      ],
      usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 },
    })
  })

  it('joins the arguments of each tool call by its index', () => {
    const call = (index: number, rest: Record<string, unknown>): AnswerEvent =>
      delta({ delta: { tool_calls: [{ index, ...rest }] } })
    const completion = build(
      call(0, { id: 'a', type: 'function', function: { name: 'f', arguments: '' } }),
      call(0, { function: { arguments: '{"x"' } }),
      call(1, { id: 'b', type: 'function', function: { name: 'g', arguments: '{}' } }),
      call(0, { id: null, function: { name: null, arguments: ':1}' } }),
      finish('tool_calls'),
    )
    expect(completion.choices).toEqual([
      {
        index: 0,
        message: {
          role: 'assistant',
          content: null,
          tool_calls: [
            { id: 'a', type: 'function', function: { name: 'f', arguments: '{"x":1}' } },
            { id: 'b', type: 'function', function: { name: 'g', arguments: '{}' } },
          ],
        },
        finish_reason: 'tool_calls',
      },
    ])
    expect(completion).not.toHaveProperty('usage')
  })

  it('makes no list as long as the index of a hostile tool call', () => {
    const completion = build(
      delta({ delta: { tool_calls: [{ index: 2 ** 31, function: { name: 'f', arguments: '' } }] } }),
    )
    expect(JSON.stringify(completion).length).toBeLessThan(400)
  })

  it('keeps several choices apart and in order', () => {
    const completion = build(
      delta({ delta: { content: 'b' } }, 1),
      delta({ delta: { content: 'a' } }, 0),
      finish('stop', 1),
      finish('length', 0),
    )
    expect(completion.choices).toEqual([
      { index: 0, message: { role: 'assistant', content: 'a' }, finish_reason: 'length' },
      { index: 1, message: { role: 'assistant', content: 'b' }, finish_reason: 'stop' },
    ])
  })
})
