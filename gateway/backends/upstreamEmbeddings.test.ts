/** Embeddings of a model server, checked. @module */
import { describe, expect, it } from 'vitest'
import { parseEmbeddingsRequest } from '../requests/embeddingsRequest.ts'
import { readEmbeddings } from './upstreamEmbeddings.ts'

const WORDS = { rename: (text: string) => text, subject: 'input' }
const request = (fields: Record<string, unknown> = {}) =>
  parseEmbeddingsRequest({ model: 'm', input: ['a', 'b'], ...fields })
const read = (body: unknown, asked = request()) => readEmbeddings(JSON.stringify(body), asked, 100, WORDS)
const entry = (index: number, embedding: unknown = [1, 2]) => ({ object: 'embedding', index, embedding })
const usage = { prompt_tokens: 5, total_tokens: 5 }

describe('readEmbeddings', () => {
  it('puts the vectors in order, whatever order they came in', () => {
    expect(read({ data: [entry(1, [3, 4]), entry(0)], usage })).toEqual([
      { kind: 'embedding', index: 0, values: [1, 2] },
      { kind: 'embedding', index: 1, values: [3, 4] },
      { kind: 'usage', promptTokens: 5, completionTokens: 0, reported: true },
    ])
  })

  it('takes the place in the list where a server names none', () => {
    const unnamed = [{ embedding: [1] }, { embedding: [2] }]
    expect(read({ data: unnamed, usage }).slice(0, 2)).toMatchObject([{ values: [1] }, { values: [2] }])
  })

  it.each([undefined, {}, { prompt_tokens: -1 }, { prompt_tokens: 'x' }])(
    'estimates where the server counts %j',
    (counted) => {
      expect(read({ data: [entry(0), entry(1)], usage: counted }).at(-1)).toEqual({
        kind: 'usage',
        promptTokens: 25,
        completionTokens: 0,
        reported: false,
      })
    },
  )

  it('checks the dimensions that were asked for', () => {
    const data = [entry(0), entry(1)]
    expect(read({ data, usage }, request({ dimensions: 2 }))).toHaveLength(3)
    expect(() => read({ data, usage }, request({ dimensions: 3 }))).toThrow(
      expect.objectContaining({ code: 'UPSTREAM_MALFORMED' }),
    )
  })

  it.each([
    [7],
    [{}],
    [{ data: {} }],
    [{ data: [entry(0)] }],
    [{ data: [entry(0), entry(1), entry(2)] }],
    [{ data: [entry(0), entry(0)] }],
    [{ data: [entry(0), entry(2)] }],
    [{ data: [entry(0), entry(-1)] }],
    [{ data: [entry(0), 7] }],
    [{ data: [entry(0), entry(1, 'AAAA')] }],
    [{ data: [entry(0), entry(1, [])] }],
    [{ data: [entry(0), entry(1, [1, null])] }],
    [{ data: [entry(0), entry(1, [1])] }],
  ])('refuses %j', (body) => {
    const malformed = expect.objectContaining({ status: 502, code: 'UPSTREAM_MALFORMED' })
    expect(() => read(body)).toThrow(malformed)
    expect(() => readEmbeddings('{"data":', request(), 1, WORDS)).toThrow(malformed)
  })

  it('passes a refusal on that came with status 200', () => {
    const refused = expect.objectContaining({ status: 502, code: 'UPSTREAM_REFUSED' })
    expect(() => read({ error: { message: 'no such model' } })).toThrow(refused)
  })
})
