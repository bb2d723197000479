/** GGUF, version 3: a model's fields and tensors. Source: ggml-org/ggml, docs/gguf.md. @module */

export type GgufValue = string | number | bigint | boolean | readonly GgufValue[]

export interface Gguf {
  readonly fields: ReadonlyMap<string, GgufValue>
  readonly tensors: ReadonlyMap<string, Tensor>
}

/** `shape` from the fastest dimension, as the file has it: a matrix of R rows and C columns is [C, R], its data row after row. */
export interface Tensor {
  readonly shape: readonly number[]
  readonly data: Float32Array
}

/**
 * Parses a whole file. Tensors of F32 and F16 only, both handed out as F32. Throws `GgufError`: `MALFORMED` for a file that is cut,
 * inconsistent or none, `UNSUPPORTED` for a version or tensor type not read here.
 */
export function parseGguf(bytes: Uint8Array): Gguf {
  const cursor = new Cursor(bytes)
  if (cursor.uint32() !== MAGIC) throw new GgufError('MALFORMED', 'expected a GGUF file')
  if (cursor.uint32() !== 3) throw new GgufError('UNSUPPORTED', 'expected GGUF version 3')
  const tensorCount = cursor.size()
  const fieldCount = cursor.size()
  const fields = new Map<string, GgufValue>()
  for (let i = 0; i < fieldCount; i++) {
    const key = cursor.string()
    if (fields.has(key)) throw new GgufError('MALFORMED', `expected the field ${key} once`)
    fields.set(key, readValue(cursor, cursor.uint32(), 0))
  }
  const infos: TensorInfo[] = []
  for (let i = 0; i < tensorCount; i++) infos.push(readTensorInfo(cursor))
  const alignment = fields.get('general.alignment') ?? 32
  if (typeof alignment !== 'number' || alignment < 4 || alignment > 65_536 || alignment % 4 !== 0) {
    throw new GgufError('MALFORMED', 'expected an alignment that is a multiple of 4')
  }
  const start = Math.ceil(cursor.offset / alignment) * alignment
  const tensors = new Map<string, Tensor>()
  for (const info of infos) {
    if (tensors.has(info.name)) throw new GgufError('MALFORMED', `expected the tensor ${info.name} once`)
    tensors.set(info.name, { shape: info.shape, data: readTensor(bytes, start, info) })
  }
  return { fields, tensors }
}

const MAGIC = 0x46554747
const TYPE_STRING = 8
const TYPE_ARRAY = 9
const TENSOR_F32 = 0
const TENSOR_F16 = 1

interface TensorInfo {
  readonly name: string
  readonly shape: readonly number[]
  readonly type: number
  readonly offset: number
}

function readTensorInfo(cursor: Cursor): TensorInfo {
  const name = cursor.string()
  const dimensionCount = cursor.uint32()
  if (dimensionCount < 1 || dimensionCount > 4) throw new GgufError('MALFORMED', 'expected one to four dimensions')
  const shape: number[] = []
  for (let i = 0; i < dimensionCount; i++) shape.push(cursor.uint64())
  return { name, shape, type: cursor.uint32(), offset: cursor.uint64() }
}

function readTensor(bytes: Uint8Array, start: number, info: TensorInfo): Float32Array {
  const count = info.shape.reduce((product, dimension) => product * dimension, 1)
  if (info.type !== TENSOR_F32 && info.type !== TENSOR_F16) {
    throw new GgufError('UNSUPPORTED', `expected the tensor ${info.name} as F32 or F16, got type ${info.type}`)
  }
  const width = info.type === TENSOR_F32 ? 4 : 2
  const begin = start + info.offset
  if (!Number.isSafeInteger(count) || begin + count * width > bytes.length) {
    throw new GgufError('MALFORMED', `expected ${count} values of the tensor ${info.name}, the file ends before`)
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset + begin, count * width)
  const data = new Float32Array(count)
  if (width === 4) for (let i = 0; i < count; i++) data[i] = view.getFloat32(4 * i, true)
  else for (let i = 0; i < count; i++) data[i] = float16(view.getUint16(2 * i, true))
  return data
}

/** The value of an IEEE 754 binary16. */
function float16(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1
  const exponent = (bits >> 10) & 0x1f
  const fraction = bits & 0x3ff
  if (exponent === 0) return sign * fraction * 2 ** -24
  if (exponent === 0x1f) return fraction === 0 ? sign * Infinity : Number.NaN
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15)
}

function readValue(cursor: Cursor, type: number, depth: number): GgufValue {
  switch (type) {
    case 0:
      return cursor.uint8()
    case 1:
      return (cursor.uint8() << 24) >> 24
    case 2:
      return cursor.uint16()
    case 3:
      return (cursor.uint16() << 16) >> 16
    case 4:
      return cursor.uint32()
    case 5:
      return cursor.uint32() | 0
    case 6:
      return cursor.float32()
    case 7:
      return cursor.uint8() !== 0
    case TYPE_STRING:
      return cursor.string()
    case TYPE_ARRAY: {
      if (depth >= ARRAY_DEPTH_MAX) throw new GgufError('UNSUPPORTED', 'expected arrays nested no deeper than once')
      const elementType = cursor.uint32()
      const count = cursor.size()
      const values: GgufValue[] = []
      for (let i = 0; i < count; i++) values.push(readValue(cursor, elementType, depth + 1))
      return values
    }
    case 10:
      return cursor.uint64()
    case 11:
      return BigInt.asIntN(64, cursor.bigUint64())
    case 12:
      return cursor.float64()
    default:
      throw new GgufError('MALFORMED', `expected a value type from 0 to 12, got ${type}`)
  }
}

const ARRAY_DEPTH_MAX = 2

/** Reads little-endian values and never beyond the end. */
class Cursor {
  offset = 0
  readonly #bytes: Uint8Array
  readonly #view: DataView
  readonly #utf8 = new TextDecoder('utf-8', { ignoreBOM: true })

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  #advance(length: number): number {
    const at = this.offset
    if (length > this.#bytes.length - at) throw new GgufError('MALFORMED', 'expected more bytes, the file is cut')
    this.offset = at + length
    return at
  }

  uint8(): number {
    return this.#view.getUint8(this.#advance(1))
  }
  uint16(): number {
    return this.#view.getUint16(this.#advance(2), true)
  }
  uint32(): number {
    return this.#view.getUint32(this.#advance(4), true)
  }
  float32(): number {
    return this.#view.getFloat32(this.#advance(4), true)
  }
  float64(): number {
    return this.#view.getFloat64(this.#advance(8), true)
  }
  bigUint64(): bigint {
    return this.#view.getBigUint64(this.#advance(8), true)
  }

  /** A 64-bit integer that must fit a double. */
  uint64(): number {
    const value = this.bigUint64()
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new GgufError('MALFORMED', 'expected an integer below 2^53')
    return Number(value)
  }

  /** A count of things of at least one byte each: more than the bytes left is a lie, found before anything is allocated. */
  size(): number {
    const value = this.uint64()
    if (value > this.#bytes.length - this.offset) {
      throw new GgufError('MALFORMED', 'expected more bytes, the file is cut')
    }
    return value
  }

  string(): string {
    const length = this.size()
    const at = this.#advance(length)
    return this.#utf8.decode(this.#bytes.subarray(at, at + length))
  }
}

export type GgufErrorCode = 'MALFORMED' | 'UNSUPPORTED'

export class GgufError extends Error {
  override readonly name = 'GgufError'
  readonly code: GgufErrorCode
  constructor(code: GgufErrorCode, message: string) {
    super(message)
    this.code = code
  }
}

/** The field `key` as a number. Throws `GgufError` (`UNSUPPORTED`) when it is absent or of another kind, unless there is a `fallback`. */
export function numberField(gguf: Gguf, key: string, fallback?: number): number {
  const value = gguf.fields.get(key) ?? fallback
  if (typeof value !== 'number') throw new GgufError('UNSUPPORTED', `expected the field ${key} as a number`)
  return value
}

/** The field `key` as an array of strings or of numbers, likewise. */
export function stringsField(gguf: Gguf, key: string): readonly string[] {
  const value = gguf.fields.get(key)
  if (!Array.isArray(value) || !value.every((item) => typeof item === 'string')) {
    throw new GgufError('UNSUPPORTED', `expected the field ${key} as strings`)
  }
  return value
}

export function numbersField(gguf: Gguf, key: string): readonly number[] {
  const value = gguf.fields.get(key)
  if (!Array.isArray(value) || !value.every((item) => typeof item === 'number')) {
    throw new GgufError('UNSUPPORTED', `expected the field ${key} as numbers`)
  }
  return value
}
