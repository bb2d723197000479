/** The SPM tokenizer of llama.cpp: pairs joined by score, bytes for what is not in the vocabulary. Twin of scripts/model/vocabulary.py. @module */
import { encodeUtf8 } from '#protocol/bytes.ts'
import type { Gguf } from './gguf.ts'
import { GgufError, numberField, numbersField, stringsField } from './gguf.ts'

export interface Tokenizer {
  readonly size: number
  readonly bos: number
  readonly eos: number
  /** The id of a control token, such as `<|user|>`; throws `GgufError` (`UNSUPPORTED`) when the file has none of that name. */
  control(name: string): number
  /** Token ids of plain text. Names of control tokens inside it are text like any other, so nobody can forge a turn. */
  encode(text: string): number[]
  /** The bytes a token stands for: none for a control token. A character may be spread over several tokens. */
  bytes(token: number): Uint8Array
  /** No text of more UTF-8 bytes than `tokens` times this fits into so many tokens. */
  readonly bytesPerTokenMax: number
}

/** Reads the vocabulary of a file. Throws `GgufError` (`UNSUPPORTED`) for another kind of tokenizer. */
export function loadTokenizer(gguf: Gguf): Tokenizer {
  if (gguf.fields.get('tokenizer.ggml.model') !== 'llama')
    throw new GgufError('UNSUPPORTED', 'expected an SPM vocabulary')
  if (gguf.fields.get('tokenizer.ggml.add_space_prefix') !== false) {
    throw new GgufError('UNSUPPORTED', 'expected a vocabulary that adds no space before a text')
  }
  const tokens = stringsField(gguf, 'tokenizer.ggml.tokens')
  const scores = numbersField(gguf, 'tokenizer.ggml.scores')
  const types = numbersField(gguf, 'tokenizer.ggml.token_type')
  if (scores.length !== tokens.length || types.length !== tokens.length) {
    throw new GgufError('UNSUPPORTED', 'expected a score and a type for every token')
  }
  const pieces = new Map<string, Piece>()
  const controls = new Map<string, number>()
  const byteIds = new Map<number, number>()
  const bytes = tokens.map((text, id) => {
    if (types[id] === TYPE_BYTE) {
      const value = Number.parseInt(text.slice(3, 5), 16)
      byteIds.set(value, id)
      return Uint8Array.of(value)
    }
    if (types[id] !== TYPE_NORMAL) {
      controls.set(text, id)
      return new Uint8Array(0)
    }
    pieces.set(text, { id, score: scores[id] ?? 0 })
    return encodeUtf8(text.replaceAll(SPACE, ' '))
  })
  if (byteIds.size !== 256) throw new GgufError('UNSUPPORTED', 'expected a token for each of the 256 bytes')
  return {
    size: tokens.length,
    bos: numberField(gguf, 'tokenizer.ggml.bos_token_id'),
    eos: numberField(gguf, 'tokenizer.ggml.eos_token_id'),
    control: (name) => {
      const id = controls.get(name)
      if (id === undefined) throw new GgufError('UNSUPPORTED', `expected a control token ${name}`)
      return id
    },
    encode: (text) => encode(pieces, byteIds, text),
    bytes: (token) => bytes[token] ?? new Uint8Array(0),
    bytesPerTokenMax: bytes.reduce((longest, { length }) => Math.max(longest, length), 1),
  }
}

const SPACE = '\u2581'
const TYPE_NORMAL = 1
const TYPE_BYTE = 6

interface Piece {
  readonly id: number
  readonly score: number
}

/** A run of text in a list linked by indices; `text` is '' once it was joined to the run before it. */
interface Run {
  text: string
  previous: number
  next: number
}

/** Joins the two neighbours whose union is the piece of the best score, the leftmost of equals, until none is left. */
function encode(pieces: ReadonlyMap<string, Piece>, byteIds: ReadonlyMap<number, number>, text: string): number[] {
  const characters = Array.from(text.replaceAll(' ', SPACE))
  const runs: Run[] = characters.map((character, i) => ({
    text: character,
    previous: i - 1,
    next: i + 1 < characters.length ? i + 1 : -1,
  }))
  const queue = new PairQueue()
  const propose = (left: number): void => {
    const run = runs[left]
    const next = run === undefined ? undefined : runs[run.next]
    if (run === undefined || next === undefined) return
    const union = run.text + next.text
    const piece = pieces.get(union)
    if (piece !== undefined) queue.push({ left, right: run.next, text: union, score: piece.score })
  }
  for (let i = 0; i + 1 < runs.length; i++) propose(i)
  for (let pair = queue.pop(); pair !== undefined; pair = queue.pop()) {
    const left = runs[pair.left]
    const right = runs[pair.right]
    if (left === undefined || right === undefined) continue
    // A pair is stale once either run has been joined to another.
    if (left.text === '' || left.next !== pair.right || left.text + right.text !== pair.text) continue
    left.text = pair.text
    left.next = right.next
    right.text = ''
    const after = runs[right.next]
    if (after !== undefined) after.previous = pair.left
    propose(left.previous)
    propose(pair.left)
  }
  return runs.flatMap(({ text: run }) => {
    const piece = pieces.get(run)
    if (piece !== undefined) return [piece.id]
    return Array.from(encodeUtf8(run.replaceAll(SPACE, ' ')), (byte) => byteIds.get(byte) ?? 0)
  })
}

interface Pair {
  readonly left: number
  readonly right: number
  readonly text: string
  readonly score: number
}

/** A binary heap: the best score first, then the leftmost. */
class PairQueue {
  readonly #heap: Pair[] = []

  push(pair: Pair): void {
    const heap = this.#heap
    let at = heap.length
    while (at > 0) {
      const parent = (at - 1) >> 1
      const above = heap[parent]
      if (above === undefined || !comesFirst(pair, above)) break
      heap[at] = above
      at = parent
    }
    heap[at] = pair
  }

  pop(): Pair | undefined {
    const heap = this.#heap
    const top = heap[0]
    const last = heap.pop()
    if (top === undefined || last === undefined || heap.length === 0) return top
    let at = 0
    for (;;) {
      const left = heap[2 * at + 1]
      const right = heap[2 * at + 2]
      const isRight = left !== undefined && right !== undefined && comesFirst(right, left)
      const child = isRight ? right : left
      if (child === undefined || !comesFirst(child, last)) break
      heap[at] = child
      at = 2 * at + (isRight ? 2 : 1)
    }
    heap[at] = last
    return top
  }
}

function comesFirst(a: Pair, b: Pair): boolean {
  return a.score !== b.score ? a.score > b.score : a.left < b.left
}
