/** Parsing of completion and embeddings requests. @module */
import { describe, expect, it } from 'vitest'
import { parseCompletionRequest } from './completionRequest.ts'
import { parseEmbeddingsRequest } from './embeddingsRequest.ts'

const completion = (fields: Record<string, unknown>) => parseCompletionRequest({ model: 'm', prompt: 'x', ...fields })
const embeddings = (fields: Record<string, unknown>) => parseEmbeddingsRequest({ model: 'm', input: 'x', ...fields })
const refused = (param: string) => expect.objectContaining({ status: 400, code: 'INVALID_REQUEST', param })

describe('parseCompletionRequest', () => {
  it('has defaults, and keeps what it does not know', () => {
    expect(completion({ stop: '.', suffix: 'y', echo: true, logprobs: 2 })).toEqual({
      model: 'm',
      prompts: ['x'],
      stream: false,
      includeUsage: false,
      choices: 1,
      tokensMax: 16,
      parameters: { stop: '.', suffix: 'y', echo: true, logprobs: 2 },
    })
  })

  it('counts the choices of every prompt, and keeps best_of where it says something', () => {
    expect(completion({ prompt: ['a', 'b'], n: 3, best_of: 3 })).toMatchObject({ choices: 6, parameters: { n: 3 } })
    expect(completion({ prompt: ['a', 'b'], n: 3, best_of: 3 }).parameters).not.toHaveProperty('best_of')
    expect(completion({ best_of: 2 })).toMatchObject({ choices: 1, parameters: { best_of: 2 } })
  })

  it('may write nothing, and no more than the gateway allows where nothing is asked for', () => {
    expect(completion({ max_tokens: 0 }).tokensMax).toBe(0)
    const limits = { completionTokensMax: 5, choicesMax: 1, inputsMax: 1 }
    expect(parseCompletionRequest({ model: 'm', prompt: 'x' }, limits).tokensMax).toBe(5)
  })

  it.each([
    ['max_tokens', -1],
    ['max_tokens', 1.5],
    ['n', 0],
    ['best_of', 'x'],
    ['stream', 1],
  ])('refuses %s = %j', (param, value) => {
    expect(() => completion({ [param]: value })).toThrow(refused(param))
  })

  it('has 128 choices at most unless told otherwise, those of all its prompts', () => {
    expect(completion({ n: 128 }).choices).toBe(128)
    expect(() => completion({ n: 129 })).toThrow(refused('n'))
    expect(completion({ prompt: Array(64).fill('x'), n: 2 }).choices).toBe(128)
    expect(() => completion({ prompt: Array(43).fill('x'), n: 3 })).toThrow(refused('n'))
  })

  it('refuses fewer candidates than choices, and several of them in a stream', () => {
    expect(() => completion({ n: 3, best_of: 2 })).toThrow(refused('best_of'))
    expect(() => completion({ best_of: 2, stream: true })).toThrow(refused('best_of'))
    expect(completion({ best_of: 2, n: 2, stream: true })).toMatchObject({ choices: 2, stream: true })
  })
})

const TEXTS: readonly [unknown, unknown][] = [
  ['a', ['a']],
  [
    ['a', 'b'],
    ['a', 'b'],
  ],
  [[1, 2], [[1, 2]]],
  [
    [[1], [2, 3]],
    [[1], [2, 3]],
  ],
]
const NO_TEXTS: readonly unknown[] = [
  '',
  [],
  [''],
  [[]],
  [1.5],
  [-1],
  [1, 'a'],
  ['a', 1],
  ['a', [1]],
  [[1], 'a'],
  {},
  7,
  [null],
  undefined,
]

describe.each([
  ['prompt', (prompt: unknown) => parseCompletionRequest({ model: 'm', prompt }).prompts],
  ['input', (input: unknown) => parseEmbeddingsRequest({ model: 'm', input }).inputs],
] as const)('%s', (name, parse) => {
  it.each(TEXTS)('may be %j', (value, texts) => {
    expect(parse(value)).toEqual(texts)
  })

  it.each(NO_TEXTS.map((value) => [value]))('may not be %j', (value) => {
    expect(() => parse(value)).toThrow(refused(name))
  })
})

describe('parseEmbeddingsRequest', () => {
  it('reads encoding and dimensions, and keeps what it does not know', () => {
    expect(embeddings({ user: 'me', truncate: true })).toEqual({
      model: 'm',
      inputs: ['x'],
      encoding: 'float',
      dimensions: undefined,
      parameters: { truncate: true },
    })
    expect(embeddings({ encoding_format: 'base64', dimensions: 65_536 })).toMatchObject({
      encoding: 'base64',
      dimensions: 65_536,
    })
  })

  it('has 2,048 inputs at most unless told otherwise', () => {
    expect(embeddings({ input: Array(2_048).fill('x') }).inputs).toHaveLength(2_048)
    expect(() => embeddings({ input: Array(2_049).fill('x') })).toThrow(refused('input'))
  })

  it.each([
    ['encoding_format', 'int8'],
    ['dimensions', 0],
    ['dimensions', 65_537],
    ['model', 7],
  ])('refuses %s = %j', (param, value) => {
    expect(() => embeddings({ [param]: value })).toThrow(refused(param))
  })
})
