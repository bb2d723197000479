import fc from 'fast-check'
import { expect, test } from 'vitest'
import { decodeUtf8, encodeUtf8 } from '../bytes.ts'
import { readAnswer } from './answer.ts'

const SEEDED = { seed: 20_261_121 }
const SSE = 'text/event-stream'
const JSON_TYPE = 'application/json'

function stream(chunks: readonly unknown[]): Uint8Array {
  return encodeUtf8(`${chunks.map((chunk) => `data: ${JSON.stringify(chunk)}\n\n`).join('')}data: [DONE]\n\n`)
}

function read(body: Uint8Array, type: string): { output: string; toolCalls: string } {
  const { output, toolCalls } = readAnswer(body, type)
  return { output: decodeUtf8(output), toolCalls: decodeUtf8(toolCalls) }
}

test('reads the same text from a stream and from the whole', () => {
  fc.assert(
    fc.property(fc.array(fc.string({ unit: 'grapheme', maxLength: 12 }), { maxLength: 20 }), (pieces) => {
      const chunks = pieces.map((content) => ({ choices: [{ index: 0, delta: { content } }] }))
      const whole = { choices: [{ index: 0, message: { role: 'assistant', content: pieces.join('') } }] }
      const fromStream = read(stream(chunks), SSE)
      expect(fromStream).toEqual({ output: pieces.join(''), toolCalls: '' })
      expect(read(encodeUtf8(JSON.stringify(whole)), JSON_TYPE)).toEqual(fromStream)
    }),
    SEEDED,
  )
})

test('reads the text of a completion from a stream and from the whole, and nothing from embeddings', () => {
  const chunks = [
    { choices: [{ index: 0, text: 'Hel', logprobs: null, finish_reason: null }] },
    { choices: [{ index: 1, text: 'other', finish_reason: 'stop' }] },
    { choices: [{ index: 0, text: 'lo', finish_reason: 'stop' }] },
  ]
  const whole = {
    object: 'text_completion',
    choices: [
      { index: 0, text: 'Hello' },
      { index: 1, text: 'other' },
    ],
  }
  expect(read(stream(chunks), SSE)).toEqual({ output: 'Hello', toolCalls: '' })
  expect(read(encodeUtf8(JSON.stringify(whole)), JSON_TYPE)).toEqual({ output: 'Hello', toolCalls: '' })
  const embeddings = { object: 'list', data: [{ object: 'embedding', index: 0, embedding: [1], text: 'x' }] }
  expect(read(encodeUtf8(JSON.stringify(embeddings)), JSON_TYPE)).toEqual({ output: '', toolCalls: '' })
})

test('prints each list of tool calls on a line of its own, one for a whole completion', () => {
  const first = [{ index: 0, id: 'a', function: { name: 'f', arguments: '{"x"' } }]
  const second = [{ index: 0, function: { arguments: ':1}' } }]
  const chunks = [first, second].map((calls) => ({ choices: [{ index: 0, delta: { tool_calls: calls } }] }))
  expect(read(stream(chunks), SSE)).toEqual({
    output: '',
    toolCalls: `${JSON.stringify(first)}\n${JSON.stringify(second)}\n`,
  })
  const calls = [{ id: 'a', type: 'function', function: { name: 'f', arguments: '{"x":1}' } }]
  const whole = { choices: [{ message: { content: null, tool_calls: calls } }] }
  expect(read(encodeUtf8(JSON.stringify(whole)), JSON_TYPE)).toEqual({
    output: '',
    toolCalls: `${JSON.stringify(calls)}\n`,
  })
})

test('reads choice 0 only, in whatever order choices come', () => {
  const choices = [
    { index: 1, delta: { content: 'b' } },
    { index: 0, delta: { content: 'a' } },
    { delta: { content: '!' } },
  ]
  expect(read(stream([{ choices }, { choices: [] }, { usage: {} }]), SSE).output).toBe('a!')
})

test('takes the media type with parameters, and a stream for a stream only', () => {
  const body = stream([{ choices: [{ delta: { content: 'a' } }] }])
  expect(read(body, `${SSE}; charset=utf-8`).output).toBe('a')
  expect(read(body, JSON_TYPE).output).toBe('')
  expect(read(encodeUtf8('{"choices":[{"message":{"content":"a"}}]}'), SSE).output).toBe('')
})

test.each([
  ['nothing', ''],
  ['no JSON', 'hello'],
  ['null', 'null'],
  ['a list', '[1]'],
  ['choices that are no list', '{"choices":7}'],
  ['a choice that is null', '{"choices":[null]}'],
  ['an index that is no number', '{"choices":[{"index":"0","message":{"content":"x"}}]}'],
  ['content that is no text', '{"choices":[{"message":{"content":["x"]}}]}'],
  ['tool calls that are no list', '{"choices":[{"message":{"tool_calls":{"a":1}}}]}'],
  ['a prototype', '{"__proto__":{"choices":[{"message":{"content":"x"}}]}}'],
])('reads nothing from %s', (_what, text) => {
  expect(read(encodeUtf8(text), JSON_TYPE)).toEqual({ output: '', toolCalls: '' })
  expect(read(encodeUtf8(`data: ${text}\n\n`), SSE)).toEqual({ output: '', toolCalls: '' })
})

test('reads nothing from bytes that are no text', () => {
  expect(read(Uint8Array.of(0xff, 0xfe), JSON_TYPE)).toEqual({ output: '', toolCalls: '' })
})

test('survives tool calls nested deeper than the stack', () => {
  const depth = 200_000
  const calls = `${'['.repeat(depth)}${']'.repeat(depth)}`
  const body = encodeUtf8(`{"choices":[{"message":{"content":"x","tool_calls":${calls}}}]}`)
  expect(read(body, JSON_TYPE)).toEqual({ output: 'x', toolCalls: '' })
})

test('never throws, whatever the bytes', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.constantFrom(SSE, JSON_TYPE, ''), (body, type) => {
      readAnswer(body, type)
    }),
    SEEDED,
  )
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const text = JSON.stringify({ choices: [{ delta: value, message: value }, value] })
      readAnswer(encodeUtf8(text), JSON_TYPE)
      readAnswer(encodeUtf8(`data: ${text}\n`), SSE)
    }),
    SEEDED,
  )
})
