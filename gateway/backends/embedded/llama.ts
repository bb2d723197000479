/** The forward pass of a llama: RMSNorm, RoPE over neighbouring pairs, grouped attention, SwiGLU. Same maths as llama.cpp's. @module */
import type { Gguf } from './gguf.ts'
import { GgufError, numberField } from './gguf.ts'

/** A loaded model. Weights are shared and never written; everything a request computes is in its own `LlamaSession`. */
export interface Llama {
  readonly vocabularySize: number
  readonly contextTokens: number
  readonly shape: LlamaShape
  readonly embedding: Float32Array
  readonly output: Float32Array
  readonly outputNorm: Float32Array
  readonly layers: readonly LlamaLayer[]
}

interface LlamaShape {
  readonly width: number
  readonly hidden: number
  readonly heads: number
  readonly keyHeads: number
  readonly headWidth: number
  readonly epsilon: number
  readonly ropeBase: number
}

/** Matrices row after row; `attnK` and `attnV` have `keyHeads * headWidth` rows. */
interface LlamaLayer {
  readonly attnNorm: Float32Array
  readonly attnQ: Float32Array
  readonly attnK: Float32Array
  readonly attnV: Float32Array
  readonly attnOutput: Float32Array
  readonly ffnNorm: Float32Array
  readonly ffnGate: Float32Array
  readonly ffnUp: Float32Array
  readonly ffnDown: Float32Array
}

/** Takes the weights out of a file. Throws `GgufError` (`UNSUPPORTED`) for another architecture or a missing or misshapen tensor. */
export function loadLlama(gguf: Gguf, vocabularySize: number): Llama {
  if (gguf.fields.get('general.architecture') !== 'llama') {
    throw new GgufError('UNSUPPORTED', 'expected the architecture llama')
  }
  const width = numberField(gguf, 'llama.embedding_length')
  const heads = numberField(gguf, 'llama.attention.head_count')
  const keyHeads = numberField(gguf, 'llama.attention.head_count_kv', heads)
  const hidden = numberField(gguf, 'llama.feed_forward_length')
  const headWidth = width / heads
  const rows = [width, hidden, keyHeads * headWidth, vocabularySize]
  if (
    !Number.isInteger(headWidth) ||
    headWidth % 2 !== 0 ||
    heads % keyHeads !== 0 ||
    rows.some((count) => count % 4)
  ) {
    throw new GgufError('UNSUPPORTED', 'expected even heads in whole groups, and matrices of a multiple of four rows')
  }
  if (numberField(gguf, 'llama.rope.dimension_count', headWidth) !== headWidth) {
    throw new GgufError('UNSUPPORTED', 'expected RoPE over whole heads')
  }
  const take = (name: string, ...shape: number[]): Float32Array => {
    const tensor = gguf.tensors.get(`${name}.weight`)
    if (tensor === undefined || tensor.shape.join() !== shape.join()) {
      throw new GgufError('UNSUPPORTED', `expected the tensor ${name}.weight of shape ${shape.join('x')}`)
    }
    return tensor.data
  }
  const layers: LlamaLayer[] = []
  for (let i = 0; i < numberField(gguf, 'llama.block_count'); i++) {
    layers.push({
      attnNorm: take(`blk.${i}.attn_norm`, width),
      attnQ: take(`blk.${i}.attn_q`, width, width),
      attnK: take(`blk.${i}.attn_k`, width, keyHeads * headWidth),
      attnV: take(`blk.${i}.attn_v`, width, keyHeads * headWidth),
      attnOutput: take(`blk.${i}.attn_output`, width, width),
      ffnNorm: take(`blk.${i}.ffn_norm`, width),
      ffnGate: take(`blk.${i}.ffn_gate`, width, hidden),
      ffnUp: take(`blk.${i}.ffn_up`, width, hidden),
      ffnDown: take(`blk.${i}.ffn_down`, hidden, width),
    })
  }
  const embedding = take('token_embd', width, vocabularySize)
  return {
    vocabularySize,
    contextTokens: numberField(gguf, 'llama.context_length'),
    shape: {
      width,
      hidden,
      heads,
      keyHeads,
      headWidth,
      epsilon: numberField(gguf, 'llama.attention.layer_norm_rms_epsilon'),
      ropeBase: numberField(gguf, 'llama.rope.freq_base', 10_000),
    },
    embedding,
    // Without a matrix of its own the output is the embedding.
    output: gguf.tensors.has('output.weight') ? take('output', width, vocabularySize) : embedding,
    outputNorm: take('output_norm', width),
    layers,
  }
}

/** One request's state: the keys and values of the tokens so far. */
export class LlamaSession {
  readonly #model: Llama
  readonly #keys: readonly Float32Array[]
  readonly #values: readonly Float32Array[]
  readonly #scratch: Scratch
  readonly #cosine: Float64Array
  readonly #sine: Float64Array
  readonly #positionsMax: number
  #position = 0

  /** Room for `positionsMax` tokens. */
  constructor(model: Llama, positionsMax: number) {
    const { width, hidden, keyHeads, headWidth } = model.shape
    this.#model = model
    this.#positionsMax = positionsMax
    const cache = (): Float32Array => new Float32Array(positionsMax * keyHeads * headWidth)
    this.#keys = model.layers.map(cache)
    this.#values = model.layers.map(cache)
    this.#scratch = {
      x: new Float32Array(width),
      normed: new Float32Array(width),
      query: new Float32Array(width),
      mixed: new Float32Array(width),
      added: new Float32Array(width),
      gate: new Float32Array(hidden),
      up: new Float32Array(hidden),
      weights: new Float32Array(positionsMax),
      logits: new Float32Array(model.vocabularySize),
    }
    this.#cosine = new Float64Array(headWidth / 2)
    this.#sine = new Float64Array(headWidth / 2)
  }

  /** Reads one token more. */
  feed(token: number): void {
    const { shape, layers, embedding } = this.#model
    if (this.#position >= this.#positionsMax)
      throw new RangeError('expected no more tokens than the session has room for')
    const { x, normed, query, mixed, added, gate, up } = this.#scratch
    const { width, hidden, keyHeads, headWidth, heads } = shape
    const keyWidth = keyHeads * headWidth
    x.set(embedding.subarray(token * width, (token + 1) * width))
    this.#turn()
    for (const [index, layer] of layers.entries()) {
      const keys = this.#keys[index]
      const values = this.#values[index]
      if (keys === undefined || values === undefined) throw new RangeError('expected a cache for every layer')
      const key = keys.subarray(this.#position * keyWidth, (this.#position + 1) * keyWidth)
      const value = values.subarray(this.#position * keyWidth, (this.#position + 1) * keyWidth)
      normalize(normed, x, layer.attnNorm, shape.epsilon)
      multiply(query, layer.attnQ, normed)
      multiply(key, layer.attnK, normed)
      multiply(value, layer.attnV, normed)
      rotate(query, heads, this.#cosine, this.#sine)
      rotate(key, keyHeads, this.#cosine, this.#sine)
      attend(mixed, query, keys, values, this.#scratch.weights, this.#position + 1, shape)
      multiply(added, layer.attnOutput, mixed)
      for (let i = 0; i < width; i++) x[i] = (x[i] ?? 0) + (added[i] ?? 0)
      normalize(normed, x, layer.ffnNorm, shape.epsilon)
      multiply(gate, layer.ffnGate, normed)
      multiply(up, layer.ffnUp, normed)
      for (let i = 0; i < hidden; i++) {
        const g = gate[i] ?? 0
        gate[i] = (g / (1 + Math.exp(-g))) * (up[i] ?? 0)
      }
      multiply(added, layer.ffnDown, gate)
      for (let i = 0; i < width; i++) x[i] = (x[i] ?? 0) + (added[i] ?? 0)
    }
    this.#position++
  }

  /** Logits of the token after the last one fed. The array is reused by the next call. */
  predict(): Float32Array {
    const { normed, x, logits } = this.#scratch
    normalize(normed, x, this.#model.outputNorm, this.#model.shape.epsilon)
    multiply(logits, this.#model.output, normed)
    return logits
  }

  /** Overwrites what the session remembers of the request. */
  wipe(): void {
    for (const array of [...this.#keys, ...this.#values, ...Object.values(this.#scratch)]) array.fill(0)
    this.#position = this.#positionsMax
  }

  /** The rotation of this position: one angle for each pair. */
  #turn(): void {
    const { headWidth, ropeBase } = this.#model.shape
    for (let i = 0; i < headWidth / 2; i++) {
      const angle = this.#position * ropeBase ** ((-2 * i) / headWidth)
      this.#cosine[i] = Math.cos(angle)
      this.#sine[i] = Math.sin(angle)
    }
  }
}

interface Scratch extends Record<string, Float32Array> {
  readonly x: Float32Array
  readonly normed: Float32Array
  readonly query: Float32Array
  readonly mixed: Float32Array
  readonly added: Float32Array
  readonly gate: Float32Array
  readonly up: Float32Array
  readonly weights: Float32Array
  readonly logits: Float32Array
}

// In the loops below `?? 0` only satisfies the compiler: every index is inside by construction, and the engine drops the check.

/** out = matrix * vector, four rows at a time: each value of the vector is read once for four products. */
function multiply(out: Float32Array, matrix: Float32Array, vector: Float32Array): void {
  const columns = vector.length
  for (let row = 0; row < out.length; row += 4) {
    const base0 = row * columns
    const base1 = base0 + columns
    const base2 = base1 + columns
    const base3 = base2 + columns
    let sum0 = 0
    let sum1 = 0
    let sum2 = 0
    let sum3 = 0
    for (let i = 0; i < columns; i++) {
      const value = vector[i] ?? 0
      sum0 += (matrix[base0 + i] ?? 0) * value
      sum1 += (matrix[base1 + i] ?? 0) * value
      sum2 += (matrix[base2 + i] ?? 0) * value
      sum3 += (matrix[base3 + i] ?? 0) * value
    }
    out[row] = sum0
    out[row + 1] = sum1
    out[row + 2] = sum2
    out[row + 3] = sum3
  }
}

function normalize(out: Float32Array, x: Float32Array, weight: Float32Array, epsilon: number): void {
  let squares = 0
  for (let i = 0; i < x.length; i++) squares += (x[i] ?? 0) * (x[i] ?? 0)
  const scale = 1 / Math.sqrt(squares / x.length + epsilon)
  for (let i = 0; i < x.length; i++) out[i] = (x[i] ?? 0) * scale * (weight[i] ?? 0)
}

function rotate(vector: Float32Array, heads: number, cosine: Float64Array, sine: Float64Array): void {
  const pairs = cosine.length
  for (let head = 0; head < heads; head++) {
    for (let i = 0; i < pairs; i++) {
      const at = 2 * (head * pairs + i)
      const even = vector[at] ?? 0
      const odd = vector[at + 1] ?? 0
      vector[at] = even * (cosine[i] ?? 0) - odd * (sine[i] ?? 0)
      vector[at + 1] = even * (sine[i] ?? 0) + odd * (cosine[i] ?? 0)
    }
  }
}

/** Attention of one query over `length` positions; several query heads share a key head. `weights` is scratch. */
function attend(
  out: Float32Array,
  query: Float32Array,
  keys: Float32Array,
  values: Float32Array,
  weights: Float32Array,
  length: number,
  { heads, keyHeads, headWidth }: LlamaShape,
): void {
  const keyWidth = keyHeads * headWidth
  const scale = 1 / Math.sqrt(headWidth)
  out.fill(0)
  for (let head = 0; head < heads; head++) {
    const at = head * headWidth
    const keyAt = Math.floor(head / (heads / keyHeads)) * headWidth
    let highest = Number.NEGATIVE_INFINITY
    for (let position = 0; position < length; position++) {
      let score = 0
      const base = position * keyWidth + keyAt
      for (let i = 0; i < headWidth; i++) score += (query[at + i] ?? 0) * (keys[base + i] ?? 0)
      weights[position] = score * scale
      if (score * scale > highest) highest = score * scale
    }
    let sum = 0
    for (let position = 0; position < length; position++) {
      const weight = Math.exp((weights[position] ?? 0) - highest)
      weights[position] = weight
      sum += weight
    }
    for (let position = 0; position < length; position++) {
      const share = (weights[position] ?? 0) / sum
      const base = position * keyWidth + keyAt
      for (let i = 0; i < headWidth; i++) out[at + i] = (out[at + i] ?? 0) + share * (values[base + i] ?? 0)
    }
  }
}
