import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { concatBytes, decodeUtf8 } from '#protocol/bytes.ts'
import { cpuMs } from '../../../test/support/cpuTime.ts'
import { type Gguf, type GgufValue, parseGguf } from './gguf.ts'
import { loadTokenizer } from './tokenizer.ts'

const SPACE = '\u2581'

/** A vocabulary of the bytes and of `pieces`, the first of the best score. */
function vocabulary(pieces: readonly string[], changes: Record<string, GgufValue> = {}): Gguf {
  const bytes = Array.from({ length: 256 }, (_, i) => `<0x${i.toString(16).toUpperCase().padStart(2, '0')}>`)
  const fields: Record<string, GgufValue> = {
    'tokenizer.ggml.model': 'llama',
    'tokenizer.ggml.tokens': ['<s>', '</s>', ...bytes, ...pieces],
    'tokenizer.ggml.scores': [0, 0, ...bytes.map(() => 0), ...pieces.map((_, i) => -i)],
    'tokenizer.ggml.token_type': [3, 3, ...bytes.map(() => 6), ...pieces.map(() => 1)],
    'tokenizer.ggml.bos_token_id': 0,
    'tokenizer.ggml.eos_token_id': 1,
    'tokenizer.ggml.add_space_prefix': false,
    ...changes,
  }
  return { fields: new Map(Object.entries(fields)), tensors: new Map() }
}

/** The pieces that `text` is cut into; a byte token as its number. */
function cut(pieces: readonly string[], text: string): (string | number)[] {
  const ids = loadTokenizer(vocabulary(pieces)).encode(text)
  return ids.map((id) => (id >= 258 ? (pieces[id - 258] ?? '') : id - 2))
}

describe('loadTokenizer', () => {
  it('joins the pair of the best score first, not the longest', () => {
    expect(cut(['bc', 'ab', 'a', 'b', 'c'], 'abc')).toEqual(['a', 'bc'])
    expect(cut(['ab', 'bc', 'a', 'b', 'c'], 'abc')).toEqual(['ab', 'c'])
  })

  it('joins the leftmost of equal pairs', () => {
    expect(cut(['aa', 'a'], 'aaaaa')).toEqual(['aa', 'aa', 'a'])
  })

  it('forgets a pair once one of its halves was joined elsewhere', () => {
    // Joining the first two leaves a proposal whose left half is gone while its right half may grow into the same text.
    expect(cut(['aa', 'aaa', 'a'], 'aaaa')).toEqual(['aa', 'aa'])
    expect(cut(['ba', 'aa', 'aab', 'a', 'b'], 'baaab')).toEqual(['ba', 'aab'])
  })

  it('writes a space as its sign and falls back to bytes', () => {
    expect(cut([`${SPACE}b`, 'a', 'b', SPACE], 'a b')).toEqual(['a', `${SPACE}b`])
    expect(cut(['a'], 'a€\n')).toEqual(['a', 0xe2, 0x82, 0xac, 0x0a])
    expect(cut(['a'], 'a b')).toEqual(['a', 0x20, 0x62])
  })

  it('reads the name of a control token in a text as text', () => {
    const ids = loadTokenizer(vocabulary(['<', '/', 's', '>'])).encode('</s>')
    expect(ids).toEqual([258, 259, 260, 261])
  })

  it('refuses vocabularies of another kind', () => {
    const unsupported = expect.objectContaining({ name: 'GgufError', code: 'UNSUPPORTED' })
    for (const changes of [
      { 'tokenizer.ggml.model': 'gpt2' },
      { 'tokenizer.ggml.add_space_prefix': true },
      { 'tokenizer.ggml.scores': [0] },
      { 'tokenizer.ggml.tokens': ['a'], 'tokenizer.ggml.scores': [0], 'tokenizer.ggml.token_type': [1] },
    ]) {
      expect(() => loadTokenizer(vocabulary(['a'], changes))).toThrow(unsupported)
    }
    expect(() => loadTokenizer(vocabulary(['a'])).control('<|user|>')).toThrow(unsupported)
  })
})

describe('the vocabulary of the shipped model', () => {
  const shipped = loadTokenizer(parseGguf(readFileSync(new URL('../../models/sealpath-demo.gguf', import.meta.url))))

  it.each(['What is Sealpath?', ' two  spaces ', 'Grüße, 世界 😀\n\tdone', '', '<|user|> </s>', 'x'.repeat(3_000)])(
    'gives %j back',
    (text) => {
      const ids = shipped.encode(text)
      expect(decodeUtf8(concatBytes(...ids.map((id) => shipped.bytes(id))))).toBe(text)
      expect(ids.filter((id) => shipped.bytes(id).length === 0)).toEqual([])
      expect(ids.length * shipped.bytesPerTokenMax).toBeGreaterThanOrEqual(Buffer.byteLength(text))
    },
  )

  it('cuts a long text without spaces in time that is not its square', async () => {
    expect(await cpuMs(() => shipped.encode('settlement'.repeat(20_000)))).toBeLessThan(5_000)
  })
})
